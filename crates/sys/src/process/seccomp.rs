//! The system calls of a network service; everything else is answered with EPERM.
//!
//! Not in the list, on purpose: anything that mounts, traces, loads, changes users, names or time, makes namespaces or
//! keys, or opens io_uring. `execve` is in it because the filter is set before the program starts; without new
//! privileges and with an empty root-owned file system beneath it gains nothing. `clone` makes threads and processes but
//! no namespaces. `clone3`, whose flags a filter cannot see, is answered with ENOSYS, after which libc uses `clone`.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

const ALLOWED: &[libc::c_long] = &[
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

/// What the services talk over. Others, such as AF_ALG, AF_NETLINK and AF_VSOCK, are much kernel for nobody's use.
const FAMILIES: [libc::c_int; 4] = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_PACKET];

/// CLONE_NEW* of clone(2): a user namespace would give back every capability, within it.
const NAMESPACES: libc::c_int = libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET;

/// Both filters apply; where they differ the refusal wins.
pub(super) fn network_service() -> Result<[BpfProgram; 2], seccompiler::BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        ALLOWED.iter().map(|number| (*number, Vec::new())).collect();
    rules.insert(libc::SYS_clone, vec![without_namespaces()?]);
    rules.insert(libc::SYS_socket, FAMILIES.map(family).into_iter().collect::<Result<_, _>>()?);
    let listed = filter(rules, libc::EPERM, true)?;
    let no_clone3 = filter([(libc::SYS_clone3, Vec::new())].into(), libc::ENOSYS, false)?;
    // the list forbids seccomp(2) itself, so it comes last
    Ok([no_clone3, listed])
}

fn family(family: libc::c_int) -> Result<SeccompRule, seccompiler::BackendError> {
    let family = u64::from(family.unsigned_abs());
    let is = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, family)?;
    SeccompRule::new(vec![is])
}

fn without_namespaces() -> Result<SeccompRule, seccompiler::BackendError> {
    let flags = u64::from(NAMESPACES.unsigned_abs());
    let none_of = SeccompCmpOp::MaskedEq(flags);
    SeccompRule::new(vec![SeccompCondition::new(0, SeccompCmpArgLen::Qword, none_of, 0)?])
}

/// A filter that allows what is listed and refuses the rest, or the other way round.
fn filter(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    refusal: libc::c_int,
    allow_listed: bool,
) -> Result<BpfProgram, seccompiler::BackendError> {
    let refuse = SeccompAction::Errno(refusal.unsigned_abs());
    let (other, listed) =
        if allow_listed { (refuse, SeccompAction::Allow) } else { (SeccompAction::Allow, refuse) };
    SeccompFilter::new(rules, other, listed, TargetArch::x86_64)?.try_into()
}
