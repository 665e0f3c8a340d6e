//! Wake-ups: from the kernel's multicast groups, and from the generation number of the packet rules.

use std::io;
use std::time::Duration;

use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{AsyncSocket, AsyncSocketExt, SocketAddr, TokioSocket};
use tokio::sync::mpsc::Sender;

use super::failed;
use super::generation::generation;
use crate::kernel::{Changes, KernelError, Object, Wake};

/// RTNLGRP_LINK, _IPV4_IFADDR, _IPV4_ROUTE, _IPV6_IFADDR, _IPV6_ROUTE of linux/rtnetlink.h.
const ROUTE_GROUPS: [u32; 5] = [1, 5, 7, 9, 11];
/// How often the number of the rules is asked for. Their multicast group (NFNLGRP_NFTABLES) is not joined: for whoever
/// listens there the kernel makes a message of 8 KiB for each object of a transaction, all of them before the first is
/// sent (`nf_tables_setelem_notify`), so 10,000 elements would take 80 MiB.
const RULES_EVERY: Duration = Duration::from_millis(500);
/// Bytes that may wait, if the kernel's limit allows.
const WAITING: usize = 4 << 20;

/// Starts two tasks that end when the stream is dropped.
pub(super) fn listen() -> Result<Changes, KernelError> {
    let (sender, changes) = Changes::channel();
    let action = "listen to";
    let links = open(NETLINK_ROUTE, &ROUTE_GROUPS).map_err(|source| {
        failed(action, Object::All("changes of links, addresses and routes"), source)
    })?;
    let rules = generation()
        .map_err(|source| failed(action, Object::All("changes of packet rules"), source))?;
    tokio::spawn(forward(links, sender.clone(), route_wake));
    tokio::spawn(follow_rules(rules, sender));
    Ok(changes)
}

/// Wakes when the number is another one than it was.
async fn follow_rules(from: u32, sender: Sender<Wake>) {
    let mut known = Some(from);
    loop {
        tokio::select! {
            () = tokio::time::sleep(RULES_EVERY) => {}
            () = sender.closed() => return,
        }
        // one that cannot be had is another one when it can
        let now = generation().ok();
        if now.is_some() && now != known {
            // a full queue has wake-ups enough
            let _full = sender.try_send(Wake::Rules);
        }
        known = now;
    }
}

fn open(protocol: isize, groups: &[u32]) -> io::Result<TokioSocket> {
    let mut socket = TokioSocket::new(protocol)?;
    // a wish: what is lost beyond the kernel's limit comes as an overrun
    let _ = socket.socket_mut().set_rx_buf_sz(WAITING);
    socket.socket_mut().bind(&SocketAddr::new(0, 0))?;
    for group in groups {
        socket.socket_mut().add_membership(*group)?;
    }
    Ok(socket)
}

async fn forward(socket: TokioSocket, sender: Sender<Wake>, wake: fn(&[u8]) -> Option<Wake>) {
    loop {
        let received = tokio::select! {
            received = socket.recv_from_full() => received,
            () = sender.closed() => return,
        };
        let wake = match received {
            Ok((bytes, _)) => wake(&bytes),
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => Some(Wake::Overrun),
            Err(error) => {
                tracing::warn!(%error, "kernel event socket failed, listening ends");
                return;
            }
        };
        if let Some(wake) = wake {
            // a full queue has wake-ups enough
            let _full = sender.try_send(wake);
        }
    }
}

fn route_wake(bytes: &[u8]) -> Option<Wake> {
    let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(bytes).ok();
    match message.map(|message| message.payload) {
        Some(NetlinkPayload::InnerMessage(inner)) => match inner {
            RouteNetlinkMessage::NewLink(_) | RouteNetlinkMessage::DelLink(_) => Some(Wake::Links),
            RouteNetlinkMessage::NewAddress(_) | RouteNetlinkMessage::DelAddress(_) => {
                Some(Wake::Addresses)
            }
            RouteNetlinkMessage::NewRoute(_) | RouteNetlinkMessage::DelRoute(_) => {
                Some(Wake::Routes)
            }
            _ => None,
        },
        // a message that this crate cannot read is a change all the same
        None => Some(Wake::Overrun),
        Some(_) => None,
    }
}
