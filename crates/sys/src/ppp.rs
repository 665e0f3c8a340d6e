//! What PPP needs of the kernel besides the L2TP crate: frames by descriptors, and a link's addresses.
//!
//! Guarantees: a read is one whole frame and a write sends one; a link is brought up with both ends' addresses or is an
//! error. Not here: sessions, channels and units, which the crate `l2tp` makes.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;

use netlink_packet_route::address::AddressAttribute;
use rtnetlink::{Handle, LinkUnspec};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A descriptor that frames go through: a socket of a session, a channel or a unit of `/dev/ppp`.
#[derive(Debug)]
pub struct FrameFd(AsyncFd<OwnedFd>);

impl FrameFd {
    /// Ties `fd` to the current runtime.
    pub fn new(fd: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&fd, true)?;
        // SAFETY: the descriptor is owned, and neither replaced nor closed while the `AsyncFd` owns it: the field is private
        // and only read from and written to.
        #[allow(unsafe_code)]
        let registered = unsafe { AsyncFd::register(fd) };
        Ok(Self(registered?))
    }

    /// Waits for a frame; its length. 0: the other side is gone.
    pub async fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = |fd: &OwnedFd| rustix::io::read(fd, &mut *buffer).map_err(io::Error::from);
        let mut read = read;
        self.0.async_io(Interest::READABLE, |fd| read(fd)).await
    }

    /// Sends a frame, or drops it when there is no room: PPP repeats what matters.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        rustix::io::write(self.0.get_ref(), frame).map(drop).map_err(io::Error::from)
    }
}

/// Brings the links of clients up.
#[derive(Clone, Debug)]
pub struct PppLinks(Handle);

impl PppLinks {
    /// Opens netlink. Needs `CAP_NET_ADMIN`.
    ///
    /// # Panics
    /// Outside of a tokio runtime with I/O.
    pub fn open() -> io::Result<Self> {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        // it ends when the last handle is dropped
        tokio::spawn(connection);
        Ok(Self(handle))
    }

    /// Brings the link `name` up with `local` here and `remote` there; the kernel adds the route to the latter.
    pub async fn up(
        &self,
        name: &str,
        local: Ipv4Addr,
        remote: Ipv4Addr,
        mtu: u16,
    ) -> io::Result<()> {
        let index = nix::net::if_::if_nametoindex(name)?;
        let link = LinkUnspec::new_with_index(index).mtu(u32::from(mtu)).up().build();
        let mut address = self.0.address().add(index, local.into(), 32);
        let attributes = &mut address.message_mut().attributes;
        attributes.retain(|attribute| !matches!(attribute, AddressAttribute::Address(_)));
        attributes.push(AddressAttribute::Address(remote.into()));
        address.execute().await.map_err(io_error)?;
        self.0.link().set(link).execute().await.map_err(io_error)
    }
}

fn io_error(error: rtnetlink::Error) -> io::Error {
    match error {
        rtnetlink::Error::NetlinkError(answer) => answer.to_io(),
        other => io::Error::other(other.to_string()),
    }
}
