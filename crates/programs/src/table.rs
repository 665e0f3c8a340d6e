//! The one table: which Debian package has a program, and what needs it.

/// A Debian package.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Package {
    /// Its name.
    pub name: &'static str,
    /// What it is needed for.
    pub why: &'static str,
    /// Its programs that are started; none where its files are read or other packages start them.
    pub programs: &'static [&'static str],
}

const fn package(
    name: &'static str,
    why: &'static str,
    programs: &'static [&'static str],
) -> Package {
    Package { name, why, programs }
}

/// To build the Rust code.
pub const BUILD: &[Package] = &[
    package("gcc", "links Rust programs and builds ring", &[]),
    package("libc6-dev", "C headers for ring and SQLite", &[]),
];

/// To build the fuzz targets.
pub const FUZZ: &[Package] = &[package("g++", "builds libFuzzer", &[])];

/// To build the template.
pub const IMAGE: &[Package] = &[
    package("mmdebstrap", "makes the Debian root of the image", &["mmdebstrap"]),
    package("debian-archive-keyring", "proves where Debian packages come from", &[]),
    package("squashfs-tools", "packs the read-only root", &["mksquashfs", "unsquashfs"]),
    package("grub-common", "makes the boot loaders", &["grub-mkimage"]),
    package("grub-pc-bin", "boot loader for BIOS", &[]),
    package("grub-efi-amd64-bin", "boot loader for UEFI", &[]),
    package("dosfstools", "checks the EFI system partition", &["fsck.fat"]),
    package("mtools", "reads the EFI system partition in tests", &["mdir", "mtype", "mcopy"]),
    package("e2fsprogs", "makes the data partition", &["mke2fs", "e2fsck", "debugfs", "dumpe2fs"]),
    package("kmod", "resolves module dependencies", &["depmod", "modinfo"]),
    package("lz4", "packs the initial RAM file system", &["lz4"]),
    package("xz-utils", "unpacks kernel modules", &["xz"]),
    QEMU_IMG,
];

/// To run machines.
pub const MACHINES: &[Package] = &[
    QEMU,
    QEMU_IMG,
    package("ovmf", "UEFI firmware for test machines", &[]),
    package("iproute2", "the wire between a machine and this host", &["ip"]),
];

const QEMU: Package = package("qemu-system-x86", "runs machines", &["qemu-system-x86_64"]);
const QEMU_IMG: Package = package("qemu-utils", "writes and reads disk images", &["qemu-img"]);

/// To run tests in network namespaces.
pub const NAMESPACES: &[Package] = &[
    package("iproute2", "makes namespaces and wires between them", &["ip", "ss", "tc", "bridge"]),
    package("procps", "sets and reads kernel parameters, ends processes", &["sysctl", "kill"]),
    package("nftables", "loads packet rules", &["nft"]),
    package("conntrack", "reads connection tracking", &["conntrack"]),
    package("iputils-ping", "test client", &["ping"]),
    package("iputils-arping", "test client", &["arping"]),
    package("netcat-openbsd", "test client", &["nc"]),
    package("ndisc6", "reads router advertisements in tests", &["rdisc6"]),
    package("curl", "test client", &["curl"]),
    package("wget", "test client: how guests' scripts fetch a password", &["wget"]),
    package("cloud-init", "test client: its CloudStack and Ec2 data sources", &["cloud-init"]),
    package("busybox", "test client: udhcpc", &["busybox"]),
    package("udhcpc", "test client: its default script", &["udhcpc"]),
    package("isc-dhcp-client", "test client", &["dhclient"]),
    package("isc-dhcp-relay", "test relay", &["dhcrelay"]),
    package("dhcpcd-base", "test client", &["dhcpcd"]),
    package("systemd", "test client", &["systemd-networkd"]),
    package("kea-admin", "DHCP load in tests and benchmarks", &["perfdhcp"]),
    package("bind9-dnsutils", "test client", &["dig"]),
    package("python3-dnspython", "asks thousands of questions in tests", &[]),
    package("knot-dnsutils", "test client", &["kdig"]),
    package("bind9-utils", "signs zones in tests", &["dnssec-keygen", "dnssec-signzone"]),
    package("e2fsprogs", "reads Alpine's disk in tests", &["debugfs"]),
    package("musl-tools", "builds a client with the resolver of Alpine", &["musl-gcc"]),
    package("openssh-client", "reads keys that the manager makes", &["ssh-keygen"]),
    package("dnsmasq-base", "upstream resolver in tests, rival in benchmarks", &["dnsmasq"]),
    package("unbound", "upstream resolver in tests, rival in benchmarks", &["unbound"]),
    package("dnsperf", "DNS load in tests and benchmarks", &["dnsperf"]),
    package("tcpdump", "reads captured packets", &["tcpdump"]),
    package("nginx-light", "web server that images are fetched from in tests", &["nginx"]),
    QEMU_IMG,
    package("zstd", "packs images in tests", &["zstd"]),
    package("xz-utils", "packs images in tests", &["xz"]),
    package("bzip2", "packs images in tests", &["bzip2"]),
    package("zip", "packs images in tests", &["zip"]),
    package("xxd", "turns digests into bytes in tests", &["xxd"]),
    package("swift-proxy", "object store in tests, Swift and S3", &["swift-proxy-server"]),
    package("swift-account", "object store in tests", &["swift-account-server"]),
    package("swift-container", "object store in tests", &["swift-container-server"]),
    package("swift-object", "object store in tests", &["swift-object-server"]),
    package("swift", "object store in tests", &["swift-ring-builder"]),
    package("memcached", "keeps tokens of the object store in tests", &["memcached"]),
    package("python3", "test server", &["python3"]),
    package("python3-venv", "brings schemathesis and Alpine, which no Debian package has", &[]),
    package(
        "postgresql",
        "a store of the manager in its tests",
        &["initdb", "postgres", "createdb", "dropdb", "pgbench"],
    ),
    package("haproxy", "reference in tests of the balancer, rival in its benchmark", &["haproxy"]),
    package("openssl", "makes certificates in tests, and is a client", &["openssl"]),
    package("cpio", "reads the initial RAM file system in tests", &["cpio"]),
];

