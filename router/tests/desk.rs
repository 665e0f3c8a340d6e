//! The commands on a desk, as a script meets them: what they end with, and that a reader may go away.

#![allow(clippy::unwrap_used)] // tests

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const OPEN: &str = "reservations";
const CLOSED: &str = "egress-deny";

fn case(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    folder.join("config.json").display().to_string()
}

fn command(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sluice-router"));
    command.args(words).stderr(Stdio::piped());
    command
}

fn run(words: &[&str]) -> Output {
    command(words).output().unwrap()
}

fn explain(config: &str) -> Vec<String> {
    let to = ["--from", "10.1.1.23", "--to", "192.0.2.80", "--proto", "tcp", "--port", "443"];
    let words = ["explain", "--config", config].into_iter().chain(to);
    words.map(str::to_owned).collect()
}

/// Exit code, and what was said to whoever looks on.
fn ended(output: &Output) -> (Option<i32>, String) {
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// A configuration whose guest has an address of nowhere.
fn unsound(folder: &Path) -> PathBuf {
    let text = std::fs::read_to_string(case(OPEN)).unwrap();
    let file = folder.join("unsound.json");
    std::fs::write(&file, text.replace("10.1.1.23", "10.9.9.9")).unwrap();
    file
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let (open, closed) = (case(OPEN), case(CLOSED));
    let explained = explain(&open);
    let explained: Vec<&str> = explained.iter().map(String::as_str).collect();
    let lines: [&[&str]; 7] = [
        &["schema"],
        &["render", &open],
        &["plan", &open, &closed],
        &["plan", "-", &open],
        &["check", &open],
        &["check", &open, "--json"],
        &explained,
    ];
    for words in lines {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = command(words).stdout(writer).spawn().unwrap().wait_with_output().unwrap();
        assert_eq!(ended(&output), (Some(0), String::new()), "{words:?}");
    }
}

#[test]
fn a_text_that_cannot_be_written_is_a_failure() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = command(&["schema"]).stdout(full).spawn().unwrap().wait_with_output().unwrap();
    let (code, told) = ended(&output);
    assert!(code == Some(1) && told.contains("error: "), "{code:?} {told}");
}

#[test]
fn exit_codes_say_what_was_found() {
    let folder = tempfile::tempdir().unwrap();
    let unsound = unsound(folder.path());
    let unsound = unsound.to_str().unwrap();
    for (config, code) in [(case(OPEN), 0), (case(CLOSED), 12), (unsound.to_owned(), 3)] {
        let words = explain(&config);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let output = run(&words);
        assert_eq!(output.status.code(), Some(code), "explain {config}: {output:?}");
    }
    for words in [
        &["check", unsound][..],
        &["check", unsound, "--json"],
        &["render", unsound],
        &["plan", "-", unsound],
        &["plan", unsound, unsound],
    ] {
        assert_eq!(run(words).status.code(), Some(3), "{words:?}");
    }
    assert_eq!(run(&["check", "/nowhere"]).status.code(), Some(1));
    assert_eq!(run(&["check"]).status.code(), Some(2));
}
