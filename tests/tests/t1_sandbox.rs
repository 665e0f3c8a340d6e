//! A sandboxed process holds exactly what it was given: read from the kernel's own account of it.

#![allow(clippy::unwrap_used)] // a test may fail loudly anywhere, its helpers included

use std::fs::File;
use std::io::Read;
use std::net::UdpSocket;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use nix::fcntl::{FcntlArg, FdFlag};
use sluice_sys::process::{Capability, Handed, Limits, Profile, Sandbox, View, spawn};
use tokio::io::AsyncReadExt;

/// A shell with the tools of this machine, which a service has not.
fn shell(script: &str) -> Sandbox {
    Sandbox {
        arguments: vec!["-c".into(), script.into()],
        view: View::libraries().reading(["/usr", "/bin", "/proc", "/etc/shadow"]),
        ..Sandbox::new("/bin/sh", 64_001)
    }
}

async fn said(sandbox: &Sandbox) -> String {
    let mut child = spawn(sandbox, Stdio::null()).unwrap();
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).await.unwrap();
    child.wait().await.unwrap();
    said
}

/// The profile does not even let a shell fork, so each script is one program that the shell becomes.
async fn run(script: &str, capabilities: Vec<Capability>) -> String {
    said(&Sandbox { capabilities, ..shell(&format!("exec {script} >&2")) }).await
}

#[tokio::test]
async fn the_kernel_says_that_it_has_nothing_but_what_it_was_given() {
    let status =
        run("cat /proc/self/status", vec![Capability::NetRaw, Capability::NetBindService]).await;
    for line in [
        "Uid:\t64001\t64001\t64001\t64001",
        "Gid:\t64001\t64001\t64001\t64001",
        "Groups:\t",
        "NoNewPrivs:\t1",
        "Seccomp:\t2",
        "CapEff:\t0000000000002400",
        "CapPrm:\t0000000000002400",
        "CapBnd:\t0000000000002400",
        "CapAmb:\t0000000000002400",
    ] {
        assert!(status.contains(line), "no {line:?} in\n{status}");
    }
    let bare = run("cat /proc/self/status", Vec::new()).await;
    assert!(bare.contains("CapEff:\t0000000000000000"), "{bare}");
    let environment = run("env", Vec::new()).await;
    assert!(!environment.contains("HOME="), "{environment}");
    let score = run("cat /proc/self/oom_score_adj", Vec::new()).await;
    assert_eq!(score.trim(), "300");
    let limits = Limits { open_files: 77, ..Limits::default() };
    let limits = said(&Sandbox { limits, ..shell("exec cat /proc/self/limits >&2") }).await;
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let open =
        limits.lines().map(words).find(|words| words.starts_with(&["Max".into(), "open".into()]));
    assert_eq!(open.unwrap()[3..5], ["77", "77"], "{limits}");
}

#[tokio::test]
async fn what_is_not_in_the_profile_is_refused() {
    for script in [
        "cat /etc/shadow",
        "unshare -n true",
        "mount -t tmpfs x /mnt",
        "hostname other",
        "chroot /",
    ] {
        let said = run(script, vec![Capability::NetRaw]).await;
        let refused =
            said.contains("ermi") || said.contains("ust be root") || said.contains("uperuser");
        assert!(refused, "{script}: {said}");
    }
    let said = run("sh -c 'cat /dev/null; true'", Vec::new()).await;
    assert!(said.contains("fork"), "{said}");
}

#[tokio::test]
async fn sockets_are_of_the_families_that_services_talk_over() {
    use Profile::{ForeignDaemon, ImageTool, NetworkService, PacketReader, TunnelService};
    for (profile, name, family, expected) in [
        (NetworkService, "AF_INET", 2, "made"),
        (NetworkService, "AF_INET6", 10, "made"),
        (NetworkService, "AF_UNIX", 1, "made"),
        (NetworkService, "AF_NETLINK", 16, "not permitted"),
        (NetworkService, "AF_PACKET", 17, "not permitted"),
        (NetworkService, "AF_ALG", 38, "not permitted"),
        (NetworkService, "AF_VSOCK", 40, "not permitted"),
        (TunnelService, "AF_NETLINK", 16, "made"),
        (TunnelService, "AF_ALG", 38, "not permitted"),
        (ForeignDaemon, "AF_NETLINK", 16, "made"),
        (ImageTool, "AF_INET", 2, "not permitted"),
        (PacketReader, "AF_UNIX", 1, "not permitted"),
        (PacketReader, "AF_PACKET", 17, "not permitted"),
    ] {
        // SOCK_DGRAM
        let script =
            format!("exec perl -e 'socket(S, {family}, 2, 0) or die $!; print STDERR q(made)'");
        let said = said(&Sandbox { profile, ..shell(&script) }).await;
        assert!(said.contains(expected), "{profile:?} {name}: {said}");
    }
}

