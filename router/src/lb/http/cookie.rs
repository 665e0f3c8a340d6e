//! Cookies as they stand in header fields (RFC 6265 4.1.1, 5.2, 5.4): found, taken away, changed; pure, over bytes.

/// The value of the first cookie in the field that `is_it` knows by its name, with what of the name `is_it` counts to it.
pub fn find(field: &[u8], is_it: impl Fn(&[u8]) -> bool) -> Option<(&[u8], &[u8])> {
    pairs(field).map(split).find(|(name, _)| is_it(name))
}

/// The field without the cookies called `name`; `None` when nothing is left of it.
pub fn without(field: &[u8], name: &[u8]) -> Option<Vec<u8>> {
    let rest: Vec<&[u8]> = pairs(field).filter(|pair| split(pair).0 != name).collect();
    if rest.is_empty() { None } else { Some(rest.join(&b"; "[..])) }
}

/// The field with `change` made to the value of the cookie called `name`.
pub fn changed(field: &[u8], name: &[u8], change: impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let pairs: Vec<Vec<u8>> = pairs(field)
        .map(|pair| match split(pair) {
            (it, value) if it == name => [it, b"=", &change(value)].concat(),
            _ => pair.to_vec(),
        })
        .collect();
    pairs.join(&b"; "[..])
}

/// Name, value and attributes (from the semicolon on) of a Set-Cookie field.
pub fn parts_of_set(field: &[u8]) -> (&[u8], &[u8], &[u8]) {
    let end = field.iter().position(|byte| *byte == b';').unwrap_or(field.len());
    let (pair, attributes) = field.split_at_checked(end).unwrap_or((field, b""));
    let (name, value) = split(pair.trim_ascii());
    (name, value, attributes)
}

fn pairs(field: &[u8]) -> impl Iterator<Item = &[u8]> {
    field.split(|byte| *byte == b';').map(<[u8]>::trim_ascii).filter(|pair| !pair.is_empty())
}

fn split(pair: &[u8]) -> (&[u8], &[u8]) {
    let at = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
    let (name, value) = pair.split_at_checked(at).unwrap_or((pair, b""));
    (name.trim_ascii(), value.get(1..).unwrap_or_default().trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: Option<Vec<u8>>) -> Option<String> {
        bytes.map(|bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn cookies_are_found_by_their_whole_name() {
        let field = b"SRV2=x; SRV=m1 ;SRV=m2";
        assert_eq!(find(field, |name| name == b"SRV"), Some((&b"SRV"[..], &b"m1"[..])));
        assert_eq!(find(field, |name| name == b"RV"), None);
        assert_eq!(find(b"a; =; b=1=2", |name| name == b"b"), Some((&b"b"[..], &b"1=2"[..])));
    }

    #[test]
    fn a_cookie_is_taken_away_wherever_it_stands() {
        assert_eq!(text(without(b"a=1; SRV=m; b=2", b"SRV")).as_deref(), Some("a=1; b=2"));
        assert_eq!(text(without(b"SRV=m; SRV=n", b"SRV")), None);
        assert_eq!(text(without(b"a=1;", b"SRV")).as_deref(), Some("a=1"));
    }

    #[test]
    fn only_the_value_meant_is_changed() {
        let after = changed(b"a=1; SID=m1~abc; b", b"SID", |value| value[3..].to_vec());
        assert_eq!(text(Some(after)).as_deref(), Some("a=1; SID=abc; b"));
    }

    #[test]
    fn a_set_cookie_field_comes_apart() {
        let (name, value, attributes) = parts_of_set(b"SID = abc; path=/; secure");
        assert_eq!((name, value, attributes), (&b"SID"[..], &b"abc"[..], &b"; path=/; secure"[..]));
        assert_eq!(parts_of_set(b"SID"), (&b"SID"[..], &b""[..], &b""[..]));
    }
}
