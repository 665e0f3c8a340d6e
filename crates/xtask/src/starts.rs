//! No program is started around the table of packages: whatever makes a process is one of the forms below, or is stated here
//! with its reason.

use std::path::{Path, PathBuf};

use crate::run;

/// Where a command is made: of the standard library and of tokio, and by our own two helpers for programs of the host.
const STARTERS: [&str; 3] = ["Command::new(", "run::command(", "tool::command("];

/// Helpers that look a name up in the table, or run it as it is where that is not possible: they take names of the table.
const BY_NAME: [&str; 2] = ["run::command(", "tool::command("];

/// What gives the path of a program that this workspace builds.
const OWN: [&str; 5] = [
    "bin(\"",
    "sluice_tests::bin(\"",
    "run::release(\"",
    "env!(\"CARGO_BIN_EXE_",
    "std::env::current_exe()",
];

/// What makes a process without any of [`STARTERS`], and other names for their type.
const BESIDE: [&str; 6] =
    ["::execv", "::execl", "::fexecve", "posix_spawn", "libc::system", "process::Command as "];

/// File, what is started, and why not through the table.
const STATED: &[(&str, &str, &str)] = &[
    ("crates/programs/src/lib.rs", "find(program)?", "the table itself"),
    ("crates/xtask/src/run.rs", "found", "looked up in the table by the line before it"),
    ("crates/xtask/src/run.rs", "program", "one of ours, around cargo, which comes with Rust"),
    ("crates/xtask/src/run.rs", "cargo", "comes with Rust, not with Debian"),
    ("crates/xtask/src/test.rs", "\"rustup\", &[\"component\", \"add\", name]", "comes with Rust"),
    ("crates/xtask/src/bench.rs", "first, rest", "sudo, which is in the table, or our benchmarks"),
    ("crates/xtask/src/packages.rs", "program, arguments", "the shell, which is in the table"),
    (
        "crates/xtask/src/fuzz.rs",
        "target.join(TRIPLE).join(\"release\").join(name)",
        "a fuzz target, which was just built",
    ),
    ("image/src/tool.rs", "found", "looked up in the table by the line before it"),
    (
        "image/src/bin/sluice-guest.rs",
        "program",
        "in a guest: what the test asks for is in its image",
    ),
    ("crates/libreswan-ffi/src/daemon.rs", "programs.folder.join(\"pluto\")", "of the image"),
    ("crates/libreswan-ffi/src/daemon.rs", "certutil", "of the image"),
    ("crates/libreswan-ffi/src/tools.rs", "self.programs.join(program)", "of the image"),
    ("crates/agent/src/pid1/supervise.rs", "path", "of the image"),
    ("crates/agent/src/pid1/stage2.rs", "DEBUG_SHELL", "of the image's debug flavour"),
    ("crates/agent/src/pid1/switch_root.rs", "init", "of the image"),
    ("crates/agent/src/pid1/firewall.rs", "NFT", "of the image"),
    ("crates/sys/src/process/mod.rs", "&sandbox.program", "its caller says which"),
    ("crates/sys/src/kernel/real/nft.rs", "&self.program.0", "its caller says which"),
    ("manager/tests/programs.rs", "program", "our own two, by the line before it"),
    (
        "tests/src/bin/sluice-on-postgres.rs",
        "program",
        "whatever its caller wants to run, who has it",
    ),
    (
        "tests/src/pypi.rs",
        "folder.join(\"bin/pip\")",
        "made by python3-venv, which is in the table",
    ),
    (
        "tests/tests/t1_manager/schemathesis.rs",
        "schemathesis::program().unwrap()",
        "from PyPI, which no Debian package has",
    ),
];

/// A place where a process is made.
#[derive(Debug, PartialEq, Eq)]
struct Start {
    line: usize,
    starter: &'static str,
    what: String,
}

#[test]
fn programs_are_started_through_the_table_of_packages() {
    let mut files = Vec::new();
    for folder in ["crates", "fuzz", "image", "manager", "proxy", "router", "ssvm", "tests"] {
        sources(&run::root().join(folder), &mut files);
    }
    assert!(files.len() > 500, "the tree has more sources than {}", files.len());
    let mut unused: Vec<_> = STATED.iter().collect();
    let mut around = Vec::new();
    for path in &files {
        let name = path.strip_prefix(run::root()).unwrap().display().to_string();
        if name == "crates/xtask/src/starts.rs" {
            continue;
        }
        let text = std::fs::read_to_string(path).unwrap();
        for start in starts(&text).into_iter().filter(|start| !is_through_the_table(start)) {
            let stated =
                |(file, what, _): &(&str, &str, &str)| *file == name && *what == start.what;
            if !STATED.iter().any(stated) {
                around.push(format!("{name}:{}: {}{})", start.line, start.starter, start.what));
            }
            unused.retain(|one| !stated(one));
        }
    }
    assert!(
        around.is_empty(),
        "use sluice_programs::command, whose table names the Debian package, or state the reason in starts.rs:\n{}",
        around.join("\n")
    );
    assert!(unused.is_empty(), "nobody starts these any more: {unused:#?}");
}

