//! The kernel's data path: L2TP tunnels on sockets of their own, PPPoL2TP sessions, PPP units.
//!
//! Each tunnel has a socket that is connected to its peer and carries the peer's mark, so that what the kernel sends leaves
//! by that peer's security association; what comes in finds its session by the ids in its header. Frames of LCP and of
//! authentication come by the session's socket, and by the PPP channel once there is a unit; those of IPCP then by the unit.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddrV4;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use async_trait::async_trait;
use l2tp::{
    L2tpHandle, L2tpVersion, PppChannel, PppSocket, PppUnit, SessionConfig, SessionHandle,
    SessionId, TunnelConfig, TunnelHandle, TunnelId, TunnelSocket,
};
use sluice_sys::marked_udp::{self, MarkedUdp};
use sluice_sys::ppp::{FrameFd, PppLinks};

use super::readers::{LONGEST, Reader, informer, read_datagrams};
use super::{Input, Inputs, Paths};
use crate::vpn::l2tp::{PORT, Peer, SessionKey};
use crate::vpn::lns::inform::Told;
use crate::vpn::ppp::Opened;

/// Protocols from here on are LCP and authentication, which the kernel leaves to the channel (RFC 1661 2).
const LINK_CONTROL: u8 = 0xc0;

/// The paths of all tunnels.
pub(in crate::vpn::lns) struct KernelPath {
    handle: L2tpHandle,
    links: PppLinks,
    inputs: Inputs,
    tunnels: BTreeMap<u16, Tunnel>,
    calls: BTreeMap<SessionKey, Call>,
}

/// Dropping it ends its reader and has the kernel delete the tunnel.
struct Tunnel {
    _handle: TunnelHandle,
    _reader: Reader,
    peer: u16,
}

/// Fields are dropped in this order: what is on top first.
struct Call {
    link: Option<Link>,
    channel: Option<Channel>,
    frames: Arc<FrameFd>,
    _reader: Reader,
    socket: PppSocket,
    session: SessionHandle,
}

struct Channel {
    frames: Arc<FrameFd>,
    _reader: Reader,
    _held: PppChannel,
}

struct Link {
    frames: Arc<FrameFd>,
    _informer: Option<Reader>,
    _reader: Reader,
    _unit: PppUnit,
}

impl KernelPath {
    /// Opens what the paths are made with. Needs `CAP_NET_ADMIN` and the kernel's L2TP.
    pub(in crate::vpn::lns) async fn open(inputs: Inputs) -> io::Result<Self> {
        let handle =
            L2tpHandle::new(l2tp::HandleConfig::default()).await.map_err(io::Error::other)?;
        let links = PppLinks::open()?;
        let (tunnels, calls) = (BTreeMap::new(), BTreeMap::new());
        Ok(Self { handle, links, inputs, tunnels, calls })
    }

    fn read_frames(&self, key: SessionKey, frames: Arc<FrameFd>) -> Reader {
        let inputs = self.inputs.clone();
        Reader::spawn(async move {
            let mut buffer = vec![0; LONGEST];
            while let Ok(length @ 1..) = frames.receive(&mut buffer).await {
                let frame = buffer.get(..length).unwrap_or_default().to_vec();
                if inputs.send(Input::Frame(key, frame)).await.is_err() {
                    return;
                }
            }
        })
    }
}

fn duplicate(fd: impl AsFd) -> io::Result<OwnedFd> {
    fd.as_fd().try_clone_to_owned()
}

#[async_trait]
impl Paths for KernelPath {
    async fn tunnel_up(&mut self, tunnel: u16, peer_tunnel: u16, peer: Peer) -> io::Result<()> {
        let local = SocketAddrV4::new(peer.local, PORT);
        let fd = marked_udp::connected(local, peer.remote, peer.mark)?;
        let twin = Arc::new(MarkedUdp::adopt(duplicate(&fd)?, peer.local)?);
        let socket = TunnelSocket::from_fd(fd).map_err(io::Error::other)?;
        let ids = (TunnelId(tunnel.into()), TunnelId(peer_tunnel.into()));
        let config = TunnelConfig::for_socket(ids.0, ids.1, &socket).map_err(io::Error::other)?;
        let config = config.with_version(L2tpVersion::V2);
        let made = self.handle.create_tunnel(config, socket).await.map_err(io::Error::other)?;
        let reader = Reader::spawn(read_datagrams(twin, self.inputs.clone()));
        self.tunnels.insert(tunnel, Tunnel { _handle: made, _reader: reader, peer: peer_tunnel });
        Ok(())
    }

