//! One connection to a resolver for many questions at a time, answered in whatever order (RFC 7766 6.2.1, RFC 7858 3.3).
//!
//! Guarantees: opened when there is something to ask, closed when there was nothing for [`IDLE`]; a question that was out on
//! a connection which broke, or was closed just then, is asked again on another one (RFC 7766 6.2.4); a connection on which
//! nothing comes, though something was asked, is given up after [`SILENCE`]. Each question has a number of its own on the
//! connection, whatever number its asker gave it. How long an answer may take is the asker's business.

use std::collections::HashMap;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use super::carry::Wire;

/// Questions that are out at a time: no more than the connection's buffers surely take, so that neither side waits for the
/// other to read. More wait for answers.
const MOST_OUT: usize = 200;
/// Questions that wait to be sent.
const QUEUE: usize = 64;
/// A connection without questions is closed after so long (RFC 7766 6.2.3), which leaves a resolver its room.
const IDLE: Duration = Duration::from_secs(10);
/// No longer than an asker waits: whoever asks next finds a new connection.
const SILENCE: Duration = Duration::from_secs(2);
/// Connections on which a question is tried.
const TRIES: usize = 3;

/// The connection to one resolver, when there is one.
#[derive(Debug, Default)]
pub(super) struct Line(Mutex<Option<mpsc::Sender<Request>>>);

#[derive(Debug)]
struct Request {
    message: Vec<u8>,
    answer: oneshot::Sender<io::Result<Vec<u8>>>,
}

impl Line {
    /// The answer to `message`, on the connection that there is or one that `open` makes.
    ///
    /// Errors: no connection comes about, or each broke.
    pub(super) async fn ask<F>(&self, message: &[u8], open: impl Fn() -> F) -> io::Result<Vec<u8>>
    where
        F: Future<Output = io::Result<Wire>> + Send + 'static,
    {
        let mut left = TRIES;
        loop {
            let (line, is_fresh) = self.line(&open);
            let answer = once(&line, message).await;
            left -= 1;
            if answer.is_ok() || is_fresh || left == 0 {
                return answer;
            }
        }
    }

    /// The open connection, or a new one; which of both.
    fn line<F>(&self, open: impl Fn() -> F) -> (mpsc::Sender<Request>, bool)
    where
        F: Future<Output = io::Result<Wire>> + Send + 'static,
    {
        let mut line = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(line) = line.as_ref().filter(|line| !line.is_closed()) {
            return (line.clone(), false);
        }
        let (sender, requests) = mpsc::channel(QUEUE);
        *line = Some(sender.clone());
        tokio::spawn(carry(open(), requests));
        (sender, true)
    }
}

async fn once(line: &mpsc::Sender<Request>, message: &[u8]) -> io::Result<Vec<u8>> {
    let gone = || io::Error::from(io::ErrorKind::ConnectionReset);
    let (answer, heard) = oneshot::channel();
    let request = Request { message: message.to_vec(), answer };
    line.send(request).await.map_err(|_| gone())?;
    heard.await.map_err(|_| gone())?
}

/// Carries `requests` on the connection that `opening` makes, until it is over.
async fn carry(
    opening: impl Future<Output = io::Result<Wire>>,
    mut requests: mpsc::Receiver<Request>,
) {
    match opening.await {
        Ok(wire) => {
            let mut open = Open::new(wire);
            // whoever waits hears that it is over, and asks again
            let _over = open.run(&mut requests).await;
            // closed before they hear it, or they would come back to this one
            requests.close();
        }
        Err(error) => {
            requests.close();
            while let Some(request) = requests.recv().await {
                let error = io::Error::new(error.kind(), error.to_string());
                let _gone = request.answer.send(Err(error));
            }
        }
    }
}

/// A question that is out.
struct Out {
    /// Its asker's number.
    id: [u8; 2],
    answer: oneshot::Sender<io::Result<Vec<u8>>>,
}

/// An open connection.
struct Open {
    wire: Wire,
    out: HashMap<u16, Out>,
    last_number: u16,
    /// When something was heard last, or the first question went out after that.
    since: Instant,
}

impl Open {
    fn new(wire: Wire) -> Self {
        Self { wire, out: HashMap::new(), last_number: 0, since: Instant::now() }
    }

    /// Until the connection breaks, is silent or idle, or nobody can ask any more.
    async fn run(&mut self, requests: &mut mpsc::Receiver<Request>) -> io::Result<()> {
        let mut is_wanted = true;
        while is_wanted || !self.out.is_empty() {
            if self.out.len() >= MOST_OUT {
                self.out.retain(|_, out| !out.answer.is_closed());
            }
            let patience = if self.out.is_empty() { IDLE } else { SILENCE };
            tokio::select! {
                // first, since it sends as well
                biased;
                message = self.wire.next() => self.heard(message?),
                request = requests.recv(), if is_wanted && self.out.len() < MOST_OUT => match request {
                    Some(request) => self.send(request)?,
                    None => is_wanted = false,
                },
                () = sleep_until(self.since + patience) => {
                    return Err(io::ErrorKind::TimedOut.into());
                }
            }
        }
        Ok(())
    }

