//! Frames of services do not reach the control network: sent by the very sockets that the DHCP service was given, and by
//! those that a service with `CAP_NET_RAW` opens itself.

use sluice_lab::Wait;
use sluice_lab::netns::{Namespace, Process};

use crate::world::{World, config};
use crate::{SOON, repaired};

/// Takes every packet socket of process `argv[1]` (pidfd_getfd(2)), or opens one, and sends a frame of type `argv[2]` by each
/// to device `argv[3]`: a word for each of what became of it.
const SEND: &str = r#"
import ctypes, errno, os, socket, sys
pid, kind, device = int(sys.argv[1]), int(sys.argv[2], 16), sys.argv[3]
libc = ctypes.CDLL(None, use_errno=True)
sockets = []
if pid:
    known = {line.split()[8] for line in open(f"/proc/{pid}/net/packet").readlines()[1:]}
    names = {f"socket:[{number}]" for number in known}
    handle = os.pidfd_open(pid)
    for name in os.listdir(f"/proc/{pid}/fd"):
        if os.readlink(f"/proc/{pid}/fd/{name}") in names:
            # SYS_pidfd_getfd
            copy = libc.syscall(438, handle, int(name), 0)
            assert copy >= 0, os.strerror(ctypes.get_errno())
            sockets.append(socket.socket(fileno=copy))
else:
    sockets.append(socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0))
for each in sockets:
    # PACKET_QDISC_BYPASS, which not every way out heeds
    each.setsockopt(263, 20, 1)
    frame = b"x" * 46
    if each.type & 0xf == socket.SOCK_RAW:
        frame = b"\xff" * 6 + b"\x02\0\0\0\0\x66" + kind.to_bytes(2, "big") + frame
    try:
        each.sendto(frame, (device, kind, 0, 0, b"\xff" * 6))
        print("sent")
    except OSError as error:
        print(errno.errorcode[error.errno])
"#;

/// Types of frames that nobody has.
const SERVICES: &str = "0x88b5";
const ROOTS: &str = "0x88b6";

fn hear(at: &Namespace) -> Process {
    let filter = "ether proto 0x88b5 or ether proto 0x88b6";
    let hears = at.spawn(["tcpdump", "-lnne", "-i", "eth0", filter]).unwrap();
    let ready = || hears.output().contains("listening on");
    Wait::until(SOON, "tcpdump", ready).unwrap();
    hears
}

struct Frames<'a> {
    world: &'a World,
    script: std::path::PathBuf,
}

impl Frames<'_> {
    /// What became of a frame by each socket.
    fn send(&self, before: &str, pid: u32, kind: &str, device: &str) -> Vec<String> {
        let script = self.script.display();
        // read by the shell: whoever runs it may not
        let line =
            format!("{before} /usr/bin/python3 -c \"$(cat {script})\" {pid} {kind} {device}");
        let said = self.world.router.sh(&line).check().unwrap();
        said.lines().map(str::to_owned).collect()
    }
}

#[test]
fn frames_of_services_do_not_reach_the_control_network() {
    let world = World::new();
    world.push_and_confirm(&config());
    let script = world.dir.path().join("send.py");
    std::fs::write(&script, SEND).unwrap();
    let frames = Frames { world: &world, script };
    // it follows the name that the control NIC gets
    let guarded = "nft list table netdev sluice_frames | grep -q '\"ctl\"'";
    Wait::until(SOON, "the guard", || world.router.sh(guarded).run().unwrap().ok()).unwrap();
    let services = world.status().services;
    let dhcp = services.iter().find(|service| service.name == "dhcp").unwrap().pid.unwrap();
    let (near, control) = (hear(world.guest("vm1")), hear(&world.manager));
    let to_guests = frames.send("", dhcp, SERVICES, "guest0");
    assert!(to_guests.len() > 1 && to_guests.iter().all(|word| word == "sent"), "{to_guests:?}");
    let sent = || near.output().contains("88b5");
    Wait::until(SOON, "frames of a service among guests", sent).unwrap();
    let refused = frames.send("", dhcp, SERVICES, "ctl");
    assert_eq!(refused, vec!["ENOBUFS"; to_guests.len()]);
    // a service that may open such sockets
    let other = "setpriv --reuid 64006 --regid 64006 --clear-groups --inh-caps +net_raw \
                 --ambient-caps +net_raw";
    assert_eq!(frames.send(other, 0, SERVICES, "ctl"), ["ENOBUFS"]);
    assert_eq!(frames.send(other, 0, SERVICES, "guest0"), ["sent"]);
    // whoever is no service gets through, and comes last
    let roots = || {
        assert_eq!(frames.send("", 0, ROOTS, "ctl"), ["sent"]);
        control.output().contains("88b6")
    };
    Wait::until(SOON, "a frame of root's in the control network", roots).unwrap();
    assert!(!control.output().contains("88b5"), "{}", control.output());

    // taken away, it comes back
    world.router.sh("nft delete table netdev sluice_frames").check().unwrap();
    let again = || frames.send("", dhcp, SERVICES, "ctl").iter().all(|word| word == "ENOBUFS");
    repaired("frames to be dropped again", again);
}
