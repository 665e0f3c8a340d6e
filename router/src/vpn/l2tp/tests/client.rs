//! A client (LAC): as much of one as the server needs to be tried with.

use std::time::Duration;

use super::super::avp::{Writer, kind};
use super::super::channel::{Channel, Silent};
use super::super::hidden;
use super::super::message::{self, Kind, Message};
use super::super::{Action, Datagram, Lns, Peer, decode};

/// One client with one tunnel and one call.
#[derive(Debug)]
pub(in crate::vpn) struct Client {
    pub(in crate::vpn) peer: Peer,
    channel: Channel,
    /// Its id of the tunnel and of the call.
    pub(in crate::vpn) id: u16,
    /// The server's, once known.
    pub(in crate::vpn) tunnel: u16,
    pub(in crate::vpn) session: u16,
    /// Types of messages it got, in order.
    pub(in crate::vpn) heard: Vec<Kind>,
    /// What a stop or disconnect said: result and error code.
    pub(in crate::vpn) ended: Option<(u16, u16)>,
    pub(in crate::vpn) gave_up: bool,
    secret: Option<Vec<u8>>,
}

/// What a client says first, as xl2tpd does.
pub(in crate::vpn) fn start_request(id: u16, challenge: Option<&[u8]>) -> Vec<u8> {
    let writer = Writer::message(Kind::StartRequest.number())
        .pair(kind::PROTOCOL_VERSION, &[1, 0])
        .pair(kind::FRAMING_CAPABILITIES, &[0, 0, 0, 3])
        .pair(kind::BEARER_CAPABILITIES, &[0; 4])
        .optional(6, &[6, 0x90])
        .pair(kind::HOST_NAME, b"laptop")
        .optional(kind::VENDOR_NAME, b"xelerance.com")
        .pair(kind::ASSIGNED_TUNNEL, &id.to_be_bytes())
        .pair(kind::RECEIVE_WINDOW, &4_u16.to_be_bytes());
    match challenge {
        Some(challenge) => writer.pair(kind::CHALLENGE, challenge).finish(),
        None => writer.finish(),
    }
}

impl Client {
    /// A client that has said its first word.
    pub(in crate::vpn) fn new(peer: Peer, id: u16) -> Self {
        Self::with_secret(peer, id, None)
    }

    pub(in crate::vpn) fn with_secret(peer: Peer, id: u16, secret: Option<&[u8]>) -> Self {
        let mut channel = Channel::default();
        channel.send(0, start_request(id, secret.map(|_| &b"client's challenge"[..])));
        Self {
            peer,
            channel,
            id,
            tunnel: 0,
            session: 0,
            heard: Vec::new(),
            ended: None,
            gave_up: false,
            secret: secret.map(<[u8]>::to_vec),
        }
    }

    pub(in crate::vpn) fn datagrams(&mut self, now: Duration) -> Vec<Vec<u8>> {
        self.channel.transmit(now, self.tunnel)
    }

    pub(in crate::vpn) fn tick(&mut self, now: Duration) -> Option<Vec<u8>> {
        match self.channel.tick(now, self.tunnel) {
            Ok(repeated) => repeated,
            Err(Silent) => {
                self.gave_up = true;
                None
            }
        }
    }

    pub(in crate::vpn) fn receive(&mut self, now: Duration, bytes: &[u8]) {
        let Ok(Datagram::Control(control)) = decode(bytes) else { panic!("{bytes:02x?}") };
        assert_eq!(control.tunnel, self.id);
        for body in self.channel.receive(now, &control) {
            let message = message::read(&body.bytes, self.secret.as_deref()).unwrap().unwrap();
            self.message(&message);
        }
    }

    fn message(&mut self, message: &Message) {
        let fields = &message.fields;
        self.heard.push(message.kind);
        match message.kind {
            Kind::StartReply => {
                self.tunnel = fields.tunnel.unwrap();
                self.channel.set_window(fields.window.unwrap());
                let mut writer = Writer::message(Kind::StartConnected.number());
                if let (Some(secret), Some(challenge)) = (&self.secret, &fields.challenge) {
                    let response =
                        hidden::response(Kind::StartConnected.number(), secret, challenge);
                    writer = writer.pair(kind::CHALLENGE_RESPONSE, &response);
                }
                self.channel.send(0, writer.finish());
                self.channel.send(0, incoming_request(self.id));
            }
            Kind::IncomingReply => {
                self.session = fields.session.unwrap();
                self.channel.send(self.session, incoming_connected());
            }
            Kind::Stop | Kind::CallDisconnect => {
                self.ended = fields.result.clone().map(|(result, error, _)| (result, error));
            }
            _ => (),
        }
    }

    /// Says something in the tunnel.
    pub(in crate::vpn) fn say(&mut self, session: u16, body: Vec<u8>) {
        self.channel.send(session, body);
    }

    pub(in crate::vpn) fn stop(&mut self) {
        let writer = Writer::message(Kind::Stop.number())
            .pair(kind::ASSIGNED_TUNNEL, &self.id.to_be_bytes())
            .pair(kind::RESULT_CODE, &[0, 1]);
        self.channel.send(0, writer.finish());
    }
}

pub(in crate::vpn) fn incoming_request(session: u16) -> Vec<u8> {
    Writer::message(Kind::IncomingRequest.number())
        .pair(kind::ASSIGNED_SESSION, &session.to_be_bytes())
        .pair(15, &1_u32.to_be_bytes())
        .finish()
}

pub(in crate::vpn) fn incoming_connected() -> Vec<u8> {
    Writer::message(Kind::IncomingConnected.number())
        .pair(24, &100_000_000_u32.to_be_bytes())
        .pair(19, &1_u32.to_be_bytes())
        .finish()
}

pub(in crate::vpn) fn disconnect(session: u16) -> Vec<u8> {
    Writer::message(Kind::CallDisconnect.number())
        .pair(kind::RESULT_CODE, &[0, 3, 0, 0, b'b', b'y', b'e'])
        .pair(kind::ASSIGNED_SESSION, &session.to_be_bytes())
        .finish()
}

/// Passes datagrams until nobody has any; everything else that the server put out.
pub(in crate::vpn) fn converse(
    server: &mut Lns,
    clients: &mut [Client],
    now: Duration,
) -> Vec<Action> {
    let mut all = Vec::new();
    for _ in 0..100 {
        let mut quiet = true;
        for client in &mut *clients {
            for bytes in client.datagrams(now) {
                quiet = false;
                server.datagram(now, client.peer, &bytes);
            }
        }
        for action in server.actions() {
            quiet = false;
            match action {
                Action::Send { peer, bytes } => {
                    let client = clients.iter_mut().find(|client| client.peer == peer).unwrap();
                    client.receive(now, &bytes);
                }
                other => all.push(other),
            }
        }
        if quiet {
            return all;
        }
    }
    panic!("they never stop talking");
}
