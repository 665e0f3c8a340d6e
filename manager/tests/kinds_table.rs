//! What a kind costs: the files of `manager/src` that name it, beside the table in docs/architecture.md.
//!
//! A file names a kind when it names the kind's module. `BLESS=1` rewrites the table; whoever does that reads the
//! difference: a column that grows is code that a next kind of that sort needs too.

#![allow(clippy::unwrap_used)] // tests

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use sluice_manager::kinds::KINDS;

const FROM: &str = "<!-- what a kind costs: written by `cargo xtask bless` -->\n";
const TO: &str = "<!-- end -->";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// Sources by path below `src`, without comments and tests.
fn sources() -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    gather(&root().join("src"), "", &mut found);
    found
}

fn gather(folder: &Path, below: &str, found: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let below = format!("{below}{name}");
        if path.is_dir() {
            gather(&path, &format!("{below}/"), found);
        } else if path.extension().is_some_and(|it| it == "rs")
            && name != "tests.rs"
            && !below.contains("tests/")
        {
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap().lines();
            let code = code.filter(|line| !line.trim_start().starts_with("//"));
            found.insert(below, code.collect::<Vec<_>>().join("\n"));
        }
    }
}

/// Words and modules of the kinds, in the order of the list.
fn kinds() -> Vec<(&'static str, String)> {
    let list = fs::read_to_string(root().join("src/kinds/mod.rs")).unwrap();
    let lines = list.lines().filter_map(|line| line.trim().strip_prefix("&Of::<"));
    let modules = lines.map(|line| line.split("::").next().unwrap().to_owned());
    let words = KINDS.iter().map(|kind| kind.names().word);
    let both: Vec<_> = words.zip(modules).collect();
    assert_eq!(both.len(), KINDS.len());
    both
}

/// True when the text names the kinds' module of that name, and no module of the contract that is called so.
fn names(text: &str, module: &str) -> bool {
    let path = format!("{module}::");
    let is_path = |at: usize| {
        let before = text.get(..at).unwrap_or_default();
        match before.strip_suffix("::") {
            Some(before) => before.ends_with("kinds") || before.ends_with("super"),
            None => !before.ends_with(|c: char| c.is_alphanumeric() || c == '_'),
        }
    };
    text.match_indices(&path).any(|(at, _)| is_path(at))
}

/// Its own files, other kinds, what compiles, and the rest.
#[derive(Debug, Default)]
struct Cost {
    own: usize,
    kinds: usize,
    compile: usize,
    rest: Vec<String>,
}

fn cost(sources: &BTreeMap<String, String>, module: &str) -> Cost {
    let mut cost = Cost::default();
    let (file, folder) = (format!("kinds/{module}.rs"), format!("kinds/{module}/"));
    for (path, text) in sources.iter().filter(|(path, _)| *path != "kinds/mod.rs") {
        if *path == file || path.starts_with(&folder) {
            cost.own += 1;
        } else if names(text, module) {
            match path.split('/').next() {
                Some("kinds") => cost.kinds += 1,
                Some("compile") => cost.compile += 1,
                _ => cost.rest.push(path.clone()),
            }
        }
    }
    cost
}

fn table() -> String {
    let sources = sources();
    assert!(sources.len() > 100, "the manager has more sources than {}", sources.len());
    let mut text =
        "| kind | own | other kinds | compile | else |\n| --- | --- | --- | --- | --- |\n"
            .to_owned();
    for (word, module) in kinds() {
        let Cost { own, kinds, compile, rest } = cost(&sources, &module);
        assert!(own > 0, "{word} has a file kinds/{module}.rs");
        let rest = match rest.as_slice() {
            [] => "0".to_owned(),
            rest if rest.len() > 4 => rest.len().to_string(),
            rest => format!("{}: {}", rest.len(), rest.join(", ")),
        };
        writeln!(text, "| {word} | {own} | {kinds} | {compile} | {rest} |").unwrap();
    }
    text
}

#[test]
fn what_a_kind_costs_is_what_the_page_says() {
    let page = root().join("../docs/architecture.md");
    let text = fs::read_to_string(&page).unwrap();
    let (before, after) = text.split_once(FROM).unwrap();
    let (kept, after) = after.split_once(TO).unwrap();
    let now = table();
    if std::env::var_os("BLESS").is_some() {
        fs::write(&page, format!("{before}{FROM}{now}{TO}{after}")).unwrap();
        return;
    }
    assert!(kept == now, "docs/architecture.md differs; `cargo xtask bless` rewrites it\n{now}");
}

/// A kind that nothing else is about costs its own file, its line in the list and what compiles it; and most are such.
#[test]
fn most_kinds_are_named_by_nothing_but_kinds_and_what_compiles_them() {
    let sources = sources();
    let kinds = kinds();
    let plain = kinds.iter().filter(|(_, module)| cost(&sources, module).rest.is_empty());
    assert!(plain.count() * 3 >= kinds.len() * 2);
    for (word, module) in &kinds {
        if ["dns record", "vpn user"].contains(word) {
            let Cost { own, kinds, compile, rest } = cost(&sources, module);
            assert_eq!((own, kinds, compile, rest.len()), (1, 0, 1, 0), "{word}");
        }
    }
}
