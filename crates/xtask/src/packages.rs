//! Debian packages that a command needs: says which are missing and why, then installs them.
//!
//! Everything said about it goes to standard error, so that `--json` stays JSON. Services of the installed packages are not
//! started: they are tools and rivals here, not part of the machine.

use std::collections::BTreeSet;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::run;

/// A package and what it is needed for.
pub(crate) type Package = (&'static str, &'static str);

/// To build the Rust code.
pub(crate) const BUILD: &[Package] = &[
    ("gcc", "links Rust programs and builds ring"),
    ("libc6-dev", "C headers for ring and SQLite"),
];

/// To build the fuzz targets.
pub(crate) const FUZZ: &[Package] = &[("g++", "builds libFuzzer")];

/// To build the template.
pub(crate) const IMAGE: &[Package] = &[
    ("mmdebstrap", "makes the Debian root of the image"),
    ("debian-archive-keyring", "proves where Debian packages come from"),
    ("squashfs-tools", "packs the read-only root"),
    ("grub-common", "grub-mkimage"),
    ("grub-pc-bin", "boot loader for BIOS"),
    ("grub-efi-amd64-bin", "boot loader for UEFI"),
    ("dosfstools", "checks the EFI system partition"),
    ("mtools", "reads the EFI system partition in tests"),
    ("e2fsprogs", "makes the data partition"),
    ("kmod", "resolves module dependencies"),
    ("lz4", "packs the initial RAM file system"),
    ("qemu-utils", "qemu-img, which writes qcow2"),
];

/// To run machines.
pub(crate) const MACHINES: &[Package] = &[
    ("qemu-system-x86", "runs the machines of the lab"),
    ("qemu-utils", "qemu-img, which makes each machine's disk"),
    ("ovmf", "UEFI firmware for test machines"),
];

/// To run tests in network namespaces.
pub(crate) const NAMESPACES: &[Package] = &[
    ("iproute2", "makes namespaces and wires between them"),
    ("nftables", "loads packet rules"),
    ("conntrack", "reads connection tracking"),
    ("iputils-ping", "test client"),
    ("iputils-arping", "test client"),
    ("netcat-openbsd", "test client"),
    ("curl", "test client"),
    ("wget", "test client: how guests' scripts fetch a password"),
    ("cloud-init", "test client: its CloudStack and Ec2 data sources"),
    ("busybox", "test client: udhcpc"),
    ("udhcpc", "test client: its default script"),
    ("isc-dhcp-client", "test client: dhclient"),
    ("isc-dhcp-relay", "test relay: dhcrelay"),
    ("dhcpcd-base", "test client: dhcpcd"),
    ("bind9-dnsutils", "test client: dig"),
    ("dnsmasq-base", "upstream resolver in tests, rival in benchmarks"),
    ("unbound", "upstream resolver in tests, rival in benchmarks"),
    ("dnsperf", "DNS load in tests and benchmarks"),
    ("tcpdump", "reads captured packets"),
    ("nginx-light", "web server that images are fetched from in tests"),
    ("qemu-utils", "qemu-img, which makes images in tests"),
    ("zstd", "packs images in tests"),
    ("xz-utils", "packs images in tests"),
    ("bzip2", "packs images in tests"),
    ("zip", "packs images in tests"),
    ("xxd", "turns digests into bytes in tests"),
    ("python3", "test server"),
    ("haproxy", "reference in tests of the balancer, rival in its benchmark"),
    ("openssl", "makes certificates in tests of the balancer, and is a client"),
    ("cpio", "reads the initial RAM file system in tests"),
];

/// To test consoles.
pub(crate) const CONSOLE: &[Package] = &[
    ("chromium", "the browser in front of a console"),
    ("qemu-system-x86", "the VNC servers behind it"),
    ("qemu-utils", "must have the version of qemu-system-x86"),
];

/// To run benchmarks.
pub(crate) const BENCH: &[Package] = &[
    ("kea-dhcp4-server", "rival in the DHCP benchmark"),
    ("kea-admin", "perfdhcp, the DHCP load"),
    ("iptables", "rival in the rules benchmark"),
    ("time", "memory and blocks written in the storage benchmark"),
    ("websockify", "rival in the console benchmark"),
];

/// Installs whatever of `groups` is missing.
pub(crate) fn ensure(groups: &[&[Package]]) -> Result<()> {
    let missing: BTreeSet<Package> =
        groups.iter().flat_map(|group| group.iter()).copied().filter(|p| !installed(p.0)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    eprintln!("These Debian packages are missing and will be installed:");
    for (name, why) in &missing {
        eprintln!("  {name:<24} {why}");
    }
    install(&missing)
}

fn installed(package: &str) -> bool {
    let query = ["-W", "-f=${db:Status-Status}", package];
    run::capture(&mut run::command("dpkg-query", &query)).is_ok_and(|status| status == "installed")
}

fn install(missing: &BTreeSet<Package>) -> Result<()> {
    if !run::succeeds(&mut run::command("apt-get", &["--version"])) {
        bail!("apt-get is not here; install the packages above by hand, then run this again");
    }
    run::check(&mut as_root(&["sh", "-c", "apt-get update -q >&2"]))?;
    let mut words = vec!["sh", "-c", INSTALL, "install"];
    let pins = qemu_pins(missing);
    if !pins.is_empty() {
        eprintln!("  qemu-utils is changed to the version of qemu-system-x86, which must match it");
        words.push("--allow-downgrades");
    }
    words.extend(missing.iter().map(|(name, _)| *name));
    words.extend(pins.iter().map(String::as_str));
    run::check(&mut as_root(&words))
        .context("cannot install packages; is the package index reachable?")
}

/// Installs its arguments. While it runs, packages do not start their services (Debian policy 9.3.3, policy-rc.d); one
/// shell as root does it all, so that whatever ends it, Ctrl-C included, also takes our policy away. A policy of the
/// user's own stays.
const INSTALL: &str = r#"
policy=/usr/sbin/policy-rc.d
mark='# while cargo xtask installs packages'
if [ ! -e "$policy" ] || grep -qxF "$mark" "$policy"; then
    trap 'rm -f "$policy"' EXIT
    trap 'exit 130' HUP INT TERM
    printf '#!/bin/sh\n%s\nexit 101\n' "$mark" > "$policy" && chmod 755 "$policy" || exit 1
fi
export DEBIAN_FRONTEND=noninteractive
apt-get install -q -y --no-install-recommends "$@" >&2
"#;

/// qemu-system-x86 and qemu-utils refuse each other unless their versions match, and apt does not change a
/// version by itself when the installed one is newer than what it can fetch.
fn qemu_pins(missing: &BTreeSet<Package>) -> Vec<String> {
    let wanted = missing.iter().any(|(name, _)| *name == "qemu-system-x86");
    let (Some(system), Some(present)) =
        (policy("qemu-system-x86", "Candidate:"), policy("qemu-utils", "Installed:"))
    else {
        return Vec::new();
    };
    if !wanted || present == "(none)" || present == system {
        return Vec::new();
    }
    vec![format!("qemu-utils={system}")]
}

fn policy(package: &str, field: &str) -> Option<String> {
    let text = run::capture(&mut run::command("apt-cache", &["policy", package])).ok()?;
    text.lines().find_map(|line| line.trim().strip_prefix(field).map(|rest| rest.trim().to_owned()))
}

fn as_root(words: &[&str]) -> Command {
    match words {
        [program, arguments @ ..] if run::is_root() => run::command(program, arguments),
        _ => run::command("sudo", words),
    }
}
