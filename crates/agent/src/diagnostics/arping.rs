//! Who has an address on a link: ARP for IPv4, neighbour solicitation for IPv6.
//!
//! Every host that answers is listed, for two answers are what one looks for: an address given twice.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use sluice_api::report::{DiagnosticOutput, Probe, ProbeOutcome};
use sluice_api::types::{MacAddr, ProbeCount};
use sluice_sys::packet::{FrameSocket, Hear};
use tokio::time::{Instant, timeout_at};

use super::neighbour::{arp_request, solicitation};
use super::reader::Reader;
use super::task::{Said, Task};
use super::{DiagnosticError, Link};

/// Time for the answers to one request; all of it is waited for, since there may be more than one.
const PATIENCE: Duration = Duration::from_millis(500);
/// Answers listed for one request; a broken network gives any number.
const MAX_ANSWERS: usize = 8;

pub(super) async fn ipv4(
    link: &Link,
    mac: MacAddr,
    target: Ipv4Addr,
    count: ProbeCount,
) -> Result<DiagnosticOutput, DiagnosticError> {
    let own = match own_address(link, target.into()) {
        Some(IpAddr::V4(address)) => address,
        _ => Ipv4Addr::UNSPECIFIED,
    };
    let socket = FrameSocket::open(&link.name, Hear::Arp)?;
    let frame = arp_request(mac, own, target);
    ask(&socket, &frame, &Task::Arp(target), target.into(), count).await
}

pub(super) async fn ipv6(
    link: &Link,
    mac: MacAddr,
    target: Ipv6Addr,
    count: ProbeCount,
) -> Result<DiagnosticOutput, DiagnosticError> {
    let own = match own_address(link, target.into()) {
        Some(IpAddr::V6(address)) => address,
        _ => Ipv6Addr::UNSPECIFIED,
    };
    let socket = FrameSocket::open(&link.name, Hear::Ipv6)?;
    let frame = solicitation(mac, own, target);
    ask(&socket, &frame, &Task::Neighbour(target), target.into(), count).await
}

/// The link's address in the target's network, else any of its family.
fn own_address(link: &Link, target: IpAddr) -> Option<IpAddr> {
    let same = |address: &&_| {
        sluice_api::types::InterfaceAddress::ip(address).is_ipv4() == target.is_ipv4()
    };
    let family = || link.addresses.iter().filter(same);
    let near = family().find(|address| address.network().contains(target));
    near.or_else(|| family().next()).map(sluice_api::types::InterfaceAddress::ip)
}

async fn ask(
    socket: &FrameSocket,
    frame: &[u8],
    task: &Task,
    target: IpAddr,
    count: ProbeCount,
) -> Result<DiagnosticOutput, DiagnosticError> {
    let reader = Reader::start(task, socket.duplicate()?).await;
    let mut reader = reader.map_err(DiagnosticError::Reader)?;
    let mut probes = Vec::new();
    for number in 1..=count.get() {
        let blank = Probe {
            number,
            outcome: ProbeOutcome::Silent,
            from: None,
            mac: None,
            rtt_us: None,
            detail: None,
        };
        let sent = Instant::now();
        if let Err(error) = socket.send(frame) {
            let detail = Some(error.to_string());
            probes.push(Probe { outcome: ProbeOutcome::NotSent, detail, ..blank });
            continue;
        }
        let answers = collect(&mut reader, sent).await?;
        if answers.is_empty() {
            probes.push(blank.clone());
        }
        probes.extend(answers.into_iter().map(|(mac, rtt_us)| Probe {
            outcome: ProbeOutcome::Reply,
            from: Some(target),
            mac: Some(mac),
            rtt_us: Some(rtt_us),
            ..blank.clone()
        }));
    }
    let reached = probes.iter().any(|probe| probe.outcome == ProbeOutcome::Reply);
    Ok(DiagnosticOutput { reached, probes })
}

/// Who answers a request sent at `sent`, and after how many microseconds.
async fn collect(
    reader: &mut Reader,
    sent: Instant,
) -> Result<Vec<(MacAddr, u64)>, DiagnosticError> {
    let mut answers: Vec<(MacAddr, u64)> = Vec::new();
    while let Ok(said) = timeout_at(sent + PATIENCE, reader.next()).await {
        let Said::Holder(mac) = said.map_err(DiagnosticError::Reader)? else { continue };
        let known = answers.iter().any(|(known, _)| *known == mac);
        if !known && answers.len() < MAX_ANSWERS {
            answers.push((mac, u64::try_from(sent.elapsed().as_micros()).unwrap_or(u64::MAX)));
        }
    }
    Ok(answers)
}
