//! One question to one upstream: UDP from a random port, TCP when the answer does not fit.
//!
//! Guarantees: number, source port and (unless switched off) the case of the name are random for each question, so a
//! forger must guess some 32 bits and more (RFC 5452); datagrams that do not match are ignored and the wait goes on.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use super::cache::Key;
use super::reply::UDP_PAYLOAD;
use super::slice::Settings;
use super::stored::{Asked, Refusal, Stored};
use super::wire::{CLASS_IN, HEADER, flag, rtype};

/// Largest datagram read: some upstreams send more than was asked for.
const READ_BYTES: usize = 4096;
/// Tries to get a random port before the kernel picks one.
const PORT_TRIES: usize = 8;
/// Time for a whole exchange over TCP.
const TCP_TIME: Duration = Duration::from_secs(2);

/// Why one upstream gave no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum ExchangeError {
    /// The system refused; another upstream may be reachable.
    #[error("cannot reach the upstream")]
    Io(#[from] io::Error),
    /// What came is not usable.
    #[error("the upstream's answer is not usable")]
    Refused(#[from] Refusal),
    /// Nothing came while another upstream answered, or for too long.
    #[error("the upstream did not answer in time")]
    Slow,
    /// Nothing came; a retry can help.
    #[error("the upstream did not answer over TCP in time")]
    Timeout,
}

/// Asks `upstream` for `key` and waits for the answer, for ever if need be: the caller bounds the time.
pub(super) async fn exchange(
    upstream: SocketAddr,
    key: &Key,
    settings: &Settings,
) -> Result<Stored, ExchangeError> {
    let message = encode(key, settings.mixed_case);
    match over_udp(upstream, &message, settings).await {
        // an upstream that does not keep case gets a connection, which cannot be forged as easily
        Err(ExchangeError::Refused(Refusal::Truncated | Refusal::Case)) => {
            let message = encode(key, false);
            timeout(TCP_TIME, over_tcp(upstream, &message, settings))
                .await
                .map_err(|_| ExchangeError::Timeout)?
        }
        result => result,
    }
}

async fn over_udp(
    upstream: SocketAddr,
    message: &[u8],
    settings: &Settings,
) -> Result<Stored, ExchangeError> {
    let socket = random_port(upstream).await?;
    socket.connect(upstream).await?;
    socket.send(message).await?;
    let mut buffer = [0; READ_BYTES];
    loop {
        let length = socket.recv(&mut buffer).await?;
        let answer = buffer.get(..length).unwrap_or_default();
        match Stored::vet(answer, asked(message), settings) {
            Err(Refusal::Foreign) => {}
            result => return Ok(result?),
        }
    }
}

/// A socket on a port that nobody can foresee; the kernel's own choice has fewer bits.
async fn random_port(upstream: SocketAddr) -> io::Result<UdpSocket> {
    let any: IpAddr = match upstream {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    for _ in 0..PORT_TRIES {
        let port = rand::random_range(1024..=u16::MAX);
        if let Ok(socket) = UdpSocket::bind((any, port)).await {
            return Ok(socket);
        }
    }
    UdpSocket::bind((any, 0)).await
}

async fn over_tcp(
    upstream: SocketAddr,
    message: &[u8],
    settings: &Settings,
) -> Result<Stored, ExchangeError> {
    let mut stream = TcpStream::connect(upstream).await?;
    let length = u16::try_from(message.len()).unwrap_or(u16::MAX);
    stream.write_all(&[&length.to_be_bytes(), message].concat()).await?;
    let length = stream.read_u16().await?;
    let mut answer = vec![0; usize::from(length)];
    stream.read_exact(&mut answer).await?;
    Ok(Stored::vet(&answer, asked(message), settings)?)
}

/// Number and question of a message that [`encode`] made.
fn asked(message: &[u8]) -> Asked<'_> {
    let id = message.first_chunk().map_or(0, |bytes| u16::from_be_bytes(*bytes));
    let end = message.len().saturating_sub(OPT_BYTES);
    Asked { id, question: message.get(HEADER..end).unwrap_or_default() }
}

const OPT_BYTES: usize = 11;

/// The message that asks for `key`.
fn encode(key: &Key, mixed_case: bool) -> Vec<u8> {
    // AD asks for the upstream's verdict even without DNSSEC records (RFC 6840 5.7)
    let disabled = if key.checking_disabled() { flag::CD } else { 0 };
    let flags = flag::RD | flag::AD | disabled;
    let dnssec = if key.dnssec_ok() { 0x8000 } else { 0 };
    let mut question = key.name_and_type().to_vec();
    if mixed_case {
        mix_case(&mut question);
    }
    let mut message = Vec::with_capacity(HEADER + question.len() + 2 + OPT_BYTES);
    for word in [rand::random(), flags, 1, 0, 0, 1] {
        message.extend(word.to_be_bytes());
    }
    message.extend(question);
    message.extend(CLASS_IN.to_be_bytes());
    message.push(0);
    for word in [rtype::OPT, UDP_PAYLOAD, 0, dnssec, 0] {
        message.extend(word.to_be_bytes());
    }
    message
}

/// Changes the case of letters at random; a length byte is below 64 and so never a letter, the type is not touched.
fn mix_case(question: &mut [u8]) {
    let name = question.len().saturating_sub(2);
    for byte in question.iter_mut().take(name) {
        if byte.is_ascii_alphabetic() && rand::random() {
            *byte ^= 0x20;
        }
    }
}
