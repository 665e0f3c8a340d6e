//! Where the messages of a client's HTTP/1 byte stream begin and end, judged strictly: bytes in, verdicts out.
//!
//! Guarantees: a request passes only when every reader of HTTP would cut it out of the stream at the same place (RFC 9112
//! 2.2, 5, 6, 7, 11.2): lines end in CR LF, no line is folded, names are tokens, the length is said once and in one way.
//! Heads are bounded. Not here: what a request means; hyper reads it again, after it passed.

use bytes::{Buf, BytesMut};

use super::head::{self, Body};

/// Longest head in bytes, its request line included.
pub const MAX_HEAD: usize = 16 * 1024;
/// Longest chunk extension and longest trailer section, in bytes.
const MAX_EXTENSION: usize = 256;
const MAX_TRAILERS: usize = 8 * 1024;

/// What becomes of the bytes at the front of the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The first so many are good.
    Pass(usize),
    /// More are needed to tell.
    More,
    /// They are not a request that may be passed on.
    Refuse(Refusal),
}

/// Why a client is refused, as the status it is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// 400: not a request, or one that can be read in more than one way.
    Malformed,
    /// 405: a tunnel to elsewhere is asked for.
    Method,
    /// 408: it took too long to say.
    TooSlow,
    /// 414: the request line alone is too long.
    TargetTooLong,
    /// 417: more is expected than 100-continue.
    Expectation,
    /// 431: the head is too long.
    HeadTooLong,
    /// 501: a transfer coding other than chunked.
    Coding,
    /// 505: not HTTP/1.
    Version,
}

impl Refusal {
    /// Status code and reason phrase.
    pub const fn status(self) -> (u16, &'static str) {
        match self {
            Self::Malformed => (400, "Bad Request"),
            Self::Method => (405, "Method Not Allowed"),
            Self::TooSlow => (408, "Request Timeout"),
            Self::TargetTooLong => (414, "URI Too Long"),
            Self::Expectation => (417, "Expectation Failed"),
            Self::HeadTooLong => (431, "Request Header Fields Too Large"),
            Self::Coding => (501, "Not Implemented"),
            Self::Version => (505, "HTTP Version Not Supported"),
        }
    }
}

/// A reader's place in the stream.
#[derive(Clone, Copy, Debug, Default)]
pub struct Framing {
    state: State,
    /// Bytes of an unfinished head that were searched for its end already.
    searched: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Before a request, or within its head.
    #[default]
    Head,
    /// A body of known length; so many bytes to come.
    Sized(u64),
    /// In a chunked body.
    Chunked(Chunk),
    /// After an upgrade was asked for, until it is known what came of it.
    Held,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chunk {
    /// In the digits of the size: how many, and their value.
    Size(u8, u64),
    /// After the size, in an extension of so many bytes, for a chunk of that size.
    Extension(usize, u64),
    /// The LF after the CR of a size line.
    SizeEnd(u64),
    /// In the data.
    Data(u64),
    /// The CR after the data.
    DataCr,
    /// The LF after it.
    DataLf,
    /// In the trailers: so many bytes of them so far, so many of them in this line.
    Trailers(usize, usize),
    /// The LF after a CR of the trailers; the same numbers.
    TrailerLf(usize, usize),
}

impl Framing {
    /// Whether the stream is between two requests.
    pub fn between(&self) -> bool {
        self.state == State::Head
    }

    /// Whether an upgrade was asked for, whose outcome decides what follows.
    pub fn held(&self) -> bool {
        self.state == State::Held
    }

    /// The upgrade did not happen: the next request follows.
    pub fn release(&mut self) {
        if self.state == State::Held {
            self.state = State::Head;
        }
    }

    /// Judges what `buffer` begins with. Empty lines before a request are taken away (RFC 9112 2.2).
    pub fn judge(&mut self, buffer: &mut BytesMut) -> Verdict {
        match self.state {
            State::Head => self.head(buffer),
            State::Sized(left) => self.sized(left, buffer.len()),
            State::Chunked(chunk) => self.chunked(chunk, buffer),
            State::Held => Verdict::More,
        }
    }

    fn head(&mut self, buffer: &mut BytesMut) -> Verdict {
        while buffer.starts_with(b"\r\n") {
            buffer.advance(2);
            self.searched = 0;
        }
        let Some(length) = self.find_end(buffer) else {
            return match head::too_long(buffer) {
                Some(refusal) => Verdict::Refuse(refusal),
                None => Verdict::More,
            };
        };
        self.searched = 0;
        let judged = buffer.get(..length).ok_or(Refusal::Malformed).and_then(head::judge);
        match judged {
            Ok(body) => {
                self.state = match body {
                    Body::None => State::Head,
                    Body::Sized(length) => State::Sized(length),
                    Body::Chunked => State::Chunked(Chunk::Size(0, 0)),
                    Body::Upgrade => State::Held,
                };
                Verdict::Pass(length)
            }
            Err(refusal) => Verdict::Refuse(refusal),
        }
    }

