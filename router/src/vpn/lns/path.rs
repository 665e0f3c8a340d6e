//! Data paths: what carries a call's packets once it is set up.
//!
//! Guarantees: a path is made or is an error that says what could not be made; dropping one takes everything of it down.

mod kernel;
mod readers;
mod tun;

use std::io;

use async_trait::async_trait;
use tokio::sync::mpsc;

use super::inform::Told;
use crate::vpn::l2tp::{Peer, SessionKey};
use crate::vpn::ppp::Opened;

pub(super) use kernel::KernelPath;
pub(super) use readers::read_datagrams;
pub(super) use tun::TunPath;

/// What comes in by sockets and paths, for the server.
#[derive(Debug)]
pub(super) enum Input {
    /// A datagram.
    Datagram(Peer, Vec<u8>),
    /// A PPP frame of a call.
    Frame(SessionKey, Vec<u8>),
}

/// Inputs that may wait for the server. Beyond them sockets are not read, and the kernel drops what does not fit there.
pub(super) const WAITING: usize = 256;

/// Makes data paths.
#[async_trait]
pub(super) trait Paths: Send {
    /// Of a tunnel.
    async fn tunnel_up(&mut self, tunnel: u16, peer_tunnel: u16, peer: Peer) -> io::Result<()>;

    /// Of a call in it.
    async fn session_up(
        &mut self,
        key: SessionKey,
        peer_session: u16,
        sequenced: bool,
    ) -> io::Result<()>;

    /// Sends a PPP frame.
    async fn frame(&mut self, key: SessionKey, frame: &[u8]) -> io::Result<()>;

    /// Lets packets pass, and answers a client that asks by DHCP; the link's name.
    async fn link_up(&mut self, key: SessionKey, opened: &Opened, told: Told)
    -> io::Result<String>;

    /// Lets none pass any more.
    fn link_down(&mut self, key: SessionKey);

    /// Takes the call's path down.
    async fn session_down(&mut self, key: SessionKey);

    /// Takes the tunnel's path down.
    async fn tunnel_down(&mut self, tunnel: u16);

    /// Takes a frame of a call that came in by this process and not by the kernel; true when it is for the server.
    async fn arrived(&mut self, key: SessionKey, frame: &[u8]) -> bool;

    /// Bytes in and out of a call so far.
    async fn traffic(&mut self, key: SessionKey) -> Option<(u64, u64)>;
}

/// Where paths put what comes in.
pub(super) type Inputs = mpsc::Sender<Input>;
