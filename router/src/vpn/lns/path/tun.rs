//! The data path of a kernel without L2TP: datagrams pass through this process, packets through a TUN device of each link.
//!
//! Links are called as the kernel's are, so that rules for clients hold for both. Every packet is copied twice and woken up
//! for, which the kernel's path spares.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddrV4;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};

use async_trait::async_trait;
use sluice_sys::marked_udp::{self, MarkedUdp};
use sluice_sys::ppp::PppLinks;
use sluice_sys::tap::{AsyncTap, TapDevice};

use super::readers::{LONGEST, Reader, informer, read_datagrams};
use super::{Inputs, Paths};
use crate::vpn::l2tp::{PORT, Peer, SessionKey, encode_data};
use crate::vpn::lns::inform::Told;
use crate::vpn::ppp::{Opened, decode_frame, protocol};

/// Address and control fields of a frame (RFC 1662 3.1); a peer that wants them left out takes them too.
const ADDRESS_AND_CONTROL: [u8; 2] = [0xff, 0x03];

/// The paths of all tunnels.
pub(in crate::vpn::lns) struct TunPath {
    links: PppLinks,
    inputs: Inputs,
    tunnels: BTreeMap<u16, Tunnel>,
    calls: BTreeMap<SessionKey, Call>,
}

struct Tunnel {
    socket: Arc<MarkedUdp>,
    peer: Peer,
    /// The peer's id of it.
    id: u16,
    _reader: Reader,
}

struct Call {
    outward: Arc<Outward>,
    bytes_in: u64,
    link: Option<Link>,
}

/// Dropping it takes the device away.
struct Link {
    device: Arc<AsyncTap>,
    _reader: Reader,
    _informer: Option<Reader>,
}

/// Where frames of a call go.
struct Outward {
    socket: Arc<MarkedUdp>,
    peer: Peer,
    tunnel: u16,
    session: u16,
    /// Number of the next frame, if they are numbered.
    next: Option<AtomicU16>,
    bytes: AtomicU64,
}

impl Outward {
    fn send(&self, frame: &[u8]) -> io::Result<()> {
        let number = self.next.as_ref().map(|next| next.fetch_add(1, Ordering::Relaxed));
        let payload = [&ADDRESS_AND_CONTROL[..], frame].concat();
        let bytes = encode_data(self.tunnel, self.session, number, &payload);
        self.bytes.fetch_add(payload.len().try_into().unwrap_or(u64::MAX), Ordering::Relaxed);
        self.socket.send(self.peer.remote, self.peer.mark, &bytes)
    }
}

impl TunPath {
    /// Opens what the paths are made with. Needs `CAP_NET_ADMIN` and, for each link, `/dev/net/tun`.
    pub(in crate::vpn::lns) fn open(inputs: Inputs) -> io::Result<Self> {
        let (tunnels, calls) = (BTreeMap::new(), BTreeMap::new());
        Ok(Self { links: PppLinks::open()?, inputs, tunnels, calls })
    }
}

/// Sends what the host sends by the device; the client has IPv4 alone.
async fn read_packets(device: Arc<AsyncTap>, outward: Arc<Outward>) {
    let mut buffer = vec![0; LONGEST];
    let [first, second] = protocol::IPV4.to_be_bytes();
    while let Ok(length @ 1..) = device.recv(&mut buffer).await {
        let packet = buffer.get(..length).unwrap_or_default();
        if packet.first().is_none_or(|first| first >> 4 != 4) {
            continue;
        }
        if let Err(error) = outward.send(&[&[first, second], packet].concat()) {
            tracing::debug!(%error, "packet for a vpn client not sent");
        }
    }
}

#[async_trait]
impl Paths for TunPath {
    async fn tunnel_up(&mut self, tunnel: u16, peer_tunnel: u16, peer: Peer) -> io::Result<()> {
        let local = SocketAddrV4::new(peer.local, PORT);
        let fd = marked_udp::connected(local, peer.remote, peer.mark)?;
        let socket = Arc::new(MarkedUdp::adopt(fd, peer.local)?);
        let reader = Reader::spawn(read_datagrams(Arc::clone(&socket), self.inputs.clone()));
        self.tunnels.insert(tunnel, Tunnel { socket, peer, id: peer_tunnel, _reader: reader });
        Ok(())
    }

    async fn session_up(
        &mut self,
        key: SessionKey,
        peer_session: u16,
        sequenced: bool,
    ) -> io::Result<()> {
        let tunnel = self.tunnels.get(&key.tunnel).ok_or(io::ErrorKind::NotFound)?;
        let outward = Outward {
            socket: Arc::clone(&tunnel.socket),
            peer: tunnel.peer,
            tunnel: tunnel.id,
            session: peer_session,
            next: sequenced.then(AtomicU16::default),
            bytes: AtomicU64::default(),
        };
        let call = Call { outward: Arc::new(outward), bytes_in: 0, link: None };
        self.calls.insert(key, call);
        Ok(())
    }

    async fn frame(&mut self, key: SessionKey, frame: &[u8]) -> io::Result<()> {
        self.calls.get(&key).map_or(Ok(()), |call| call.outward.send(frame))
    }

    async fn link_up(
        &mut self,
        key: SessionKey,
        opened: &Opened,
        told: Told,
    ) -> io::Result<String> {
        let call = self.calls.get_mut(&key).ok_or(io::ErrorKind::NotFound)?;
        call.link = None;
        let name = format!("ppp{}-{}", key.tunnel, key.session);
        let device = Arc::new(AsyncTap::new(TapDevice::open_for_packets(&name)?)?);
        let reader = Reader::spawn(read_packets(Arc::clone(&device), Arc::clone(&call.outward)));
        self.links.up(&name, opened.local, opened.remote, opened.mtu).await?;
        let informer = informer(&name, told);
        call.link = Some(Link { device, _reader: reader, _informer: informer });
        Ok(name)
    }

    fn link_down(&mut self, key: SessionKey) {
        if let Some(call) = self.calls.get_mut(&key) {
            call.link = None;
        }
    }

    async fn session_down(&mut self, key: SessionKey) {
        self.calls.remove(&key);
    }

    async fn tunnel_down(&mut self, tunnel: u16) {
        self.calls.retain(|key, _| key.tunnel != tunnel);
        self.tunnels.remove(&tunnel);
    }

    async fn arrived(&mut self, key: SessionKey, frame: &[u8]) -> bool {
        let Some(call) = self.calls.get_mut(&key) else { return false };
        call.bytes_in = call.bytes_in.saturating_add(frame.len().try_into().unwrap_or(u64::MAX));
        let Some((protocol::IPV4, packet)) = decode_frame(frame) else { return true };
        if let Some(link) = &call.link
            && let Err(error) = link.device.send(packet).await
        {
            tracing::debug!(%key, %error, "packet of a vpn client dropped");
        }
        false
    }

    async fn traffic(&mut self, key: SessionKey) -> Option<(u64, u64)> {
        let call = self.calls.get(&key)?;
        Some((call.bytes_in, call.outward.bytes.load(Ordering::Relaxed)))
    }
}
