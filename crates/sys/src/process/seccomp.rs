//! The system calls that each kind of process may make.
//!
//! Profiles of our own programs are lists of what they need: everything else is answered with EPERM. Not in any of them,
//! on purpose: what mounts, traces, loads, changes names or time, makes namespaces or keys, or opens io_uring. `execve` is
//! in them because the filter is set before the program starts; without new privileges and with a root that holds nothing
//! but the program itself it gains nothing. `clone` makes threads and processes but no namespaces. `clone3`, whose flags a
//! filter cannot see, is answered with ENOSYS, after which libc uses `clone`.
//!
//! Daemons of others need more than anybody can list; their profile says what they may not do.

use std::collections::BTreeMap;

use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch,
};

/// Which system calls a process may make.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// Sockets over Unix, IPv4 and IPv6; reads files. For DHCP, DNS, metadata, balancers, consoles.
    #[default]
    NetworkService,
    /// As above, and packet sockets. For what answers on a link by its own frames, such as router advertisements.
    LinkService,
    /// As above, and netlink and PPP sockets, by which tunnels are put into the kernel.
    TunnelService,
    /// As [`Self::NetworkService`], and makes, renames and removes files, and starts programs that it sees.
    StorageService,
    /// Reads and writes files and talks to nobody. For `qemu-img`.
    ImageTool,
    /// Reads from the sockets that it was given, and answers on its standard input and error: it opens and sends nothing.
    /// For what takes packets apart for the agent.
    PacketReader,
    /// Everything but what changes the machine as a whole. For daemons of others, such as one for IKE; the only profile
    /// that root may have.
    ForeignDaemon,
}

/// What every program of ours needs.
const SERVICE: &[libc::c_long] = &[
    // files and descriptors
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_openat,
    libc::SYS_close,
    libc::SYS_close_range,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_lseek,
    libc::SYS_fcntl,
    libc::SYS_ioctl,
    libc::SYS_dup,
    libc::SYS_dup2,
    libc::SYS_dup3,
    libc::SYS_pipe2,
    libc::SYS_access,
    libc::SYS_faccessat,
    libc::SYS_readlink,
    libc::SYS_readlinkat,
    libc::SYS_getcwd,
    libc::SYS_splice,
    libc::SYS_getdents64,
    // memory
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    // sockets and waiting
    libc::SYS_socketpair,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept4,
    libc::SYS_connect,
    libc::SYS_shutdown,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_setsockopt,
    libc::SYS_getsockopt,
    libc::SYS_sendto,
    libc::SYS_recvfrom,
    libc::SYS_sendmsg,
    libc::SYS_recvmsg,
    libc::SYS_sendmmsg,
    libc::SYS_recvmmsg,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_wait,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_eventfd2,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_settime,
    libc::SYS_poll,
    libc::SYS_ppoll,
    libc::SYS_select,
    libc::SYS_pselect6,
    // time, threads, signals
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_futex,
    libc::SYS_clone3,
    libc::SYS_set_robust_list,
    libc::SYS_set_tid_address,
    libc::SYS_rseq,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_membarrier,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    libc::SYS_tgkill,
    libc::SYS_exit,
    libc::SYS_exit_group,
    // itself
    libc::SYS_execve,
    libc::SYS_arch_prctl,
    libc::SYS_prctl,
    libc::SYS_prlimit64,
    libc::SYS_getrlimit,
    libc::SYS_getrandom,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_gettid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_uname,
    libc::SYS_sysinfo,
    libc::SYS_getrusage,
];

/// Beside [`SERVICE`]: what changes files.
const FILES: &[libc::c_long] = &[
    libc::SYS_open,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_mkdir,
    libc::SYS_mkdirat,
    libc::SYS_unlink,
    libc::SYS_unlinkat,
    libc::SYS_rmdir,
    libc::SYS_rename,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_link,
    libc::SYS_linkat,
    libc::SYS_ftruncate,
    libc::SYS_fallocate,
    libc::SYS_fadvise64,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_sync_file_range,
    libc::SYS_flock,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_utimensat,
    libc::SYS_statfs,
    libc::SYS_fstatfs,
    libc::SYS_preadv,
    libc::SYS_pwritev,
    libc::SYS_preadv2,
    libc::SYS_pwritev2,
    libc::SYS_copy_file_range,
    libc::SYS_sendfile,
    libc::SYS_umask,
    libc::SYS_faccessat2,
    libc::SYS_openat2,
    libc::SYS_chdir,
    libc::SYS_fchdir,
];

