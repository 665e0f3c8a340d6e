//! Which clients of a rule are bound to which member, by whatever the rule's stickiness looks at.

use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use sluice_api::config::balancer::Stickiness;

use super::clock;
use super::table::Table;

/// Bindings remembered of application cookies; the guide sets no size for them.
const APP_COOKIES: usize = 204_800;

/// The bindings of one rule.
#[derive(Debug)]
pub(super) enum Memory {
    /// None: no stickiness, or the cookie itself says it.
    None,
    /// By the client's address.
    Sources(Mutex<Table<IpAddr>>),
    /// By the application's cookie.
    Cookies(Mutex<Table<Vec<u8>>>),
}

/// The bindings of one rule on their way to another process: client, member, milliseconds that are left.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Bindings {
    /// By the client's address.
    Sources(Vec<(IpAddr, u64, u64)>),
    /// By the application's cookie.
    Cookies(Vec<(Vec<u8>, u64, u64)>),
}

impl Memory {
    /// All bindings; `None` when there can be none.
    pub(super) fn bindings(&self) -> Option<Bindings> {
        match self {
            Self::None => None,
            Self::Sources(table) => Some(Bindings::Sources(locked(table).bindings(clock::now()))),
            Self::Cookies(table) => Some(Bindings::Cookies(locked(table).bindings(clock::now()))),
        }
    }

    /// Takes in bindings of the same kind; others say nothing of clients of ours.
    pub(super) fn go_on(&self, bindings: Bindings) {
        match (self, bindings) {
            (Self::Sources(table), Bindings::Sources(all)) => {
                locked(table).go_on(all, clock::now());
            }
            (Self::Cookies(table), Bindings::Cookies(all)) => {
                locked(table).go_on(all, clock::now());
            }
            _ => {}
        }
    }

    /// An empty memory for `stickiness`.
    pub(super) fn of(stickiness: Option<&Stickiness>) -> Self {
        let milliseconds = |seconds: u32| u64::from(seconds) * 1000;
        match stickiness {
            None | Some(Stickiness::LbCookie(_)) => Self::None,
            Some(Stickiness::SourceBased(source)) => {
                let most = usize::try_from(source.table_size.get()).unwrap_or(usize::MAX);
                let table = Table::new(most, milliseconds(source.expire_seconds.get()));
                Self::Sources(Mutex::new(table))
            }
            Some(Stickiness::AppCookie(cookie)) => {
                let table = Table::new(APP_COOKIES, milliseconds(cookie.hold_seconds.get()));
                Self::Cookies(Mutex::new(table))
            }
        }
    }

    /// The member that a client at `source` is bound to.
    pub(super) fn of_source(&self, source: IpAddr) -> Option<u64> {
        let Self::Sources(table) = self else { return None };
        locked(table).find(&source, clock::now())
    }

    /// Binds a client at `source`.
    pub(super) fn bind_source(&self, source: IpAddr, member: u64) {
        if let Self::Sources(table) = self {
            locked(table).bind(source, member, clock::now());
        }
    }

    /// The member that a cookie is bound to.
    pub(super) fn of_cookie(&self, value: &[u8]) -> Option<u64> {
        let Self::Cookies(table) = self else { return None };
        locked(table).find(&value.to_vec(), clock::now())
    }

    /// Binds a cookie.
    pub(super) fn bind_cookie(&self, value: Vec<u8>, member: u64) {
        if let Self::Cookies(table) = self {
            locked(table).bind(value, member, clock::now());
        }
    }

    /// Clients remembered.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::None => 0,
            Self::Sources(table) => held(table),
            Self::Cookies(table) => held(table),
        }
    }
}

fn locked<K>(table: &Mutex<Table<K>>) -> std::sync::MutexGuard<'_, Table<K>> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Clients of `table` whose time is not over.
fn held<K: Hash + Eq + Clone>(table: &Mutex<Table<K>>) -> usize {
    let mut table = locked(table);
    table.expire(clock::now());
    table.len()
}
