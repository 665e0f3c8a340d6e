//! The manager's own client identity, made anew before it ends.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::{ClientIdentity, PushError};
use crate::ca::Authority;

/// How long an identity is used; its certificate is good for a week.
const USED: Duration = Duration::from_hours(24);

/// Hands out the current client identity.
#[derive(Debug)]
pub(super) struct Identities {
    authority: Authority,
    current: Mutex<Option<Current>>,
}

#[derive(Debug)]
struct Current {
    since: Instant,
    /// The authorities that it is of.
    of: String,
    identity: ClientIdentity,
}

impl Identities {
    pub(super) fn new(authority: Authority) -> Self {
        Self { authority, current: Mutex::new(None) }
    }

    pub(super) fn current(&self) -> Result<ClientIdentity, PushError> {
        // what is inside is replaced whole, so a panic elsewhere cannot have left it half written
        let mut slot = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let of = self.authority.trusted();
        if let Some(current) = slot.as_ref()
            && current.since.elapsed() < USED
            && current.of == of
        {
            return Ok(current.identity.clone());
        }
        let issued =
            self.authority.clients().map_err(|error| PushError::Identity(super::chain(&error)))?;
        let identity = ClientIdentity::of(issued.iter().map(|issued| &issued.identity))?;
        *slot = Some(Current { since: Instant::now(), of, identity: identity.clone() });
        Ok(identity)
    }
}
