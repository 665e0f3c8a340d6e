//! Capabilities of a child, set by plain system calls since nothing may be allocated after a fork.

use std::io;

use super::{check, prctl};

/// Capabilities that services and daemons need (capabilities(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Capability {
    /// Giving files away.
    Chown,
    /// Files whatever their owner and mode; for other people's daemons that run as root.
    DacOverride,
    /// Becoming another group; for daemons that give up root themselves.
    SetGid,
    /// Becoming another user; as above.
    SetUid,
    /// Ports below 1024.
    NetBindService,
    /// Raw and packet sockets.
    NetRaw,
    /// Interface configuration and transparent sockets.
    NetAdmin,
}

/// Number of the last capability that a kernel of ours may have; asking for a later one is refused with EINVAL, which
/// ends the loop below.
const LAST: u64 = 63;

impl Capability {
    const fn number(self) -> u64 {
        match self {
            Self::Chown => 0,
            Self::DacOverride => 1,
            Self::SetGid => 6,
            Self::SetUid => 7,
            Self::NetBindService => 10,
            Self::NetAdmin => 12,
            Self::NetRaw => 13,
        }
    }
}

/// One bit for each.
pub(super) fn mask(capabilities: &[Capability]) -> u64 {
    capabilities.iter().fold(0, |mask, capability| mask | 1 << capability.number())
}

/// Removes everything else from the bounding set, so that no file can give it back.
pub(super) fn shrink_bounds(keep: u64) -> io::Result<()> {
    for number in 0..=LAST {
        if keep & (1 << number) != 0 {
            continue;
        }
        match prctl(libc::PR_CAPBSET_DROP, number, 0) {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => return Ok(()),
            other => other?,
        }
    }
    Ok(())
}

#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

#[repr(C)]
struct Data {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// `_LINUX_CAPABILITY_VERSION_3` of capget(2): 64 bits in two words.
const VERSION: u32 = 0x2008_0522;

/// Makes `mask` the permitted, effective, inheritable and ambient set, so that it survives the exec.
pub(super) fn set(mask: u64) -> io::Result<()> {
    let header = Header { version: VERSION, pid: 0 };
    let word = |bits: u64| {
        let bits = u32::try_from(bits & u64::from(u32::MAX)).unwrap_or(0);
        Data { effective: bits, permitted: bits, inheritable: bits }
    };
    let data = [word(mask), word(mask >> 32)];
    // SAFETY: capset reads one header and, for version 3, two data words; both outlive the call.
    #[allow(unsafe_code)]
    let result = unsafe { libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr()) };
    check(i32::try_from(result).unwrap_or(-1))?;
    (0..=LAST).filter(|number| mask & (1 << number) != 0).try_for_each(|number| {
        prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_RAISE as libc::c_ulong, number)
    })
}
