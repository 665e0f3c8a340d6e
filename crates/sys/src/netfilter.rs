//! Questions to the kernel's netfilter subsystems, and their answers one message at a time.

use std::io;
use std::time::Duration;

use netlink_packet_core::NLM_F_DUMP_INTR;
use netlink_sys::protocols::NETLINK_NETFILTER;
use netlink_sys::{AsyncSocket, AsyncSocketExt, SocketAddr, TokioSocket};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of answers that may wait.
const WAITING: usize = 4 << 20;
/// Bytes that one datagram may have. The kernel fills as much as there is room for, to 32 KiB, and walks a set from its beginning
/// for each: where it sees no more room than its first answer took, a set of 100,000 takes it nine times as long.
const DATAGRAM: usize = 64 << 10;

/// `struct nlmsghdr`.
pub(crate) const HEADER: usize = 16;
/// NLMSG_ERROR and NLMSG_DONE.
const ERROR: u16 = 2;
const DONE: u16 = 3;

/// A part of what the kernel sent.
pub(crate) enum Part<'a> {
    /// A message, header included.
    Answer {
        bytes: &'a [u8],
        /// What is being listed changed under the listing.
        interrupted: bool,
    },
    /// There is no more.
    End { interrupted: bool },
}

/// Sends a question and gives each answer to `each`; false when the kernel says that the answers are not of one moment.
pub(crate) async fn ask(question: &[u8], mut each: impl FnMut(&[u8])) -> io::Result<bool> {
    let mut socket = TokioSocket::new(NETLINK_NETFILTER)?;
    // a wish; a socket that overruns makes the question fail
    let _ = socket.socket_mut().set_rx_buf_sz(WAITING);
    socket.socket_mut().bind_auto()?;
    if socket.send_to(question, &SocketAddr::new(0, 0)).await? != question.len() {
        return Err(io::ErrorKind::WriteZero.into());
    }
    let mut whole = true;
    let mut bytes = Vec::with_capacity(DATAGRAM);
    loop {
        bytes.clear();
        let received = tokio::time::timeout(PATIENCE, socket.recv(&mut bytes));
        received.await.map_err(|_| io::ErrorKind::TimedOut)??;
        for part in parts(&bytes) {
            match part? {
                Part::Answer { bytes, interrupted } => {
                    whole &= !interrupted;
                    each(bytes);
                }
                Part::End { interrupted } => return Ok(whole && !interrupted),
            }
        }
    }
}

/// The messages in a datagram; the last is an error when the kernel refused, or the datagram is cut off.
pub(crate) fn parts(bytes: &[u8]) -> impl Iterator<Item = io::Result<Part<'_>>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let length =
            rest.get(..4).and_then(|length| length.try_into().ok()).map(u32::from_ne_bytes);
        let length = length.and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
        let Some(one) = rest.get(..length).filter(|one| one.len() >= HEADER) else {
            rest = &[];
            return Some(Err(io::ErrorKind::InvalidData.into()));
        };
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(part(one))
    })
}

fn part(one: &[u8]) -> io::Result<Part<'_>> {
    let word = |at: usize| {
        one.get(at..at + 2).and_then(|word| word.try_into().ok()).map_or(0, u16::from_ne_bytes)
    };
    let interrupted = word(6) & NLM_F_DUMP_INTR != 0;
    match word(4) {
        DONE => Ok(Part::End { interrupted }),
        ERROR => {
            let code = one.get(HEADER..HEADER + 4).and_then(|code| code.try_into().ok());
            match code.map(i32::from_ne_bytes) {
                Some(0) => Ok(Part::End { interrupted }),
                Some(code) => Err(io::Error::from_raw_os_error(code.saturating_neg())),
                None => Err(io::ErrorKind::InvalidData.into()),
            }
        }
        _ => Ok(Part::Answer { bytes: one, interrupted }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(HEADER + body.len()).unwrap();
        let mut bytes = length.to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend([0; 8]);
        bytes.extend(body);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    #[test]
    fn parts_end_with_done_or_an_error_and_nonsense_is_an_error() {
        let one = message(0x100, 0, &[1, 2, 3]);
        let all = [one.clone(), one, message(DONE, NLM_F_DUMP_INTR, &[0; 4])].concat();
        let read: Vec<_> = parts(&all).collect();
        assert!(matches!(
            read.as_slice(),
            [Ok(Part::Answer { .. }), Ok(Part::Answer { .. }), Ok(Part::End { interrupted: true })]
        ));
        let refused = message(ERROR, 0, &(-2_i32).to_ne_bytes());
        let refused: Vec<_> =
            parts(&refused).map(|part| part.err().map(|error| error.kind())).collect();
        assert_eq!(refused, [Some(io::ErrorKind::NotFound)]);
        assert!(parts(&[0; 40]).all(|part| part.is_err()));
        for cut in 1..all.len() {
            parts(&all[..cut]).for_each(drop);
        }
    }
}
