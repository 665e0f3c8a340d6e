//! The laboratory's test host: a plain Debian machine with the clients that guests really run, and a command channel.
//!
//! One read-only disk is shared by all hosts; each writes into RAM. It boots with the template's kernel and initrd.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::debian::Debian;
use crate::error::{Error, Result, dir_entries, file, make_dir};
use crate::lists::{self, entries};
use crate::modules::Kernel;
use crate::root::BIN;
use crate::stamp::Stamp;
use crate::tree::Tree;
use crate::{Options, disk, libraries, squashfs, tool};

/// What a test host's kernel needs on its command line besides consoles; `sluice.hostname=NAME` names it.
pub const KERNEL_OPTIONS: &str = "sluice.root=sluice-host sluice.overlay sluice.data=none";
/// Name of the command channel's virtio-serial port.
pub const CHANNEL: &str = "org.sluice.guest";
/// PID 1 runs a test host instead of an appliance where this file is.
const MARK: &str = "usr/lib/sluice/testhost";

/// Not needed by any client.
const PRUNED: &[&str] = &[
    "boot",
    "etc/init.d",
    "etc/systemd",
    "lib/systemd",
    "usr/include",
    "usr/lib/modules",
    "usr/lib/systemd",
    "usr/lib/udev",
    "usr/share/bash-completion",
    "usr/share/bug",
    "usr/share/doc-base",
    "usr/share/i18n",
    "usr/share/info",
    "usr/share/initramfs-tools",
    "usr/share/lintian",
    "usr/share/locale",
    "usr/share/man",
    "usr/share/perl5/Debconf",
    "usr/share/zoneinfo",
    "var/cache",
    "var/lib/apt",
    "var/lib/dpkg",
    "dev",
    "proc",
    "sys",
    "run",
    "tmp",
];

/// What maintainer scripts would have made.
const LINKS: &[(&str, &str)] = &[
    ("bin", "usr/bin"),
    ("sbin", "usr/sbin"),
    ("lib", "usr/lib"),
    ("lib64", "usr/lib64"),
    ("var/run", "/run"),
    ("usr/bin/awk", "mawk"),
    ("usr/sbin/modprobe", "../lib/sluice/bin/sluice-init"),
    ("usr/bin/nc", "nc.openbsd"),
    ("etc/mtab", "/proc/self/mounts"),
];

const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1::/usr/sbin:/bin/false\n\
    www-data:x:33:33::/var/www:/bin/false\ndhcpcd:x:100:65534::/usr/lib/dhcpcd:/bin/false\n\
    tcpdump:x:101:101::/nonexistent:/bin/false\n_rpc:x:102:65534::/run/rpcbind:/bin/false\nnobody:x:65534:65534::/nonexistent:/bin/false\n";
const GROUP: &str =
    "root:x:0:\ndaemon:x:1:\nadm:x:4:\nwww-data:x:33:\ntcpdump:x:101:\nnogroup:x:65534:\n";
const NSSWITCH: &str =
    "passwd: files\ngroup: files\nhosts: files dns\nservices: files\nprotocols: files\n";

/// Where the test host's disk is below the output directory.
pub fn disk_below(out: &Path) -> PathBuf {
    out.join("testhost.raw")
}

/// Builds the test host's disk, or finds it up to date.
pub fn build(options: &Options, progress: &dyn Fn(&str)) -> Result<PathBuf> {
    tool::check_host()?;
    make_dir(&options.out)?;
    let disk = disk_below(&options.out);
    let programs = ["sluice-init", "sluice-guest"].map(|name| options.binaries.join(name));
    let stamp = Stamp::new(disk.with_extension("stamp"), &programs, &tool::epoch().to_string())?;
    if stamp.is_fresh(&[&disk]) {
        progress("up to date");
        return Ok(disk);
    }
    stamp.void()?;
    progress("fetching Debian packages");
    let debian = packages(options)?;
    progress("putting the root together");
    let mut tree = root(&debian, &options.binaries)?;
    add_libreswan(&mut tree, &options.cache)?;
    let scratch = tempfile::tempdir_in(&options.out).map_err(file("create", &options.out))?;
    let squashed = scratch.path().join("host.squashfs");
    squashfs::pack(&tree, scratch.path(), &squashed, squashfs::QUICK)?;
    progress("writing the disk");
    disk::host(&squashed, &disk)?;
    stamp.keep()?;
    Ok(disk)
}

