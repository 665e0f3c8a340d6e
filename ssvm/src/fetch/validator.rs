//! What tells one state of a source from another (RFC 9110 8.8).

use reqwest::header::{ETAG, HeaderMap, LAST_MODIFIED};
use serde::{Deserialize, Serialize};

/// Marks of the state that a source was in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Validator {
    /// `ETag`, as sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// `Last-Modified`, as sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_modified: Option<String>,
    /// Its whole length in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
}

impl Validator {
    /// The marks in an answer about a source of `total` bytes.
    pub(super) fn of(headers: &HeaderMap, total: Option<u64>) -> Self {
        let text = |name| {
            let value = headers.get(name).and_then(|value| value.to_str().ok());
            value.filter(|text| text.len() <= 512).map(str::to_owned)
        };
        Self { etag: text(ETAG), last_modified: text(LAST_MODIFIED), total }
    }

    /// What `If-Range` may say (RFC 9110 13.1.5): a strong entity tag, or else the date.
    pub(super) fn if_range(&self) -> Option<&str> {
        let strong = self.etag.as_deref().filter(|etag| !etag.starts_with("W/"));
        strong.or(self.last_modified.as_deref())
    }

    /// Whether a source with these marks can be told from a changed one.
    pub const fn tells(&self) -> bool {
        self.etag.is_some() || self.last_modified.is_some()
    }

    /// Whether `other` may be the same state: nothing that both have differs.
    pub fn agrees(&self, other: &Self) -> bool {
        fn same<T: PartialEq>(one: Option<&T>, other: Option<&T>) -> bool {
            one.zip(other).is_none_or(|(one, other)| one == other)
        }
        // an entity tag says more than a date, which mirrors set each to its own
        let marks = match (&self.etag, &other.etag) {
            (Some(one), Some(other)) => one == other,
            _ => same(self.last_modified.as_ref(), other.last_modified.as_ref()),
        };
        marks && same(self.total.as_ref(), other.total.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks(etag: Option<&str>, date: Option<&str>, total: Option<u64>) -> Validator {
        let text = |text: Option<&str>| text.map(str::to_owned);
        Validator { etag: text(etag), last_modified: text(date), total }
    }

    #[test]
    fn a_weak_tag_is_not_sent_in_if_range() {
        assert_eq!(marks(Some("\"a\""), Some("d"), None).if_range(), Some("\"a\""));
        assert_eq!(marks(Some("W/\"a\""), Some("d"), None).if_range(), Some("d"));
        assert_eq!(marks(Some("W/\"a\""), None, None).if_range(), None);
    }

    #[test]
    fn states_agree_unless_something_differs() {
        let one = marks(Some("\"a\""), Some("d"), Some(5));
        assert!(one.agrees(&marks(Some("\"a\""), Some("e"), Some(5))));
        assert!(one.agrees(&marks(None, None, None)));
        assert!(!one.agrees(&marks(Some("\"b\""), Some("d"), Some(5))));
        assert!(!one.agrees(&marks(Some("\"a\""), Some("d"), Some(6))));
        assert!(!one.agrees(&marks(None, Some("e"), None)));
    }
}
