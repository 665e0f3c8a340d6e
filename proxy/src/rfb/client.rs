//! What a browser sends during a session (RFC 6143 7.5 and the extensions that noVNC uses): read message by message, so
//! that what a grant does not allow is left out before it reaches the guest.
//!
//! Guarantees: whole messages are passed on or left out, never parts; a type whose length is not known ends the session,
//! because nothing after it could be told apart; a long message is passed on as it comes, not collected. Only encodings
//! whose messages are known here are announced to the server. That also keeps out power control (XVP): a guest is
//! switched off elsewhere, and QEMU's server mixes it up with pseudo-rectangles that noVNC does not know.

/// Most encodings in one message; noVNC announces two dozen.
const MAX_ENCODINGS: usize = 256;
/// Longest payload of a fence (the Fence extension's own limit).
const MAX_FENCE: u8 = 64;
/// Most screens in a request for another size.
const MAX_SCREENS: u8 = 16;

/// Encodings that may be announced: those of noVNC, without XVP (-309) and without extended mouse buttons (-316), which
/// would change the length of pointer messages in a way that only the server's own stream tells.
const ENCODINGS: &[i32] = &[
    0,
    1,
    2,
    5,
    6,
    7,
    16,
    21,
    50,             // raw, CopyRect, RRE, Hextile, zlib, Tight, ZRLE, JPEG, H.264
    -223,           // desktop size
    -224,           // last rectangle
    -239,           // cursor
    -258,           // QEMU extended key event
    -260,           // TightPNG
    -261,           // QEMU LED state
    -307,           // desktop name
    -308,           // extended desktop size
    -312,           // fence
    -313,           // continuous updates
    0x574d_5664,    // VMware cursor
    -1_063_131_698, // extended clipboard, 0xc0a1e5ce
];

/// What the grant allows right now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Keys, pointer, clipboard and size are left out.
    pub view_only: bool,
    /// Longest clipboard message in bytes, compressed or not.
    pub clipboard_bytes: u32,
}

/// What was in the bytes taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Messages begun.
    pub messages: u32,
    /// Of these, keys, pointer and clipboard: what shows that a person is there.
    pub inputs: u32,
    /// Of the messages, left out because the grant does not allow them.
    pub left_out: u32,
}

/// A browser that breaks the protocol or a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// A message of a type that nobody here knows.
    #[error("message type {0} is not known")]
    Unknown(u8),
    /// A QEMU message other than a key.
    #[error("QEMU message {0} is not known")]
    UnknownQemu(u8),
    /// Too many encodings, screens or bytes.
    #[error("{what} has {length}, more than {most}")]
    TooLong {
        /// Of which message.
        what: &'static str,
        /// How many it has.
        length: usize,
        /// How many it may have.
        most: usize,
    },
}

/// Whether a message is somebody's input.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Input,
    /// Changes the guest's screen for everybody, or is about its clipboard, without anybody at the keyboard.
    Change,
    Other,
}

/// The rest of a message whose head was read.
#[derive(Clone, Debug, Default)]
struct Body {
    left: usize,
    pass: bool,
}

/// The stream of one browser.
#[derive(Clone, Debug, Default)]
pub struct ClientStream {
    head: Vec<u8>,
    body: Body,
}

/// How far a message is understood.
enum Head {
    /// So many bytes are needed before more can be said.
    Needs(usize),
    /// A whole message of so many bytes, `kept` of them read so far.
    Is { kind: Kind, length: usize },
}

impl ClientStream {
    /// Takes bytes of the browser and appends to `out` what the server is to get.
    pub fn feed(
        &mut self,
        mut bytes: &[u8],
        rule: Rule,
        out: &mut Vec<u8>,
    ) -> Result<Seen, ClientError> {
        let mut seen = Seen::default();
        while !bytes.is_empty() {
            if self.body.left > 0 {
                bytes = self.body(bytes, out);
                continue;
            }
            match head(&self.head, rule)? {
                Head::Needs(count) => bytes = self.fill(bytes, count),
                Head::Is { .. } => self.message(rule, out, &mut seen)?,
            }
        }
        // a message without a body is whole when its head is
        if self.body.left == 0 && !self.head.is_empty() {
            self.message(rule, out, &mut seen)?;
        }
        Ok(seen)
    }

    fn body<'a>(&mut self, bytes: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
        let (now, rest) = bytes.split_at(self.body.left.min(bytes.len()));
        if self.body.pass {
            out.extend_from_slice(now);
        }
        self.body.left -= now.len();
        rest
    }

    fn fill<'a>(&mut self, bytes: &'a [u8], count: usize) -> &'a [u8] {
        let missing = count.saturating_sub(self.head.len());
        let (now, rest) = bytes.split_at(missing.min(bytes.len()));
        self.head.extend_from_slice(now);
        rest
    }

    /// Passes on or leaves out the message whose head is complete, if it is.
    fn message(
        &mut self,
        rule: Rule,
        out: &mut Vec<u8>,
        seen: &mut Seen,
    ) -> Result<(), ClientError> {
        let Head::Is { kind, length } = head(&self.head, rule)? else { return Ok(()) };
        let pass = kind == Kind::Other || !rule.view_only;
        seen.messages += 1;
        seen.inputs += u32::from(kind == Kind::Input);
        seen.left_out += u32::from(!pass);
        self.body = Body { left: length.saturating_sub(self.head.len()), pass };
        if pass && self.head.first() == Some(&SET_ENCODINGS) {
            out.extend_from_slice(&announced(&self.head));
        } else if pass {
            out.extend_from_slice(&self.head);
        }
        self.head.clear();
        Ok(())
    }
}