fn root(debian: &Debian, binaries: &Path) -> Result<Tree> {
    let mut tree = Tree::default();
    collect(&debian.root, Path::new(""), &mut tree)?;
    for path in [
        "proc",
        "sys",
        "dev",
        "run",
        "tmp",
        "root",
        "mnt",
        "data",
        "var/lib/dhcp",
        "var/lib/dhcpcd",
        "var/log/nginx",
        "var/lib/nfs",
    ] {
        tree.dir(path, 0o755);
    }
    for (path, target) in LINKS {
        tree.link(path, target);
    }
    tree.file("etc/passwd", PASSWD, 0o644);
    tree.file("etc/group", GROUP, 0o644);
    tree.file("etc/nsswitch.conf", NSSWITCH, 0o644);
    tree.file("etc/hosts", "127.0.0.1 localhost\n", 0o644);
    tree.file("etc/resolv.conf", "", 0o644);
    // state of the file server that its maintainer script makes
    for name in ["etab", "rmtab"] {
        tree.file(&format!("var/lib/nfs/{name}"), "", 0o644);
    }
    tree.file(MARK, "", 0o644);
    tree.file("usr/lib/sluice/stage2.modules", lists::as_file(lists::MODULES_STAGE2), 0o644);
    for name in ["sluice-init", "sluice-guest"] {
        let path = binaries.join(name);
        if !path.exists() {
            return Err(Error::Binary { path });
        }
        tree.copy(&format!("{BIN}/{name}"), &path)?;
    }
    tree.link(&format!("{BIN}/sluice-modprobe"), "sluice-init");
    let kernel = Kernel::find(&debian.root)?;
    let modules = [lists::MODULES, lists::MODULES_TESTHOST].concat();
    kernel.install(&kernel.choose(&modules)?, &mut tree);
    Ok(tree)
}

/// Fetches the Debian packages of the test host into the cache, as [`crate::fetch`] does.
pub fn fetch(options: &Options) -> Result<()> {
    packages(options)?;
    libreswan(&options.cache).map(drop)
}

fn packages(options: &Options) -> Result<Debian> {
    let names: BTreeSet<&str> = entries(lists::PACKAGES_TESTHOST).collect();
    Debian::fetch(&names, &options.cache)
}

fn libreswan(cache: &Path) -> Result<Debian> {
    Debian::fetch(&entries(lists::PACKAGES_LIBRESWAN).collect(), cache)
}

/// The other IKE daemon, which its package refuses to have installed beside the first: its programs and what they load.
fn add_libreswan(tree: &mut Tree, cache: &Path) -> Result<()> {
    let debian = libreswan(cache)?;
    let mut other = Tree::default();
    for path in entries(lists::FILES_LIBRESWAN) {
        other.copy(path, &debian.root.join(path))?;
    }
    libraries::complete(&mut other, &debian)?;
    for (path, node) in other.iter() {
        if tree.get(path).is_none() {
            tree.add(path, node.clone());
        }
    }
    Ok(())
}

fn collect(root: &Path, below: &Path, tree: &mut Tree) -> Result<()> {
    let dir = root.join(below);
    for entry in dir_entries(&dir)? {
        let path = below.join(entry.file_name());
        let text = path.to_string_lossy();
        if PRUNED.contains(&text.as_ref()) || is_documentation(&text) {
            continue;
        }
        let kind = entry.file_type().map_err(file("read", &entry.path()))?;
        if kind.is_dir() {
            tree.dir(&text, 0o755);
            collect(root, &path, tree)?;
        } else {
            tree.copy(&text, &entry.path())?;
        }
    }
    Ok(())
}

/// Only the licence notices are kept.
fn is_documentation(path: &str) -> bool {
    let below = path.strip_prefix("usr/share/doc/").and_then(|rest| rest.split_once('/'));
    below.is_some_and(|(_, name)| name != "copyright")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notices_stay_and_manuals_go() {
        assert!(!is_documentation("usr/share/doc/curl/copyright"));
        assert!(is_documentation("usr/share/doc/curl/README"));
        assert!(!is_documentation("usr/share/doc/curl"));
    }
}
