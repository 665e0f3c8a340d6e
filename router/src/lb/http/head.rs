//! One request head, judged strictly: pure.

use super::framing::{MAX_HEAD, Refusal};

/// Most header lines.
const MAX_HEADERS: usize = 100;
/// Longest method.
const MAX_METHOD: usize = 32;

/// What follows a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    /// The next request.
    None,
    /// So many bytes, at least one.
    Sized(u64),
    /// Chunks.
    Chunked,
    /// Perhaps another protocol.
    Upgrade,
}

/// What the header lines said of the message's length and of the connection.
#[derive(Default)]
struct Said {
    length: Option<u64>,
    chunked: bool,
    hosts: usize,
    upgrade: bool,
    connection_upgrade: bool,
}

/// Judges a whole head, with the empty line at its end.
pub(crate) fn judge(head: &[u8]) -> Result<Body, Refusal> {
    if let Some(refusal) = too_long(head) {
        return Err(refusal);
    }
    let lines = head.strip_suffix(b"\r\n\r\n").ok_or(Refusal::Malformed)?;
    let mut lines = Lines(Some(lines));
    let (line, old) = request_line(lines.next().ok_or(Refusal::Malformed)?)?;
    let mut said = Said::default();
    let mut host = None;
    for (number, text) in lines.enumerate() {
        if number >= MAX_HEADERS {
            return Err(Refusal::HeadTooLong);
        }
        let (name, value) = header(text)?;
        if name.eq_ignore_ascii_case(b"host") {
            host = Some(value);
        }
        said.hear(name, value)?;
    }
    check_host(&said, line.authority, host, old)?;
    said.body(line.method, old)
}

/// A refusal when a head, whole or not, is longer than a head may be.
pub(crate) fn too_long(head: &[u8]) -> Option<Refusal> {
    if head.len() <= MAX_HEAD {
        return None;
    }
    let line_ends = head.iter().take(MAX_HEAD).any(|byte| *byte == b'\n');
    Some(if line_ends { Refusal::HeadTooLong } else { Refusal::TargetTooLong })
}

/// Whether the LF at `at` has no CR before it.
pub(crate) fn lone_lf(buffer: &[u8], at: usize) -> bool {
    at.checked_sub(1).and_then(|at| buffer.get(at)) != Some(&b'\r')
}

/// The lines of a text whose lines end in CR LF, without their ends.
struct Lines<'a>(Option<&'a [u8]>);

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let text = self.0.take()?;
        match text.windows(2).position(|pair| pair == b"\r\n") {
            Some(end) => {
                self.0 = text.get(end + 2..);
                text.get(..end)
            }
            None => Some(text),
        }
    }
}

struct RequestLine<'a> {
    method: &'a [u8],
    /// Of a target in absolute form.
    authority: Option<&'a [u8]>,
}

/// Method and target; true for HTTP/1.0.
///
/// A blank that is not the one between words, and any other control character, is in no word.
fn request_line(line: &[u8]) -> Result<(RequestLine<'_>, bool), Refusal> {
    let mut words = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(Refusal::Malformed);
    };
    if !(1..=MAX_METHOD).contains(&method.len()) || !method.iter().all(|b| is_token(*b)) {
        return Err(Refusal::Malformed);
    }
    let old = match version {
        b"HTTP/1.1" => false,
        b"HTTP/1.0" => true,
        _ if version.starts_with(b"HTTP/") => return Err(Refusal::Version),
        _ => return Err(Refusal::Malformed),
    };
    if method == b"CONNECT" {
        return Err(Refusal::Method);
    }
    Ok((RequestLine { method, authority: judge_target(method, target)? }, old))
}

/// The authority of an absolute target, `None` for the usual form.
fn judge_target<'a>(method: &[u8], target: &'a [u8]) -> Result<Option<&'a [u8]>, Refusal> {
    if !target.iter().all(|b| b.is_ascii_graphic() && *b != b'#') {
        return Err(Refusal::Malformed);
    }
    if target.starts_with(b"/") || (target == b"*" && method == b"OPTIONS") {
        return Ok(None);
    }
    let scheme = |name: &str| {
        let (front, rest) = target.split_at_checked(name.len())?;
        front.eq_ignore_ascii_case(name.as_bytes()).then_some(rest)
    };
    let rest = scheme("http://").or_else(|| scheme("https://")).ok_or(Refusal::Malformed)?;
    let end = rest.iter().position(|b| matches!(b, b'/' | b'?')).unwrap_or(rest.len());
    match rest.get(..end) {
        Some(authority) if !authority.is_empty() => Ok(Some(authority)),
        _ => Err(Refusal::Malformed),
    }
}

