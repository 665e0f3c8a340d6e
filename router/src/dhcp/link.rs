//! One link: its sockets, and opening them again when the device appears late, flaps or is replaced.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use sluice_api::types::{LinkName, Port};
use sluice_sys::packet::{DeviceUdp, EthernetSender, Frame, Outgoing, PacketError, Sent};
use sluice_sys::udp_batch::ReceiveBatch;
use tokio::sync::Semaphore;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tracing::{debug, info, warn};

use super::probe::occupant;
use super::server::{Destination, Reply};
use super::service::{Pending, Shared};
use super::{CLIENT_PORT, SERVER_PORT, frame};

/// First wait before a link is tried again; doubles up to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// Datagrams taken at once: enough to hide a system call's cost, few enough that one link cannot keep others waiting.
const BATCH: usize = 64;
/// Longest message taken in bytes; no client sends more than an Ethernet frame holds.
const LONGEST: usize = 2048;
/// Addresses that a link is asked about at a time, and the sockets for it that the process is given for all links; whoever
/// asks beyond that is not answered, and asks again.
pub(crate) const PROBES: usize = 32;
/// Times that one message may get another address because the one before was in use.
const TRIES: usize = 3;
/// How often it is checked that the device is still the one that was opened.
const CHECK: Duration = Duration::from_secs(1);

/// Serves `link` for ever.
pub(crate) async fn run(shared: Arc<Shared>, link: LinkName) {
    let mut wait = FIRST_WAIT;
    loop {
        match Sockets::open(&link) {
            Ok(sockets) => {
                let sockets = Arc::new(sockets);
                info!(%link, "dhcp link open");
                shared.link_state(&link, None);
                wait = FIRST_WAIT;
                let why = serve(&shared, &link, &sockets).await;
                warn!(%link, %why, "dhcp link lost, will open it again");
                shared.link_state(&link, Some(why));
            }
            Err(error) => report(&shared, &link, &error),
        }
        sleep(wait).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

/// A link that stays away is said once, not at every try.
fn report(shared: &Shared, link: &LinkName, error: &PacketError) {
    let why = format!("{error}: {}", error.source);
    if shared.link_state(link, Some(why.clone())) {
        warn!(%link, error = why, "dhcp link not open, will try again");
    }
}

struct Sockets {
    udp: DeviceUdp,
    ethernet: EthernetSender,
}

impl Sockets {
    fn open(link: &LinkName) -> Result<Self, PacketError> {
        let udp = DeviceUdp::open(link, Port::fixed(SERVER_PORT))?;
        Ok(Self { udp, ethernet: EthernetSender::open(link)? })
    }

    fn send(&self, replies: &[Reply]) -> Sent {
        let packets: Vec<_> = replies.iter().filter_map(to_packet).collect();
        let frames = packets.iter().map(|(to, packet)| Frame { to: *to, packet });
        let mut report = self.ethernet.send(frames);
        let routed = self.udp.send(replies.iter().filter_map(to_datagram));
        report.sent += routed.sent;
        report.failed += routed.failed;
        report.error = report.error.or(routed.error);
        report
    }
}

fn to_packet(reply: &Reply) -> Option<([u8; 6], Vec<u8>)> {
    let (to, address) = match reply.destination {
        Destination::Broadcast => ([0xff; 6], Ipv4Addr::BROADCAST),
        Destination::Hardware { mac, address } => (mac.bytes(), address),
        Destination::Routed(_) => return None,
    };
    let source = SocketAddrV4::new(reply.source, SERVER_PORT);
    let packet = frame(source, SocketAddrV4::new(address, CLIENT_PORT), &reply.bytes)?;
    Some((to, packet))
}

fn to_datagram(reply: &Reply) -> Option<Outgoing<'_>> {
    match reply.destination {
        Destination::Routed(to) => Some(Outgoing { source: reply.source, to, bytes: &reply.bytes }),
        Destination::Broadcast | Destination::Hardware { .. } => None,
    }
}

/// Serves until the device is lost; says why.
async fn serve(shared: &Arc<Shared>, link: &LinkName, sockets: &Arc<Sockets>) -> String {
    let mut batch = ReceiveBatch::new(BATCH, LONGEST);
    let mut replies = Vec::new();
    let probes = Arc::new(Semaphore::new(PROBES));
    let mut check = interval(CHECK);
    check.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = check.tick() => {
                if !sockets.udp.is_current() {
                    return "the device is gone or was replaced".to_owned();
                }
            }
            ready = sockets.udp.readable() => {
                let taken = match ready.and_then(|()| take(sockets, &mut batch)) {
                    Ok(taken) => taken,
                    Err(error) => return error.to_string(),
                };
                for pending in shared.handle(link, &batch, &mut replies) {
                    let Ok(place) = Arc::clone(&probes).try_acquire_owned() else { break };
                    let (shared, link, sockets) = (shared.clone(), link.clone(), sockets.clone());
                    tokio::spawn(async move {
                        settle(&shared, &link, &sockets, pending).await;
                        drop(place);
                    });
                }
                shared.sent(link, &sockets.send(&replies));
                replies.clear();
                if taken == BATCH {
                    // other links' turn; otherwise it comes while this one waits
                    tokio::task::yield_now().await;
                }
            }
        }
    }
}

/// Sends a reply once nobody answers for the address that it gives.
async fn settle(shared: &Shared, link: &LinkName, sockets: &Sockets, mut pending: Pending) {
    for _ in 0..TRIES {
        let client = pending.reply.as_ref().and_then(Reply::client);
        match occupant(link, pending.address, client).await {
            Ok(Some(user)) if shared.occupied(link, &mut pending, user) => {}
            Ok(None) if !shared.proved(link, &pending) => return,
            Ok(_) => return shared.sent(link, &sockets.send(pending.reply.as_slice())),
            // the client asks again
            Err(error) => return debug!(%link, %error, "an address could not be tried out"),
        }
    }
}

/// Receives a batch, which may be empty; how many there are.
fn take(sockets: &Sockets, batch: &mut ReceiveBatch) -> io::Result<usize> {
    use io::ErrorKind::{Interrupted, WouldBlock};
    match sockets.udp.receive(batch) {
        Err(error) if matches!(error.kind(), WouldBlock | Interrupted) => Ok(0),
        received => received,
    }
}
