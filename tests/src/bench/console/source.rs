//! A VNC server that shows pictures at a pace, or nothing: each picture begins with the time at which it was written.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What a server sends after the handshake.
#[derive(Clone, Copy, Debug)]
pub(super) enum Traffic {
    /// Pictures of so many bytes, one after each pause.
    Pictures { length: usize, every: Duration },
    /// Nothing.
    Nothing,
}

/// A running server; ended when dropped.
pub(super) struct Source {
    pub(super) address: SocketAddr,
    task: JoinHandle<()>,
}

impl Source {
    pub(super) async fn start(traffic: Traffic) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // a viewer that leaves is no failure
                tokio::spawn(async move { drop(show(stream, traffic).await) });
            }
        });
        Ok(Self { address, task })
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A screen of 640 x 480 without a name.
pub(super) const INIT: [u8; 24] =
    [2, 128, 1, 224, 32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0, 0, 0, 0, 0, 0, 0, 0];

async fn show(mut stream: TcpStream, traffic: Traffic) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut answer = [0; 12];
    for (say, length) in [(&b"RFB 003.008\n"[..], 12), (&[1, 1], 1), (&[0; 4], 1)] {
        stream.write_all(say).await?;
        stream.read_exact(answer.get_mut(..length).unwrap_or_default()).await?;
    }
    stream.write_all(&INIT).await?;
    let Traffic::Pictures { length, every } = traffic else {
        // until the viewer leaves
        return stream.read_u8().await.map(drop);
    };
    // sessions do not all move at the same moment
    let offset = u64::from(stream.peer_addr()?.port()) % 97;
    tokio::time::sleep(Duration::from_millis(offset)).await;
    let mut picture = vec![7; length];
    let mut tick = tokio::time::interval(every);
    loop {
        tick.tick().await;
        if let Some(head) = picture.first_chunk_mut() {
            *head = now().to_be_bytes();
        }
        stream.write_all(&picture).await?;
    }
}

/// Nanoseconds since this program first asked.
pub(super) fn now() -> u64 {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    u64::try_from(START.get_or_init(Instant::now).elapsed().as_nanos()).unwrap_or(u64::MAX)
}
