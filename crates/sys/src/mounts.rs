//! Mounts of file servers, in a folder whose mounts running services see.
//!
//! Guarantees: nothing on such a mount can be executed, be a device or give rights. The calls block for as long as a server
//! takes, so they belong on threads that nobody waits for.

use std::ffi::CString;
use std::io;
use std::net::IpAddr;
use std::path::Path;

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

/// Takes a mount away at once; who still uses it keeps it until they are done.
pub fn detach(target: &Path) -> io::Result<()> {
    Ok(unmount(target, UnmountFlags::DETACH)?)
}

#[cfg(test)]
mod tests {
    use super::*;

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