    async fn session_up(
        &mut self,
        key: SessionKey,
        peer_session: u16,
        sequenced: bool,
    ) -> io::Result<()> {
        let tunnel = self.tunnels.get(&key.tunnel).ok_or(io::ErrorKind::NotFound)?;
        let peer_tunnel = TunnelId(tunnel.peer.into());
        let tunnel = TunnelId(key.tunnel.into());
        let ids = (SessionId(key.session.into()), SessionId(peer_session.into()));
        let mut config = SessionConfig::ppp(tunnel, ids.0, ids.1);
        config.send_seq = sequenced;
        // a server says whether data is numbered, and does not let the client say so by doing it (RFC 2661 5.4)
        config.lns_mode = true;
        let mut session = self.handle.create_session(config).await.map_err(io::Error::other)?;
        // it goes with the socket below
        session.set_auto_delete(false);
        let socket = PppSocket::connect(L2tpVersion::V2, tunnel, peer_tunnel, ids.0, ids.1)
            .map_err(io::Error::other)?;
        let frames = Arc::new(FrameFd::new(duplicate(&socket)?)?);
        let reader = self.read_frames(key, Arc::clone(&frames));
        let call = Call { link: None, channel: None, frames, _reader: reader, socket, session };
        self.calls.insert(key, call);
        Ok(())
    }

    async fn frame(&mut self, key: SessionKey, frame: &[u8]) -> io::Result<()> {
        let Some(call) = self.calls.get(&key) else { return Ok(()) };
        let link_control = frame.first().is_some_and(|byte| *byte >= LINK_CONTROL);
        match (&call.link, &call.channel) {
            (Some(link), _) if !link_control => link.frames.send(frame),
            (_, Some(channel)) => channel.frames.send(frame),
            _ => call.frames.send(frame),
        }
    }

    async fn link_up(
        &mut self,
        key: SessionKey,
        opened: &Opened,
        told: Told,
    ) -> io::Result<String> {
        let call = self.calls.get_mut(&key).ok_or(io::ErrorKind::NotFound)?;
        // one that was there before is taken off first, since a channel has one unit
        (call.link, call.channel) = (None, None);
        let unit = PppUnit::new().map_err(io::Error::other)?;
        let channel = unit.connect_channel(&call.socket).map_err(io::Error::other)?;
        let of_channel = Arc::new(FrameFd::new(duplicate(&channel)?)?);
        let of_unit = Arc::new(FrameFd::new(duplicate(&unit)?)?);
        let name = unit.ifname().to_string();
        self.links.up(&name, opened.local, opened.remote, opened.mtu).await?;
        let channel = Channel {
            _reader: self.read_frames(key, Arc::clone(&of_channel)),
            frames: of_channel,
            _held: channel,
        };
        let reader = self.read_frames(key, Arc::clone(&of_unit));
        let informer = informer(&name, told);
        let link = Link { frames: of_unit, _informer: informer, _reader: reader, _unit: unit };
        if let Some(call) = self.calls.get_mut(&key) {
            (call.link, call.channel) = (Some(link), Some(channel));
        }
        Ok(name)
    }

    /// The channel stays: the link's last words go through it.
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

    /// Before the session is made its frames come here; PPP says them again.
    async fn arrived(&mut self, _: SessionKey, _: &[u8]) -> bool {
        false
    }

    async fn traffic(&mut self, key: SessionKey) -> Option<(u64, u64)> {
        let call = self.calls.get(&key)?;
        let stats = call.session.stats().await.ok()?;
        Some((stats.rx_bytes, stats.tx_bytes))
    }
}
