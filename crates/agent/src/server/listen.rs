//! Sockets on the control link: bound, and bound anew when link or addresses change.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use sluice_api::AGENT_PORT;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::connection::Door;
use crate::engine::Listen;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 128;
/// A peer that takes nothing of an answer for so long is given up.
const PEER_SILENT: Duration = Duration::from_secs(30);
/// Between attempts at what could not be bound: the link may not be there yet, the address tentative (RFC 4862 5.4).
const AGAIN: Duration = Duration::from_millis(500);

/// One socket: an address on a link. The link's number is part of it, because a socket stays with the device that had
/// the name when it was bound.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    device: String,
    index: u32,
    address: IpAddr,
}

/// Accepts where `listen` says, until its sender is gone.
pub(super) async fn follow(
    mut listen: watch::Receiver<Listen>,
    on_loopback: bool,
    door: Arc<Door>,
) {
    let mut open: BTreeMap<Place, JoinHandle<()>> = BTreeMap::new();
    let mut refused = String::new();
    loop {
        let wanted = places(&listen.borrow_and_update(), on_loopback);
        // open before close: a manager that tries again at once always finds somebody
        for place in &wanted {
            if open.contains_key(place) {
                continue;
            }
            match bind(place) {
                Ok(listener) => {
                    tracing::info!(link = %place.device, address = %place.address, "API listens");
                    open.insert(place.clone(), tokio::spawn(Arc::clone(&door).accept(listener)));
                }
                Err(error) => note(&mut refused, place, &error),
            }
        }
        open.retain(|place, task| {
            let keep = wanted.contains(place);
            if !keep {
                tracing::info!(link = %place.device, address = %place.address, "API no longer listens");
                task.abort();
            }
            keep
        });
        tokio::select! {
            changed = listen.changed() => if changed.is_err() { break },
            () = tokio::time::sleep(AGAIN) => {}
        }
    }
    for task in open.into_values() {
        task.abort();
    }
}

/// Logs a refusal once, not at each attempt.
fn note(last: &mut String, place: &Place, error: &io::Error) {
    let text = format!("{} on {}: {error}", place.address, place.device);
    if *last != text {
        tracing::warn!(link = %place.device, address = %place.address, %error, "API cannot listen yet");
        *last = text;
    }
}

fn places(listen: &Listen, on_loopback: bool) -> BTreeSet<Place> {
    let device = if on_loopback { "lo" } else { listen.link.as_str() };
    let Ok(index) = nix::net::if_::if_nametoindex(device) else { return BTreeSet::new() };
    let place = |address: &IpAddr| Place { device: device.to_owned(), index, address: *address };
    listen.addresses.iter().map(place).collect()
}

fn bind(place: &Place) -> io::Result<TcpListener> {
    let address = SocketAddr::new(place.address, AGENT_PORT.get());
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind_device(Some(place.device.as_bytes()))?;
    // accepted sockets inherit these
    socket.set_tcp_user_timeout(Some(PEER_SILENT))?;
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}
