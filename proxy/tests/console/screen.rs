//! VNC servers that do as they are told.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::world::BOUND;

/// Description of a screen of 640 x 480 called `vm`.
pub(crate) fn init() -> Vec<u8> {
    let mut init = vec![2, 128, 1, 224, 32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0, 0, 0, 0];
    init.extend([0, 0, 0, 2]);
    init.extend(b"vm");
    init
}

/// A server: hands out each connection, after the handshake when it is polite.
pub(crate) struct Screen {
    pub(crate) address: SocketAddr,
    connections: mpsc::UnboundedReceiver<TcpStream>,
    count: Arc<AtomicUsize>,
}

impl Screen {
    /// Accepts, and speaks RFB 3.8 without authentication up to its description.
    pub(crate) async fn polite() -> Self {
        Self::start(true).await
    }

    /// Accepts, and leaves everything to the test.
    pub(crate) async fn raw() -> Self {
        Self::start(false).await
    }

    async fn start(polite: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, connections) = mpsc::unbounded_channel();
        let count = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&count);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                counter.fetch_add(1, Ordering::SeqCst);
                if polite {
                    handshake(&mut stream).await;
                }
                let _test_is_over = sender.send(stream);
            }
        });
        Self { address, connections, count }
    }

    /// The next connection.
    pub(crate) async fn next(&mut self) -> TcpStream {
        timeout(BOUND, self.connections.recv()).await.expect("a connection in time").unwrap()
    }

    /// Connections so far.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }
}

async fn handshake(stream: &mut TcpStream) {
    let mut buffer = [0; 12];
    stream.write_all(b"RFB 003.008\n").await.unwrap();
    stream.read_exact(&mut buffer).await.unwrap();
    stream.write_all(&[1, 1]).await.unwrap();
    stream.read_exact(&mut buffer[..1]).await.unwrap();
    stream.write_all(&[0; 4]).await.unwrap();
    stream.read_exact(&mut buffer[..1]).await.unwrap();
    stream.write_all(&init()).await.unwrap();
}

/// Reads exactly what is expected.
pub(crate) async fn expect(stream: &mut TcpStream, bytes: &[u8]) {
    let mut buffer = vec![0; bytes.len()];
    timeout(BOUND, stream.read_exact(&mut buffer)).await.expect("bytes in time").unwrap();
    assert_eq!(buffer, bytes);
}

/// Waits for the end of the connection, with nothing more on it.
pub(crate) async fn expect_end(stream: &mut TcpStream) {
    let mut buffer = [0; 64];
    let read = timeout(BOUND, stream.read(&mut buffer)).await.expect("an end in time");
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?} bytes instead of an end");
}