fn header(line: &[u8]) -> Result<(&[u8], &[u8]), Refusal> {
    // CR and LF are among them: a lone one ends no line
    if line.iter().any(|b| (*b < b' ' && *b != b'\t') || *b == 0x7f) {
        return Err(Refusal::Malformed);
    }
    let colon = line.iter().position(|byte| *byte == b':').ok_or(Refusal::Malformed)?;
    let (name, value) = line.split_at_checked(colon).ok_or(Refusal::Malformed)?;
    // a folded line, or a blank before the colon, is no token
    if name.is_empty() || !name.iter().all(|b| is_token(*b)) {
        return Err(Refusal::Malformed);
    }
    Ok((name, value.get(1..).unwrap_or_default().trim_ascii()))
}

impl Said {
    fn hear(&mut self, name: &[u8], value: &[u8]) -> Result<(), Refusal> {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        if is("content-length") {
            let repeated = self.length.replace(number(value).ok_or(Refusal::Malformed)?).is_some();
            return if repeated { Err(Refusal::Malformed) } else { Ok(()) };
        }
        if is("transfer-encoding") {
            return self.hear_coding(value);
        }
        if is("expect") && !value.eq_ignore_ascii_case(b"100-continue") {
            return Err(Refusal::Expectation);
        }
        if is("host") {
            self.hosts += 1;
        } else if is("upgrade") {
            self.upgrade = true;
        } else if is("connection") {
            self.connection_upgrade |= has_option(value, "upgrade");
        }
        Ok(())
    }

    fn hear_coding(&mut self, value: &[u8]) -> Result<(), Refusal> {
        if self.chunked {
            return Err(Refusal::Malformed);
        }
        if !value.eq_ignore_ascii_case(b"chunked") {
            let known = value.iter().all(|b| is_token(*b) || matches!(b, b',' | b' '));
            return Err(if known { Refusal::Coding } else { Refusal::Malformed });
        }
        self.chunked = true;
        Ok(())
    }

    fn body(&self, method: &[u8], old: bool) -> Result<Body, Refusal> {
        match (self.chunked, self.length) {
            (true, Some(_)) => return Err(Refusal::Malformed),
            (true, None) if old => return Err(Refusal::Malformed),
            (true, None) => return Ok(Body::Chunked),
            (false, Some(length)) if length > 0 => return Ok(Body::Sized(length)),
            (false, _) => {}
        }
        let upgrade = self.upgrade && self.connection_upgrade && !old && method == b"GET";
        Ok(if upgrade { Body::Upgrade } else { Body::None })
    }
}

/// RFC 9112 3.2: one Host in HTTP/1.1, at most one before; RFC 9112 3.2.2: an absolute target says the same.
fn check_host(
    said: &Said,
    authority: Option<&[u8]>,
    host: Option<&[u8]>,
    old: bool,
) -> Result<(), Refusal> {
    if said.hosts > 1 || (said.hosts == 0 && !old) {
        return Err(Refusal::Malformed);
    }
    let in_host = |b: &u8| b.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(b);
    if host.is_some_and(|host| !host.iter().all(&in_host)) {
        return Err(Refusal::Malformed);
    }
    match (authority, host) {
        (Some(authority), _) if !authority.iter().all(in_host) => Err(Refusal::Malformed),
        (Some(authority), Some(host)) if !authority.eq_ignore_ascii_case(host) => {
            Err(Refusal::Malformed)
        }
        _ => Ok(()),
    }
}

/// Whether a comma-separated list has `option`.
fn has_option(value: &[u8], option: &str) -> bool {
    let words = value.split(|byte| *byte == b',');
    words.map(<[u8]>::trim_ascii).any(|word| word.eq_ignore_ascii_case(option.as_bytes()))
}

/// A decimal number of at most 18 digits, and nothing else.
fn number(text: &[u8]) -> Option<u64> {
    if !(1..=18).contains(&text.len()) || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(text.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
}

/// A character of a token (RFC 9110 5.6.2).
pub(crate) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