#[tokio::test]
async fn its_root_has_what_it_was_given_and_nothing_else() {
    let bare = |script: &str| Sandbox {
        view: View::libraries().reading(["/usr/bin/ls", "/usr/bin/cat"]),
        ..shell(script)
    };
    let root = said(&bare("exec ls / >&2")).await;
    let mut names: Vec<_> = root.lines().collect();
    names.retain(|name| !["lib", "lib64"].contains(name));
    assert_eq!(names, ["bin", "dev", "etc", "usr"], "{root}");
    assert_eq!(
        said(&bare("exec ls /bin /dev /etc >&2")).await.trim(),
        "/bin:\nsh\n\n/dev:\nnull\n\n/etc:\nld.so.cache"
    );
    for script in ["exec cat /proc/self/status", "exec cat /etc/passwd", "exec /usr/bin/env"] {
        let said = said(&bare(script)).await;
        assert!(said.contains("o such file") || said.contains("not found"), "{script}: {said}");
    }
    // of the outside nothing changed
    assert!(std::path::Path::new("/etc/passwd").exists());
}

#[tokio::test]
async fn it_writes_where_it_may_and_executes_nothing_there() {
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().join("own");
    std::fs::create_dir(&own).unwrap();
    std::os::unix::fs::chown(&own, Some(64_001), Some(64_001)).unwrap();
    let read = folder.path().join("read");
    std::fs::write(&read, "given").unwrap();
    let view = View::libraries().reading(["/usr/bin/cat"]).reading([&read]).writing([&own]);
    let run = |script: String| Sandbox { view: view.clone(), ..shell(&script) };
    let (path, given) = (own.display(), read.display());
    assert_eq!(said(&run(format!("echo kept > {path}/new"))).await, "");
    assert_eq!(std::fs::read_to_string(own.join("new")).unwrap(), "kept\n");
    assert_eq!(said(&run(format!("exec cat {given} >&2"))).await, "given");
    for script in
        [format!("echo x > {given}"), "echo x > /new".to_owned(), "echo x > /usr/x".to_owned()]
    {
        let said = said(&run(script.clone())).await;
        assert!(said.contains("annot create"), "{script}: {said}");
    }
    std::fs::copy("/usr/bin/cat", own.join("cat")).unwrap();
    std::fs::set_permissions(own.join("cat"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let said = said(&run(format!("exec {path}/cat {given} >&2"))).await;
    assert!(said.contains("ermission denied"), "{said}");
}

#[tokio::test]
async fn root_is_for_foreign_daemons_alone_and_has_no_more_rights_than_it_was_given() {
    let root = Sandbox { user: 0, ..shell("exec cat /proc/self/status >&2") };
    assert!(spawn(&root, Stdio::null()).is_err());
    let daemon = Sandbox {
        profile: Profile::ForeignDaemon,
        capabilities: vec![Capability::NetAdmin],
        groups: vec![64_077],
        ..root
    };
    let status = said(&daemon).await;
    for line in [
        "Uid:\t0\t0\t0\t0",
        "Groups:\t64077",
        "CapEff:\t0000000000001000",
        "CapBnd:\t0000000000001000",
    ] {
        assert!(status.contains(line), "no {line:?} in\n{status}");
    }
    for script in ["unshare -m true", "unshare -r true", "mount -t tmpfs x /proc", "chroot /"] {
        let arguments = vec!["-c".into(), format!("{script} >&2").into()];
        let said = said(&Sandbox { arguments, ..daemon.clone() }).await;
        assert!(said.contains("ermi") || said.contains("ust be"), "{script}: {said}");
    }
}

#[tokio::test]
async fn who_reads_packets_sends_nothing_by_what_it_was_given() {
    let (ours, theirs) = (UdpSocket::bind("127.0.0.1:0"), UdpSocket::bind("127.0.0.1:0"));
    let (ours, theirs) = (ours.unwrap(), theirs.unwrap());
    theirs.connect(ours.local_addr().unwrap()).unwrap();
    let number = theirs.as_raw_fd();
    let socket = Arc::new(OwnedFd::from(theirs));
    // write, sendto, dup2 and F_DUPFD, by number
    let script = format!(
        "my @r = map {{ syscall($$_[0], @$_[1..$#$_]) < 0 ? $! + 0 : q(done) }} \
         ([1, {number}, q(x), 1], [44, {number}, q(x), 1, 0, 0, 0], [33, {number}, 40], \
         [72, {number}, 0, 3]); print STDERR qq(@r)"
    );
    let run = |profile| {
        let sockets = vec![Handed { name: "heard", socket: Arc::clone(&socket) }];
        let shown = program("/usr/bin/perl", &["-e", &script]);
        Sandbox { profile, sockets, ..shown }
    };
    assert_eq!(said(&run(Profile::PacketReader)).await, "1 1 1 1", "EPERM");
    ours.set_nonblocking(true).unwrap();
    let nothing = ours.recv(&mut [0; 8]).unwrap_err();
    assert_eq!(nothing.kind(), std::io::ErrorKind::WouldBlock);
    // who may send does
    assert_eq!(said(&run(Profile::NetworkService)).await, "done done done done");
    assert_eq!(ours.recv(&mut [0; 8]).unwrap(), 1);
}

/// A program of this machine with its arguments.
fn program(path: &str, arguments: &[&str]) -> Sandbox {
    let tools = View::libraries().reading(["/usr", "/bin", "/proc"]);
    Sandbox {
        arguments: arguments.iter().map(Into::into).collect(),
        view: tools,
        ..Sandbox::new(path, 64_001)
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// Calls clone and clone3 by number, since no tool uses them with these flags; then what is open, and the limits.
const LOOK: &str = r#"
    my @r = map { $! = 0; my $p = syscall($$_[0], @$_[1..$#$_]); exit if $p == 0; $p > 0 ? "made" : $! + 0 }
        ([56, 0x10000011, 0, 0, 0, 0], [435, 0, 0], [56, 17, 0, 0, 0, 0]);
    my $open = join ",", grep { defined } map { readlink "/proc/self/fd/$_" } 3 .. 50;
    open my $f, "<", "/proc/self/limits"; my ($core) = grep { /core/ } <$f>;
    print STDERR "@r; $open; $core";
"#;

#[test]
fn a_sandboxed_process_makes_no_namespaces_and_keeps_nothing_open() {
    let leaked = File::open("/etc/passwd").unwrap();
    nix::fcntl::fcntl(&leaked, FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
    let said = runtime().block_on(async {
        let (_ours, theirs) = UnixStream::pair().unwrap();
        let mut child =
            spawn(&program("/usr/bin/perl", &["-e", LOOK]), OwnedFd::from(theirs).into()).unwrap();
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).await.unwrap();
        said
    });
    // EPERM, ENOSYS, and an ordinary child
    let words: Vec<&str> = said.split_whitespace().collect();
    let wanted = ["1", "38", "made;", ";", "Max", "core", "file", "size", "0", "0", "bytes"];
    assert_eq!(words, wanted, "{said}");
}

#[test]
fn a_sandboxed_process_ends_with_the_thread_that_started_it() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let pid = std::thread::spawn(move || {
        runtime().block_on(async {
            let child =
                spawn(&program("/bin/sleep", &["1000"]), OwnedFd::from(theirs).into()).unwrap();
            let pid = child.id().unwrap();
            // as if the agent were killed: nobody is left to end the child
            std::mem::forget(child);
            pid
        })
    });
    let pid = pid.join().unwrap();
    // the child held the other end
    ours.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let ended = (&ours).read(&mut [0]);
    assert_eq!(ended.expect("the child still runs"), 0, "process {pid}");
}