    fn send(&mut self, request: Request) -> io::Result<()> {
        let Request { mut message, answer } = request;
        let number = self.free_number();
        let Some(id) = message.first_chunk_mut() else { return Ok(()) };
        if self.out.is_empty() {
            self.since = Instant::now();
        }
        let id = std::mem::replace(id, number.to_be_bytes());
        self.out.insert(number, Out { id, answer });
        self.wire.send(message)
    }

    /// A number that no question has that is out, and as few as can be had that were given up.
    fn free_number(&mut self) -> u16 {
        loop {
            self.last_number = self.last_number.wrapping_add(1);
            if !self.out.contains_key(&self.last_number) {
                return self.last_number;
            }
        }
    }

    /// Gives an answer to whoever asked; one that nobody asked for is passed over.
    fn heard(&mut self, mut message: Vec<u8>) {
        self.since = Instant::now();
        let Some(number) = message.first_chunk_mut() else { return };
        let Some(Out { id, answer }) = self.out.remove(&u16::from_be_bytes(*number)) else {
            return;
        };
        *number = id;
        let _gone = answer.send(Ok(message));
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::Arc;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::dns::carry::over_tcp;

    /// A question with this number and word, as a resolver that echoes is asked.
    fn question(id: u16, word: u8) -> Vec<u8> {
        [id.to_be_bytes().as_slice(), &[word; 12]].concat()
    }

    async fn read(stream: &mut TcpStream) -> Option<Vec<u8>> {
        let length = stream.read_u16().await.ok()?;
        let mut message = vec![0; usize::from(length)];
        stream.read_exact(&mut message).await.ok()?;
        Some(message)
    }

    async fn write(stream: &mut TcpStream, message: &[u8]) {
        stream.write_u16(u16::try_from(message.len()).unwrap()).await.unwrap();
        stream.write_all(message).await.unwrap();
    }

    async fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    /// Asks everything at once; all with one number, which is only the asker's.
    fn ask(
        line: &Arc<Line>,
        resolver: SocketAddr,
        words: impl IntoIterator<Item = u8>,
    ) -> Vec<tokio::task::JoinHandle<io::Result<Vec<u8>>>> {
        let one = |word| {
            let line = line.clone();
            let asked = async move { line.ask(&question(7, word), || over_tcp(resolver)).await };
            tokio::spawn(asked)
        };
        words.into_iter().map(one).collect()
    }

    #[tokio::test]
    async fn many_are_out_at_a_time_and_each_gets_its_own_answer() {
        let (listener, resolver) = listener().await;
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut all = Vec::new();
            for _ in 0..50 {
                all.push(read(&mut stream).await.unwrap());
            }
            // the last first
            for message in all.iter().rev() {
                write(&mut stream, message).await;
            }
            listener
        });
        let line = Arc::default();
        for (word, answer) in (0..50).zip(ask(&line, resolver, 0..50)) {
            assert_eq!(answer.await.unwrap().unwrap(), question(7, word));
        }
        drop(server.await.unwrap());
    }

    #[tokio::test]
    async fn a_resolver_that_closes_after_each_answer_is_asked_again() {
        let (listener, resolver) = listener().await;
        let server = tokio::spawn(async move {
            for _ in 0..2 {
                let (mut stream, _) = listener.accept().await.unwrap();
                let message = read(&mut stream).await.unwrap();
                write(&mut stream, &message).await;
            }
        });
        let line = Arc::default();
        for word in [1, 2] {
            let answer = ask(&line, resolver, [word]).pop().unwrap().await.unwrap();
            assert_eq!(answer.unwrap(), question(7, word));
        }
        server.await.unwrap();
    }

    #[tokio::test]
    async fn a_connection_on_which_nothing_comes_is_given_up() {
        let (listener, resolver) = listener().await;
        // the first connection answers once and is silent then, as one through a router that lost it
        let server = tokio::spawn(async move {
            let (mut first, _) = listener.accept().await.unwrap();
            let asked = read(&mut first).await.unwrap();
            write(&mut first, &asked).await;
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                while let Some(asked) = read(&mut stream).await {
                    write(&mut stream, &asked).await;
                }
            }
        });
        let line = Arc::default();
        for word in [1, 2] {
            let answer = ask(&line, resolver, [word]).pop().unwrap().await.unwrap();
            assert_eq!(answer.unwrap(), question(7, word));
        }
        server.abort();
    }

    #[tokio::test]
    async fn where_nobody_listens_everybody_hears_why() {
        let (listener, resolver) = listener().await;
        drop(listener);
        let line = Arc::default();
        for answer in ask(&line, resolver, 0..5) {
            assert_eq!(answer.await.unwrap().unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        }
    }
}
