//! A browser without a screen: HTTP, cookies, WebSocket and as much RFB as noVNC speaks at first.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::StatusCode;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::screen::init;
use crate::world::BOUND;

/// What a browser is and remembers.
#[derive(Clone)]
pub(crate) struct Browser {
    pub(crate) server: SocketAddr,
    pub(crate) from: IpAddr,
    pub(crate) origin: String,
    pub(crate) host: String,
    pub(crate) cookies: BTreeMap<String, String>,
}

impl Browser {
    /// On the page of the service at `server`.
    pub(crate) fn at(server: SocketAddr) -> Self {
        let from = server.ip();
        Self {
            server,
            from,
            origin: format!("http://{server}"),
            host: server.to_string(),
            cookies: BTreeMap::new(),
        }
    }

    async fn connect(&self) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(self.from, 0)).unwrap();
        socket.connect(self.server).await.unwrap()
    }

    fn cookie_line(&self) -> String {
        let pairs: Vec<_> =
            self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        pairs.join("; ")
    }

    /// Any request; status, head and body.
    pub(crate) async fn request(
        &self,
        line: &str,
        more: &str,
        body: &str,
    ) -> (u16, String, String) {
        let (host, origin, cookies) = (&self.host, &self.origin, self.cookie_line());
        let head = format!(
            "{line} HTTP/1.1\r\nHost: {host}\r\nOrigin: {origin}\r\nCookie: {cookies}\r\n{more}Content-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        let mut stream = self.connect().await;
        stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
        let mut answer = String::new();
        timeout(BOUND, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, head.to_owned(), body.to_owned())
    }

    /// Shows a token; status and answer. Keeps the cookie.
    pub(crate) async fn ask(&mut self, token: &str) -> (u16, Value) {
        self.post(&json!({ "token": token })).await
    }

    /// Asks again by the cookie.
    pub(crate) async fn ask_again(&mut self, grant: &str) -> (u16, Value) {
        self.post(&json!({ "grant": grant })).await
    }

    /// `POST session` with any body; status and answer. Keeps the cookie.
    pub(crate) async fn post(&mut self, body: &Value) -> (u16, Value) {
        let kind = "Content-Type: application/json\r\n";
        let (status, head, body) = self.request("POST /session", kind, &body.to_string()).await;
        let set = head.lines().find_map(|line| line.strip_prefix("set-cookie: "));
        assert_eq!(set.is_some(), status == 200, "{head}");
        if let Some((name, value)) = set.and_then(|it| it.split(';').next()?.split_once('=')) {
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
        (status, serde_json::from_str(&body).unwrap_or(Value::Null))
    }

    /// Opens the WebSocket of a grant, or says which status it was refused with.
    pub(crate) async fn open(&self, grant: &str) -> Result<Socket, StatusCode> {
        let mut request =
            format!("ws://{}/screen/{grant}", self.host).into_client_request().unwrap();
        let headers = request.headers_mut();
        headers.insert("origin", self.origin.parse().unwrap());
        headers.insert("cookie", self.cookie_line().parse().unwrap());
        match timeout(BOUND, client_async(request, self.connect().await)).await.unwrap() {
            Ok((socket, _)) => Ok(Socket(socket)),
            Err(Error::Http(answer)) => Err(answer.status()),
            Err(other) => panic!("{other}"),
        }
    }
}

/// The WebSocket of a session.
pub(crate) struct Socket(pub(crate) WebSocketStream<TcpStream>);

impl Socket {
    /// The next message that is not a ping or a note.
    pub(crate) async fn next(&mut self) -> Message {
        loop {
            let message = timeout(BOUND, self.0.next()).await.expect("a message in time");
            match message.expect("no end without a word").unwrap() {
                Message::Ping(_) | Message::Pong(_) | Message::Text(_) => {}
                other => return other,
            }
        }
    }

    /// The next bytes of the screen, exactly these.
    pub(crate) async fn expect(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let Message::Binary(got) = self.next().await else { panic!("an end instead of bytes") };
            bytes =
                bytes.strip_prefix(&got[..]).unwrap_or_else(|| panic!("{got:?}, not {bytes:?}"));
        }
    }

    /// The next note of this type.
    pub(crate) async fn note(&mut self, kind: &str) -> Value {
        loop {
            let message = timeout(BOUND, self.0.next()).await.expect("a note in time");
            if let Message::Text(text) = message.unwrap().unwrap() {
                let note: Value = serde_json::from_str(&text).unwrap();
                if note["type"] == kind {
                    return note;
                }
            }
        }
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.0.send(Message::binary(bytes.to_vec())).await.unwrap();
    }

    /// The handshake as noVNC does it, up to the screen's description.
    pub(crate) async fn greet(&mut self) {
        self.expect(b"RFB 003.008\n").await;
        self.send(b"RFB 003.008\n").await;
        self.expect(&[1, 1]).await;
        self.send(&[1]).await;
        self.expect(&[0; 4]).await;
        self.send(&[1]).await;
        self.expect(&init()).await;
    }

    /// The close frame: code and reason.
    pub(crate) async fn closed(&mut self) -> (u16, String) {
        loop {
            match self.next().await {
                Message::Close(Some(frame)) => {
                    return (frame.code.into(), frame.reason.to_string());
                }
                Message::Binary(_) => {}
                other => panic!("{other:?} instead of a reason"),
            }
        }
    }
}
