//! One call (RFC 2661 7.4.2: the LNS's side of incoming calls).

use std::time::Duration;

/// How long a caller may take from its request to "connected".
pub(super) const SETUP: Duration = Duration::from_secs(30);

/// A call that the peer asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Session {
    /// The peer's id.
    pub(super) peer: u16,
    /// When it is given up; `None` once it is connected.
    pub(super) until: Option<Duration>,
}

impl Session {
    pub(super) fn new(peer: u16, now: Duration) -> Self {
        Self { peer, until: Some(now + SETUP) }
    }

    pub(super) const fn is_up(&self) -> bool {
        self.until.is_none()
    }
}
