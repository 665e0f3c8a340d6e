//! The generation number of nf_tables: one small netlink question instead of a listing.
//!
//! The message is written and read by hand, because netlink-packet-netfilter keeps its type for it private.

use std::io;

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};

/// NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETGEN (linux/netfilter/nfnetlink.h, nf_tables.h).
const GET: u16 = 10 << 8 | 16;
/// As above, NFT_MSG_NEWGEN.
const NEW: u16 = 10 << 8 | 15;
/// NFTA_GEN_ID.
const ID: u16 = 1;
/// `struct nlmsghdr`.
const HEADER: usize = 16;
/// `struct nfgenmsg`.
const FAMILY: usize = 4;

/// The present generation; it grows by one with every transaction that anybody commits in this network namespace.
pub(super) fn generation() -> io::Result<u32> {
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    socket.bind_auto()?;
    socket.send_to(&question(), &SocketAddr::new(0, 0), 0)?;
    let (answer, _) = socket.recv_from_full()?;
    number(&answer).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
}

fn question() -> Vec<u8> {
    const LENGTH: u32 = 20; // HEADER + FAMILY
    let mut bytes = Vec::from(LENGTH.to_ne_bytes());
    bytes.extend(GET.to_ne_bytes());
    bytes.extend(1_u16.to_ne_bytes()); // NLM_F_REQUEST
    bytes.extend([0; 8]); // sequence and port: one question, one answer
    bytes.extend([0; FAMILY]);
    bytes
}

/// The number in an answer; `None` for anything else.
fn number(answer: &[u8]) -> Option<u32> {
    if answer.get(4..6)? != NEW.to_ne_bytes() {
        return None;
    }
    let mut rest = answer.get(HEADER + FAMILY..)?;
    loop {
        let length = usize::from(u16::from_ne_bytes(rest.get(..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(rest.get(2..4)?.try_into().ok()?);
        if kind == ID {
            // the number itself is in network order
            return Some(u32::from_be_bytes(rest.get(4..8)?.try_into().ok()?));
        }
        // attributes are padded to four bytes; one shorter than its own header ends the search
        rest = rest.get(length.max(4).next_multiple_of(4)..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::{NEW, number};

    fn answer(attributes: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; 20];
        bytes[4..6].copy_from_slice(&NEW.to_ne_bytes());
        bytes.extend(attributes);
        bytes
    }

    #[test]
    fn finds_the_number_after_other_attributes_and_survives_nonsense() {
        let name = [7, 0, 3, 0, b'n', b'f', 0, 0];
        let id = [8, 0, 1, 0, 0, 0, 1, 2];
        assert_eq!(number(&answer(&[name, id].concat())), Some(258));
        assert_eq!(number(&answer(&name)), None);
        assert_eq!(number(&answer(&[0; 12])), None);
        assert_eq!(number(&answer(&[8, 0, 1])), None);
        assert_eq!(number(&[]), None);
    }
}
