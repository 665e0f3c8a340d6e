use super::*;
use crate::vpn::ike::connections;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A connection with two tunnels.
fn connection(pfs: bool, passive: bool) -> Connection {
    let digest = "sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae";
    let mut vpn = serde_json::json!({"connections": [{
        "id": "c-1", "address": "198.51.100.10", "local_networks": ["10.1.1.0/24"],
        "passive": passive,
        "gateway": {
            "id": "office", "address": "203.0.113.9",
            "networks": ["172.16.1.0/24", "172.16.2.0/24"], "psk": digest,
            "ike": {"encryption": "aes256", "hash": "sha256", "group": 14},
            "esp": {"encryption": "aes256", "hash": "sha256"},
        },
    }]});
    if pfs {
        vpn["connections"][0]["gateway"]["esp"]["pfs"] = 14.into();
    }
    connections(&serde_json::from_value(vpn).unwrap()).remove(0)
}

fn child(name: &str, age: u64, group: Option<&str>) -> ChildState {
    ChildState {
        name: name.to_owned(),
        installed: true,
        local: vec!["10.1.1.0/24".to_owned()],
        remote: vec!["172.16.1.0/24".to_owned()],
        algorithms: String::new(),
        group: group.map(str::to_owned),
        number: 1,
        bytes_in: 0,
        bytes_out: 0,
        age,
        mark: 0,
    }
}

fn sa(established: bool, children: Vec<ChildState>) -> SaState {
    SaState {
        name: ConnectionName::of_daemon("s2s-c-1").unwrap(),
        established,
        initiator: true,
        version: 2,
        remote: "203.0.113.9:500".to_owned(),
        remote_id: "203.0.113.9".to_owned(),
        nat: false,
        algorithms: "AES_CBC-256".to_owned(),
        age: 10,
        children,
    }
}

fn keeper(pfs: bool, passive: bool) -> Keeper {
    let mut keeper = Keeper::default();
    keeper.put(connection(pfs, passive));
    keeper
}

fn report(keeper: &Keeper) -> Report {
    keeper.reports().next().unwrap().1
}

fn begun(acts: &[Act]) -> Vec<&str> {
    let name = |act: &Act| match act {
        Act::Initiate(_, child) => panic_free(child),
        Act::Rekey(..) => "rekey",
    };
    fn panic_free(child: &ChildName) -> &'static str {
        match child.as_str() {
            "s2s-c-1-1" => "first",
            "s2s-c-1-2" => "second",
            _ => "unknown",
        }
    }
    acts.iter().map(name).collect()
}

fn trouble(kind: TroubleKind) -> Trouble {
    let name = ConnectionName::of_daemon("s2s-c-1");
    Trouble { name, kind, words: "words".to_owned() }
}

#[test]
fn it_is_begun_at_once_and_again_after_growing_pauses() {
    let mut keeper = keeper(false, false);
    let mut at = Vec::new();
    for second in 0..300 {
        let acts = keeper.observe(seconds(second), Vec::new(), Vec::new());
        if !acts.is_empty() {
            assert_eq!(begun(&acts), ["first", "second"]);
            at.push(second);
        }
    }
    assert_eq!(at, [0, 5, 15, 35, 75, 135, 195, 255]);
    assert_eq!(report(&keeper).phase, Phase::Connecting);
}

#[test]
fn nothing_more_is_asked_while_it_is_being_begun() {
    let mut keeper = keeper(false, false);
    keeper.observe(seconds(0), Vec::new(), Vec::new());
    for second in 1..40 {
        assert_eq!(keeper.observe(seconds(second), vec![sa(false, Vec::new())], Vec::new()), []);
    }
}

#[test]
fn a_tunnel_that_is_missing_is_begun_and_the_other_left_alone() {
    let mut keeper = keeper(false, false);
    let acts =
        keeper.observe(seconds(0), vec![sa(true, vec![child("s2s-c-1-1", 1, None)])], Vec::new());
    assert_eq!(begun(&acts), ["second"]);
    assert_eq!(report(&keeper).phase, Phase::Partly);
    let both = vec![child("s2s-c-1-1", 1, None), child("s2s-c-1-2", 1, None)];
    assert_eq!(keeper.observe(seconds(60), vec![sa(true, both)], Vec::new()), []);
    let report = report(&keeper);
    assert_eq!((report.phase, report.pfs), (Phase::Connected, Pfs::Off));
    assert_eq!(report.peer.as_deref(), Some("203.0.113.9:500"));
}