#[test]
fn every_way_around_the_table_is_seen() {
    let seen = |text: &str| {
        let text = format!("use std::process::Command;\n{text}");
        starts(&text).iter().filter(|start| !is_through_the_table(start)).count()
    };
    for around in [
        "Command::new(\"sheep\")",
        "Command::new(program)",
        "Command::new(format!(\"/usr/bin/{name}\"))",
        "Command::new(\n    words(1).join(\"ip\"),\n)",
        "std::process::Command::new(&*SHEEP)",
        "tokio::process::Command::new(program)",
        "run::command(\"sheep\", &[])",
        "run::command(program, &[])",
        "tool::command(name)",
        "unsafe { libc::execve(path, words, environment) }",
        "use std::process::Command as Sheep; Sheep::new(\"sheep\")",
    ] {
        assert_eq!(seen(around), 1, "{around}");
    }
    for through in [
        "sluice_programs::command(\"ip\")?",
        "tokio::process::Command::from(sluice_programs::command(\"curl\").unwrap())",
        "Command::new(sluice_tests::bin(\"sluice-manager\"))",
        "Command::new(env!(\"CARGO_BIN_EXE_sluice\"))",
        "Command::new(std::env::current_exe().map_err(failed)?)",
        "run::command(\"id\", &[\"-u\"])",
        "NsCommand::new(\"\", [\"sheep\"])",
        "// Command::new(program) is refused",
    ] {
        assert_eq!(seen(through), 0, "{through}");
    }
    // clap's type of the same name is for words of a command line
    assert_eq!(starts("use clap::{Arg, Command};\nCommand::new(kind)"), []);
    let imported = "use tokio::process::{\n    Child, Command,\n};\nCommand::new(program)";
    assert_eq!(starts(imported).len(), 1);
}

fn sources(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            sources(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// All places of a source where a process is made.
fn starts(text: &str) -> Vec<Start> {
    let code: Vec<&str> = text.lines().map(|line| line.split("//").next().unwrap_or("")).collect();
    // a URL in a string loses its end too, which starts nothing
    let code = code.join("\n");
    let has_commands = has_commands(&code);
    let mut all = Vec::new();
    for starter in STARTERS.into_iter().filter(|one| has_commands || BY_NAME.contains(one)) {
        for (at, _) in code.match_indices(starter).filter(|(at, _)| begins(&code, *at)) {
            all.push(start(&code, at, starter, argument(&code[at + starter.len()..])));
        }
    }
    for starter in BESIDE {
        let found = code.match_indices(starter);
        all.extend(found.map(|(at, _)| start(&code, at, starter, String::new())));
    }
    all
}

fn start(code: &str, at: usize, starter: &'static str, what: String) -> Start {
    Start { line: code[..at].lines().count().max(1), starter, what }
}

/// Whether a file knows the type of the standard library or of tokio.
fn has_commands(code: &str) -> bool {
    let all = |rest: &str| rest.split_once('}').is_some_and(|(names, _)| names.contains("Command"));
    code.contains("process::Command::new")
        || code.contains("process::Command;")
        || code.contains("process::*")
        || code.split("process::{").skip(1).any(all)
}

/// Whether a word begins here: `NsCommand` is another one, and looks its program up.
fn begins(code: &str, at: usize) -> bool {
    let before = code[..at].chars().next_back();
    before.is_none_or(|before| !before.is_alphanumeric() && before != '_')
}

/// What stands between here and the parenthesis that closes, in one line.
fn argument(rest: &str) -> String {
    let mut depth = 1_u32;
    let end = rest.find(|letter| {
        depth = match letter {
            '(' => depth + 1,
            ')' => depth - 1,
            _ => depth,
        };
        depth == 0
    });
    let words = rest[..end.unwrap_or(rest.len())].split_whitespace();
    words.collect::<Vec<_>>().join(" ").trim_end_matches(',').to_owned()
}

fn is_through_the_table(start: &Start) -> bool {
    if !BY_NAME.contains(&start.starter) {
        return OWN.iter().any(|own| start.what.starts_with(own));
    }
    let name = start.what.strip_prefix('"').and_then(|rest| rest.split('"').next());
    name.is_some_and(|name| sluice_programs::package(name).is_ok())
}
