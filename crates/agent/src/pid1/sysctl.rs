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

/// How long a connection that says nothing is kept, in seconds (RFC 5382 REQ-5: 2 h 4 min, where the kernel's own 5 days let
/// one guest fill the table with idle ones).
const TABLES: &[(&str, &str)] = &[("net/netfilter/nf_conntrack_tcp_timeout_established", "7440")];
/// Where the number of buckets is set; the sysctl of that name is for reading in later kernels.
const BUCKETS: &str = "/sys/module/nf_conntrack/parameters/hashsize";
/// A sixteenth of the memory for connections of about 400 bytes each: 20,971 in 128 MiB, where the kernel would take 1,024.
const SHARE: u64 = 16 * 400;
/// Never more than this many, as today's routers have at most.
const MOST: u64 = 1_000_000;

/// Connections that a machine with so many bytes of memory keeps track of.
fn connections(memory: u64) -> u64 {
    (memory / SHARE).min(MOST)
}

/// Sizes the table of connections; those of neighbours follow the configuration, and are the engine's. To be called once
/// the rules are loaded: they bring the module.
pub(crate) fn size_tables() -> Vec<(String, io::Error)> {
    let memory = rustix::system::sysinfo();
    let memory = memory.totalram.saturating_mul(memory.mem_unit.into());
    let most = connections(memory).to_string();
    let own = [
        (BUCKETS.to_owned(), most.clone()),
        ("/proc/sys/net/netfilter/nf_conntrack_max".to_owned(), most),
    ];
    let fixed =
        TABLES.iter().map(|(name, value)| (format!("/proc/sys/{name}"), (*value).to_owned()));
    let write =
        |(path, value): (String, String)| fs::write(&path, value).err().map(|error| (path, error));
    own.into_iter().chain(fixed).filter_map(write).collect()
}

/// Writes all settings; answers those that failed, which is worth a warning and no more.
pub(crate) fn apply() -> Vec<(&'static str, io::Error)> {
    let write = |&(name, value): &(&'static str, &str)| {
        fs::write(Path::new("/proc/sys").join(name), value).err().map(|error| (name, error))
    };
    SETTINGS.iter().filter_map(write).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_machine_tracks_enough_and_a_large_one_not_too_many() {
        assert_eq!(connections(128 << 20), 20_971);
        assert_eq!(connections(512 << 20), 83_886);
        assert_eq!(connections(64 << 30), MOST);
    }
}
