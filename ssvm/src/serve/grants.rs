//! Who may do what now.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;

use super::answer::Answer;
use super::meter::Meter;
use crate::slice::{Grant, Permission, TokenHash};

/// A grant and what was used of it.
#[derive(Clone)]
pub(super) struct Held {
    pub(super) grant: Grant,
    pub(super) meter: Arc<Meter>,
}

impl Held {
    /// It has not ended yet.
    pub(super) fn still_runs(&self) -> Result<(), Answer> {
        if self.grant.expires <= now() {
            return Err(Answer::new(410, "grant-expired", "the grant has ended"));
        }
        Ok(())
    }
}

/// The grants of the configuration.
#[derive(Default)]
pub(super) struct Grants(RwLock<HashMap<TokenHash, Held>>);

impl Grants {
    /// From now on these; what was used of those that stay is kept.
    pub(super) fn set(&self, grants: &[Grant]) {
        let mut held = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let of = |grant: &Grant| {
            let key = grant.token;
            let before = held.get(&key).filter(|held| held.grant.id == grant.id);
            let meter = before.map_or_else(Arc::default, |held| Arc::clone(&held.meter));
            (key, Held { grant: grant.clone(), meter })
        };
        *held = grants.iter().map(of).collect();
    }

    /// The grant of `token`, which must still run.
    fn find(&self, token: &str) -> Result<Held, Answer> {
        let held = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let found = held.get(&TokenHash::of(token)).cloned().ok_or_else(Answer::nothing_here)?;
        found.still_runs()?;
        Ok(found)
    }

    /// The grant of `token` to download something.
    pub(super) fn to_download(&self, token: &str) -> Result<Held, Answer> {
        let held = self.find(token)?;
        match held.grant.permission {
            Permission::Download { .. } => Ok(held),
            Permission::Upload { .. } => Err(Answer::nothing_here()),
        }
    }

    /// The grant to upload whose token is in `Authorization: Bearer`.
    pub(super) fn to_upload(&self, headers: &HeaderMap) -> Result<Held, Answer> {
        let header = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = header.and_then(|text| text.split_once(' '));
        let token = token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        let Some((_, token)) = token else {
            return Err(Answer::new(401, "no-token", "the grant's token is missing"));
        };
        let held = self.find(token.trim())?;
        match held.grant.permission {
            Permission::Upload { .. } => Ok(held),
            Permission::Download { .. } => Err(Answer::nothing_here()),
        }
    }
}

/// Seconds since 1970-01-01 UTC.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(token: &str, expires: u64, upload: bool) -> Grant {
        let permission = if upload {
            serde_json::json!({ "upload": { "job": "j", "most_bytes": 5 } })
        } else {
            serde_json::json!({ "download": { "store": "s",
                "place": { "volume": { "account": 1, "id": 2, "name": "v" } } } })
        };
        Grant {
            id: "g".parse().unwrap(),
            token: TokenHash::of(token),
            expires,
            permission: serde_json::from_value(permission).unwrap(),
        }
    }

    fn bearer(token: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
        headers
    }

    #[test]
    fn a_token_opens_what_it_is_for_while_it_lasts_and_nothing_else() {
        let grants = Grants::default();
        grants.set(&[
            grant("up", u64::MAX, true),
            grant("down", u64::MAX, false),
            grant("old", 5, false),
        ]);
        let status = |answer: Result<Held, Answer>| answer.map_or_else(|a| a.status(), |_| 200);
        assert_eq!(status(grants.to_upload(&bearer("up"))), 200);
        assert_eq!(status(grants.to_download("down")), 200);
        assert_eq!(status(grants.to_upload(&bearer("down"))), 404);
        assert_eq!(status(grants.to_download("up")), 404);
        assert_eq!(status(grants.to_download("nobody's")), 404);
        assert_eq!(status(grants.to_download("old")), 410);
        assert_eq!(status(grants.to_upload(&HeaderMap::new())), 401);
        grants.set(&[]);
        assert_eq!(status(grants.to_download("down")), 404);
    }

    #[test]
    fn what_was_used_of_a_grant_outlives_a_change_of_another() {
        let grants = Grants::default();
        grants.set(&[grant("down", u64::MAX, false)]);
        assert!(grants.to_download("down").unwrap().meter.begin(Some(1)));
        grants.set(&[grant("down", u64::MAX - 1, false), grant("up", u64::MAX, true)]);
        assert!(!grants.to_download("down").unwrap().meter.begin(Some(1)));
    }
}
