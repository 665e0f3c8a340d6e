//! In force means in force: a service that cannot open its sockets takes the change back that wants them.

use serde_json::json;
use sluice_api::RouterDocument;
use sluice_api::report::{Answer, Phase};
use sluice_lab::Wait;

use crate::SOON;
use crate::world::{World, config};

/// Takes DHCP's port on the NIC that is to become the second guest link.
const TAKER: &str = r#"
import signal, socket
taken = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
taken.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth10\0")
taken.bind(("0.0.0.0", 67))
print("taken", flush=True)
signal.pause()
"#;

/// One guest network more.
fn with_another() -> RouterDocument {
    let mut document = json!(config());
    document["generation"] = json!(config().generation.get() + 1);
    document["links"].as_array_mut().unwrap().push(json!({
        "name": "guest1", "role": "guest", "attach": { "nic": { "mac": "02:00:0a:01:02:01" } },
        "addresses": ["10.1.2.1/24"],
    }));
    document["role"]["router"]["networks"].as_array_mut().unwrap().push(json!({
        "id": "net-2", "link": "guest1", "cidr": "10.1.2.0/24", "gateway": "10.1.2.1",
        "domain": "cs2.cloud.internal", "egress": "deny",
    }));
    RouterDocument::decode(document.to_string().as_bytes()).unwrap().0
}

#[test]
fn a_link_on_which_dhcp_cannot_listen_takes_its_change_back() {
    let world = World::new();
    world.push_and_confirm(&config());
    let script = world.dir.path().join("taker.py");
    std::fs::write(&script, TAKER).unwrap();
    let mut taker = world.router.spawn(["python3".as_ref(), script.as_os_str()]).unwrap();
    Wait::until(SOON, "the port to be taken", || taker.output().contains("taken")).unwrap();
    let answer = world.push(&with_another(), 0).unwrap();
    let Answer::Failed { reason, rolled_back, current } = &answer else { panic!("{answer:?}") };
    assert!(reason.contains("dhcp") && reason.contains("guest1"), "{reason}");
    assert!(*rolled_back, "{reason}");
    assert_eq!(*current, Some(config().generation));
    assert_eq!(world.status().phase, Phase::InForce);
    world.lease("vm1", "10.1.1.23");
    // and once the port is free the same goes through
    taker.kill();
    let answer = world.push(&with_another(), 0).unwrap();
    assert!(matches!(answer, Answer::Applied { .. }), "{answer:?}");
}
