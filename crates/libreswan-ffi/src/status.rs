//! What pluto prints of its associations.
//!
//! Guarantees: a line that cannot be read is left out; nothing panics. Tests hold what libreswan 5.2 printed.

/// A tunnel that is up (`ipsec trafficstatus`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traffic {
    /// pluto's number of the association.
    pub number: u64,
    /// The connection.
    pub name: String,
    /// When it was made, seconds since 1970.
    pub since: u64,
    /// Bytes that came in.
    pub bytes_in: u64,
    /// Bytes that went out.
    pub bytes_out: u64,
    /// How the peer named itself.
    pub peer_id: String,
}

/// Reads `trafficstatus`.
pub fn parse_traffic<S: AsRef<str>>(lines: &[S]) -> Vec<Traffic> {
    lines.iter().filter_map(|line| traffic(line.as_ref())).collect()
}

fn traffic(line: &str) -> Option<Traffic> {
    let (number, name, rest) = head(line)?;
    let value = |key: &str| {
        let fields = rest.split(',').map(str::trim);
        fields.filter_map(|field| field.split_once('=')).find(|(k, _)| *k == key).map(|(_, v)| v)
    };
    value("type")?;
    let count = |key: &str| value(key).and_then(|value| value.parse().ok()).unwrap_or(0);
    Some(Traffic {
        number,
        name,
        since: count("add_time"),
        bytes_in: count("inBytes"),
        bytes_out: count("outBytes"),
        peer_id: value("id").unwrap_or_default().trim_matches('\'').to_owned(),
    })
}

/// `#12: "name"rest` in its parts. Instances of a connection for any peer have `[1] 203.0.113.9` after the name.
fn head(line: &str) -> Option<(u64, String, &str)> {
    let (number, rest) = line.strip_prefix('#')?.split_once(": \"")?;
    let (name, rest) = rest.split_once('"')?;
    Some((number.parse().ok()?, name.to_owned(), rest))
}

/// A tunnel whose keys were made, from pluto's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// The connection.
    pub name: String,
    /// Its algorithms.
    pub algorithms: String,
    /// Diffie-Hellman group of these keys, when they were made with one of their own.
    pub group: Option<String>,
}

/// Reads a line of the log; `None` when it is about something else.
pub fn parse_made(line: &str) -> Option<Made> {
    let (_, rest) = line.split_once('"')?;
    let (name, rest) = rest.split_once('"')?;
    let (_, rest) = rest.split_once("xfrm=")?;
    let algorithms = rest.split([' ', '}', ';']).next()?;
    let groups = ["MODP", "ECP", "DH", "CURVE"];
    let last = algorithms.rsplit('-').next().unwrap_or_default();
    let group = groups.iter().any(|group| last.starts_with(group)).then(|| last.to_owned());
    Some(Made { name: name.to_owned(), algorithms: algorithms.to_owned(), group })
}

/// Names of connections whose first phase stands (`ipsec showstates`), with pluto's numbers.
pub fn parse_states<S: AsRef<str>>(lines: &[S]) -> Vec<(u64, String)> {
    let established = |line: &&S| {
        let line = line.as_ref();
        // version 2, and version 1 after its last message of main mode
        ["ESTABLISHED_IKE_SA", "STATE_MAIN_I4", "STATE_MAIN_R3"].iter().any(|is| line.contains(is))
    };
    let heads = lines.iter().filter(established).filter_map(|line| head(line.as_ref()));
    heads.map(|(number, name, _)| (number, name)).collect()
}

#[cfg(test)]
mod tests;
