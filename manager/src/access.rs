//! Who calls, and what for.
//!
//! Guarantees: on the manager's socket the kernel says who calls; over TCP a token does. What only an administrator may
//! do is what gives others the administrator's power: private keys, tokens, back-ups, the authority.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::store::Owner;

/// What a caller may do; each may do what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(as = TokenRole)]
#[derive(clap::ValueEnum)]
pub enum Role {
    /// Look.
    Reader,
    /// Change the cloud.
    Operator,
    /// Everything: boot documents, tokens, back-ups, the authority.
    Administrator,
}

/// Who calls, as the history of changes has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Name of a token, or a user of the manager's machine.
    pub name: String,
    /// An address, or the manager's socket.
    pub origin: String,
    /// What it may do.
    pub role: Role,
    /// Whose objects it makes and sees.
    pub owner: Owner,
}

impl Caller {
    /// The manager itself.
    pub fn manager() -> Self {
        let (name, origin) = ("manager".to_owned(), "itself".to_owned());
        Self { name, origin, role: Role::Administrator, owner: Owner::default() }
    }
}
