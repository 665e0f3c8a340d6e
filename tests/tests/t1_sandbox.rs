//! A sandboxed process holds exactly what it was given: read from the kernel's own account of it.

#![allow(clippy::unwrap_used)] // a test may fail loudly anywhere, its helpers included

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use sluice_sys::process::{Capability, Sandbox, spawn};
use tokio::io::AsyncReadExt;

/// The profile does not even let a shell fork, so each script is one program that the shell becomes.
async fn run(script: &str, capabilities: Vec<Capability>) -> String {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let sandbox = Sandbox {
        program: "/bin/sh".into(),
        arguments: vec!["-c".into(), format!("exec {script} >&2").into()],
        user: 64_001,
        capabilities,
    };
    let mut child = spawn(&sandbox, OwnedFd::from(theirs)).unwrap();
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).await.unwrap();
    child.wait().await.unwrap();
    drop(ours);
    said
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
    for (name, family, expected) in [
        ("AF_INET", 2, "made"),
        ("AF_INET6", 10, "made"),
        ("AF_UNIX", 1, "made"),
        ("AF_NETLINK", 16, "not permitted"),
        ("AF_ALG", 38, "not permitted"),
        ("AF_VSOCK", 40, "not permitted"),
    ] {
        // SOCK_DGRAM
        let said = run(
            &format!("perl -e 'socket(S, {family}, 2, 0) or die $!; print q(made)'"),
            Vec::new(),
        )
        .await;
        assert!(said.contains(expected), "{name}: {said}");
    }
}

#[tokio::test]
async fn root_is_no_sandbox() {
    let (_ours, theirs) = UnixStream::pair().unwrap();
    let sandbox = Sandbox {
        program: "/bin/true".into(),
        arguments: Vec::new(),
        user: 0,
        capabilities: Vec::new(),
    };
    assert!(spawn(&sandbox, OwnedFd::from(theirs)).is_err());
}
