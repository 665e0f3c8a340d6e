//! Kernel settings of every appliance; those of a role are its agent's.

use std::fs;
use std::io;
use std::path::Path;

/// Path below `/proc/sys`, value, and why it is set (as the comment beside it).
const SETTINGS: &[(&str, &str)] = &[
    // a dead machine restarts: the manager re-pushes, nobody has to press a key
    ("kernel/panic", "10"),
    ("kernel/panic_on_oops", "1"),
    // modules on demand, by our own loader: there is no modprobe in the image
    ("kernel/modprobe", "/usr/lib/sluice/bin/sluice-modprobe"),
    // a compromised service learns nothing about the kernel and cannot load programs into it
    ("kernel/kptr_restrict", "2"),
    ("kernel/dmesg_restrict", "1"),
    ("kernel/unprivileged_bpf_disabled", "1"),
    ("kernel/sysrq", "0"),
    ("fs/protected_hardlinks", "1"),
    ("fs/protected_symlinks", "1"),
    ("fs/suid_dumpable", "0"),
    // addresses and routes come from the configuration, never from a neighbour's router advertisement; `default` is what
    // NICs that appear from here on start with, and IPv6 has no `all` that counts
    ("net/ipv6/conf/default/accept_ra", "0"),
    ("net/ipv6/conf/default/autoconf", "0"),
    ("net/ipv4/conf/all/accept_redirects", "0"),
    ("net/ipv4/conf/default/accept_redirects", "0"),
    ("net/ipv6/conf/default/accept_redirects", "0"),
    ("net/ipv4/conf/all/send_redirects", "0"),
    ("net/ipv4/conf/default/send_redirects", "0"),
    // an address is answered for only on the NIC that has it
    ("net/ipv4/conf/all/arp_ignore", "1"),
    ("net/ipv4/conf/all/arp_announce", "2"),
];

/// Writes all settings; answers those that failed, which is worth a warning and no more.
pub(crate) fn apply() -> Vec<(&'static str, io::Error)> {
    let write = |&(name, value): &(&'static str, &str)| {
        fs::write(Path::new("/proc/sys").join(name), value).err().map(|error| (name, error))
    };
    SETTINGS.iter().filter_map(write).collect()
}
