//! The client's side of the RFB handshake, towards a guest's screen: versions 3.3, 3.7 and 3.8, security types None, VNC
//! authentication and VeNCrypt (RFC 6143 7.1 to 7.3; VeNCrypt as QEMU, TigerVNC and libvncserver speak it).
//!
//! Guarantees: the whole list of security types is read and the strongest that the rules allow is taken; a server is
//! told a password only by a way that the rules allow; bytes are asked for by exact number, so nothing that follows is
//! taken with them, and nothing said before TLS can count as said inside it.

use std::fmt;

use super::init::{self, ServerInit};
use super::security::{Rules, Security, VENCRYPT, named};
use super::{VERSION_LENGTH, vnc_auth};

/// Longest reason of a refusal that is read.
const MAX_REASON: usize = 1024;
/// VeNCrypt's one version in use.
const VENCRYPT_VERSION: [u8; 2] = [0, 2];

/// What the handshake waits for.
#[derive(Clone, PartialEq, Eq)]
pub enum Want {
    /// To be given exactly so many bytes from the server.
    Read(usize),
    /// These to be sent.
    Write(Vec<u8>),
    /// TLS to be started on the connection and the server's certificate proved; then [`Handshake::secured`].
    StartTls,
    /// Nothing: the session has begun.
    Done,
}

/// What is sent may be a password.
impl fmt::Debug for Want {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(count) => write!(f, "Read({count})"),
            Self::Write(bytes) => write!(f, "Write({} bytes)", bytes.len()),
            Self::StartTls => f.write_str("StartTls"),
            Self::Done => f.write_str("Done"),
        }
    }
}

/// Why a server cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// It does not begin like RFB: another service is on this port.
    #[error("the server does not speak RFB")]
    NotRfb,
    /// It refuses to talk, with a reason of its own; a later attempt may do.
    #[error("the server refused the connection: {reason}")]
    Refused {
        /// The server's words.
        reason: String,
    },
    /// None of its security types is allowed.
    #[error("none of the server's security types is allowed: {}", named(.offered.iter().copied().map(u32::from)))]
    NoSecurity {
        /// Their numbers.
        offered: Vec<u8>,
    },
    /// It speaks VeNCrypt, but none of the subtypes is allowed.
    #[error("none of the server's VeNCrypt subtypes is allowed: {}", named(.offered.iter().copied()))]
    NoSubtype {
        /// Their numbers.
        offered: Vec<u32>,
    },
    /// It did not take the password.
    #[error("the server did not accept the credentials: {reason}")]
    Denied {
        /// The server's words; empty from servers older than 3.8.
        reason: String,
    },
    /// It broke the protocol.
    #[error("the server broke the protocol: {0}")]
    Broken(&'static str),
}

#[derive(Clone, Debug)]
enum State {
    Version,
    /// The one type that a 3.3 server decides on.
    OldType,
    Count,
    Types(usize),
    Challenge,
    SubVersion,
    SubVersionAnswer,
    SubCount,
    Subtypes(usize),
    SubAnswer,
    /// TLS is to be started, then the subtype goes on.
    Tls,
    Result,
    ReasonLength(Because),
    Reason(Because, usize),
    Init,
    Name(ServerInit, usize),
    Done(ServerInit),
}

/// What a reason is given for.
#[derive(Clone, Copy, Debug)]
enum Because {
    Refused,
    Denied,
}

/// A handshake under way.
#[derive(Clone)]
pub struct Handshake {
    rules: Rules,
    state: State,
    /// Minor version in use: 3, 7 or 8.
    minor: u8,
    security: Security,
    out: Vec<u8>,
}

/// What is to be sent may be a password.
impl fmt::Debug for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handshake")
            .field("state", &self.state)
            .field("minor", &self.minor)
            .field("security", &self.security)
            .field("out", &self.out.len())
            .finish_non_exhaustive()
    }
}

impl Handshake {
    /// A handshake by `rules`; the server speaks first.
    pub fn new(rules: Rules) -> Self {
        Self { rules, state: State::Version, minor: 8, security: Security::None, out: Vec::new() }
    }

