//! A link from beginning to end, phase by phase.

use super::client::{Client, MD5, MS, PAP};
use super::*;

/// Passes frames until nobody has any, and everything that the server put out.
pub(super) fn converse(
    server: &mut Link,
    client: &mut Client,
    users: &mut Users,
    now: Duration,
) -> Vec<Output> {
    let mut all = Vec::new();
    for _ in 0..100 {
        let outputs = server.outputs();
        for frame in &sent(&outputs) {
            client.receive(now, frame);
        }
        let quiet = outputs.is_empty();
        all.extend(outputs);
        let frames = client.frames();
        if quiet && frames.is_empty() {
            return all;
        }
        for frame in &frames {
            server.receive(now, frame, users);
        }
    }
    panic!("they never stop talking: {all:?}");
}

fn ups(outputs: &[Output]) -> Vec<&Opened> {
    outputs
        .iter()
        .filter_map(|output| match output {
            Output::Up(opened) => Some(opened),
            _ => None,
        })
        .collect()
}

fn end(outputs: &[Output]) -> Option<&str> {
    outputs.iter().find_map(|output| match output {
        Output::Finished(reason) => Some(reason.as_str()),
        _ => None,
    })
}

#[test]
fn each_method_brings_a_client_in() {
    for (value, method) in
        [(&MS[..], Method::MsChapV2), (&MD5, Method::ChapMd5), (&PAP, Method::Pap)]
    {
        let (mut server, mut users) = (server(&ALL), Users::default());
        let mut client = Client::new(&[value], "anna", "correct horse");
        let outputs = converse(&mut server, &mut client, &mut users, Duration::ZERO);
        let expected =
            Opened { user: "anna".to_owned(), method, local: LOCAL, remote: REMOTE, mtu: 1400 };
        assert_eq!(ups(&outputs), [&expected]);
        assert!(client.is_up(), "{method}");
        assert_eq!(client.address(), Some(REMOTE));
        assert_eq!(client.ipcp.protocol.server, Some(LOCAL));
        // one name server is there, so the second and WINS are rejected
        let values = [(3, REMOTE.octets()), (129, DNS.octets())];
        assert_eq!(client.ipcp.protocol.values, values);
        assert_eq!(client.server_is_proved(), method == Method::MsChapV2);
        assert_eq!(server.user(), Some("anna"));
    }
}

#[test]
fn a_name_with_a_domain_and_one_with_accents_are_known() {
    for (name, password, user) in
        [("OFFICE\\anna", "correct horse", "anna"), ("béa", "naïve", "béa")]
    {
        let (mut server, mut users) = (server(&ALL), Users::default());
        let mut client = Client::new(&[&MS], name, password);
        let outputs = converse(&mut server, &mut client, &mut users, Duration::ZERO);
        assert_eq!(ups(&outputs).first().map(|opened| opened.user.as_str()), Some(user));
    }
}

#[test]
fn a_wrong_password_and_an_unknown_name_end_the_link_alike() {
    for value in [&MS[..], &MD5, &PAP] {
        let mut said = Vec::new();
        for (name, password) in [("anna", "wrong"), ("nobody", "correct horse")] {
            let (mut server, mut users) = (server(&ALL), Users::default());
            let mut client = Client::new(&[value], name, password);
            let outputs = converse(&mut server, &mut client, &mut users, Duration::ZERO);
            assert!(ups(&outputs).is_empty());
            let reason = format!("wrong name or password for {name:?}");
            assert_eq!(end(&outputs), Some(reason.as_str()));
            assert_eq!(users.free, [REMOTE], "no address is taken by one who is not known");
            let (good, text) = client.verdict.unwrap();
            assert!(!good && !client.ipcp.is_opened());
            said.push(text.split("C=").next().map(str::to_owned));
        }
        assert_eq!(said.first(), said.last());
    }
}

#[test]
fn the_failure_of_ms_chap_v2_has_its_code() {
    let (mut server, mut users) = (server(&ALL), Users::default());
    let mut client = Client::new(&[&MS], "anna", "wrong");
    converse(&mut server, &mut client, &mut users, Duration::ZERO);
    let (_, text) = client.verdict.unwrap();
    assert!(text.starts_with("E=691 R=0 C="), "{text}");
    assert!(text.contains(" V=3 M="), "{text}");
}

#[test]
fn a_method_that_is_not_allowed_brings_nobody_in() {
    let (mut server, mut users) = (server(&[Method::MsChapV2]), Users::default());
    let mut client = Client::new(&[&PAP], "anna", "correct horse");
    let outputs = converse(&mut server, &mut client, &mut users, Duration::ZERO);
    assert_eq!(end(&outputs), Some("the client refuses what is needed"));
    assert!(ups(&outputs).is_empty() && client.verdict.is_none());
}

