//! Programs of the host: present or said so with the package to install; their output is shown only when they fail.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::error::{Error, Result, file};

/// A build always happens at this moment, so that the same inputs give the same bytes; `SOURCE_DATE_EPOCH` replaces it.
const EPOCH: u64 = 1_767_225_600;
/// Lines of output shown of a failed program.
const TAIL: usize = 12;

/// Programs a build needs, with the Debian package of each.
const NEEDED: &[(&str, &str)] = &[
    ("mmdebstrap", "mmdebstrap"),
    ("dpkg-deb", "dpkg"),
    ("tar", "tar"),
    ("xz", "xz-utils"),
    ("lz4", "lz4"),
    ("mksquashfs", "squashfs-tools"),
    ("mke2fs", "e2fsprogs"),
    ("grub-mkimage", "grub-common"),
    ("qemu-img", "qemu-utils"),
];

/// Files a build needs that are no programs.
const NEEDED_FILES: &[(&str, &str)] = &[
    ("/usr/lib/grub/i386-pc/boot.img", "grub-pc-bin"),
    ("/usr/lib/grub/x86_64-efi/moddep.lst", "grub-efi-amd64-bin"),
    ("/usr/share/keyrings/debian-archive-keyring.gpg", "debian-archive-keyring"),
];

/// The Debian packages that a build needs on the host.
pub fn host_packages() -> Vec<&'static str> {
    NEEDED.iter().chain(NEEDED_FILES).map(|&(_, package)| package).collect()
}

/// Fails on the first thing that is missing.
pub(crate) fn check_host() -> Result<()> {
    for &(program, package) in NEEDED {
        find(program).ok_or(Error::Missing { program, package })?;
    }
    for &(path, package) in NEEDED_FILES {
        if !Path::new(path).exists() {
            return Err(Error::Missing { program: path, package });
        }
    }
    Ok(())
}

/// Looks along PATH and in the administrator's directories, which an ordinary user's PATH lacks.
fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let admin = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(admin)
        .map(|dir| dir.join(program))
        .find(|path| path.exists())
}

/// A command for a program of the host, with our clock and a fixed language.
pub(crate) fn command(program: &str) -> Command {
    let mut command = Command::new(find(program).unwrap_or_else(|| program.into()));
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