    /// What has to happen next. What is to be sent is handed out once.
    pub fn want(&mut self) -> Want {
        if !self.out.is_empty() {
            return Want::Write(std::mem::take(&mut self.out));
        }
        match &self.state {
            State::Version => Want::Read(VERSION_LENGTH),
            State::OldType | State::Result | State::ReasonLength(_) => Want::Read(4),
            State::Count | State::SubVersionAnswer | State::SubCount | State::SubAnswer => {
                Want::Read(1)
            }
            State::SubVersion => Want::Read(2),
            State::Types(count) => Want::Read(*count),
            State::Subtypes(count) => Want::Read(count * 4),
            State::Challenge => Want::Read(vnc_auth::LENGTH),
            State::Tls => Want::StartTls,
            State::Reason(_, length) | State::Name(_, length) => Want::Read(*length),
            State::Init => Want::Read(init::HEAD),
            State::Done(_) => Want::Done,
        }
    }

    /// Takes the bytes that [`Want::Read`] asked for.
    pub fn give(&mut self, bytes: &[u8]) -> Result<(), HandshakeError> {
        let state = std::mem::replace(&mut self.state, State::Version);
        self.state = match state {
            State::Version => self.version(bytes)?,
            State::OldType => self.old_type(number(bytes))?,
            State::Count => match first(bytes) {
                0 => State::ReasonLength(Because::Refused),
                count => State::Types(usize::from(count)),
            },
            State::Types(_) => self.types(bytes)?,
            State::Challenge => self.challenge(bytes)?,
            State::SubVersion => self.sub_version(bytes)?,
            State::SubVersionAnswer => match first(bytes) {
                0 => State::SubCount,
                _ => return Err(HandshakeError::Broken("VeNCrypt version not accepted")),
            },
            State::SubCount => State::Subtypes(usize::from(first(bytes))),
            State::Subtypes(_) => self.subtypes(bytes)?,
            State::SubAnswer => match first(bytes) {
                1 => State::Tls,
                _ => return Err(HandshakeError::Broken("VeNCrypt subtype not accepted")),
            },
            State::Tls => return Err(HandshakeError::Broken("bytes before TLS")),
            State::Result => self.result(number(bytes))?,
            State::ReasonLength(because) => reason_length(because, number(bytes))?,
            State::Reason(because, _) => return Err(refusal(because, bytes)),
            State::Init => init_head(bytes)?,
            State::Name(mut init, _) => {
                init.name(bytes);
                State::Done(init)
            }
            State::Done(init) => State::Done(init),
        };
        Ok(())
    }

    /// TLS is up and the server's certificate was proved.
    pub fn secured(&mut self) {
        if matches!(self.state, State::Tls) {
            self.state = self.authenticate();
        }
    }

    /// How the server was authenticated.
    pub fn security(&self) -> Security {
        self.security
    }

    /// The screen's description, once done.
    pub fn init(&self) -> Option<&ServerInit> {
        match &self.state {
            State::Done(init) => Some(init),
            _ => None,
        }
    }

    /// Versions that nobody defined count as the one below (RFC 6143 7.1.1): 3.5 as 3.3, 3.889 and 4.1 as 3.8.
    fn version(&mut self, bytes: &[u8]) -> Result<State, HandshakeError> {
        let parts = bytes.strip_prefix(b"RFB ").and_then(|rest| rest.strip_suffix(b"\n"));
        let (major, minor) = parts
            .and_then(|rest| rest.split_at_checked(3))
            .and_then(|(major, rest)| Some((major, rest.strip_prefix(b".")?)))
            .and_then(|(major, minor)| Some((decimal(major)?, decimal(minor)?)))
            .ok_or(HandshakeError::NotRfb)?;
        self.minor = match (major, minor) {
            (..3, _) => return Err(HandshakeError::NotRfb),
            (3, ..7) => 3,
            (3, 7) => 7,
            _ => 8,
        };
        self.out = format!("RFB 003.00{}\n", self.minor).into_bytes();
        Ok(if self.minor == 3 { State::OldType } else { State::Count })
    }

    fn old_type(&mut self, number: u32) -> Result<State, HandshakeError> {
        if number == 0 {
            return Ok(State::ReasonLength(Because::Refused));
        }
        let offered = u8::try_from(number).unwrap_or(u8::MAX);
        let is_it = |security: Security| !security.is_encrypted() && security.number() == offered;
        let offered = || HandshakeError::NoSecurity { offered: vec![offered] };
        self.security = self.rules.strongest(is_it).ok_or_else(offered)?;
        Ok(self.authenticate())
    }