    /// The length of the head, once its end is here. A lone LF ends it too, so that it is refused at once.
    fn find_end(&mut self, buffer: &[u8]) -> Option<usize> {
        let from = self.searched.saturating_sub(3);
        let tail = buffer.get(from..)?;
        let ends = |at: &usize| {
            let before = |back: usize| (from + at).checked_sub(back).and_then(|at| buffer.get(at));
            before(1) == Some(&b'\n') || (before(1) == Some(&b'\r') && before(2) == Some(&b'\n'))
        };
        let found = tail
            .iter()
            .enumerate()
            .filter(|(_, byte)| **byte == b'\n')
            .map(|(at, _)| at)
            .find(|at| ends(at) || head::lone_lf(buffer, from + at));
        self.searched = buffer.len();
        found.map(|at| from + at + 1)
    }

    fn sized(&mut self, left: u64, here: usize) -> Verdict {
        let here_long = u64::try_from(here).unwrap_or(u64::MAX);
        let taken = left.min(here_long);
        self.state = if left > taken { State::Sized(left - taken) } else { State::Head };
        match usize::try_from(taken) {
            Ok(0) | Err(_) => Verdict::More,
            Ok(taken) => Verdict::Pass(taken),
        }
    }

    fn chunked(&mut self, mut chunk: Chunk, buffer: &[u8]) -> Verdict {
        let mut at = 0;
        while let Some(byte) = buffer.get(at) {
            if let Chunk::Data(left) = chunk {
                let here = u64::try_from(buffer.len() - at).unwrap_or(u64::MAX);
                let taken = left.min(here);
                at += usize::try_from(taken).unwrap_or(0);
                chunk = if left > taken { Chunk::Data(left - taken) } else { Chunk::DataCr };
                continue;
            }
            at += 1;
            match step(chunk, *byte) {
                Some(Some(next)) => chunk = next,
                Some(None) => {
                    self.state = State::Head;
                    return Verdict::Pass(at);
                }
                None => return Verdict::Refuse(Refusal::Malformed),
            }
        }
        self.state = State::Chunked(chunk);
        if at == 0 { Verdict::More } else { Verdict::Pass(at) }
    }
}

/// One byte of a chunked body outside its data: the next place, `Some(None)` at the body's end, `None` for a wrong byte.
fn step(chunk: Chunk, byte: u8) -> Option<Option<Chunk>> {
    let next = match (chunk, byte) {
        (Chunk::Size(digits, size), b) if b.is_ascii_hexdigit() => {
            let digit = char::from(b).to_digit(16)?;
            // 15 digits are more than any disk, and cannot overflow
            (digits < 15).then_some(Chunk::Size(digits + 1, size * 16 + u64::from(digit)))?
        }
        (Chunk::Size(0, _), _) => return None,
        (Chunk::Size(_, size) | Chunk::Extension(_, size), b'\r') => Chunk::SizeEnd(size),
        (Chunk::Size(_, size), b';') => Chunk::Extension(0, size),
        (Chunk::Extension(length, size), b) if b == b'\t' || (b >= b' ' && b != 0x7f) => {
            (length < MAX_EXTENSION).then_some(Chunk::Extension(length + 1, size))?
        }
        (Chunk::SizeEnd(0), b'\n') => Chunk::Trailers(0, 0),
        (Chunk::SizeEnd(size), b'\n') => Chunk::Data(size),
        (Chunk::DataCr, b'\r') => Chunk::DataLf,
        (Chunk::DataLf, b'\n') => Chunk::Size(0, 0),
        (Chunk::Trailers(all, line), b'\r') => Chunk::TrailerLf(all + 1, line),
        (Chunk::TrailerLf(_, 0), b'\n') => return Some(None),
        (Chunk::TrailerLf(all, _), b'\n') => Chunk::Trailers(all + 1, 0),
        (Chunk::Trailers(all, line), b) => return trailer(all, line, b).map(Some),
        _ => return None,
    };
    Some(Some(next))
}

/// A byte of a trailer line: the first one begins a name, so that no line is folded.
fn trailer(all: usize, line: usize, byte: u8) -> Option<Chunk> {
    let good = if line == 0 {
        head::is_token(byte)
    } else {
        byte == b'\t' || (byte >= b' ' && byte != 0x7f)
    };
    (good && all < MAX_TRAILERS).then_some(Chunk::Trailers(all + 1, line + 1))
}
