//! An own load of four-way exchanges: as open as perfdhcp's (a slow server does not slow it), at a fraction of the cost.
//!
//! Acts as a relay. An exchange counts when its acknowledgement came; what is lost is not asked for again.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use anyhow::Result;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use sluice_api::types::Port;
use sluice_sys::packet::{DeviceUdp, Outgoing};
use sluice_sys::udp_batch::ReceiveBatch;

use super::field::{Field, GUESTS, LOAD_LINK, RELAY, SERVER, mac};

/// Discovers sent at once at most, so that replies are read in between.
const BURST: u32 = 32;
/// How long replies are waited for after the last discover.
const GRACE: Duration = Duration::from_millis(200);

/// A load to offer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    /// Discovers per second.
    pub(super) rate: f64,
    pub(super) span: Duration,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Flood {
    discovers: u32,
    offers: u32,
    acks: u32,
    seconds: f64,
}

impl Flood {
    /// Discovers sent per second: less than asked for when the load itself is at its limit.
    pub(super) fn offered(&self) -> f64 {
        f64::from(self.discovers) / self.seconds
    }

    /// Exchanges completed per second.
    pub(super) fn exchanges(&self) -> f64 {
        f64::from(self.acks) / self.seconds
    }

    /// Replies per second.
    pub(super) fn replies(&self) -> f64 {
        f64::from(self.offers + self.acks) / self.seconds
    }

    /// Part of the exchanges that did not complete.
    pub(super) fn lost(&self) -> f64 {
        1.0 - f64::from(self.acks) / f64::from(self.discovers)
    }
}

impl Load {
    /// Offers it from the second core.
    pub(super) fn run(self, field: &Field) -> Result<Flood> {
        field.load.enter_async(async || {
            let mut core = CpuSet::new();
            core.set(1)?;
            sched_setaffinity(Pid::from_raw(0), &core)?;
            let socket = DeviceUdp::open(&LOAD_LINK.parse()?, Port::fixed(67))?;
            Ok(self.offer(&socket).await)
        })?
    }

    async fn offer(self, socket: &DeviceUdp) -> Flood {
        let mut flood = Flood::default();
        let mut batch = ReceiveBatch::new(64, 2048);
        let start = Instant::now();
        let due = |elapsed: Duration| elapsed.min(self.span).as_secs_f64() * self.rate;
        while start.elapsed() < self.span + GRACE {
            let behind = due(start.elapsed()) - f64::from(flood.discovers);
            let count = (0..BURST).take_while(|number| f64::from(*number) < behind).count();
            discover(socket, &mut flood, count);
            // an error here is "nothing yet"
            if socket.receive(&mut batch).is_ok() {
                answer(socket, &mut flood, &batch);
            }
            tokio::task::yield_now().await;
        }
        flood.seconds = self.span.as_secs_f64();
        flood
    }
}

fn discover(socket: &DeviceUdp, flood: &mut Flood, count: usize) {
    let messages: Vec<_> = (0..count)
        .map(|_| {
            let number = flood.discovers;
            flood.discovers += 1;
            // a stride that is prime to the number of guests visits each of them
            let guest = number.wrapping_mul(7919) % u32::from(GUESTS);
            message(1, number.to_be_bytes(), mac(u16::try_from(guest).unwrap_or(0)), None)
        })
        .collect();
    send(socket, &messages);
}

fn answer(socket: &DeviceUdp, flood: &mut Flood, batch: &ReceiveBatch) {
    let mut requests = Vec::new();
    for (bytes, _) in batch.iter() {
        let Some(reply) = Reply::parse(bytes) else { continue };
        match reply.kind {
            2 => {
                flood.offers += 1;
                requests.push(message(3, reply.xid, reply.mac, Some(reply.address)));
            }
            5 => flood.acks += 1,
            _ => {}
        }
    }
    send(socket, &requests);
}

fn send(socket: &DeviceUdp, messages: &[Vec<u8>]) {
    let to = SocketAddrV4::new(SERVER, 67);
    // what the kernel does not take counts as lost, like anything else that is not answered
    let _sent = socket.send(messages.iter().map(|bytes| Outgoing { source: RELAY, to, bytes }));
}

/// A relayed client message of `kind`; a request names the address that was offered.
fn message(kind: u8, xid: [u8; 4], mac: [u8; 6], request: Option<Ipv4Addr>) -> Vec<u8> {
    let mut bytes = vec![1, 1, 6, 1];
    bytes.extend(xid);
    bytes.resize(24, 0);
    bytes.extend(RELAY.octets());
    bytes.extend(mac);
    bytes.resize(236, 0);
    bytes.extend([99, 130, 83, 99, 53, 1, kind]);
    if let Some(address) = request {
        bytes.extend([50, 4]);
        bytes.extend(address.octets());
        bytes.extend([54, 4]);
        bytes.extend(SERVER.octets());
    }
    // what perfdhcp asks for: mask, broadcast, router, resolvers, domain, host name, time offset
    bytes.extend([55, 7, 1, 28, 2, 3, 15, 6, 12, 255]);
    bytes
}

struct Reply {
    kind: u8,
    xid: [u8; 4],
    mac: [u8; 6],
    address: Ipv4Addr,
}

impl Reply {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let at = |start: usize| bytes.get(start..);
        let xid = *at(4)?.first_chunk()?;
        let address = at(16)?.first_chunk::<4>().copied()?.into();
        let mac = *at(28)?.first_chunk()?;
        Some(Self { kind: option(at(240)?, 53)?, xid, mac, address })
    }
}

/// The first byte of option `wanted`.
fn option(mut options: &[u8], wanted: u8) -> Option<u8> {
    loop {
        let (&code, rest) = options.split_first()?;
        if code == 0 {
            options = rest;
            continue;
        }
        let (&length, rest) = rest.split_first()?;
        if code == wanted {
            return rest.first().copied();
        }
        options = rest.get(usize::from(length)..)?;
    }
}
