//! One uplink: a probe each interval, by its own link and with its own address.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use sluice_agent::echo::Family;
use sluice_api::report::ProbeOutcome;
use sluice_sys::packet::IcmpSocket;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tracing::{debug, info, warn};

use super::health::Health;
use super::slice::Watched;

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// Hop limit of a probe.
const HOPS: u8 = 64;
/// No answer to an echo request of ours is longer, as far as it is read.
const BUFFER: usize = 2048;

/// Watches until `told` says that there is nothing to watch any more. Other settings of a link that stays leave what is
/// known of it as it is.
pub(super) async fn run(mut told: watch::Receiver<Option<Watched>>, health: watch::Sender<Health>) {
    let mut sequence = 0_u16;
    loop {
        let Some(now) = told.borrow_and_update().clone() else { return };
        let mut pace = interval(Duration::from_secs(now.interval_seconds.max(1).into()));
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                changed = told.changed() => match changed {
                    Ok(()) => break,
                    Err(_) => return,
                },
                _ = pace.tick() => {
                    sequence = sequence.wrapping_add(1);
                    let answered = probe(&now, sequence).await;
                    note(&now, &health, answered);
                }
            }
        }
    }
}

fn note(watched: &Watched, health: &watch::Sender<Health>, answered: bool) {
    let (first, mut news) = (health.borrow().up.is_none(), None);
    health.send_modify(|health| {
        news = health.heard(answered, watched.down_after, watched.up_after);
    });
    match news {
        Some(true) if first => debug!(link = %watched.link, "uplink is up"),
        Some(true) => info!(link = %watched.link, "uplink is up again"),
        Some(false) => {
            warn!(link = %watched.link, targets = ?watched.targets, "uplink is down, nobody answers");
        }
        None => {}
    }
}

/// Asks all targets at once; one that answers is enough.
async fn probe(watched: &Watched, sequence: u16) -> bool {
    let within = Duration::from_secs(watched.interval_seconds.max(1).into()).min(PATIENCE);
    let mut asked = JoinSet::new();
    for target in &watched.targets {
        let (watched, target) = (watched.clone(), *target);
        asked.spawn(async move { timeout(within, ask(&watched, target, sequence)).await });
    }
    while let Some(answer) = asked.join_next().await {
        match answer {
            Ok(Ok(Ok(()))) => return true,
            Ok(Ok(Err(error))) => debug!(link = %watched.link, %error, "probe not sent"),
            // nobody answered in time
            Ok(Err(_)) | Err(_) => {}
        }
    }
    false
}

/// Returns when the target has answered.
async fn ask(watched: &Watched, peer: IpAddr, sequence: u16) -> io::Result<()> {
    let (family, source) = match peer {
        IpAddr::V4(_) => (Family::V4, Some(IpAddr::V4(watched.source))),
        IpAddr::V6(_) => (Family::V6, watched.source_ipv6.map(IpAddr::V6)),
    };
    let source = source.ok_or(io::ErrorKind::AddrNotAvailable)?;
    let socket = IcmpSocket::open_from(source, peer, &watched.link)?;
    // answers to others' requests come to this socket too
    let id: u16 = rand::random();
    socket.send(&family.echo(id, sequence), HOPS)?;
    let mut buffer = vec![0; BUFFER];
    loop {
        let (length, from) = socket.receive(&mut buffer).await?;
        let heard = family.read(buffer.get(..length).unwrap_or_default(), id);
        let answer =
            heard.filter(|it| it.outcome == ProbeOutcome::Reply && it.sequence == sequence);
        if answer.is_some() && from == peer {
            return Ok(());
        }
    }
}
