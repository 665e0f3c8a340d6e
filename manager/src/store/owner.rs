//! Whose objects are, and where objects are looked for.
//!
//! Guarantees: two owners may call theirs alike, and neither finds the other's; the database judges names by
//! [`Owner::owned`]. Everything is of one owner until there are accounts.

/// An account of a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The domain.
    pub domain: String,
    /// The account in it.
    pub account: String,
}

impl Default for Owner {
    /// Whose everything is until there are accounts.
    fn default() -> Self {
        Self { domain: "default".to_owned(), account: "default".to_owned() }
    }
}

impl Owner {
    /// `name` as the database tells it from those of others.
    pub fn owned(&self, name: &str) -> String {
        format!("{}/{}/{name}", self.domain, self.account)
    }
}

/// Where objects are looked for.
#[derive(Clone, Copy, Debug)]
pub enum Scope<'a> {
    /// Among those of one owner: whatever somebody names or lists.
    Of(&'a Owner),
    /// Everywhere: what the manager itself follows, such as ids that objects hold, what makes a configuration, and rules
    /// that hold between objects whoever owns them.
    Cloud,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_two_owners_are_two() {
        let other = Owner { account: "other".to_owned(), ..Owner::default() };
        assert_eq!(Owner::default().owned("web"), "default/default/web");
        assert_ne!(Owner::default().owned("web"), other.owned("web"));
    }
}
