//! What an engineer asks a box without a shell: ping, traceroute, arping, and a capture of packets.
//!
//! Guarantees: a diagnostic changes nothing, ends by itself within a bounded time, and takes bounded memory; only a few
//! run at the same time, and whoever comes after is told so. The agent opens sockets and sends; what comes back is read by
//! a process without rights ([`worker`]), by pure functions that take anything. Not here: HTTP.

mod arping;
mod capture;
pub mod echo;
mod filter;
mod neighbour;
mod pcap;
mod probe;
mod reader;
mod task;
mod worker;

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use sluice_api::report::{
    ArpingRequest, CaptureRequest, DiagnosticOutput, PingRequest, TracerouteRequest,
};
use sluice_api::types::{HostAddress, InterfaceAddress, LinkName, MacAddr};
use sluice_api::{ApiCode, Finding};
use sluice_sys::kernel::KernelError;
use sluice_sys::packet::PacketError;
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub(crate) use capture::Capture;
pub(crate) use pcap::CONTENT_TYPE;
pub use worker::read_packets;

use crate::engine::Handle;

/// Diagnostics at the same time: a capture on each side of the router, and questions beside them.
const AT_ONCE: usize = 4;

/// Why a diagnostic did not run.
#[derive(Debug, Error)]
pub(crate) enum DiagnosticError {
    /// The request cannot be carried out; a retry does not help.
    #[error("the request cannot be carried out")]
    Refused(Finding),
    /// As many run as may; a retry helps.
    #[error("{AT_ONCE} diagnostics are running already")]
    Busy,
    /// The kernel refused a socket, or to send or receive on it.
    #[error("the kernel refuses a socket")]
    Socket(#[from] io::Error),
    /// The same, on a device.
    #[error("the kernel refuses a packet socket")]
    Packets(#[from] PacketError),
    /// The process that reads what comes back does not run.
    #[error("the process that reads packets failed")]
    Reader(#[source] io::Error),
    /// The engine, which knows the links, is gone.
    #[error("the engine has stopped")]
    Stopped,
    /// The kernel does not tell its links.
    #[error("the links cannot be read")]
    Links(#[from] KernelError),
}

/// A link as diagnostics need it.
struct Link {
    name: LinkName,
    mac: Option<MacAddr>,
    addresses: Vec<InterfaceAddress>,
}

/// Runs diagnostics; one for the whole agent.
#[derive(Clone)]
pub(crate) struct Diagnostics {
    handle: Handle,
    running: Arc<Semaphore>,
}

impl Diagnostics {
    pub(crate) fn new(handle: Handle) -> Self {
        Self { handle, running: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// Asks an address whether it is there.
    pub(crate) async fn ping(
        &self,
        request: &PingRequest,
    ) -> Result<DiagnosticOutput, DiagnosticError> {
        let _turn = self.turn()?;
        let link = self.way(request.address, request.link.as_ref()).await?;
        probe::ping(request.address.ip(), request.count, link.as_ref()).await
    }

    /// Asks who is on the way to an address.
    pub(crate) async fn traceroute(
        &self,
        request: &TracerouteRequest,
    ) -> Result<DiagnosticOutput, DiagnosticError> {
        let _turn = self.turn()?;
        let link = self.way(request.address, request.link.as_ref()).await?;
        probe::traceroute(request.address.ip(), request.max_hops, link.as_ref()).await
    }

    /// Asks on a link who has an address.
    pub(crate) async fn arping(
        &self,
        request: &ArpingRequest,
    ) -> Result<DiagnosticOutput, DiagnosticError> {
        let _turn = self.turn()?;
        let link = self.link(&request.link).await?;
        match (request.address.ip(), link.mac) {
            (IpAddr::V4(address), Some(mac)) => {
                arping::ipv4(&link, mac, address, request.count).await
            }
            (IpAddr::V6(address), Some(mac)) => {
                arping::ipv6(&link, mac, address, request.count).await
            }
            (_, None) => {
                let reason = format!("{} has no Ethernet address", link.name);
                Err(DiagnosticError::Refused(ApiCode::Family.at("link", reason)))
            }
        }
    }

    /// Starts a capture; it goes on as it is read from.
    pub(crate) async fn capture(
        &self,
        request: &CaptureRequest,
    ) -> Result<Capture, DiagnosticError> {
        let turn = self.turn()?;
        let link = self.link(&request.link).await?;
        let api = self.handle.listen().borrow().addresses.clone();
        Capture::start(&link.name, request, api, turn).await
    }

    fn turn(&self) -> Result<OwnedSemaphorePermit, DiagnosticError> {
        Arc::clone(&self.running).try_acquire_owned().map_err(|_| DiagnosticError::Busy)
    }

    /// The link to leave by, if one is named; it must be there, and an address may need it.
    async fn way(
        &self,
        address: HostAddress,
        link: Option<&LinkName>,
    ) -> Result<Option<LinkName>, DiagnosticError> {
        match link {
            Some(link) => Ok(Some(self.link(link).await?.name)),
            None if address.needs_link() => {
                let reason = format!("{address} means something on one link only: name it");
                Err(DiagnosticError::Refused(ApiCode::Family.at("link", reason)))
            }
            None => Ok(None),
        }
    }

    async fn link(&self, name: &LinkName) -> Result<Link, DiagnosticError> {
        let seen = self.handle.links().await.ok_or(DiagnosticError::Stopped)??;
        let Some(link) = seen.links.get(name.as_str()) else {
            let known: Vec<_> = seen.links.keys().map(String::as_str).collect();
            let reason = format!("there is no link {name}, but {}", known.join(", "));
            return Err(DiagnosticError::Refused(ApiCode::UnknownLink.at("link", reason)));
        };
        let own = seen.addresses.iter().filter(|(link, _)| link == name.as_str());
        let addresses = own.map(|(_, address)| *address).collect();
        Ok(Link { name: name.clone(), mac: link.mac, addresses })
    }
}