/// Beside [`SERVICE`]: what starts programs and waits for them.
const CHILDREN: &[libc::c_long] = &[
    libc::SYS_fork,
    libc::SYS_vfork,
    libc::SYS_wait4,
    libc::SYS_waitid,
    libc::SYS_kill,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_send_signal,
    libc::SYS_setpgid,
    libc::SYS_pipe,
];

/// Beside [`SERVICE`] and [`FILES`]: what `qemu-img` asks for besides.
const IMAGE_TOOL: &[libc::c_long] = &[
    libc::SYS_signalfd4,
    libc::SYS_timer_create,
    libc::SYS_timer_settime,
    libc::SYS_timer_delete,
    libc::SYS_sched_setaffinity,
    libc::SYS_sched_getparam,
    libc::SYS_sched_getscheduler,
    libc::SYS_sched_setscheduler,
    libc::SYS_getegid,
    libc::SYS_memfd_create,
    libc::SYS_time,
    libc::SYS_getpgrp,
];

/// Of [`SERVICE`], what a process could send by, or make another descriptor standard input by.
const SENDING: &[libc::c_long] = &[
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_sendmmsg,
    libc::SYS_splice,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept4,
    libc::SYS_connect,
    libc::SYS_socketpair,
    libc::SYS_setsockopt,
    libc::SYS_ioctl,
    libc::SYS_dup,
    libc::SYS_dup2,
    libc::SYS_dup3,
    libc::SYS_fcntl,
];

/// What no daemon may do: it would change the machine, look into others, or open doors that nobody needs.
const NEVER: &[libc::c_long] = &[
    libc::SYS_acct,
    libc::SYS_add_key,
    libc::SYS_adjtimex,
    libc::SYS_bpf,
    libc::SYS_chroot,
    libc::SYS_clock_adjtime,
    libc::SYS_clock_settime,
    libc::SYS_delete_module,
    libc::SYS_finit_module,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fsopen,
    libc::SYS_init_module,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_io_uring_setup,
    libc::SYS_ioperm,
    libc::SYS_iopl,
    libc::SYS_kexec_file_load,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_lookup_dcookie,
    libc::SYS_mount,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_name_to_handle_at,
    libc::SYS_open_by_handle_at,
    libc::SYS_open_tree,
    libc::SYS_perf_event_open,
    libc::SYS_pivot_root,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_ptrace,
    libc::SYS_quotactl,
    libc::SYS_reboot,
    libc::SYS_request_key,
    libc::SYS_setdomainname,
    libc::SYS_sethostname,
    libc::SYS_setns,
    libc::SYS_settimeofday,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_syslog,
    libc::SYS_umount2,
    libc::SYS_unshare,
    libc::SYS_userfaultfd,
];

/// What services talk over. Others, such as AF_ALG and AF_VSOCK, are much kernel for nobody's use.
const NETWORK: &[libc::c_int] = &[libc::AF_UNIX, libc::AF_INET, libc::AF_INET6];
/// As above, of those that talk on a link.
const LINKS: &[libc::c_int] = &[libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_PACKET];
/// As above, of those that make tunnels.
const TUNNELS: &[libc::c_int] = &[
    libc::AF_UNIX,
    libc::AF_INET,
    libc::AF_INET6,
    libc::AF_PACKET,
    libc::AF_NETLINK,
    libc::AF_PPPOX,
];

impl Profile {
    /// The filters, in the order in which they are to be set: the last forbids setting any. All of them apply; where they
    /// differ the refusal wins.
    pub(super) fn filters(self) -> Result<[BpfProgram; 2], BackendError> {
        let no_clone3 = filter([(libc::SYS_clone3, Vec::new())].into(), libc::ENOSYS, false)?;
        let filters = match self {
            Self::NetworkService => listed(&[SERVICE], NETWORK)?,
            Self::LinkService => listed(&[SERVICE], LINKS)?,
            Self::TunnelService => listed(&[SERVICE], TUNNELS)?,
            Self::StorageService => listed(&[SERVICE, FILES, CHILDREN], NETWORK)?,
            Self::ImageTool => listed(&[SERVICE, FILES, IMAGE_TOOL], &[])?,
            Self::PacketReader => reader()?,
            Self::ForeignDaemon => all_but(NEVER)?,
        };
        Ok([no_clone3, filters])
    }
}

