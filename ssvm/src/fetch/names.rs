//! Addresses of names: asked of the configured resolvers, or of the machine's own when there are none.
//!
//! The appliance's service has no `/etc/resolv.conf` to read, so it asks itself: one question for each family over UDP from
//! a port of its own, over TCP when the answer does not fit (RFC 1035 4.2, RFC 5452 9).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

const PORT: u16 = 53;
/// How long one resolver may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// How often the list of resolvers is gone through.
const ROUNDS: u8 = 2;
/// Largest answer over UDP without EDNS is 512; what a resolver sends beyond is taken as well.
const LARGEST: usize = 4096;

/// Asks for addresses.
#[derive(Debug)]
pub(super) struct Names {
    resolvers: Vec<SocketAddr>,
}

impl Names {
    pub(super) fn new(resolvers: &[IpAddr]) -> Self {
        Self { resolvers: resolvers.iter().map(|ip| SocketAddr::new(*ip, PORT)).collect() }
    }

    /// The addresses of `host`, at least one.
    pub(super) async fn look_up(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let found = if self.resolvers.is_empty() {
            let found = tokio::net::lookup_host((host, 0)).await?;
            found.map(|address| address.ip()).collect()
        } else {
            self.ask_all(host).await?
        };
        if found.is_empty() {
            return Err(io::Error::other(format!("{host} has no address")));
        }
        Ok(found)
    }

    async fn ask_all(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let name = absolute(host)?;
        let mut last = io::Error::other("no resolver");
        for resolver in std::iter::repeat_n(&self.resolvers, usize::from(ROUNDS)).flatten() {
            let both = tokio::join!(
                ask(*resolver, &name, RecordType::A),
                ask(*resolver, &name, RecordType::AAAA)
            );
            match both {
                (Ok(v4), Ok(v6)) => return Ok(v4.into_iter().chain(v6).collect()),
                // a resolver that stays silent about one family does not hide the other
                (Ok(some), Err(_)) | (Err(_), Ok(some)) if !some.is_empty() => return Ok(some),
                (Err(error), _) | (_, Err(error)) => last = error,
            }
        }
        Err(last)
    }
}

/// The name as answers have it: one without its last dot is not equal to theirs.
fn absolute(host: &str) -> io::Result<Name> {
    let mut name = Name::from_str(host).map_err(io::Error::other)?;
    name.set_fqdn(true);
    Ok(name)
}

fn query(name: &Name, kind: RecordType) -> Message {
    let mut message = Message::query();
    message.metadata.id = rand::random();
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name.clone(), kind));
    message
}

async fn ask(resolver: SocketAddr, name: &Name, kind: RecordType) -> io::Result<Vec<IpAddr>> {
    let message = query(name, kind);
    let question = message.to_vec().map_err(io::Error::other)?;
    let answer = timeout(PATIENCE, exchange(resolver, &message, &question)).await??;
    match answer.metadata.response_code {
        ResponseCode::NoError | ResponseCode::NXDomain => Ok(addresses(&answer)),
        code => Err(io::Error::other(format!("resolver {} answered {code}", resolver.ip()))),
    }
}

fn addresses(answer: &Message) -> Vec<IpAddr> {
    let address = |data: &RData| match data {
        RData::A(a) => Some(IpAddr::V4(Ipv4Addr::from(*a))),
        RData::AAAA(aaaa) => Some(IpAddr::V6(Ipv6Addr::from(*aaaa))),
        _ => None,
    };
    answer.answers.iter().filter_map(|record| address(&record.data)).collect()
}

async fn exchange(resolver: SocketAddr, asked: &Message, question: &[u8]) -> io::Result<Message> {
    let any: IpAddr = match resolver {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(resolver).await?;
    socket.send(question).await?;
    let mut buffer = vec![0; LARGEST];
    loop {
        let length = socket.recv(&mut buffer).await?;
        // what does not answer this question is somebody else's guess
        let Ok(answer) = Message::from_vec(buffer.get(..length).unwrap_or_default()) else {
            continue;
        };
        if answer.metadata.id != asked.metadata.id || answer.queries != asked.queries {
            continue;
        }
        if answer.metadata.truncation {
            return over_tcp(resolver, question).await;
        }
        return Ok(answer);
    }
}

async fn over_tcp(resolver: SocketAddr, question: &[u8]) -> io::Result<Message> {
    let mut stream = TcpStream::connect(resolver).await?;
    let length = u16::try_from(question.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), question].concat()).await?;
    let length = stream.read_u16().await?;
    let mut answer = vec![0; usize::from(length)];
    stream.read_exact(&mut answer).await?;
    Message::from_vec(&answer).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_known_again_in_its_answer() {
        for host in ["images.example.com", "images.example.com.", "IMAGES.example.com"] {
            let asked = query(&absolute(host).unwrap(), RecordType::A);
            let answer = Message::from_vec(&asked.to_vec().unwrap()).unwrap();
            assert_eq!(answer.queries, asked.queries, "{host}");
        }
    }
}
