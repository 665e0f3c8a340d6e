//! The data path of a kernel without L2TP, with real sockets and a real device in a namespace of its own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::net::UdpSocket;

use nix::sched::{CloneFlags, unshare};
use sluice_api::config::vpn::Authentication;
use sluice_api::types::Secret;

use super::*;
use crate::vpn::l2tp::tests::client::Client as L2tp;
use crate::vpn::l2tp::{Datagram, decode, encode_data};
use crate::vpn::lns::{AccessSlice, UserSlice};
use crate::vpn::ppp::tests::client::{Client as Ppp, MS};
use crate::vpn::ppp::{decode_frame, protocol};

const SERVER: Ipv4Addr = Ipv4Addr::LOCALHOST;
const CLIENT: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const ECHO: u16 = 4711;

fn slice() -> LnsSlice {
    let anna = UserSlice {
        name: "anna".parse().unwrap(),
        password: Secret::new("correct horse"),
        disconnects: 0,
    };
    LnsSlice {
        accesses: vec![AccessSlice {
            id: "ra-1".parse().unwrap(),
            address: SERVER,
            range: "10.1.2.1-10.1.2.8".parse().unwrap(),
            users: vec![anna],
            dns: Vec::new(),
            routes: Vec::new(),
            authentication: Authentication::ALL.to_vec(),
        }],
    }
}

async fn order(running: &Running, slice: LnsSlice) {
    let (reply, answer) = oneshot::channel();
    running.orders.send(Order(slice, reply)).await.unwrap();
    answer.await.unwrap().unwrap();
}

/// Both layers of a client on a socket.
struct Caller {
    socket: tokio::net::UdpSocket,
    l2tp: L2tp,
    ppp: Ppp,
    began: Instant,
    /// Packets that came.
    packets: Vec<Vec<u8>>,
}

impl Caller {
    async fn new() -> Self {
        let socket = tokio::net::UdpSocket::bind((CLIENT, PORT)).await.unwrap();
        socket.connect((SERVER, PORT)).await.unwrap();
        let peer = Peer { mark: 0, remote: SocketAddrV4::new(CLIENT, PORT), local: SERVER };
        let (l2tp, ppp) = (L2tp::new(peer, 100), Ppp::new(&[&MS], "anna", "correct horse"));
        Self { socket, l2tp, ppp, began: Instant::now(), packets: Vec::new() }
    }

    async fn say(&self, frame: &[u8]) {
        let bytes = encode_data(self.l2tp.tunnel, self.l2tp.session, None, frame);
        self.socket.send(&bytes).await.unwrap();
    }

    /// Speaks once, and hears what there is within a tenth of a second.
    async fn turn(&mut self) {
        let now = self.began.elapsed();
        let mut datagrams: Vec<_> = self.l2tp.tick(now).into_iter().collect();
        datagrams.extend(self.l2tp.datagrams(now));
        for bytes in datagrams {
            self.socket.send(&bytes).await.unwrap();
        }
        self.ppp.tick(now);
        if self.l2tp.session != 0 {
            for frame in self.ppp.frames() {
                self.say(&frame).await;
            }
        }
        let mut buffer = [0; 2048];
        let heard = tokio::time::timeout(Duration::from_millis(100), self.socket.recv(&mut buffer));
        if let Ok(Ok(length)) = heard.await {
            self.hear(&buffer[..length]);
        }
    }

    fn hear(&mut self, bytes: &[u8]) {
        let now = self.began.elapsed();
        match decode(bytes).unwrap() {
            Datagram::Control(_) => self.l2tp.receive(now, bytes),
            Datagram::Data(data) => match decode_frame(data.payload) {
                Some((protocol::IPV4, packet)) => self.packets.push(packet.to_vec()),
                _ => self.ppp.receive(now, data.payload),
            },
        }
    }
}

/// A datagram of UDP as a packet, without a checksum of its own (RFC 768).
fn packet(from: Ipv4Addr, to: Ipv4Addr, text: &[u8]) -> Vec<u8> {
    let length = |header: usize| u16::try_from(header + text.len()).unwrap().to_be_bytes();
    let mut header = [0x45, 0, 0, 0, 0, 1, 0, 0, 64, 17, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    header[2..4].copy_from_slice(&length(28));
    header[12..16].copy_from_slice(&from.octets());
    header[16..20].copy_from_slice(&to.octets());
    let sum: u32 =
        header.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let sum = !u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap();
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    let ports = [ECHO.to_be_bytes(), ECHO.to_be_bytes(), length(8), [0; 2]].concat();
    [&header[..], &ports, text].concat()
}

async fn packets_pass_through_the_process() {
    let (inputs, incoming) = mpsc::channel(WAITING);
    let paths = Box::new(TunPath::open(inputs.clone()).unwrap());
    let shown = Arc::default();
    let running = serve(paths, (inputs, incoming), Arc::clone(&shown));
    order(&running, slice()).await;
    let mut caller = Caller::new().await;
    while caller.ppp.address().is_none() || !caller.ppp.is_up() {
        caller.turn().await;
    }
    let (own, server) = (caller.ppp.address().unwrap(), Ipv4Addr::new(10, 1, 2, 1));
    // the router's end is an address of a link now, and packets of the client come out of it
    let inside = loop {
        match UdpSocket::bind((server, ECHO)) {
            Ok(socket) => break socket,
            Err(_) => caller.turn().await,
        }
    };
    inside.set_nonblocking(true).unwrap();
    let mut buffer = [0; 100];
    let (length, from) = loop {
        let frame =
            [&[0xff, 0x03], &protocol::IPV4.to_be_bytes()[..], &packet(own, server, b"hello")]
                .concat();
        caller.say(&frame).await;
        caller.turn().await;
        if let Ok(arrived) = inside.recv_from(&mut buffer) {
            break arrived;
        }
    };
    assert_eq!((&buffer[..length], from), (&b"hello"[..], (own, ECHO).into()));
    inside.send_to(b"and back", from).unwrap();
    while !caller.packets.iter().any(|packet| packet.ends_with(b"and back")) {
        caller.turn().await;
    }
    // the report counts both ways, and names the client; it is written now and then
    let whole = |shown: &Mutex<Shown>| {
        let report = lock(shown);
        let session = report.sessions.first();
        session.is_some_and(|one| one.bytes_out > 0 && one.session.address.is_some())
    };
    while !whole(&shown) {
        caller.turn().await;
    }
    let session = lock(&shown).sessions[0].clone();
    assert_eq!(
        (session.session.user.as_deref(), session.session.address),
        (Some("anna"), Some(own))
    );
    assert!(session.bytes_in > 33, "{}", session.bytes_in);
    drop(inside);
    order(&running, LnsSlice::default()).await;
    while UdpSocket::bind((server, ECHO)).is_ok() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Needs the rights to make a namespace and a device.
#[test]
fn a_kernel_without_l2tp_has_packets_pass_through_the_process() {
    let work = || {
        unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace");
        let mut ip = sluice_programs::command("ip").expect("ip");
        assert!(ip.args(["link", "set", "lo", "up"]).status().expect("ip").success());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let bound = Duration::from_secs(60);
        let done = runtime.block_on(async {
            tokio::time::timeout(bound, packets_pass_through_the_process()).await
        });
        done.expect("within a minute");
    };
    std::thread::spawn(work).join().expect("the thread");
}