#[test]
fn no_free_address_ends_the_link() {
    let mut users = Users { free: Vec::new(), ..Users::default() };
    let mut server = server(&ALL);
    let mut client = Client::new(&[&MS], "anna", "correct horse");
    let outputs = converse(&mut server, &mut client, &mut users, Duration::ZERO);
    assert_eq!(end(&outputs), Some("no address is free"));
}

/// CCP before IPCP, as clients with MPPE do: it is rejected, and IPCP does not wait for it.
#[test]
fn ccp_is_rejected_and_holds_nothing_up() {
    let (mut server, mut users) = (server(&ALL), Users::default());
    let mut client = Client::new(&[&MS], "anna", "correct horse");
    // MPPE, 128 bits, stateless
    let ccp = b"\x80\xfd\x01\x01\x00\x0a\x12\x06\x01\x00\x00\x40";
    let mut outputs = Vec::new();
    for round in 0..40 {
        let some = server.outputs();
        for frame in &sent(&some) {
            client.receive(Duration::ZERO, frame);
        }
        outputs.extend(some);
        if client.verdict.is_some() && client.rejected.is_empty() && round < 30 {
            client.push(ccp.to_vec());
        }
        for frame in client.frames() {
            server.receive(Duration::ZERO, &frame, &mut users);
        }
    }
    assert_eq!(ups(&outputs).len(), 1);
    assert!(client.rejected.iter().all(|number| *number == 0x80fd) && !client.rejected.is_empty());
    assert!(client.is_up());
}

#[test]
fn ipv6cp_is_rejected_too() {
    let (mut server, mut users) = (server(&ALL), Users::default());
    let mut client = Client::new(&[&MS], "anna", "correct horse");
    converse(&mut server, &mut client, &mut users, Duration::ZERO);
    client.push(b"\x80\x57\x01\x01\x00\x0e\x01\x0a\x01\x02\x03\x04\x05\x06\x07\x08".to_vec());
    converse(&mut server, &mut client, &mut users, Duration::ZERO);
    assert_eq!(client.rejected, [0x8057]);
    assert!(client.is_up());
}

#[test]
fn a_client_that_hangs_up_is_let_go() {
    let (mut server, mut users) = (server(&ALL), Users::default());
    let mut client = Client::new(&[&MS], "anna", "correct horse");
    converse(&mut server, &mut client, &mut users, Duration::ZERO);
    client.close(seconds(1));
    let outputs = converse(&mut server, &mut client, &mut users, seconds(1));
    assert!(outputs.contains(&Output::Down));
    server.tick(seconds(4));
    assert_eq!(server.outputs(), [Output::Finished("ended by the client".to_owned())]);
    assert_eq!(server.deadline(), None);
}

#[test]
fn we_hang_up() {
    let (mut server, mut users) = (server(&ALL), Users::default());
    let mut client = Client::new(&[&MS], "anna", "correct horse");
    converse(&mut server, &mut client, &mut users, Duration::ZERO);
    server.close(seconds(1), "the user was removed");
    let outputs = converse(&mut server, &mut client, &mut users, seconds(1));
    assert_eq!(outputs.first(), Some(&Output::Down));
    assert_eq!(end(&outputs), Some("the user was removed"));
    assert!(!client.is_up());
}

#[test]
fn a_client_that_vanishes_is_noticed_by_its_missing_echoes() {
    let (mut server, mut users) = (server(&ALL), Users::default());
    let mut client = Client::new(&[&MS], "anna", "correct horse");
    converse(&mut server, &mut client, &mut users, Duration::ZERO);
    // while it answers nothing happens
    for second in (20..=400).step_by(20) {
        server.tick(seconds(second));
        let outputs = converse(&mut server, &mut client, &mut users, seconds(second));
        assert_eq!(end(&outputs), None, "after {second} s");
    }
    let mut last = None;
    while let Some(at) = server.deadline() {
        server.tick(at);
        last = server.outputs().pop().or(last);
        assert!(at < seconds(600), "still there");
    }
    assert_eq!(last, Some(Output::Finished("the client no longer answers".to_owned())));
}

#[test]
fn a_link_that_nobody_answers_ends() {
    let mut server = server(&ALL);
    let mut requests = sent(&server.outputs()).len();
    let mut end_at = Duration::ZERO;
    while let Some(at) = server.deadline() {
        server.tick(at);
        requests += sent(&server.outputs()).len();
        end_at = at;
    }
    assert_eq!(requests, 10, "Max-Configure");
    assert_eq!(end_at, seconds(30));
}

/// Proof first: a frame of IPCP before it gets no answer.
#[test]
fn nothing_passes_before_the_proof() {
    let (mut server, mut users) = (server(&ALL), Users::default());
    let mut client = Client::new(&[&MS], "anna", "wrong");
    client.ipcp.up(Duration::ZERO);
    let outputs = converse(&mut server, &mut client, &mut users, Duration::ZERO);
    let ipcp = sent(&outputs).iter().any(|frame| frame.starts_with(&[0x80, 0x21]));
    assert!(!ipcp && ups(&outputs).is_empty());
}
