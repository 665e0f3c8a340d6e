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
    current: Mutex<Option<(Instant, ClientIdentity)>>,
}

impl Identities {
    pub(super) fn new(authority: Authority) -> Self {
        Self { authority, current: Mutex::new(None) }
    }

    pub(super) fn current(&self) -> Result<ClientIdentity, PushError> {
        // what is inside is replaced whole, so a panic elsewhere cannot have left it half written
        let mut slot = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((since, identity)) = slot.as_ref()
            && since.elapsed() < USED
        {
            return Ok(identity.clone());
        }
        let issued =
            self.authority.client().map_err(|error| PushError::Identity(super::chain(&error)))?;
        let identity = ClientIdentity::new(&issued.identity)?;
        *slot = Some((Instant::now(), identity.clone()));
        Ok(identity)
    }
}
