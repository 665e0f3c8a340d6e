//! Paths as guests write them.
//!
//! Guarantees: nothing is decoded, so what is not plain text matches nothing; empty parts do not count, `.` and `..` are
//! names like others and exist nowhere; letters count without their case, as on CloudStack's routers.

/// A path in parts.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Path {
    parts: Vec<String>,
    /// It ends with a slash.
    pub(super) listing: bool,
}

/// More parts than the deepest name has.
const MOST_PARTS: usize = 12;

impl Path {
    /// Reads `path`; `None` for one that is deeper than anything here.
    pub(super) fn read(path: &str) -> Option<Self> {
        let parts: Vec<_> = path
            .split('/')
            .filter(|part| !part.is_empty())
            .map(str::to_ascii_lowercase)
            .take(MOST_PARTS + 1)
            .collect();
        (parts.len() <= MOST_PARTS).then(|| Self { parts, listing: path.ends_with('/') })
    }

    /// The parts, in lower case.
    pub(super) fn parts(&self) -> Vec<&str> {
        self.parts.iter().map(String::as_str).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_lower_case_and_empty_ones_do_not_count() {
        let path = Path::read("//Latest/meta-data//Local-IPv4").unwrap();
        assert_eq!(path.parts(), ["latest", "meta-data", "local-ipv4"]);
        assert!(!path.listing && Path::read("/latest/").unwrap().listing);
        assert_eq!(Path::read("/").unwrap().parts(), Vec::<&str>::new());
        assert!(Path::read(&"/a".repeat(10_000)).is_none());
    }
}
