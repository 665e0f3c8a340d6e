//! Resolvers that answer as a test says: what real ones do not do on demand.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use sluice_lab::netns::Namespace;

/// A question as it came.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// The name as written, with dots.
    pub(crate) name: String,
    pub(crate) edns: bool,
    pub(crate) tcp: bool,
    message: Vec<u8>,
    /// Where the question ends.
    end: usize,
}

impl Asked {
    fn read(message: &[u8], tcp: bool) -> Self {
        let (mut at, mut labels) = (12, Vec::new());
        while message[at] != 0 {
            let length = usize::from(message[at]);
            labels.push(String::from_utf8(message[at + 1..=at + length].to_vec()).unwrap());
            at += 1 + length;
        }
        let end = at + 5;
        let edns = message[11] != 0;
        Self { name: labels.join("."), edns, tcp, message: message.to_vec(), end }
    }

    /// All of it.
    pub(crate) fn message(&self) -> &[u8] {
        &self.message
    }

    /// The name in lower case.
    pub(crate) fn lower(&self) -> String {
        self.name.to_ascii_lowercase()
    }

    /// The same question with the name in lower case.
    pub(crate) fn lowered(&self) -> Option<Self> {
        let mut message = self.message.clone();
        message[12..self.end].make_ascii_lowercase();
        Some(Self { name: self.lower(), message, ..self.clone() })
    }

    /// Where records of an answer begin.
    pub(crate) fn records_at(&self) -> usize {
        self.end
    }

    /// A header with these flags and nothing else.
    pub(crate) fn bare(&self, flags: u16) -> Option<Vec<u8>> {
        let [high, low] = flags.to_be_bytes();
        Some([&self.message[..2], &[high, low, 0, 0, 0, 0, 0, 0, 0, 0]].concat())
    }

    /// A response with these flags and records: answers, then authorities. Owners may point to the question at 12.
    pub(crate) fn reply(&self, flags: u16, sections: [&[Vec<u8>]; 2]) -> Option<Vec<u8>> {
        let [high, low] = flags.to_be_bytes();
        let counts = sections.map(|records| u16::try_from(records.len()).unwrap().to_be_bytes());
        let head = [high, low, 0, 1, counts[0][0], counts[0][1], counts[1][0], counts[1][1], 0, 0];
        let question = &self.message[12..self.end];
        Some([&self.message[..2], &head, question, &sections.concat().concat()].concat())
    }

    /// `192.0.2.LAST` for 300 s.
    pub(crate) fn address(&self, last: u8) -> Option<Vec<u8>> {
        self.reply(0x8180, [&[a(300, last)], &[]])
    }
}

/// A record about the question's name.
pub(crate) fn record(rtype: u8, ttl: u32, data: &[u8]) -> Vec<u8> {
    let length = u8::try_from(data.len()).unwrap();
    [&[0xc0, 12, 0, rtype, 0, 1], &ttl.to_be_bytes()[..], &[0, length], data].concat()
}

pub(crate) fn a(ttl: u32, last: u8) -> Vec<u8> {
    record(1, ttl, &[192, 0, 2, last])
}

/// What a resolver answers; nothing to a question that it leaves alone.
pub(crate) type Script = Box<dyn Fn(&Asked) -> Option<Vec<u8>> + Send + Sync>;

/// The resolver; it lives as long as the test's process.
#[derive(Clone)]
pub(crate) struct Resolver {
    asked: Arc<Mutex<Vec<Asked>>>,
    script: Arc<Mutex<Script>>,
}

impl Resolver {
    /// Answers on port 53 of `address` in `namespace`, over TCP only when asked to.
    pub(crate) fn start(
        namespace: &Namespace,
        address: &str,
        tcp: bool,
        script: impl Fn(&Asked) -> Option<Vec<u8>> + Send + Sync + 'static,
    ) -> Self {
        let at: SocketAddr = format!("{address}:53").parse().unwrap();
        let opened = namespace.enter(|| {
            let listener = tcp.then(|| TcpListener::bind(at).unwrap());
            (UdpSocket::bind(at).unwrap(), listener)
        });
        let (udp, listener) = opened.unwrap();
        let this = Self { asked: Arc::default(), script: Arc::new(Mutex::new(Box::new(script))) };
        let one = this.clone();
        thread::spawn(move || one.udp(&udp));
        if let Some(listener) = listener {
            let one = this.clone();
            thread::spawn(move || one.tcp(&listener));
        }
        this
    }

    /// Answers like this from now on.
    pub(crate) fn becomes(
        &self,
        script: impl Fn(&Asked) -> Option<Vec<u8>> + Send + Sync + 'static,
    ) {
        *self.script.lock().unwrap() = Box::new(script);
    }

    /// Every question so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    fn answer(&self, message: &[u8], tcp: bool) -> Option<Vec<u8>> {
        let asked = Asked::read(message, tcp);
        let answer = (self.script.lock().unwrap())(&asked);
        self.asked.lock().unwrap().push(asked);
        answer
    }

    fn udp(&self, socket: &UdpSocket) {
        let mut buffer = [0; 2048];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            if let Some(answer) = self.answer(&buffer[..length], false) {
                let _gone = socket.send_to(&answer, from);
            }
        }
    }

    fn tcp(&self, listener: &TcpListener) {
        for stream in listener.incoming().flatten() {
            let mut stream = stream;
            stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            let mut length = [0; 2];
            if stream.read_exact(&mut length).is_err() {
                continue;
            }
            let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
            if stream.read_exact(&mut message).is_ok()
                && let Some(answer) = self.answer(&message, true)
            {
                let length = u16::try_from(answer.len()).unwrap().to_be_bytes();
                let _gone = stream.write_all(&[&length, &answer[..]].concat());
            }
        }
    }
}
