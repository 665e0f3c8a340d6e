//! A viewer of a console: opens a link as a browser does, types, and looks at the picture.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context as _, Result, bail, ensure};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use super::BOUND;
use super::client::{Outcome, begin, post_token, tls};

/// A session on a console.
#[derive(Debug)]
pub struct Viewer {
    socket: WebSocketStream<TlsStream<TcpStream>>,
    /// What the proxy said of it.
    pub note: Value,
    width: usize,
    height: usize,
    pixels: Vec<u8>,
    /// Bytes of screen that were read and not yet looked at.
    unread: Vec<u8>,
}

/// A link that was not shown.
#[derive(Debug)]
pub enum Refused {
    /// The link itself: status and answer.
    Link(u16, Value),
    /// Its session: close code and reason.
    Session(u16, String),
}

/// Bytes of a pixel: QEMU's own format.
const PIXEL: usize = 4;

impl Viewer {
    /// Opens `https://localhost:PORT/#TOKEN`, trusting `authority`.
    pub async fn open(link: &str, authority: &str) -> Result<Result<Self, Refused>> {
        let (host, token) = link
            .strip_prefix("https://")
            .and_then(|rest| rest.split_once("/#"))
            .with_context(|| format!("{link} is no link"))?;
        let port = host.strip_prefix("localhost:").context("the link is not for this computer")?;
        let proxy = SocketAddr::from((Ipv4Addr::LOCALHOST, port.parse()?));
        let connect = async || tls(proxy, authority, &rustls::version::TLS13).await;
        let (status, answer, cookie) = post_token(connect().await?.0, host, "https", token).await;
        if status != 200 {
            return Ok(Err(Refused::Link(status, answer)));
        }
        let grant = answer["grant"].as_str().context("no grant in the answer")?;
        match begin(connect().await?.0, host, "https", grant, &cookie).await {
            (Outcome::Shown(note, init), socket) => Self::of(socket, note, &init).map(Ok),
            (Outcome::Closed(code, reason), _) => Ok(Err(Refused::Session(code, reason))),
        }
    }

    fn of(socket: WebSocketStream<TlsStream<TcpStream>>, note: Value, init: &[u8]) -> Result<Self> {
        let number = |at| Some(usize::from(u16::from_be_bytes(*init.get(at..)?.first_chunk()?)));
        let (width, height) = number(0).zip(number(2)).context("no size in the description")?;
        ensure!(init.get(4) == Some(&32), "pixels of {:?} bits", init.get(4));
        let pixels = vec![0; width * height * PIXEL];
        Ok(Self { socket, note, width, height, pixels, unread: Vec::new() })
    }

    /// Width and height in pixels when the session began.
    pub fn size(&self) -> (usize, usize) {
        (self.width, self.height)
    }

    /// Presses and releases the keys of a text of letters, digits and spaces.
    pub async fn type_text(&mut self, text: &str) -> Result<()> {
        for key in text.bytes() {
            for down in [1, 0] {
                self.send(&[4, down, 0, 0, 0, 0, 0, key]).await?;
            }
        }
        Ok(())
    }

    /// Looks at the whole picture; how many of its pixels are not black.
    pub async fn lit(&mut self) -> Result<usize> {
        // raw pixels alone (RFC 6143 7.5.2), then all of them (7.5.3)
        self.send(&[2, 0, 0, 1, 0, 0, 0, 0]).await?;
        let [w0, w1] = u16::try_from(self.width)?.to_be_bytes();
        let [h0, h1] = u16::try_from(self.height)?.to_be_bytes();
        self.send(&[3, 0, 0, 0, 0, 0, w0, w1, h0, h1]).await?;
        self.update().await?;
        let dark = |pixel: &[u8]| pixel.iter().take(3).all(|byte| *byte == 0);
        Ok(self.pixels.chunks(PIXEL).filter(|pixel| !dark(pixel)).count())
    }

    /// Waits until the proxy ends the session: close code and reason.
    pub async fn end(self) -> (u16, String) {
        super::client::end(self.socket).await
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.socket.send(Message::binary(bytes.to_vec())).await?)
    }

    /// Takes messages up to one that has parts of the picture.
    async fn update(&mut self) -> Result<()> {
        loop {
            match self.take(1).await?[..] {
                [0] => break,
                [2] => {}
                ref other => bail!("message {other:?} of the screen is not known here"),
            }
        }
        let head = self.take(3).await?;
        for _part in 0..u16_at(&head, 1) {
            let part = self.take(12).await?;
            ensure!(part[8..] == [0; 4], "encoding {:?} was not asked for", &part[8..]);
            let [x, y, width, height] = [0, 2, 4, 6].map(|at| usize::from(u16_at(&part, at)));
            let pixels = self.take(width * height * PIXEL).await?;
            self.draw(x, y, width, &pixels);
        }
        Ok(())
    }

    /// What lies outside, because the guest changed its mode, is left out.
    fn draw(&mut self, x: usize, y: usize, width: usize, pixels: &[u8]) {
        for (row, line) in pixels.chunks((width * PIXEL).max(1)).enumerate() {
            let at = ((y + row) * self.width + x) * PIXEL;
            if let Some(place) = self.pixels.get_mut(at..at + line.len()) {
                place.copy_from_slice(line);
            }
        }
    }

    /// The next bytes of the screen.
    async fn take(&mut self, length: usize) -> Result<Vec<u8>> {
        while self.unread.len() < length {
            let message = timeout(BOUND, self.socket.next()).await.context("no picture in time")?;
            match message.context("the session is over")?? {
                Message::Binary(bytes) => self.unread.extend_from_slice(&bytes),
                Message::Close(frame) => bail!("the session was ended: {frame:?}"),
                _ => {}
            }
        }
        Ok(self.unread.drain(..length).collect())
    }
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |pair| u16::from_be_bytes(*pair))
}
