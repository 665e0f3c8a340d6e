//! The template's root: only what a list names or a program needs, so that nothing is left to be removed.
//!
//! Guarantees, checked on every build: no shell, no interpreter, no service manager, no set-user-id file.

use std::path::Path;

use crate::debian::Debian;
use crate::error::{Error, Result, dir_entries, read};
use crate::lists::{self, entries};
use crate::modules::{Chosen, Kernel};
use crate::tree::{Node, Tree};
use crate::{Flavour, Ike, libraries, licences};

/// Where our programs are.
pub(crate) const BIN: &str = "usr/lib/sluice/bin";
/// Read by the kernel and by PID 1.
const DROP_ALL: &str = include_str!("../lists/drop-all.nft");

/// Programs of ours and whether the template is of use without them.
const OURS: &[(&str, bool)] = &[
    ("sluice-init", true),
    ("sluice-router", true),
    ("sluice-proxy", false),
    ("sluice-ssvm", false),
];

/// Empty directories that something is mounted on.
const MOUNT_POINTS: &[&str] = &["proc", "sys", "dev", "run", "tmp", "data", "mnt"];

/// Merged `/usr`, as Debian has it; its own links come from a maintainer script.
const LINKS: &[(&str, &str)] = &[
    ("bin", "usr/bin"),
    ("sbin", "usr/sbin"),
    ("lib", "usr/lib"),
    ("lib64", "usr/lib64"),
    ("var", "run"),
    ("etc/mtab", "/proc/self/mounts"),
];

/// Where Debian has authorities, where programs look for them, and whose notice goes with them.
const AUTHORITIES_OF: &str = "usr/share/ca-certificates/mozilla";
const AUTHORITIES: &str = "etc/ssl/certs/ca-certificates.crt";
const AUTHORITIES_NOTICE: &str = "usr/share/doc/ca-certificates/copyright";

/// Programs that must be in no appliance, by file name.
const FORBIDDEN: &[&str] = &[
    "sh", "bash", "dash", "ash", "zsh", "busybox", "perl", "python", "python3", "lua", "awk",
    "gawk", "mawk", "systemd", "init", "apt", "dpkg", "gcc", "su", "sudo", "login", "getty",
    "agetty", "sshd", "telnetd", "modprobe", "insmod",
];

/// Links to busybox in the debug flavour.
const DEBUG_COMMANDS: &[&str] = &[
    "sh",
    "ls",
    "cat",
    "ps",
    "ip",
    "ping",
    "dmesg",
    "mount",
    "df",
    "free",
    "top",
    "vi",
    "less",
    "grep",
    "hexdump",
    "wget",
    "nc",
    "kill",
    "sed",
    "awk",
    "find",
    "head",
    "tail",
    "netstat",
    "arping",
    "traceroute",
    "lsmod",
    "sysctl",
];

/// What a root is made of.
pub(crate) struct Parts<'a> {
    pub(crate) debian: &'a Debian,
    pub(crate) kernel: &'a Kernel,
    pub(crate) modules: &'a Chosen,
    pub(crate) binaries: &'a Path,
    pub(crate) flavour: Flavour,
    pub(crate) ike: Ike,
}

/// Puts the root together and checks it.
pub(crate) fn build(parts: &Parts) -> Result<Tree> {
    let mut tree = base();
    for (name, required) in OURS {
        add_ours(&mut tree, parts.binaries, name, *required)?;
    }
    tree.link(&format!("{BIN}/sluice-modprobe"), "sluice-init");
    for path in entries(lists::FILES).chain(entries(parts.ike.files())) {
        add_file(&mut tree, parts.debian, path)?;
    }
    add_authorities(&mut tree, parts.debian)?;
    if parts.flavour == Flavour::Debug {
        add_debug(&mut tree, parts.debian)?;
    }
    libraries::complete(&mut tree, parts.debian)?;
    libraries::check_glibc(&tree, BIN)?;
    parts.kernel.install(parts.modules, &mut tree);
    licences::add(&mut tree, parts.debian)?;
    check(&tree, parts.flavour)?;
    Ok(tree)
}

fn base() -> Tree {
    let mut tree = Tree::default();
    for path in MOUNT_POINTS {
        tree.dir(path, 0o755);
    }
    for (path, target) in LINKS {
        tree.link(path, target);
    }
    // what the kernel starts when a host of Hyper-V or Xen asks for it (`poweroff_cmd`, `reboot_cmd`)
    for name in ["poweroff", "reboot"] {
        tree.link(&format!("usr/sbin/{name}"), &format!("../../{BIN}/sluice-init"));
    }
    tree.file(
        "etc/passwd",
        "root:x:0:0:root:/:/nonexistent\nnobody:x:65534:65534:nobody:/:/nonexistent\n",
        0o644,
    );
    tree.file("etc/group", "root:x:0:\nnogroup:x:65534:\n", 0o644);
    tree.file("etc/hosts", "127.0.0.1 localhost\n::1 localhost\n", 0o644);
    tree.file("etc/os-release", os_release(), 0o644);
    tree.file("usr/lib/sluice/drop-all.nft", DROP_ALL, 0o644);
    tree.file("usr/lib/sluice/stage2.modules", lists::as_file(lists::MODULES_STAGE2), 0o644);
    tree
}

