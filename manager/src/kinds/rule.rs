//! What several kinds of rules share: how traffic is said, which router a rule is of, which guest it leads to.

use std::net::Ipv4Addr;

use sluice_api::config::Traffic;
use sluice_api::types::{ApplianceId, ObjectId, PortRange, UtcTime};

use super::guest::Guest;
use super::network::Network;
use super::public_ip::PublicIp;
use super::{Context, dynamic};
use crate::error::Error;
use crate::model::RuleProtocol;
use crate::store::Scope;

/// Protocol, ports, type and code as a rule states them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stated {
    pub(super) protocol: RuleProtocol,
    pub(super) ports: Option<PortRange>,
    pub(super) icmp_type: Option<u8>,
    pub(super) icmp_code: Option<u8>,
}

impl Stated {
    /// The same in the form of a configuration; what the protocol does not have is refused.
    pub(super) fn traffic(self) -> Result<Traffic, Error> {
        let Self { protocol, ports, icmp_type: kind, icmp_code: code } = self;
        let has_ports = matches!(protocol, RuleProtocol::Tcp | RuleProtocol::Udp);
        if ports.is_some() && !has_ports {
            return Err(invalid("ports", format!("protocol {protocol} has no ports")));
        }
        if protocol != RuleProtocol::Icmp && (kind.is_some() || code.is_some()) {
            let field = if kind.is_some() { "icmp_type" } else { "icmp_code" };
            return Err(invalid(field, format!("protocol {protocol} has no types and codes")));
        }
        if kind.is_none() && code.is_some() {
            return Err(invalid("icmp_code", "a code needs a type"));
        }
        Ok(match protocol {
            RuleProtocol::All => Traffic::All {},
            RuleProtocol::Tcp => Traffic::Tcp { ports },
            RuleProtocol::Udp => Traffic::Udp { ports },
            RuleProtocol::Icmp => Traffic::Icmp { kind, code },
            RuleProtocol::Number(number) => Traffic::Protocol { number },
        })
    }
}

/// `traffic` of a rule whose fields are called as those of [`Stated`].
macro_rules! stated {
    () => {
        /// What it is about.
        pub(crate) fn traffic(&self) -> Result<sluice_api::config::Traffic, Error> {
            let (protocol, ports) = (self.protocol, self.ports);
            let (icmp_type, icmp_code) = (self.icmp_type, self.icmp_code);
            crate::kinds::rule::Stated { protocol, ports, icmp_type, icmp_code }.traffic()
        }
    };
}
pub(super) use stated;

pub(super) fn invalid(field: &'static str, reason: impl Into<String>) -> Error {
    Error::Invalid { field, reason: reason.into() }
}

/// Text that people read in a line, if there is any.
pub(super) fn line(field: &'static str, text: Option<&str>) -> Result<(), Error> {
    let Some(text) = text else { return Ok(()) };
    if text.trim().is_empty() {
        return Err(invalid(field, "must not be empty"));
    }
    if text.chars().any(char::is_control) {
        return Err(invalid(field, "must be one line without control characters"));
    }
    Ok(())
}

/// The end of a rule to be, which lies ahead.
pub(super) fn ahead(until: Option<UtcTime>) -> Result<Option<UtcTime>, Error> {
    let now = time::OffsetDateTime::now_utc().unix_timestamp();
    let over = |end: &UtcTime| i64::try_from(end.unix()).is_ok_and(|end| end <= now);
    match until.filter(over) {
        Some(end) => Err(invalid("until", format!("{end} is over"))),
        None => Ok(until),
    }
}

/// A public address that a rule is about, and the router that has it.
pub(super) async fn address(
    context: &mut Context<'_>,
    name: &ObjectId,
) -> Result<(PublicIp, ApplianceId), Error> {
    let ip: PublicIp = context.find(None, name).await?;
    match ip.router.clone() {
        Some(router) => Ok((ip, router)),
        None => Err(invalid("public_ip", format!("{} is at no router yet", ip.address))),
    }
}

/// A guest that a rule leads to, in a network behind the router.
pub(super) struct Target {
    pub(super) guest: Guest,
    pub(super) network: Network,
}

/// The guest called `name` behind `router`, in `network` when that is given.
pub(super) async fn target(
    context: &mut Context<'_>,
    router: &ApplianceId,
    name: &ObjectId,
    network: Option<&ObjectId>,
) -> Result<Target, Error> {
    let asked = match network {
        Some(name) => Some(context.find::<Network>(None, name).await?),
        None => None,
    };
    let mut found = Vec::new();
    for guest in
        dynamic::called::<Guest>(context.conn, Scope::Of(context.owner), None, name).await?
    {
        for nic in guest.nics.clone() {
            let network: Network = context.get(&nic.network).await?;
            let fits = asked.as_ref().is_none_or(|asked| asked.id == network.id);
            if fits && network.router.as_ref() == Some(router) {
                found.push(Target { guest: guest.clone(), network });
            }
        }
    }
    dynamic::only("guest behind this router called", name, found, |target| {
        format!("{} in network {}", target.guest.id, target.network.name)
    })
}

/// The guest's address behind a rule that was made of [`target`].
pub(crate) async fn guest_address(
    conn: &mut crate::store::Conn,
    guest: &ObjectId,
    network: &ObjectId,
) -> Result<Ipv4Addr, Error> {
    let guest: Guest = dynamic::by_id(conn, guest).await?;
    let nic = guest.nics.iter().find(|nic| &nic.network == network);
    nic.map(|nic| nic.address).ok_or_else(|| Error::Corrupt {
        what: "rule",
        reason: format!("guest {} is not in network {network}", guest.name),
    })
}
