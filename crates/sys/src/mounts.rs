//! Mounts of file servers, in a folder whose mounts running services see.
//!
//! Guarantees: nothing on such a mount can be executed, be a device or give rights. The calls block for as long as a server
//! takes, so they belong on threads that nobody waits for.

use std::ffi::CString;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use rustix::io::Errno;
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, unmount,
};

/// Room for mount points; nothing else is written there.
const FOLDER_OPTIONS: &std::ffi::CStr = c"size=1m,mode=0755";
/// A server that is silent for 3 times 10 s makes an operation fail instead of hanging for ever; what is written is made
/// durable and hashed anyway. Directories are never remembered, since hosts change them too.
const NFS_OPTIONS: &str = "soft,timeo=100,retrans=3,acdirmin=0,acdirmax=0,sec=sys";

/// An export of a file server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NfsMount {
    /// The server.
    pub server: IpAddr,
    /// Path of the export.
    pub path: String,
    /// Version: `3`, `4.0`, `4.1` or `4.2`.
    pub version: &'static str,
    /// Whether it is only read.
    pub read_only: bool,
}

impl NfsMount {
    /// What `mount(2)` is given as its source.
    pub fn source(&self) -> String {
        match self.server {
            IpAddr::V4(server) => format!("{server}:{}", self.path),
            IpAddr::V6(server) => format!("[{server}]:{}", self.path),
        }
    }

    /// What it is given as data: there is no mount helper, so the address is said as well. Version 3 has locks and mounts in
    /// protocols of their own; images need no locks, and the kernel asks for the mount itself.
    pub fn options(&self) -> String {
        let family = if self.server.is_ipv6() { "tcp6" } else { "tcp" };
        let common =
            format!("addr={},vers={},proto={family},{NFS_OPTIONS}", self.server, self.version);
        if self.version == "3" { format!("{common},nolock,mountproto={family}") } else { common }
    }

    /// The TCP port that the kernel asks first: with version 3 the port mapper's (RFC 1833), else NFS's own (RFC 7530).
    const fn port(&self) -> u16 {
        if matches!(self.version.as_bytes(), b"3") { 111 } else { 2049 }
    }
}

fn plain() -> MountFlags {
    MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC
}

/// Makes `path` a folder in RAM whose mounts come into the view of services that see it.
pub fn shared_folder(path: &Path) -> io::Result<()> {
    std::fs::create_dir_all(path)?;
    mount("tmpfs", path, "tmpfs", plain(), FOLDER_OPTIONS)?;
    Ok(mount_change(path, MountPropagationFlags::SHARED)?)
}

/// Mounts an export.
///
/// Errors: as mount(2): the server does not answer, refuses, or has no such export; the kernel has no NFS.
pub fn nfs(export: &NfsMount, target: &Path) -> io::Result<()> {
    std::fs::create_dir_all(target)?;
    let flags = if export.read_only { plain() | MountFlags::RDONLY } else { plain() };
    let data = CString::new(export.options()).map_err(io::Error::other)?;
    Ok(mount(export.source(), target, "nfs", flags, data.as_c_str())?)
}

/// Whether anybody listens where the kernel will ask: it would itself wait minutes for a server that is silent.
///
/// Errors: there is no route, nobody listens, or nothing was heard for as long as `patience`.
pub fn reach(export: &NfsMount, patience: Duration) -> io::Result<()> {
    let server = SocketAddr::new(export.server, export.port());
    TcpStream::connect_timeout(&server, patience).map(drop)
}

/// Why [`reach`] or [`nfs`] failed, for a person.
pub fn reason(export: &NfsMount, error: &io::Error) -> String {
    use io::ErrorKind::{
        ConnectionRefused, HostUnreachable, NetworkUnreachable, NotFound, PermissionDenied,
        TimedOut,
    };
    let NfsMount { path, version, .. } = export;
    let plain = match (error.kind(), error.raw_os_error().map(Errno::from_raw_os_error)) {
        (NotFound, _) => format!("the server has no export {path}"),
        (PermissionDenied, _) => format!("the server does not let this machine have {path}"),
        (HostUnreachable | NetworkUnreachable, _) => "there is no route to the server".to_owned(),
        (ConnectionRefused, _) => "no file server listens there".to_owned(),
        (TimedOut, _) => "the server does not answer".to_owned(),
        (_, Some(Errno::PROTONOSUPPORT)) => format!("the server does not offer NFS {version}"),
        (_, Some(Errno::NODEV)) => "the kernel has no NFS".to_owned(),
        _ => "the mount failed".to_owned(),
    };
    format!("{}: {plain} ({error})", export.source())
}

/// Takes a mount away at once; who still uses it keeps it until they are done.
pub fn detach(target: &Path) -> io::Result<()> {
    Ok(unmount(target, UnmountFlags::DETACH)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// Each as Linux says it: RFC 1813's MNT3ERR_NOENT and MNT3ERR_ACCES, NFS4ERR_PERM, RPC's PROG_MISMATCH, and what connecting
    /// says.
    #[test]
    fn each_failure_is_told_in_words_of_its_own() {
        let export = NfsMount {
            server: "10.4.0.10".parse().unwrap(),
            path: "/export".to_owned(),
            version: "4.2",
            read_only: false,
        };
        let mut told = std::collections::BTreeSet::new();
        for (errno, words) in [
            (Errno::NOENT, "the server has no export /export"),
            (Errno::ACCESS, "does not let this machine have /export"),
            (Errno::PERM, "does not let this machine have /export"),
            (Errno::HOSTUNREACH, "there is no route to the server"),
            (Errno::NETUNREACH, "there is no route to the server"),
            (Errno::TIMEDOUT, "the server does not answer"),
            (Errno::CONNREFUSED, "no file server listens there"),
            (Errno::PROTONOSUPPORT, "the server does not offer NFS 4.2"),
            (Errno::NODEV, "the kernel has no NFS"),
            (Errno::IO, "the mount failed"),
        ] {
            let text = reason(&export, &io::Error::from(errno));
            assert!(text.starts_with("10.4.0.10:/export: ") && text.contains(words), "{text}");
            told.insert(words);
        }
        assert_eq!(told.len(), 8);
    }

    #[test]
    fn a_server_is_reached_at_the_port_that_the_kernel_asks_first() {
        let mut export = NfsMount {
            server: "127.0.0.1".parse().unwrap(),
            path: "/export".to_owned(),
            version: "3",
            read_only: false,
        };
        assert_eq!(export.port(), 111);
        export.version = "4.2";
        assert_eq!(export.port(), 2049);
        let refused = reach(&export, Duration::from_secs(5));
        // whoever runs this may have a file server
        let listens = TcpListener::bind(("127.0.0.1", 2049));
        if listens.is_ok() {
            assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        }
        reach(&export, Duration::from_secs(5)).unwrap();
    }

    #[test]
    fn an_export_is_said_as_the_kernel_wants_it() {
        let mut export = NfsMount {
            server: "10.4.0.10".parse().unwrap(),
            path: "/export/secondary".to_owned(),
            version: "4.2",
            read_only: false,
        };
        assert_eq!(export.source(), "10.4.0.10:/export/secondary");
        assert!(export.options().starts_with("addr=10.4.0.10,vers=4.2,proto=tcp,soft,"));
        export.server = "2001:db8::1".parse().unwrap();
        export.version = "3";
        assert_eq!(export.source(), "[2001:db8::1]:/export/secondary");
        assert!(export.options().ends_with(",nolock,mountproto=tcp6"), "{}", export.options());
    }
}