fn listed(calls: &[&[libc::c_long]], families: &[libc::c_int]) -> Result<BpfProgram, BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        calls.iter().flat_map(|calls| calls.iter()).map(|number| (*number, Vec::new())).collect();
    rules.insert(libc::SYS_clone, vec![without_namespaces()?]);
    if !families.is_empty() {
        let families = families.iter().map(|each| family(*each)).collect::<Result<_, _>>()?;
        rules.insert(libc::SYS_socket, families);
    }
    filter(rules, libc::EPERM, true)
}

/// Writes to standard input and error alone, and looks at descriptors without copying any.
fn reader() -> Result<BpfProgram, BackendError> {
    let plain = SERVICE.iter().filter(|number| !SENDING.contains(number));
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        plain.map(|number| (*number, Vec::new())).collect();
    rules.insert(libc::SYS_write, vec![argument(0, 0)?, argument(0, 2)?]);
    rules.insert(libc::SYS_fcntl, vec![argument(1, u64::from(libc::F_GETFD.unsigned_abs()))?]);
    filter(rules, libc::EPERM, true)
}

fn all_but(calls: &[libc::c_long]) -> Result<BpfProgram, BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        calls.iter().map(|number| (*number, Vec::new())).collect();
    let flags = namespace_flags();
    // any of the flags: one rule for each
    let any = flags.map(|flag| {
        let set = SeccompCmpOp::MaskedEq(flag);
        SeccompRule::new(vec![SeccompCondition::new(0, SeccompCmpArgLen::Qword, set, flag)?])
    });
    rules.insert(libc::SYS_clone, any.into_iter().collect::<Result<_, _>>()?);
    filter(rules, libc::EPERM, false)
}

/// CLONE_NEW* of clone(2): a user namespace would give back every capability, within it.
fn namespace_flags() -> [u64; 7] {
    [
        libc::CLONE_NEWNS,
        libc::CLONE_NEWCGROUP,
        libc::CLONE_NEWUTS,
        libc::CLONE_NEWIPC,
        libc::CLONE_NEWUSER,
        libc::CLONE_NEWPID,
        libc::CLONE_NEWNET,
    ]
    .map(|flag| u64::from(flag.unsigned_abs()))
}

fn family(family: libc::c_int) -> Result<SeccompRule, BackendError> {
    argument(0, u64::from(family.unsigned_abs()))
}

/// The argument in this place is this number.
fn argument(place: u8, number: u64) -> Result<SeccompRule, BackendError> {
    let is = SeccompCondition::new(place, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, number)?;
    SeccompRule::new(vec![is])
}

fn without_namespaces() -> Result<SeccompRule, BackendError> {
    let none_of = SeccompCmpOp::MaskedEq(namespace_flags().iter().sum());
    SeccompRule::new(vec![SeccompCondition::new(0, SeccompCmpArgLen::Qword, none_of, 0)?])
}

/// A filter that allows what is listed and refuses the rest, or the other way round.
fn filter(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    refusal: libc::c_int,
    allow_listed: bool,
) -> Result<BpfProgram, BackendError> {
    let refuse = SeccompAction::Errno(refusal.unsigned_abs());
    let (other, listed) =
        if allow_listed { (refuse, SeccompAction::Allow) } else { (SeccompAction::Allow, refuse) };
    SeccompFilter::new(rules, other, listed, TargetArch::x86_64)?.try_into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_profile_becomes_a_filter() {
        use Profile::{
            ForeignDaemon, ImageTool, NetworkService, PacketReader, StorageService, TunnelService,
        };
        for profile in
            [NetworkService, TunnelService, StorageService, ImageTool, PacketReader, ForeignDaemon]
        {
            profile.filters().unwrap_or_else(|error| panic!("{profile:?}: {error}"));
        }
    }
}
