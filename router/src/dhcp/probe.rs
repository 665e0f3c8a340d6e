//! Asking a link whether somebody uses an address (RFC 2131 2.2: a server should probe before it gives an address again;
//! RFC 5227 2.1.1: how).
//!
//! Guarantees: ends after [`WAIT`]; the question names no address of its asker, so it changes nobody's tables.

use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use sluice_api::types::{LinkName, MacAddr};
use sluice_sys::packet::{FrameSocket, Hear};
use tokio::time::{Instant, timeout_at};

/// How long an answer may take: a guest on the same link answers within a millisecond, one on a busy host within some
/// tens.
const WAIT: Duration = Duration::from_millis(300);
/// Length of an ARP message over Ethernet in its frame.
const LENGTH: usize = 42;

/// Who on `link` answers for `address`, besides `client`.
pub(crate) async fn occupant(
    link: &LinkName,
    address: Ipv4Addr,
    client: Option<MacAddr>,
) -> io::Result<Option<MacAddr>> {
    let socket = FrameSocket::open(link, Hear::Arp).map_err(|error| error.source)?;
    let own = socket.mac().ok_or(io::ErrorKind::NotFound)?;
    socket.send(&question(own, address))?;
    let end = Instant::now() + WAIT;
    let mut frame = [0; 64];
    while let Ok(seen) = timeout_at(end, socket.receive(&mut frame)).await {
        let seen = seen?;
        let user = frame.get(..seen.taken).and_then(|frame| answered(frame, address));
        if let Some(user) = user.filter(|user| *user != own && Some(*user) != client) {
            return Ok(Some(user));
        }
    }
    Ok(None)
}

/// "Who has `address`?", asked by nobody in particular.
fn question(own: MacAddr, address: Ipv4Addr) -> Vec<u8> {
    // to everybody; ARP; Ethernet, IPv4, their lengths, request
    let head = [[0xff; 6].as_slice(), &own.bytes(), &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1]].concat();
    [head.as_slice(), &own.bytes(), &[0; 4], &[0; 6], &address.octets()].concat()
}

/// Who says in `frame` that `address` is its own.
fn answered(frame: &[u8], address: Ipv4Addr) -> Option<MacAddr> {
    let frame = frame.get(..LENGTH)?;
    let is_arp = frame.get(12..20)? == [8, 6, 0, 1, 8, 0, 6, 4];
    let sender: [u8; 6] = frame.get(22..28)?.try_into().ok()?;
    let claims = frame.get(28..32)? == address.octets();
    MacAddr::from_bytes(sender).filter(|_| is_arp && claims)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_claims_nothing_and_an_answer_does() {
        let [own, other] = [1, 2].map(|last| MacAddr::from_bytes([2, 0, 0, 0, 0, last]).unwrap());
        let address = Ipv4Addr::new(10, 1, 1, 100);
        let mut frame = question(own, address);
        assert_eq!(frame.len(), LENGTH);
        assert_eq!(answered(&frame, address), None);
        frame[22..28].copy_from_slice(&other.bytes());
        frame[28..32].copy_from_slice(&address.octets());
        assert_eq!(answered(&frame, address), Some(other));
        assert_eq!(answered(&frame, Ipv4Addr::new(10, 1, 1, 101)), None);
        for length in 0..LENGTH {
            assert_eq!(answered(&frame[..length], address), None);
        }
    }
}
