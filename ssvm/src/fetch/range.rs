//! `Content-Range` (RFC 9110 14.4).

/// `bytes FIRST-LAST/TOTAL`, of which the total may be unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ContentRange {
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) total: Option<u64>,
}

impl ContentRange {
    /// Reads the header's value; none when it makes no sense.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (range, total) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        let total = match total.trim() {
            "*" => None,
            number => Some(number.parse().ok()?),
        };
        let sound = first <= last && total.is_none_or(|total| last < total);
        sound.then_some(Self { first, last, total })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_the_standard_says() {
        let read = |text| ContentRange::parse(text).map(|r| (r.first, r.last, r.total));
        assert_eq!(read("bytes 0-99/1000"), Some((0, 99, Some(1000))));
        assert_eq!(read("bytes 5-5/*"), Some((5, 5, None)));
        for text in ["bytes 9-5/10", "bytes 0-10/10", "bytes */10", "items 0-1/2", "", "bytes 0-1"]
        {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
