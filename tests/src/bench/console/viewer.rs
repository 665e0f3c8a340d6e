//! A viewer: as much RFB as begins a session, then it reads, and notes how old each picture is.

use std::net::SocketAddr;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use super::proxies::Proxy;
use super::source::{INIT, now};

enum Way {
    Direct(TcpStream),
    WebSocket(Box<WebSocketStream<TcpStream>>),
}

/// A viewer whose session has begun.
pub(super) struct Viewer {
    way: Way,
    /// Bytes read and not yet looked at.
    read: Vec<u8>,
}

impl Viewer {
    /// Without a proxy.
    pub(super) async fn direct(server: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(server).await?;
        stream.set_nodelay(true)?;
        Self { way: Way::Direct(stream), read: Vec::new() }.begin().await
    }

    /// Through a proxy.
    pub(super) async fn through(proxy: &Proxy) -> Result<Self> {
        let stream = TcpStream::connect(proxy.address).await?;
        stream.set_nodelay(true)?;
        let mut request = proxy.socket().into_client_request()?;
        for (name, value) in proxy.headers() {
            request.headers_mut().insert(name, value.parse()?);
        }
        let (socket, _) = tokio_tungstenite::client_async(request, stream).await?;
        Self { way: Way::WebSocket(Box::new(socket)), read: Vec::new() }.begin().await
    }

    async fn begin(mut self) -> Result<Self> {
        for (length, answer) in [(12, &b"RFB 003.008\n"[..]), (2, &[1]), (4, &[1])] {
            self.take(length).await?;
            self.say(answer).await?;
        }
        self.take(INIT.len()).await?;
        Ok(self)
    }

    /// Reads until `until`; the age of each picture of `length` bytes in milliseconds.
    pub(super) async fn watch(mut self, length: usize, until: Instant) -> Result<Vec<f64>> {
        let mut ages = Vec::new();
        loop {
            let picture = tokio::time::timeout_at(until.into(), self.take(length)).await;
            let Ok(picture) = picture else { return Ok(ages) };
            let head = picture?.first_chunk().copied().context("a picture has a head")?;
            let age = now().saturating_sub(u64::from_be_bytes(head));
            #[allow(clippy::cast_precision_loss)] // milliseconds in nanoseconds
            ages.push(age as f64 / 1e6);
        }
    }

    async fn take(&mut self, length: usize) -> Result<Vec<u8>> {
        while self.read.len() < length {
            match &mut self.way {
                Way::Direct(stream) => {
                    if stream.read_buf(&mut self.read).await? == 0 {
                        bail!("the server ended the session");
                    }
                }
                Way::WebSocket(socket) => match socket.next().await.context("an early end")?? {
                    Message::Binary(bytes) => self.read.extend_from_slice(&bytes),
                    Message::Close(frame) => bail!("the proxy ended the session: {frame:?}"),
                    _ => {}
                },
            }
        }
        Ok(self.read.drain(..length).collect())
    }

    async fn say(&mut self, bytes: &[u8]) -> Result<()> {
        match &mut self.way {
            Way::Direct(stream) => Ok(stream.write_all(bytes).await?),
            Way::WebSocket(socket) => Ok(socket.send(Message::binary(bytes.to_vec())).await?),
        }
    }
}
