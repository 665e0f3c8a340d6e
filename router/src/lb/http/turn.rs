//! Who has read lets the others read before it writes, and small pieces go out in one.
//!
//! A thread that serves many connections at once then reads from all that are ready, and writes to all after that. Whom it
//! writes to is woken by the first of these writes and still awake at the others, where it would fall asleep in between
//! and cost a wake-up each, which is most of what a small write costs.

use std::io::IoSlice;
use std::task::{Context, Poll};

/// Copied together at most, in bytes: copying these costs less than listing them to the kernel.
pub(super) const SMALL: usize = 1024;

/// Whose turn it is.
#[derive(Debug, Default)]
pub(super) struct Turn {
    heard: bool,
}

impl Turn {
    /// Something was read.
    pub(super) fn heard(&mut self) {
        self.heard = true;
    }

    /// Ready to write, after one round of the others since something was read.
    pub(super) fn poll(&mut self, cx: &Context<'_>) -> Poll<()> {
        if !std::mem::take(&mut self.heard) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// `slices` as one, if that is cheap.
pub(super) fn joined<'a>(slices: &'a [IoSlice<'_>], room: &'a mut [u8; SMALL]) -> Option<&'a [u8]> {
    if let [one] = slices {
        return Some(one);
    }
    let mut length = 0;
    for slice in slices {
        let end = slice.len().checked_add(length)?;
        room.get_mut(length..end)?.copy_from_slice(slice);
        length = end;
    }
    room.get(..length)
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    #[test]
    fn who_has_read_waits_for_one_round() {
        let mut turn = Turn::default();
        let cx = Context::from_waker(Waker::noop());
        assert!(turn.poll(&cx).is_ready());
        turn.heard();
        assert!(turn.poll(&cx).is_pending());
        assert!(turn.poll(&cx).is_ready());
    }

    #[test]
    fn small_pieces_are_joined_and_large_ones_are_not() {
        let mut room = [0; SMALL];
        let pieces = [IoSlice::new(b"head"), IoSlice::new(b""), IoSlice::new(b"body")];
        assert_eq!(joined(&pieces, &mut room), Some(&b"headbody"[..]));
        let large = [7; SMALL];
        assert_eq!(joined(&[IoSlice::new(&large)], &mut room), Some(&large[..]));
        assert_eq!(joined(&[IoSlice::new(b"x"), IoSlice::new(&large)], &mut room), None);
        assert_eq!(joined(&[], &mut room), Some(&b""[..]));
    }
}
