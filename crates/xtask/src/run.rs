//! Child processes: started from the top of the tree, with errors that name the command.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, bail};

/// Writes a line to standard output. A reader that went away (a closed pipe) is no reason to stop what was begun.
pub(crate) fn say(text: std::fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// The top of the tree, wherever the command was called.
pub(crate) fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.ancestors().nth(2).unwrap_or(manifest).to_owned()
}

/// The target directory, which `CARGO_TARGET_DIR` may move.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// The binary `name` as tests have it.
pub(crate) fn debug(name: &str) -> PathBuf {
    target().join("debug").join(name)
}

/// The release binary `name`.
pub(crate) fn release(name: &str) -> PathBuf {
    target().join("release").join(name)
}

/// `program` with `arguments`, to be started at the top of the tree: one of the table of packages, or a path of ours.
pub(crate) fn command(program: &str, arguments: &[&str]) -> Command {
    // what is not there fails at its start, and names itself
    let found = sluice_programs::find(program).unwrap_or_else(|_| program.into());
    let mut command = Command::new(found);
    command.args(arguments).current_dir(root());
    command
}

/// Cargo itself, the one that runs this program.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let mut command = Command::new(cargo);
    command.args(arguments).current_dir(root());
    // what `cargo run` told this program about itself: build scripts that look at such words, as that of ring does, would
    // run again, and with them everything that is built upon theirs, whenever cargo is called with and without them
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(is_of_package) {
            command.env_remove(name);
        }
    }
    if std::env::var_os("CI").is_some() {
        // what is built once needs no notes for building it again
        command.env("CARGO_INCREMENTAL", "0");
    }
    command
}

/// The same command, started by `program`.
pub(crate) fn through(program: &Path, command: &Command) -> Command {
    let mut around = Command::new(program);
    around.arg(command.get_program()).args(command.get_args()).current_dir(root());
    around.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    around
}

/// Variables by which cargo tells a program which package it is of (environment-variables of the Cargo book).
fn is_of_package(name: &str) -> bool {
    ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"]
        .iter()
        .any(|prefix| name.starts_with(prefix))
        || ["CARGO_PRIMARY_PACKAGE", "OUT_DIR"].contains(&name)
}

/// Runs to the end with the terminal attached; a failure is an error that names the command.
pub(crate) fn check(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start {}", name(command)))?;
    if !status.success() {
        bail!("`{}` ended with {status}", name(command));
    }
    Ok(())
}

/// Runs to the end and returns what was written; a failure is an error with the standard error in it.
pub(crate) fn capture(command: &mut Command) -> Result<String> {
    let output = output(command)?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        bail!("`{}` ended with {}: {}", name(command), output.status, text.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs to the end, whatever comes of it.
pub(crate) fn output(command: &mut Command) -> Result<Output> {
    command.output().with_context(|| format!("cannot start {}", name(command)))
}

/// True when the program runs and says it succeeded; its output is thrown away.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    output(command).is_ok_and(|output| output.status.success())
}

/// True when this user is root.
pub(crate) fn is_root() -> bool {
    capture(&mut command("id", &["-u"])).is_ok_and(|id| id.trim() == "0")
}

fn name(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|word| word.to_string_lossy().into_owned()));
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_is_not_told_which_package_calls_it() {
        // this test is told, as every program of a package is
        assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
        let command = cargo(&["build"]);
        let gone =
            |name: &str| command.get_envs().any(|(key, value)| key == name && value.is_none());
        assert!(gone("CARGO_MANIFEST_DIR") && gone("CARGO_PKG_NAME"));
        for kept in ["CARGO_HOME", "CARGO_TARGET_DIR", "CARGO_INCREMENTAL", "PATH", "CARGO"] {
            assert!(!is_of_package(kept), "{kept}");
        }
    }
}
