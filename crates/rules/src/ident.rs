//! Names inside an nft script; cheap to clone.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

macro_rules! checked {
    ($(#[$meta:meta])* $name:ident, $max:literal, $allowed:expr, $what:literal) => {
        $(#[$meta])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl TryFrom<String> for $name {
            type Error = String;

            fn try_from(text: String) -> Result<Self, String> {
                let fits = !text.is_empty() && text.len() <= $max;
                let start = text.starts_with(|c: char| c.is_ascii_alphanumeric());
                if fits && start && text.chars().all($allowed) {
                    Ok(Self(text.into()))
                } else {
                    Err(format!(concat!("{:?} is not ", $what), text))
                }
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0.as_ref().to_owned()
            }
        }

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

checked!(
    /// Name of a table, chain, set or map: letters, digits, `_` and `-`, at most 31 characters. Those of ours that
    /// are not the table's own have a hyphen, because nft takes no quoted names and no keyword of it has one.
    Ident,
    31,
    |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-',
    "a name for an nft object"
);

checked!(
    /// Id of a rule, kept as its comment: letters, digits and `_-.:/`, at most 120 characters (nft allows 128 bytes).
    RuleId,
    120,
    |c: char| c.is_ascii_alphanumeric() || "_-.:/".contains(c),
    "an id for an nft rule"
);

impl Ident {
    /// A name that the code itself spells.
    ///
    /// # Panics
    /// When it is not a valid name, which the first test to run it shows.
    #[allow(clippy::panic)]
    pub fn fixed(text: &'static str) -> Self {
        Self::try_from(text.to_owned()).unwrap_or_else(|error| panic!("{error}"))
    }

    /// `prefix` and the name of a link, joined by a hyphen; always valid since both are.
    pub fn of_link(prefix: &'static str, link: &sluice_api::types::LinkName) -> Self {
        Self(format!("{prefix}-{link}").into())
    }
}

impl RuleId {
    /// An id that the code itself spells.
    ///
    /// # Panics
    /// When it is not a valid id, which the first test to run it shows.
    #[allow(clippy::panic)]
    pub fn fixed(text: &'static str) -> Self {
        Self::try_from(text.to_owned()).unwrap_or_else(|error| panic!("{error}"))
    }

    /// `prefix` and the id of an object, joined by a slash; always valid since both are.
    pub fn of(prefix: &'static str, id: &sluice_api::types::ObjectId) -> Self {
        Self(format!("{prefix}/{id}").into())
    }
}
