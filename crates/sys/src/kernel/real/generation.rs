//! Two small netlink questions instead of a listing: the generation number of nf_tables, and whether a table exists.
//!
//! The messages are written and read by hand, because netlink-packet-netfilter keeps its types for them private.

use std::io;

use netlink_packet_core::NLM_F_REQUEST;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};

use crate::nft::{Family, TableId};

/// NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETGEN (linux/netfilter/nfnetlink.h, nf_tables.h).
const GET: u16 = 10 << 8 | 16;
/// As above, NFT_MSG_NEWGEN.
const NEW: u16 = 10 << 8 | 15;
/// As above, NFT_MSG_GETTABLE.
const GET_TABLE: u16 = 10 << 8 | 1;
/// As above, NFT_MSG_NEWTABLE.
const NEW_TABLE: u16 = 10 << 8;
/// NFTA_TABLE_NAME.
const TABLE_NAME: u16 = 1;
/// NFPROTO_INET (linux/netfilter.h).
pub(super) const INET: u8 = 1;
/// NFPROTO_NETDEV.
pub(super) const NETDEV: u8 = 5;
/// NLMSG_ERROR (linux/netlink.h).
const ERROR: u16 = 2;
/// NFTA_GEN_ID.
const ID: u16 = 1;
/// `struct nlmsghdr`.
const HEADER: usize = 16;
/// `struct nfgenmsg`.
const FAMILY: usize = 4;

/// The present generation; it grows by one with every transaction that anybody commits in this network namespace.
pub(super) fn generation() -> io::Result<u32> {
    let answer = ask(&question(GET, NLM_F_REQUEST, 0, &[]))?;
    number(&answer).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
}

/// Whether there is a table of that name in this network namespace.
pub(super) fn exists(table: &TableId) -> io::Result<bool> {
    let family = match table.family {
        Family::Inet => INET,
    };
    is_there(family, table.name.as_str())
}

/// The same, by the number of its family.
pub(super) fn is_there(family: u8, table: &str) -> io::Result<bool> {
    let name = attribute(TABLE_NAME, table);
    is_table(&ask(&question(GET_TABLE, NLM_F_REQUEST, family, &name))?)
}

fn ask(question: &[u8]) -> io::Result<Vec<u8>> {
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    socket.bind_auto()?;
    socket.send_to(question, &SocketAddr::new(0, 0), 0)?;
    Ok(socket.recv_from_full()?.0)
}

/// A message of nf_tables.
pub(super) fn question(kind: u16, flags: u16, family: u8, attributes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADER + FAMILY + attributes.len()).unwrap_or(u32::MAX);
    let mut bytes = Vec::from(length.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend([0; 8]); // sequence and port: one question, one answer
    bytes.extend([family, 0, 0, 0]);
    bytes.extend(attributes);
    bytes
}

/// The attribute of a name; names have 31 characters at most, so its length always fits.
pub(super) fn attribute(kind: u16, name: &str) -> Vec<u8> {
    let length = 4 + name.len() + 1;
    let mut bytes = Vec::from(u16::try_from(length).unwrap_or(u16::MAX).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(name.bytes());
    bytes.resize(length.next_multiple_of(4), 0);
    bytes
}

/// An attribute with other content, such as a number in network order or more attributes.
pub(super) fn nested(kind: u16, content: &[u8]) -> Vec<u8> {
    let length = 4 + content.len();
    let mut bytes = Vec::from(u16::try_from(length).unwrap_or(u16::MAX).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(content);
    bytes.resize(length.next_multiple_of(4), 0);
    bytes
}

/// What the kernel says of one table: the table, or that there is none.
fn is_table(answer: &[u8]) -> io::Result<bool> {
    let nonsense = || io::Error::from(io::ErrorKind::InvalidData);
    let kind = answer.get(4..6).ok_or_else(nonsense)?;
    if kind == NEW_TABLE.to_ne_bytes() {
        return Ok(true);
    }
    let code = answer.get(HEADER..HEADER + 4).and_then(|code| code.try_into().ok());
    match (kind == ERROR.to_ne_bytes(), code.map(i32::from_ne_bytes)) {
        (true, Some(code)) => {
            let error = io::Error::from_raw_os_error(code.saturating_neg());
            if error.kind() == io::ErrorKind::NotFound { Ok(false) } else { Err(error) }
        }
        _ => Err(nonsense()),
    }
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
    use super::{ERROR, NEW, NEW_TABLE, TABLE_NAME, attribute, is_table, number, question};

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

    #[test]
    fn a_table_is_there_or_not_and_any_other_answer_is_an_error() {
        let said = |kind: u16, code: i32| {
            let mut bytes = vec![0; 16];
            bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
            bytes.extend(code.to_ne_bytes());
            is_table(&bytes).map_err(|error| error.raw_os_error())
        };
        assert_eq!(said(NEW_TABLE, 0), Ok(true));
        assert_eq!(said(ERROR, -2), Ok(false));
        assert_eq!(said(ERROR, -1), Err(Some(1)));
        assert_eq!(said(ERROR, i32::MIN), Err(Some(i32::MAX)));
        assert_eq!(said(NEW, 0), Err(None));
        assert!(is_table(&[]).is_err());
    }

    #[test]
    fn a_question_says_its_own_length_and_is_padded() {
        let bytes = question(NEW_TABLE, 1, 1, &attribute(TABLE_NAME, "sluice"));
        assert_eq!(bytes.len(), 32);
        assert_eq!(bytes[..4], 32_u32.to_ne_bytes());
        assert_eq!(bytes[20..22], 11_u16.to_ne_bytes());
        assert_eq!(bytes[24..], *b"sluice\0\0");
    }
}