const SET_PIXEL_FORMAT: u8 = 0;
const SET_ENCODINGS: u8 = 2;
const UPDATE_REQUEST: u8 = 3;
const KEY: u8 = 4;
const POINTER: u8 = 5;
const CUT_TEXT: u8 = 6;
const CONTINUOUS_UPDATES: u8 = 150;
const FENCE: u8 = 248;
const SET_DESKTOP_SIZE: u8 = 251;
const QEMU: u8 = 255;
const QEMU_KEY: u8 = 0;

/// What the beginning of a message says of it.
fn head(head: &[u8], rule: Rule) -> Result<Head, ClientError> {
    let Some(kind) = head.first() else { return Ok(Head::Needs(1)) };
    let fixed = |kind, length| Ok(Head::Is { kind, length });
    match *kind {
        SET_PIXEL_FORMAT => fixed(Kind::Other, 20),
        UPDATE_REQUEST | CONTINUOUS_UPDATES => fixed(Kind::Other, 10),
        KEY => fixed(Kind::Input, 8),
        POINTER => fixed(Kind::Input, 6),
        SET_ENCODINGS => Ok(encodings(head)?),
        CUT_TEXT => cut_text(head, rule),
        FENCE => counted(head, Kind::Other, "fence", (8, 1, 9), MAX_FENCE),
        SET_DESKTOP_SIZE => counted(head, Kind::Change, "desktop size", (6, 16, 8), MAX_SCREENS),
        QEMU => match head.get(1) {
            None => Ok(Head::Needs(2)),
            Some(&QEMU_KEY) => fixed(Kind::Input, 12),
            Some(other) => Err(ClientError::UnknownQemu(*other)),
        },
        other => Err(ClientError::Unknown(other)),
    }
}

/// The encodings are read whole, because some are left out.
fn encodings(head: &[u8]) -> Result<Head, ClientError> {
    let Some([_, _, high, low]) = head.first_chunk() else { return Ok(Head::Needs(4)) };
    let count = usize::from(u16::from_be_bytes([*high, *low]));
    if count > MAX_ENCODINGS {
        let what = "list of encodings";
        return Err(ClientError::TooLong { what, length: count, most: MAX_ENCODINGS });
    }
    let length = 4 + 4 * count;
    let whole = head.len() >= length;
    Ok(if whole { Head::Is { kind: Kind::Other, length } } else { Head::Needs(length) })
}

/// Actions of the extended clipboard, in its flags: what is said once of oneself, and what a person's copying leads to. A
/// list of abilities names all actions.
const CAPS: u32 = 1 << 24;
const NOTIFY: u32 = 1 << 27;
const PROVIDE: u32 = 1 << 28;

/// Text, or with a negative length a message of the extended clipboard, whose flags come first. A page asks for and answers
/// about the clipboard by itself: only what offers a text shows that somebody is there.
fn cut_text(head: &[u8], rule: Rule) -> Result<Head, ClientError> {
    let Some([_, _, _, _, length @ ..]) = head.first_chunk::<8>() else {
        return Ok(Head::Needs(8));
    };
    let signed = i32::from_be_bytes(*length);
    let length = signed.unsigned_abs();
    if length > rule.clipboard_bytes {
        let most = usize::try_from(rule.clipboard_bytes).unwrap_or(usize::MAX);
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        return Err(ClientError::TooLong { what: "clipboard", length, most });
    }
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    let kind = match (signed, head.get(8..).and_then(|rest| rest.first_chunk())) {
        (0.., _) => Kind::Input,
        (-3.., _) => Kind::Change,
        (_, None) => return Ok(Head::Needs(12)),
        (_, Some(flags)) => match u32::from_be_bytes(*flags) {
            flags if flags & CAPS == 0 && flags & (NOTIFY | PROVIDE) != 0 => Kind::Input,
            _ => Kind::Change,
        },
    };
    Ok(Head::Is { kind, length: length.saturating_add(8) })
}

/// A message with a byte that counts its parts: where that byte is, how long a part and the rest are.
fn counted(
    head: &[u8],
    kind: Kind,
    what: &'static str,
    (at, part, rest): (usize, usize, usize),
    most: u8,
) -> Result<Head, ClientError> {
    let Some(count) = head.get(at) else { return Ok(Head::Needs(at + 1)) };
    let (length, most) = (usize::from(*count), usize::from(most));
    if length > most {
        return Err(ClientError::TooLong { what, length, most });
    }
    Ok(Head::Is { kind, length: rest + part * length })
}

/// The message without the encodings that are not announced.
fn announced(message: &[u8]) -> Vec<u8> {
    let all = message.get(4..).unwrap_or_default().as_chunks().0;
    let kept: Vec<[u8; 4]> =
        all.iter().copied().filter(|it| may_announce(i32::from_be_bytes(*it))).collect();
    let count = u16::try_from(kept.len()).unwrap_or(u16::MAX).to_be_bytes();
    [&[SET_ENCODINGS, 0][..], &count, kept.as_flattened()].concat()
}

/// Quality and compression levels are ranges.
fn may_announce(encoding: i32) -> bool {
    matches!(encoding, -32..=-23 | -256..=-247) || ENCODINGS.contains(&encoding)
}