    fn types(&mut self, offered: &[u8]) -> Result<State, HandshakeError> {
        let refused = || HandshakeError::NoSecurity { offered: offered.to_vec() };
        let has = |security: Security| offered.contains(&security.number());
        self.security = self.rules.strongest(has).ok_or_else(refused)?;
        self.out.push(self.security.number());
        if self.security.number() == VENCRYPT {
            return Ok(State::SubVersion);
        }
        Ok(self.authenticate())
    }

    fn sub_version(&mut self, bytes: &[u8]) -> Result<State, HandshakeError> {
        if first(bytes) == 0 && bytes.get(1).is_none_or(|minor| *minor < 2) {
            return Err(HandshakeError::Broken("VeNCrypt older than 0.2"));
        }
        self.out = VENCRYPT_VERSION.to_vec();
        Ok(State::SubVersionAnswer)
    }

    fn subtypes(&mut self, bytes: &[u8]) -> Result<State, HandshakeError> {
        let offered: Vec<u32> =
            bytes.as_chunks().0.iter().map(|number| u32::from_be_bytes(*number)).collect();
        let has = |security: Security| security.subtype().is_some_and(|it| offered.contains(&it));
        let Some(security) = self.rules.strongest(has) else {
            return Err(HandshakeError::NoSubtype { offered });
        };
        self.security = security;
        self.out = security.subtype().unwrap_or_default().to_be_bytes().to_vec();
        Ok(State::SubAnswer)
    }

    /// The part of the chosen way that asks for credentials.
    fn authenticate(&mut self) -> State {
        match self.security {
            Security::X509Plain => {
                self.out = plain(&self.rules);
                State::Result
            }
            Security::X509Vnc | Security::VncAuthentication => State::Challenge,
            Security::X509None => State::Result,
            // only 3.8 confirms it (RFC 6143 7.1.3)
            Security::None if self.minor == 8 => State::Result,
            Security::None => self.begin(),
        }
    }

    fn challenge(&mut self, bytes: &[u8]) -> Result<State, HandshakeError> {
        let short = HandshakeError::Broken("challenge too short");
        let challenge = *bytes.first_chunk().ok_or(short)?;
        let password = self.rules.password.as_deref().unwrap_or_default();
        self.out = vnc_auth::response(password, challenge).to_vec();
        Ok(State::Result)
    }

    fn result(&mut self, code: u32) -> Result<State, HandshakeError> {
        match code {
            0 => Ok(self.begin()),
            // a reason follows since 3.8
            1 | 2 if self.minor == 8 => Ok(State::ReasonLength(Because::Denied)),
            1 | 2 => Err(HandshakeError::Denied { reason: String::new() }),
            _ => Err(HandshakeError::Broken("unknown security result")),
        }
    }

    /// Asks to share the screen: a second viewer must not end the first (RFC 6143 7.3.1).
    fn begin(&mut self) -> State {
        self.out.push(1);
        State::Init
    }
}

fn plain(rules: &Rules) -> Vec<u8> {
    let (user, password) = (rules.user.as_deref(), rules.password.as_deref());
    let (user, password) = (user.unwrap_or_default(), password.unwrap_or_default());
    let length = |text: &[u8]| u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes();
    [&length(user)[..], &length(password)[..], user, password].concat()
}

fn reason_length(because: Because, length: u32) -> Result<State, HandshakeError> {
    match usize::try_from(length) {
        Ok(0) => Err(refusal(because, b"")),
        Ok(length @ 1..=MAX_REASON) => Ok(State::Reason(because, length)),
        _ => Err(refusal(because, b"(a reason too long to read)")),
    }
}

fn refusal(because: Because, reason: &[u8]) -> HandshakeError {
    let reason = String::from_utf8_lossy(reason).replace(char::is_control, " ");
    match because {
        Because::Refused => HandshakeError::Refused { reason },
        Because::Denied => HandshakeError::Denied { reason },
    }
}

fn init_head(bytes: &[u8]) -> Result<State, HandshakeError> {
    match ServerInit::head(bytes) {
        (init, 0) => Ok(State::Done(init)),
        (init, length @ 1..=init::MAX_NAME) => Ok(State::Name(init, length)),
        _ => Err(HandshakeError::Broken("name of the screen too long")),
    }
}

fn first(bytes: &[u8]) -> u8 {
    bytes.first().copied().unwrap_or_default()
}

fn number(bytes: &[u8]) -> u32 {
    bytes.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes))
}

fn decimal(digits: &[u8]) -> Option<u16> {
    let all = digits.iter().all(u8::is_ascii_digit);
    if !all {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}
