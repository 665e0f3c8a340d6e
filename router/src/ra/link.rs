//! One link: hears who asks, and tells. A link that goes away is tried again.

use std::time::{Duration, Instant};

use sluice_sys::packet::{FrameSocket, Hear};
use tokio::sync::watch;
use tracing::{info, warn};

use super::codec::{Says, To, advertisement, solicitation};
use super::schedule::Schedule;
use super::slice::RaNetwork;

/// Wait before a link that cannot be opened is tried again.
const AGAIN: Duration = Duration::from_secs(1);
/// Of a frame, as much as a solicitation with a few options has.
const FRAME: usize = 512;

/// Tells the link until `network` says that there is nothing to tell any more.
pub(super) async fn run(mut network: watch::Receiver<Option<RaNetwork>>, told: watch::Sender<u64>) {
    loop {
        let Some(now) = network.borrow_and_update().clone() else { return };
        match FrameSocket::open(&now.link, Hear::Ipv6) {
            Ok(socket) => {
                info!(link = %now.link, prefix = %now.prefix, "router advertised");
                serve(&socket, now, &mut network, &told).await;
            }
            Err(error) => warn!(link = %now.link, %error, "router cannot be advertised"),
        }
        tokio::select! {
            () = tokio::time::sleep(AGAIN) => {}
            changed = network.changed() => if changed.is_err() { return },
        }
    }
}

/// Serves until the socket fails or there is nothing to tell.
async fn serve(
    socket: &FrameSocket,
    mut now: RaNetwork,
    network: &mut watch::Receiver<Option<RaNetwork>>,
    told: &watch::Sender<u64>,
) {
    let start = Instant::now();
    let mut schedule = Schedule::new(Duration::ZERO);
    let mut frame = [0; FRAME];
    loop {
        let wait = schedule.next.saturating_sub(start.elapsed());
        tokio::select! {
            changed = network.changed() => {
                let next = changed.ok().and_then(|()| network.borrow_and_update().clone());
                let Some(next) = next else {
                    // guests are to look for another router at once (RFC 4861 6.2.5)
                    let _nobody_left = socket.send(&advertisement(&now, To::All, Says::Ends));
                    return;
                };
                if next.prefix != now.prefix {
                    let _told_soon = socket.send(&advertisement(&now, To::All, Says::OldPrefix));
                }
                now = next;
                schedule = Schedule::new(start.elapsed());
            }
            () = tokio::time::sleep(wait) => {
                if failed(socket, &now, To::All) {
                    return;
                }
                told.send_modify(|count| *count += 1);
                schedule.told(start.elapsed(), rand::random_range(0..1000));
            }
            heard = socket.receive(&mut frame) => {
                let Ok(seen) = heard else { return };
                let asked = frame.get(..seen.taken).and_then(solicitation);
                let to = asked.and_then(|asked| schedule.asked(start.elapsed(), asked));
                if let Some(to) = to {
                    told.send_modify(|count| *count += 1);
                    if failed(socket, &now, to) {
                        return;
                    }
                }
            }
        }
    }
}

fn failed(socket: &FrameSocket, network: &RaNetwork, to: To) -> bool {
    let sent = socket.send(&advertisement(network, to, Says::Here));
    if let Err(error) = &sent {
        warn!(link = %network.link, %error, "advertisement not sent");
    }
    sent.is_err()
}
