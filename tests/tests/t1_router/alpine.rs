//! A guest with Alpine's own programs and C library, of which the resolver is not glibc's: musl's takes one "no such name" for
//! all types, and asks all its resolvers at a time.

use sluice_lab::netns::Namespace;

use super::SOON;
use super::world::{World, config};

const PASSWORD: &str = "s3cret-One";

/// A root of Alpine's for one guest.
struct Alpine<'a> {
    guest: &'a Namespace,
    root: std::path::PathBuf,
}

impl<'a> Alpine<'a> {
    fn new(world: &'a World) -> Self {
        let root = world.dir.path().join("alpine");
        std::fs::create_dir(&root).unwrap();
        sluice_tests::alpine::root_in(&root).unwrap();
        Self { guest: world.guest("vm1"), root }
    }

    /// What a line of shell in it says.
    fn sh(&self, line: &str) -> String {
        let root = self.root.display();
        // mounted in the mount namespace of this one command
        let line = format!(
            "mount --bind /dev {root}/dev && mount -t proc none {root}/proc && mount --bind /sys {root}/sys && \
             exec chroot {root} /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin /bin/sh -c '{line}'"
        );
        let output = self.guest.sh(&line).timeout(SOON * 2).run().unwrap();
        assert!(output.ok(), "{line}\n{}{}", output.stdout, output.stderr);
        output.stdout
    }
}

#[test]
fn a_guest_with_alpine_finds_all_that_its_router_has_for_it() {
    let world = World::new();
    world.outside_has_web_and_names();
    let mut config = config();
    world.give_password(&mut config.role.networks[0].guests[0], PASSWORD);
    world.push_and_confirm(&config);
    world.lease("vm2", "10.1.1.24");

    let alpine = Alpine::new(&world);
    alpine.sh("udhcpc -i eth0 -n -q -f -t 8 -T 1 -O staticroutes -O search");
    assert!(alpine.sh("ip -4 addr show eth0").contains("10.1.1.23/24"));
    assert!(alpine.sh("ip route").contains("default via 10.1.1.1"), "{}", alpine.sh("ip route"));
    let resolver = alpine.sh("cat /etc/resolv.conf");
    assert_eq!(resolver, "search cs1.cloud.internal\nnameserver 10.1.1.1\n");
    // by the search domain, in full, from the reverse zone, and of the rest of the world
    for (asked, found) in [
        ("vm2", "10.1.1.24"),
        ("vm2.cs1.cloud.internal", "10.1.1.24"),
        ("data-server", "10.1.1.1"),
        ("data-server.", "10.1.1.1"),
        ("www.example.org", "192.0.2.80"),
    ] {
        let said = alpine.sh(&format!("getent ahostsv4 {asked}"));
        assert!(said.starts_with(found), "{asked}: {said}");
    }
    assert!(alpine.sh("nslookup 10.1.1.24").contains("vm2.cs1.cloud.internal"));
    alpine.sh("ping -c 1 -W 5 vm2");
    assert_eq!(alpine.sh("wget -q -O - http://data-server/latest/instance-id").trim(), "vm1-0");
    let word = |request: &str| {
        let header = format!("DomU_Request: {request}");
        alpine.sh(&format!("wget -q -O - --header \"{header}\" http://data-server:8080/"))
    };
    assert_eq!(word("send_my_password").trim(), PASSWORD);
    assert_eq!(word("saved_password").trim(), "saved_password");
    assert_eq!(word("send_my_password").trim(), "saved_password");
    let page = alpine.sh("wget -q -O - http://192.0.2.80:8080/");
    assert_eq!(page.trim(), "seen from 198.51.100.10");
}
