//! Programs of the host: present or said so with the package to install; their output is shown only when they fail.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::error::{Error, Result, file};

/// A build always happens at this moment, so that the same inputs give the same bytes; `SOURCE_DATE_EPOCH` replaces it.
const EPOCH: u64 = 1_767_225_600;
/// Lines of output shown of a failed program.
const TAIL: usize = 12;

/// Programs a build needs.
const NEEDED: &[&str] = &[
    "mmdebstrap",
    "dpkg-deb",
    "tar",
    "xz",
    "lz4",
    "mksquashfs",
    "mke2fs",
    "grub-mkimage",
    "qemu-img",
];

/// Files a build needs that are no programs.
const NEEDED_FILES: &[(&str, &str)] = &[
    ("/usr/lib/grub/i386-pc/boot.img", "grub-pc-bin"),
    ("/usr/lib/grub/x86_64-efi/moddep.lst", "grub-efi-amd64-bin"),
    ("/usr/share/keyrings/debian-archive-keyring.gpg", "debian-archive-keyring"),
];

/// Fails on the first thing that is missing.
pub(crate) fn check_host() -> Result<()> {
    for program in NEEDED {
        sluice_programs::find(program)?;
    }
    for &(path, package) in NEEDED_FILES {
        if !Path::new(path).exists() {
            return Err(Error::Missing { path, package });
        }
    }
    Ok(())
}

/// A command for a program of the host, with our clock and a fixed language.
pub(crate) fn command(program: &str) -> Command {
    // what is not there fails at its start, and names itself
    let found = sluice_programs::find(program).unwrap_or_else(|_| program.into());
    let mut command = Command::new(found);
    command.env("LC_ALL", "C.UTF-8").env("SOURCE_DATE_EPOCH", epoch().to_string());
    command
}

/// The moment of the build in seconds since 1970.
pub(crate) fn epoch() -> u64 {
    std::env::var("SOURCE_DATE_EPOCH").ok().and_then(|text| text.parse().ok()).unwrap_or(EPOCH)
}

/// Runs to the end; answers what was printed on standard output.
pub(crate) fn run(command: &mut Command) -> Result<Vec<u8>> {
    let output = command.stdin(Stdio::null()).output().map_err(|source| start(command, source))?;
    finish(command, output)
}

/// Runs to the end with this input.
pub(crate) fn run_with(command: &mut Command, input: Vec<u8>) -> Result<Vec<u8>> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|source| start(command, source))?;
    // a thread, for the child may want its output read before it takes all input
    let feeder =
        child.stdin.take().map(|mut pipe| std::thread::spawn(move || pipe.write_all(&input)));
    let output = child.wait_with_output().map_err(|source| start(command, source))?;
    let fed = feeder.map_or(Ok(Ok(())), std::thread::JoinHandle::join);
    let answer = finish(command, output)?;
    match fed {
        Ok(Ok(())) => Ok(answer),
        Ok(Err(source)) => Err(start(command, source)),
        Err(_) => Err(failed(command, "input".into(), "the feeding thread ended".into())),
    }
}

fn start(command: &Command, source: std::io::Error) -> Error {
    file("run", Path::new(command.get_program()))(source)
}

fn finish(command: &Command, output: Output) -> Result<Vec<u8>> {
    if output.status.success() {
        return Ok(output.stdout);
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = text.lines().collect();
    let tail = lines.get(lines.len().saturating_sub(TAIL)..).unwrap_or_default().join("\n");
    Err(failed(command, output.status.to_string(), tail))
}

fn failed(command: &Command, status: String, tail: String) -> Error {
    Error::Tool { program: command.get_program().to_string_lossy().into_owned(), status, tail }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_program_shows_its_last_lines() {
        let error = run(command("sh").args(["-c", "echo why >&2; exit 3"])).unwrap_err();
        assert!(error.to_string().contains("why"), "{error}");
        assert!(error.to_string().contains('3'), "{error}");
    }

    #[test]
    fn large_input_does_not_block() {
        let input = vec![7; 1 << 20];
        assert_eq!(run_with(&mut command("cat"), input.clone()).unwrap(), input);
    }
}
