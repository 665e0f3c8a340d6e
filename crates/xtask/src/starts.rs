//! No program is started around the table of packages.

use std::path::{Path, PathBuf};

use crate::run;

/// What the appliance starts is in the image, whose list of packages is checked in.
const APART: [&str; 2] = ["crates/programs/", "crates/agent/src/pid1/"];

#[test]
fn programs_are_started_through_the_table_of_packages() {
    let mut files = Vec::new();
    for folder in ["crates", "image", "manager", "proxy", "router", "ssvm", "tests"] {
        sources(&run::root().join(folder), &mut files);
    }
    assert!(files.len() > 500, "the tree has more sources than {}", files.len());
    let around: Vec<String> = files.iter().flat_map(|path| starts(path)).collect();
    assert!(
        around.is_empty(),
        "use sluice_programs::command, whose table names the Debian package:\n{}",
        around.join("\n")
    );
}

fn sources(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// Places where a process is made from a literal name; clap's type of the same name is for words of a command line.
fn starts(path: &Path) -> Vec<String> {
    let name = path.strip_prefix(run::root()).unwrap().display().to_string();
    let text = std::fs::read_to_string(path).unwrap();
    let a_start = concat!("Command", "::new(\"");
    if APART.iter().any(|apart| name.starts_with(apart)) || !text.contains("process::") {
        return Vec::new();
    }
    let found = |line: &str| line.contains(a_start) && !line.contains("NsCommand");
    let lines = text.lines().enumerate().filter(|(_, line)| found(line));
    lines.map(|(number, line)| format!("{name}:{}: {}", number + 1, line.trim())).collect()
}
