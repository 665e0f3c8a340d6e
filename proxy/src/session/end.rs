//! Why a session ends: a WebSocket close code and a name for the page, a sentence for people.
//!
//! Codes of 4100 to 4199 say that the page should try again by itself, those of 4200 to 4299 that it should not (RFC 6455
//! 7.4.2 leaves 4000 to 4999 to applications).

use crate::backend::BackendError;
use crate::rfb::{BrowserError, ClientError, HandshakeError};
use crate::slice::ScreenState;

/// The end of a session.
#[derive(Debug)]
pub enum End {
    /// The browser closed it or broke away.
    BrowserLeft,
    /// The browser answers no ping any more.
    BrowserSilent,
    /// The browser broke the protocol or a limit.
    BrowserBroke(String),
    /// The VM's screen closed the connection.
    ScreenClosed,
    /// The VM's screen takes nothing any more.
    ScreenStalled,
    /// The VM's screen could not be opened.
    NoScreen(BackendError),
    /// The VM has no screen now.
    Away(ScreenState),
    /// The VM's screen is elsewhere now, or asks for other credentials.
    Moved,
    /// The grant was taken away.
    Revoked,
    /// Its time is over.
    Expired,
    /// It is for other networks now.
    Address,
    /// Nobody typed or clicked for as long as the grant allows.
    Idle(u32),
}

impl End {
    /// The close code.
    pub fn code(&self) -> u16 {
        match self {
            Self::ScreenClosed => 4101,
            Self::NoScreen(error) if error.may_pass() => 4102,
            Self::ScreenStalled => 4103,
            Self::Moved => 4104,
            Self::Away(_) => 4105,
            // a VM that moved leaves its port to another before its new place is known here
            Self::NoScreen(BackendError::WrongScreen { .. } | BackendError::Elsewhere(_)) => 4106,
            Self::NoScreen(error) => match error {
                BackendError::Handshake(HandshakeError::Denied { .. }) => 4201,
                BackendError::Untrusted(_) | BackendError::Trust(_) => 4202,
                _ => 4204,
            },
            // a laptop that was asleep, or a network that was gone: the page may be there again
            Self::BrowserSilent => 4107,
            Self::Revoked => 4210,
            Self::Expired => 4211,
            Self::Address => 4212,
            Self::Idle(_) => 4213,
            Self::BrowserBroke(_) => 4220,
            Self::BrowserLeft => 1000,
        }
    }

    /// Its name in logs, reports and on the page.
    pub fn name(&self) -> &'static str {
        match self {
            Self::BrowserLeft => "browser-left",
            Self::BrowserSilent => "browser-silent",
            Self::BrowserBroke(_) => "protocol",
            Self::ScreenClosed => "screen-closed",
            Self::ScreenStalled => "screen-stalled",
            Self::NoScreen(error) => match error {
                BackendError::Unreachable(_) => "screen-unreachable",
                BackendError::Lost(_) => "screen-lost",
                BackendError::Handshake(HandshakeError::Denied { .. }) => "screen-credentials",
                BackendError::Handshake(HandshakeError::Refused { .. }) => "screen-refused",
                BackendError::Handshake(
                    HandshakeError::NoSecurity { .. } | HandshakeError::NoSubtype { .. },
                ) => "screen-security",
                BackendError::Handshake(_) => "screen-protocol",
                BackendError::Untrusted(_) | BackendError::Trust(_) => "screen-untrusted",
                BackendError::WrongScreen { .. } | BackendError::Elsewhere(_) => "screen-wrong",
                BackendError::Unasked => "screen-unasked",
            },
            Self::Moved => "screen-moved",
            Self::Away(_) => "screen-away",
            Self::Revoked => "revoked",
            Self::Expired => "expired",
            Self::Address => "address",
            Self::Idle(_) => "idle",
        }
    }

    /// What a person should know, in a sentence; nothing of it is a secret of the VM host's.
    pub fn sentence(&self) -> String {
        match self {
            Self::BrowserLeft => "The browser closed the session.".into(),
            Self::BrowserSilent => "The browser no longer answered.".into(),
            Self::BrowserBroke(reason) => format!("The browser broke a rule: {reason}."),
            Self::ScreenClosed => "The VM's screen went away.".into(),
            Self::ScreenStalled => "The VM's screen no longer takes input.".into(),
            Self::NoScreen(error) => no_screen(error).into(),
            Self::Moved => "The VM moved to another host.".into(),
            Self::Away(state) => format!("There is no console now: the VM {}.", away(*state)),
            Self::Revoked => "The link was revoked.".into(),
            Self::Expired => "The link has expired.".into(),
            Self::Address => "The link can no longer be used from your address.".into(),
            Self::Idle(seconds) => format!("Nobody typed or clicked for {seconds} seconds."),
        }
    }

    /// The reason of a close frame, 123 bytes at most (RFC 6455 5.5): the name, a colon, the sentence.
    pub fn reason(&self) -> String {
        let mut text = format!("{}: {}", self.name(), self.sentence());
        let end = (0..=123).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
        text
    }
}

fn away(state: ScreenState) -> &'static str {
    match state {
        ScreenState::There => "is back",
        ScreenState::Starting => "starts",
        ScreenState::Migrating => "moves to another host",
        ScreenState::Stopped => "is switched off",
    }
}

/// Addresses and the server's own words are for the operator's log, not for whoever holds the link.
fn no_screen(error: &BackendError) -> &'static str {
    match error {
        BackendError::Unreachable(_) => "The VM's screen cannot be reached.",
        BackendError::Lost(_) => "The VM's screen went away while it was opened.",
        BackendError::Handshake(HandshakeError::Denied { .. }) => {
            "The VM's screen did not accept the proxy's password."
        }
        BackendError::Handshake(HandshakeError::Refused { .. }) => {
            "The VM's screen refused the connection."
        }
        BackendError::Handshake(HandshakeError::NotRfb) => "The VM's screen does not speak VNC.",
        BackendError::Handshake(
            HandshakeError::NoSecurity { .. } | HandshakeError::NoSubtype { .. },
        ) => "The VM's screen offers no way that is secure enough.",
        BackendError::Handshake(HandshakeError::Broken(_)) => "The VM's screen broke the protocol.",
        BackendError::Untrusted(_) | BackendError::Trust(_) => {
            "The VM host's certificate is not the expected one."
        }
        BackendError::Elsewhere(_) => "The VM's screen is not there any more.",
        BackendError::Unasked => "Nobody said whether this is still the VM's screen.",
        BackendError::WrongScreen { .. } => "Another VM's screen is at this VM's place.",
    }
}

impl From<ClientError> for End {
    fn from(error: ClientError) -> Self {
        Self::BrowserBroke(error.to_string())
    }
}

impl From<BrowserError> for End {
    fn from(error: BrowserError) -> Self {
        Self::BrowserBroke(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_fits_a_close_frame_and_tells_nothing_of_the_host() {
        let end = End::BrowserBroke("ä".repeat(200));
        assert!(end.reason().len() <= 123 && end.reason().starts_with("protocol: "));
        let end = End::NoScreen(BackendError::Unreachable("192.0.2.7 refused".into()));
        assert_eq!(end.reason(), "screen-unreachable: The VM's screen cannot be reached.");
        assert_eq!(end.code(), 4102);
        let end = End::NoScreen(BackendError::Elsewhere("it is at 192.0.2.8 port 5901".into()));
        assert_eq!(end.reason(), "screen-wrong: The VM's screen is not there any more.");
        assert_eq!(end.code(), 4106);
    }
}
