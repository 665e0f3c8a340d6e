//! Where the frames of an HTTP/2 connection begin and end (RFC 9113 4.1): tells what moves a request or an answer from
//! what only keeps the connection busy, such as PING and its answer.
//!
//! Pure. What a frame means, and whether it may come, is judged elsewhere (h2).

/// Octets of a frame's header.
const HEADER: usize = 9;
/// Octets that a client sends before its first frame (RFC 9113 3.4).
const PREFACE: usize = 24;
/// Kinds of frame that carry requests and answers (RFC 9113 6.1, 6.2, 6.10).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;

/// A place in one direction of a connection.
#[derive(Debug, Default)]
pub(super) struct Frames {
    /// Octets until the next header.
    left: usize,
    /// They are of a request or an answer.
    moves: bool,
    /// The header that is being read, and how much of it is.
    header: [u8; HEADER],
    read: usize,
}

impl Frames {
    /// What a client sends, from its first byte.
    pub(super) fn of_client() -> Self {
        Self { left: PREFACE, ..Self::default() }
    }

    /// What a server sends, from its first byte.
    pub(super) fn of_server() -> Self {
        Self::default()
    }

    /// Follows `bytes`, the next ones: whether some of them are of a request or an answer.
    pub(super) fn follow(&mut self, mut bytes: &[u8]) -> bool {
        let mut moved = false;
        while let Some((byte, rest)) = bytes.split_first() {
            if self.left > 0 {
                let taken = self.left.min(bytes.len());
                self.left -= taken;
                moved |= self.moves;
                bytes = bytes.get(taken..).unwrap_or_default();
            } else {
                self.header_byte(*byte);
                bytes = rest;
            }
        }
        moved
    }

    fn header_byte(&mut self, byte: u8) {
        if let Some(place) = self.header.get_mut(self.read) {
            *place = byte;
        }
        self.read += 1;
        if self.read == HEADER {
            let [high, middle, low, kind, ..] = self.header;
            let length = u32::from_be_bytes([0, high, middle, low]);
            self.left = usize::try_from(length).unwrap_or(usize::MAX);
            self.moves = matches!(kind, DATA | HEADERS | CONTINUATION);
            self.read = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap_or(0).to_be_bytes();
        [&length[1..], &[kind, 0, 0, 0, 0, 1], payload].concat()
    }

    #[test]
    fn frames_that_carry_something_move_however_they_are_cut() {
        const PING: u8 = 6;
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        let settings = frame(4, &[0; 12]);
        let idle =
            [preface, settings, frame(PING, &[0, 0, 0, 0, 1, 0, 0, 1]), frame(8, &[0, 0, 0, 9])];
        for step in [1, 2, 7, 9, 1000] {
            let mut frames = Frames::of_client();
            let mut pieces = |bytes: &[u8]| {
                bytes.chunks(step).map(|piece| frames.follow(piece)).filter(|moved| *moved).count()
            };
            assert_eq!(pieces(&idle.concat()), 0, "{step}");
            assert_eq!(pieces(&frame(HEADERS, b"")), 0, "an empty one carries nothing");
            assert!(pieces(&frame(HEADERS, b"abc")) > 0);
            assert_eq!(pieces(&frame(PING, &[0; 8])), 0, "after one that moved");
            assert!(pieces(&frame(DATA, &[0; 70_000])) > 0);
            assert!(pieces(&frame(CONTINUATION, b"x")) > 0);
        }
        assert!(Frames::of_server().follow(&frame(DATA, b"x")), "a server begins with a frame");
    }
}