#[test]
fn one_that_went_down_is_begun_at_once() {
    let mut keeper = keeper(false, false);
    keeper.observe(seconds(0), Vec::new(), Vec::new());
    let both = || vec![child("s2s-c-1-1", 1, None), child("s2s-c-1-2", 1, None)];
    keeper.observe(seconds(2), vec![sa(true, both())], Vec::new());
    let acts = keeper.observe(seconds(4), Vec::new(), vec![trouble(TroubleKind::Gone)]);
    assert_eq!(begun(&acts), ["first", "second"]);
    assert_eq!(report(&keeper).trouble, Some(TroubleKind::Gone));
    keeper.observe(seconds(6), vec![sa(true, both())], Vec::new());
    assert_eq!(report(&keeper).trouble, None);
}

#[test]
fn a_passive_one_waits() {
    let mut keeper = keeper(false, true);
    assert_eq!(keeper.observe(seconds(0), Vec::new(), Vec::new()), []);
    assert_eq!(report(&keeper).phase, Phase::Waiting);
}

#[test]
fn the_first_cause_is_what_is_said() {
    let mut keeper = keeper(false, false);
    let troubles = vec![trouble(TroubleKind::Authentication), trouble(TroubleKind::NoAnswer)];
    keeper.observe(seconds(0), Vec::new(), troubles);
    let report = report(&keeper);
    assert_eq!((report.phase, report.trouble), (Phase::Error, Some(TroubleKind::Authentication)));
    let reason = report.reason.unwrap();
    assert_eq!(reason, "the pre-shared keys or the ids differ: words");
}

#[test]
fn strays_are_counted() {
    let mut keeper = keeper(false, false);
    let stray = Trouble { name: None, ..trouble(TroubleKind::IkeProposal) };
    keeper.observe(seconds(0), Vec::new(), vec![stray]);
    assert_eq!(keeper.strays, [(TroubleKind::IkeProposal, 1)].into());
}

#[test]
fn perfect_forward_secrecy_is_proved_early_once() {
    let mut keeper = keeper(true, false);
    let state = |age, group| {
        vec![sa(true, vec![child("s2s-c-1-1", age, group), child("s2s-c-1-2", age, group)])]
    };
    assert_eq!(keeper.observe(seconds(1), state(1, None), Vec::new()), []);
    assert_eq!(report(&keeper).pfs, Pfs::NotYetProved);
    let acts = keeper.observe(seconds(6), state(6, None), Vec::new());
    assert_eq!(begun(&acts), ["rekey"]);
    assert_eq!(keeper.observe(seconds(8), state(8, None), Vec::new()), []);
    assert_eq!(keeper.observe(seconds(10), state(1, Some("MODP_2048")), Vec::new()), []);
    assert_eq!(report(&keeper).pfs, Pfs::Proved);
}

/// The old keys still carry traffic, and yet it is said.
#[test]
fn a_peer_that_refuses_it_is_named_while_the_tunnel_stands() {
    let mut keeper = keeper(true, false);
    let state = || vec![sa(true, vec![child("s2s-c-1-1", 9, None), child("s2s-c-1-2", 9, None)])];
    keeper.observe(seconds(6), state(), Vec::new());
    keeper.observe(seconds(8), state(), vec![trouble(TroubleKind::Pfs)]);
    let report = report(&keeper);
    assert_eq!((report.phase, report.pfs), (Phase::Connected, Pfs::Refused));
    assert_eq!(report.trouble, Some(TroubleKind::Pfs));
}

#[test]
fn a_peer_whose_packets_fail_their_check_is_named_until_one_passes() {
    let mut keeper = keeper(false, false);
    let look = |keeper: &mut Keeper, bytes_in: u64, failed: bool| {
        let children = ["s2s-c-1-1", "s2s-c-1-2"].map(|name| child(name, 10, None));
        let mut children = children.to_vec();
        children[0].bytes_in = bytes_in;
        keeper.observe(seconds(1), vec![sa(true, children)], Vec::new());
        keeper.note_integrity(failed);
        report(keeper).trouble
    };
    assert_eq!(look(&mut keeper, 0, false), None);
    assert_eq!(look(&mut keeper, 0, true), Some(TroubleKind::Integrity));
    assert_eq!(report(&keeper).phase, Phase::Connected);
    assert_eq!(look(&mut keeper, 0, false), Some(TroubleKind::Integrity), "nothing came since");
    assert_eq!(look(&mut keeper, 100, true), None, "what came in passed, others' failed");
    assert_eq!(look(&mut keeper, 100, false), None);
}
