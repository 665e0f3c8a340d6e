//! Where the host itself gets Debian packages from, so that a build uses the same mirror and none is written in our files.

use std::fs;
use std::path::Path;

/// The release the image is made of.
pub(crate) const SUITE: &str = "trixie";

/// One source line per archive of the host, turned to our release; empty when the host is no Debian or has no usable entry,
/// and mmdebstrap then uses its own default.
pub(crate) fn host_sources() -> Vec<String> {
    let Some(codename) =
        debian_codename(&fs::read_to_string("/etc/os-release").unwrap_or_default())
    else {
        return Vec::new();
    };
    let mut lines: Vec<String> = source_files()
        .iter()
        .flat_map(|text| entries(text))
        .filter_map(|entry| entry.ours(&codename))
        .collect();
    lines.sort();
    lines.dedup();
    // without the release itself, updates alone would be of no use
    if lines.iter().any(|line| line.contains(&format!(" {SUITE} "))) { lines } else { Vec::new() }
}

fn debian_codename(os_release: &str) -> Option<String> {
    let value = |key: &str| {
        os_release
            .lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
            .map(|text| text.trim_matches('"'))
    };
    (value("ID")? == "debian").then(|| value("VERSION_CODENAME").map(str::to_owned))?
}

fn source_files() -> Vec<String> {
    let dir = fs::read_dir("/etc/apt/sources.list.d")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path());
    let is_source =
        |path: &Path| path.extension().is_some_and(|kind| kind == "sources" || kind == "list");
    let paths =
        dir.filter(|path| is_source(path)).chain([Path::new("/etc/apt/sources.list").to_owned()]);
    paths.filter_map(|path| fs::read_to_string(path).ok()).collect()
}

#[derive(Debug, PartialEq, Eq)]
struct Entry {
    uri: String,
    suite: String,
}

impl Entry {
    /// As a source line of our release, if it is an archive of the host's release.
    fn ours(&self, codename: &str) -> Option<String> {
        let rest = self.suite.strip_prefix(codename)?;
        let known = matches!(rest, "" | "-updates" | "-security");
        known.then(|| format!("deb {} {SUITE}{rest} main", self.uri))
    }
}

/// Binary archives with the component `main`, of both formats apt knows.
fn entries(text: &str) -> Vec<Entry> {
    let one_line = text.lines().filter_map(one_line).collect::<Vec<_>>();
    if one_line.is_empty() { text.split("\n\n").flat_map(stanza).collect() } else { one_line }
}

fn one_line(line: &str) -> Option<Entry> {
    let rest = line.strip_prefix("deb ")?.trim_start();
    let rest = if rest.starts_with('[') { rest.split_once(']')?.1 } else { rest };
    let mut words = rest.split_whitespace();
    let (uri, suite) = (words.next()?, words.next()?);
    words.any(|word| word == "main").then(|| Entry { uri: uri.to_owned(), suite: suite.to_owned() })
}

fn stanza(text: &str) -> Vec<Entry> {
    let field = |key: &str| -> Vec<&str> {
        let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        value.unwrap_or_default().split_whitespace().collect()
    };
    if !field("Types").contains(&"deb")
        || !field("Components").contains(&"main")
        || field("Enabled") == ["no"]
    {
        return Vec::new();
    }
    let suites = field("Suites");
    let pair = |uri: &str| {
        let entry = |suite: &&str| Entry { uri: uri.to_owned(), suite: (*suite).to_owned() };
        suites.iter().map(entry).collect::<Vec<_>>()
    };
    field("URIs").into_iter().flat_map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: &str = "Types: deb\n# a comment\nURIs: http://mirror.example/debian\nSuites: bookworm bookworm-updates\n\
        Components: main\nSigned-By: /x.gpg\n\nTypes: deb\nURIs: http://mirror.example/debian-security\n\
        Suites: bookworm-security\nComponents: main\n";

    #[test]
    fn stanzas_turn_to_our_release() {
        let lines: Vec<_> =
            entries(BOTH).iter().filter_map(|entry| entry.ours("bookworm")).collect();
        assert_eq!(
            lines,
            [
                "deb http://mirror.example/debian trixie main",
                "deb http://mirror.example/debian trixie-updates main",
                "deb http://mirror.example/debian-security trixie-security main",
            ]
        );
    }

    #[test]
    fn one_line_sources_and_foreign_ones() {
        let text = "# x\ndeb [arch=amd64 signed-by=/k] http://m.example/debian bookworm main contrib\n\
            deb http://other.example/apt tool main\ndeb-src http://m.example/debian bookworm main\n";
        let lines: Vec<_> =
            entries(text).iter().filter_map(|entry| entry.ours("bookworm")).collect();
        assert_eq!(lines, ["deb http://m.example/debian trixie main"]);
    }

    #[test]
    fn only_a_debian_host_has_our_sources() {
        assert_eq!(
            debian_codename("ID=debian\nVERSION_CODENAME=bookworm\n").as_deref(),
            Some("bookworm")
        );
        assert_eq!(debian_codename("ID=ubuntu\nVERSION_CODENAME=noble\n"), None);
    }
}
