//! What reads sockets for the server, whichever way packets go.

use std::sync::Arc;

use sluice_sys::link_udp;
use sluice_sys::marked_udp::MarkedUdp;
use tokio::task::JoinHandle;

use super::{Input, Inputs};
use crate::vpn::l2tp::Peer;
use crate::vpn::lns::inform::{self, Told};

/// Longest datagram or frame that is for us: control messages, and frames of a link's MTU.
pub(super) const LONGEST: usize = 4096;
/// UDP ports of DHCP (RFC 2131 4.1).
const DHCP_SERVER: u16 = 67;
const DHCP_CLIENT: u16 = 68;

/// A task that reads until it is dropped.
pub(super) struct Reader(JoinHandle<()>);

impl Reader {
    pub(super) fn spawn(work: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(tokio::spawn(work))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Reads control messages of a tunnel's own socket; the mark of each says whose they are, not the socket.
pub(in crate::vpn::lns) async fn read_datagrams(socket: Arc<MarkedUdp>, inputs: Inputs) {
    let mut buffer = vec![0; LONGEST];
    let local = socket.local();
    loop {
        // an error such as "connection refused" is one datagram's; a socket that is gone ends with its task
        let Ok(arrived) = socket.receive(&mut buffer).await else {
            tokio::task::yield_now().await;
            continue;
        };
        let peer = Peer { mark: arrived.mark, remote: arrived.remote, local };
        let bytes = buffer.get(..arrived.length).unwrap_or_default().to_vec();
        if inputs.send(Input::Datagram(peer, bytes)).await.is_err() {
            return;
        }
    }
}

/// Answers DHCPINFORM on a link. Without it the client has no routes by itself, and everything else works.
pub(super) fn informer(link: &str, told: Told) -> Option<Reader> {
    let socket = match link_udp::listen(link, DHCP_SERVER) {
        Ok(socket) => socket,
        Err(error) => {
            tracing::warn!(link, %error, "vpn clients are told no routes");
            return None;
        }
    };
    Some(Reader::spawn(async move {
        let mut buffer = vec![0; LONGEST];
        loop {
            let Ok((length, from)) = socket.recv_from(&mut buffer).await else {
                tokio::task::yield_now().await;
                continue;
            };
            let request = buffer.get(..length).unwrap_or_default();
            let reply = inform::answer(request, &told).filter(|_| from.ip() == told.client);
            if let Some(reply) = reply
                && let Err(error) = socket.send_to(&reply, (told.client, DHCP_CLIENT)).await
            {
                tracing::debug!(%error, "dhcp answer not sent; the client asks again");
            }
        }
    }))
}