fn os_release() -> String {
    let version = env!("CARGO_PKG_VERSION");
    format!(
        "ID=sluice\nID_LIKE=debian\nNAME=Sluice\nPRETTY_NAME=\"Sluice {version}\"\nVERSION_ID={version}\n"
    )
}

fn add_ours(tree: &mut Tree, dir: &Path, name: &str, required: bool) -> Result<()> {
    let path = dir.join(name);
    if path.exists() {
        return tree.copy(&format!("{BIN}/{name}"), &path);
    }
    if required { Err(Error::Binary { path }) } else { Ok(()) }
}

fn add_file(tree: &mut Tree, debian: &Debian, path: &str) -> Result<()> {
    let from = debian.root.join(path);
    if from.symlink_metadata().is_err() {
        return Err(Error::Unknown { list: "files.txt", name: path.to_owned() });
    }
    tree.copy(path, &from)
}

/// Whom servers of images may have their certificates from, in the one file that a maintainer script makes of them.
fn add_authorities(tree: &mut Tree, debian: &Debian) -> Result<()> {
    let folder = debian.root.join(AUTHORITIES_OF);
    let mut paths: Vec<_> = dir_entries(&folder)?.iter().map(std::fs::DirEntry::path).collect();
    paths.sort();
    let each = paths.iter().map(|path| read(path)).collect::<Result<Vec<_>>>()?;
    tree.file(AUTHORITIES, each.concat(), 0o644);
    add_file(tree, debian, AUTHORITIES_NOTICE)
}

/// A shell and its commands for engineers; see `stage2` of PID 1, which starts it.
fn add_debug(tree: &mut Tree, debian: &Debian) -> Result<()> {
    for path in entries(lists::FILES_DEBUG) {
        add_file(tree, debian, path)?;
    }
    for name in DEBUG_COMMANDS {
        tree.link(&format!("usr/bin/{name}"), "busybox");
    }
    Ok(())
}

/// What must not be in it, on every build, however the lists change.
fn check(tree: &Tree, flavour: Flavour) -> Result<()> {
    let bad = |path: &str, node: &Node| {
        let name = path.rsplit('/').next().unwrap_or(path);
        let runs = matches!(node, Node::File(_, mode) if mode & 0o111 != 0)
            || matches!(node, Node::Link(_));
        let named = FORBIDDEN.iter().any(|bad| name == *bad || is_version_of(name, bad));
        let script = matches!(node, Node::File(content, mode) if mode & 0o111 != 0 && content.starts_with(b"#!"));
        let raised = matches!(node, Node::File(_, mode) if mode & 0o6000 != 0);
        (runs && named && flavour == Flavour::Standard) || script || raised
    };
    let found: Vec<_> = tree
        .iter()
        .filter(|(path, node)| bad(path, node))
        .map(|(path, _)| path.to_owned())
        .collect();
    if found.is_empty() { Ok(()) } else { Err(Error::Forbidden(found)) }
}

/// `python3.13` is `python`, `libsh.so` is not `sh`.
fn is_version_of(name: &str, program: &str) -> bool {
    let rest = name.strip_prefix(program);
    rest.is_some_and(|rest| {
        !rest.is_empty() && rest.chars().all(|c| c.is_ascii_digit() || c == '.')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(path: &str, node: Node) -> Tree {
        let mut tree = base();
        tree.add(path, node);
        tree
    }

    #[test]
    fn an_empty_root_is_allowed() {
        check(&base(), Flavour::Standard).unwrap();
    }

    #[test]
    fn shells_interpreters_and_scripts_are_refused() {
        let program = || Node::File(b"\x7fELF".to_vec(), 0o755);
        for path in
            ["usr/bin/sh", "usr/bin/python3.13", "usr/sbin/perl5.40.1", "usr/lib/systemd/systemd"]
        {
            assert!(check(&with(path, program()), Flavour::Standard).is_err(), "{path}");
        }
        assert!(
            check(&with("usr/bin/sh", Node::Link("busybox".into())), Flavour::Standard).is_err()
        );
        let script = Node::File(b"#!/usr/bin/x".to_vec(), 0o755);
        assert!(check(&with("usr/bin/x", script), Flavour::Debug).is_err());
        assert!(check(&with("usr/bin/x", Node::File(Vec::new(), 0o4755)), Flavour::Debug).is_err());
    }

    #[test]
    fn what_a_host_ends_the_machine_by_is_there() {
        let base = base();
        // `/sbin` is `/usr/sbin`
        for path in ["usr/sbin/poweroff", "usr/sbin/reboot"] {
            let Some(Node::Link(target)) = base.get(path) else { panic!("no {path}") };
            assert_eq!(target, "../../usr/lib/sluice/bin/sluice-init");
        }
        let Some(Node::Link(sbin)) = base.get("sbin") else { panic!("no /sbin") };
        assert_eq!(sbin, "usr/sbin");
    }

    #[test]
    fn a_shell_is_allowed_in_the_debug_flavour() {
        check(&with("usr/bin/sh", Node::Link("busybox".into())), Flavour::Debug).unwrap();
    }
}