/// To test consoles.
pub const CONSOLE: &[Package] =
    &[package("chromium", "the browser in front of a console", &["chromium"]), QEMU, QEMU_IMG];

/// What a desk has that shows a console or builds the tree; nothing needs it elsewhere, so nothing installs it.
pub const DESK: &[Package] = &[
    package("xdg-utils", "opens a console's link in the browser of a desk", &["xdg-open"]),
    package("git", "says which files were written anew", &["git"]),
    package("sudo", "runs as root what an ordinary user may not", &["sudo"]),
];

/// To run benchmarks.
pub const BENCH: &[Package] = &[
    package("kea-dhcp4-server", "rival in the DHCP benchmark", &["kea-dhcp4"]),
    package(
        "iptables",
        "rival in the rules benchmark",
        &["iptables", "iptables-nft", "iptables-nft-restore"],
    ),
    package("time", "memory and blocks written in the storage benchmark", &["time"]),
    package("websockify", "rival in the console benchmark", &["websockify"]),
];

/// What every Debian and Ubuntu system has: the packages that are essential, and apt's own tools.
pub const ESSENTIAL: &[Package] = &[
    package("dash", "the shell of test clients", &["sh"]),
    package("bash", "a test client with sockets", &["bash"]),
    package(
        "coreutils",
        "small tools",
        &[
            "cat",
            "chmod",
            "chroot",
            "cp",
            "date",
            "dd",
            "env",
            "false",
            "head",
            "id",
            "ln",
            "mkdir",
            "mv",
            "rm",
            "seq",
            "sha256sum",
            "sha512sum",
            "sleep",
            "stat",
            "sync",
            "tee",
            "timeout",
            "touch",
            "true",
            "truncate",
            "wc",
        ],
    ),
    package(
        "util-linux",
        "processes and their surroundings",
        &["mount", "nsenter", "setpriv", "setsid", "taskset", "umount", "unshare"],
    ),
    package("hostname", "names this host", &["hostname"]),
    package("libc-bin", "looks names up", &["getent"]),
    package("dpkg", "knows packages", &["dpkg-deb", "dpkg-query"]),
    package("apt", "installs packages", &["apt-get", "apt-cache"]),
    package("tar", "packs files", &["tar"]),
    package("gzip", "packs files", &["gzip"]),
    package("grep", "finds lines", &["grep"]),
    package("sed", "edits lines", &["sed"]),
];

/// Every group, those first that have to be installed.
pub const GROUPS: &[&[Package]] =
    &[BUILD, FUZZ, IMAGE, MACHINES, NAMESPACES, CONSOLE, DESK, BENCH, ESSENTIAL];
