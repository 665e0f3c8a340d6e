//! Tunnels and calls from beginning to end.

use super::super::avp::{Writer, kind};
use super::super::message::Kind;
use super::client::{Client, converse, disconnect, incoming_request, start_request};
use super::*;

/// A server and a client whose call is set up.
fn connected() -> (Lns, Vec<Client>) {
    let (mut server, mut clients) = (server(), vec![Client::new(peer(1), 100)]);
    converse(&mut server, &mut clients, Duration::ZERO);
    assert_eq!(server.calls().len(), 1);
    (server, clients)
}

fn peers(result: u16, text: &str) -> End {
    End::Peers { result, error: 0, text: text.to_owned() }
}

#[test]
fn a_client_gets_a_tunnel_and_a_call() {
    let (mut server, mut clients) = (server(), vec![Client::new(peer(1), 100)]);
    let actions = converse(&mut server, &mut clients, Duration::ZERO);
    let client = &clients[0];
    let key = SessionKey { tunnel: client.tunnel, session: client.session };
    let expected = [
        Action::TunnelUp {
            tunnel: client.tunnel,
            peer_tunnel: 100,
            peer: peer(1),
            host: "laptop".to_owned(),
        },
        Action::SessionUp { key, peer_session: 100, sequenced: false },
    ];
    assert_eq!(actions, expected);
    assert_eq!(client.heard, [Kind::StartReply, Kind::IncomingReply]);
    let frame = encode_data(key.tunnel, key.session, None, b"ppp");
    assert_eq!(server.datagram(seconds(1), peer(1), &frame), Some((key, &b"ppp"[..])));
}

/// The same address and port and the same ids: only the mark differs, and each is served apart.
#[test]
fn clients_behind_one_nat_do_not_meet() {
    let mut clients: Vec<_> = (1..=3).map(|mark| Client::new(peer(mark), 100)).collect();
    let mut server = server();
    converse(&mut server, &mut clients, Duration::ZERO);
    assert_eq!(server.calls().len(), 3);
    let [one, two, three] = &clients[..] else { panic!() };
    assert!(one.tunnel != two.tunnel && two.tunnel != three.tunnel);
    // one cannot send into the other's call, nor end it
    let frame = encode_data(two.tunnel, two.session, None, b"ppp");
    assert_eq!(server.datagram(seconds(1), one.peer, &frame), None);
    let (tunnel, session) = (two.tunnel, two.session);
    let body = disconnect(100);
    let bytes = datagram::encode_control(&Control { tunnel, session, ns: 3, nr: 2, body: &body });
    server.datagram(seconds(1), one.peer, &bytes);
    assert_eq!(server.actions(), []);
    assert_eq!(server.dropped().stray, 2);
    // one leaves, two stay
    clients[0].stop();
    converse(&mut server, &mut clients, seconds(2));
    assert_eq!(server.calls().len(), 2);
}

#[test]
fn the_client_hangs_up_and_then_leaves() {
    let (mut server, mut clients) = connected();
    let session = clients[0].session;
    let key = SessionKey { tunnel: clients[0].tunnel, session };
    clients[0].say(session, disconnect(100));
    let actions = converse(&mut server, &mut clients, seconds(1));
    assert_eq!(actions, [Action::SessionDown { key, end: peers(3, "bye") }]);
    clients[0].stop();
    let actions = converse(&mut server, &mut clients, seconds(2));
    assert_eq!(actions, [Action::TunnelDown { tunnel: key.tunnel, end: peers(1, "") }]);
    assert_eq!(server.tunnels(), 0);
    run_out(&mut server);
}

#[test]
fn a_tunnel_that_ends_takes_its_calls_along() {
    let (mut server, mut clients) = connected();
    clients[0].stop();
    let actions = converse(&mut server, &mut clients, seconds(1));
    let [Action::SessionDown { .. }, Action::TunnelDown { .. }] = &actions[..] else {
        panic!("{actions:?}");
    };
}

#[test]
fn we_hang_up_and_the_client_hears_why() {
    let (mut server, mut clients) = connected();
    let key = server.calls()[0];
    server.hang_up(seconds(1), key, StopReason::Administrative, "the user was removed");
    let actions = converse(&mut server, &mut clients, seconds(1));
    let end = End::Ours("the user was removed".to_owned());
    assert_eq!(actions, [Action::SessionDown { key, end }]);
    assert_eq!(clients[0].ended, Some((3, 0)));
    // a tunnel without a call is not kept for ever
    let mut ended = None;
    for second in 2..200 {
        server.tick(seconds(second));
        for action in converse(&mut server, &mut clients, seconds(second)) {
            ended = Some((second, action));
        }
    }
    let Some((61, Action::TunnelDown { .. })) = ended else { panic!("{ended:?}") };
}

#[test]
fn a_silent_client_is_given_up_and_nothing_is_left() {
    let (mut server, _) = connected();
    let (at, actions) = run_out(&mut server);
    let ends: Vec<_> =
        actions.iter().filter(|action| !matches!(action, Action::Send { .. })).collect();
    let [Action::SessionDown { end: End::Silent, .. }, Action::TunnelDown { end: End::Silent, .. }] =
        &ends[..]
    else {
        panic!("{ends:?}");
    };
    assert_eq!(at, seconds(60 + 31), "hello, and its repetitions");
    assert_eq!(server.tunnels(), 0);
}

#[test]
fn a_client_that_answers_hellos_stays() {
    let (mut server, mut clients) = connected();
    for second in 1..1000 {
        server.tick(seconds(second));
        assert_eq!(converse(&mut server, &mut clients, seconds(second)), []);
    }
    let hellos = clients[0].heard.iter().filter(|kind| **kind == Kind::Hello).count();
    assert_eq!(hellos, 16);
    assert_eq!(server.calls().len(), 1);
}

/// It sends its request and nothing more.
#[test]
fn a_half_open_tunnel_ends_by_itself() {
    let mut server = server();
    let mut client = Client::new(peer(1), 100);
    for bytes in client.datagrams(Duration::ZERO) {
        server.datagram(Duration::ZERO, peer(1), &bytes);
    }
    let (at, actions) = run_out(&mut server);
    assert!(actions.iter().all(|action| matches!(action, Action::Send { .. })));
    assert!(at <= seconds(62), "{at:?}");
}

/// It confirms its tunnel and its call's reply is acknowledged, but the call is never connected.
#[test]
fn a_half_open_call_ends_by_itself() {
    let (mut server, mut clients) = connected();
    clients[0].say(0, incoming_request(101));
    for bytes in clients[0].datagrams(seconds(1)) {
        server.datagram(seconds(1), peer(1), &bytes);
    }
    let Action::Send { bytes, .. } = server.actions().remove(0) else { panic!() };
    // the client acknowledges by hello, and says nothing else
    let Ok(Datagram::Control(reply)) = decode(&bytes) else { panic!() };
    assert_eq!(reply.session, 101);
    clients[0].receive(seconds(1), &bytes);
    clients[0].heard.clear();
    for second in 2..=40 {
        server.tick(seconds(second));
        let held = clients[0].session;
        converse(&mut server, &mut clients, seconds(second));
        clients[0].session = held;
    }
    assert!(server.calls().len() <= 2);
}

#[test]
fn a_client_that_has_restarted_gets_a_new_tunnel() {
    let (mut server, clients) = connected();
    let old = clients[0].tunnel;
    let mut again = vec![Client::new(peer(1), 100)];
    for bytes in again[0].datagrams(seconds(30)) {
        server.datagram(seconds(30), peer(1), &bytes);
    }
    let actions = server.actions();
    assert!(
        actions
            .iter()
            .any(|action| matches!(action, Action::TunnelDown { tunnel, .. } if *tunnel == old))
    );
    let reply = actions.iter().rev().find_map(|action| match action {
        Action::Send { bytes, .. } => Some(bytes.clone()),
        _ => None,
    });
    again[0].receive(seconds(30), &reply.unwrap());
    converse(&mut server, &mut again, seconds(30));
    assert_eq!(server.calls(), [SessionKey { tunnel: again[0].tunnel, session: again[0].session }]);
}

#[test]
fn the_tunnel_secret_is_proved_by_both() {
    let settings = Settings { secret: Some(b"secret".to_vec()), ..Settings::default() };
    let mut server = Lns::new(settings.clone(), random());
    let mut clients = vec![Client::with_secret(peer(1), 100, Some(b"secret"))];
    converse(&mut server, &mut clients, Duration::ZERO);
    assert_eq!(server.calls().len(), 1);
    for wrong in [Some(&b"wrong"[..]), None] {
        let mut server = Lns::new(settings.clone(), random());
        let mut clients = vec![Client::with_secret(peer(1), 100, wrong)];
        let actions = converse(&mut server, &mut clients, Duration::ZERO);
        assert_eq!(actions, []);
        assert_eq!(clients[0].ended, Some((4, 0)));
    }
}

/// The result and error code that a client hears.
fn refused(server: &mut Lns, request: Vec<u8>) -> Option<(u16, u16)> {
    let mut client = Client::new(peer(1), 100);
    let mut bytes = client.datagrams(Duration::ZERO).remove(0);
    bytes.truncate(12);
    bytes.extend(request);
    let length = u16::try_from(bytes.len()).unwrap().to_be_bytes();
    bytes[2..4].copy_from_slice(&length);
    server.datagram(Duration::ZERO, peer(1), &bytes);
    for action in server.actions() {
        let Action::Send { bytes, .. } = action else { panic!("{action:?}") };
        client.receive(Duration::ZERO, &bytes);
    }
    client.ended
}

#[test]
fn requests_that_cannot_be_granted_are_refused_and_leave_nothing() {
    let mut server = server();
    assert_eq!(refused(&mut server, start_request(100, Some(b"challenge"))), Some((4, 0)));
    let version = Writer::message(1)
        .pair(kind::PROTOCOL_VERSION, &[2, 0])
        .pair(kind::ASSIGNED_TUNNEL, &[0, 100])
        .finish();
    assert_eq!(refused(&mut server, version), Some((5, 0x0100)));
    assert_eq!(server.deadline(), None);
    assert_eq!(server.dropped().refused, 2);
}

#[test]
fn what_one_peer_may_hold_is_bounded() {
    let mut server = server();
    let mut clients: Vec<_> = (1..=5).map(|id| Client::new(peer(1), id)).collect();
    for client in &mut clients {
        converse(&mut server, std::slice::from_mut(client), Duration::ZERO);
    }
    assert_eq!(server.tunnels(), 4);
    assert_eq!(clients[4].ended, Some((2, 4)));
    // calls in one tunnel too
    for session in 101..=110 {
        clients[0].say(0, incoming_request(session));
    }
    converse(&mut server, &mut clients[..1], seconds(1));
    assert_eq!(clients[0].ended, Some((4, 0)));
    assert!(server.calls().iter().filter(|key| key.tunnel == clients[0].tunnel).count() <= 4);
}

#[test]
fn outgoing_calls_are_refused_and_the_tunnel_stays() {
    let (mut server, mut clients) = connected();
    let request = Writer::message(7).pair(kind::ASSIGNED_SESSION, &[0, 9]).finish();
    clients[0].say(0, request);
    assert_eq!(converse(&mut server, &mut clients, seconds(1)), []);
    assert_eq!(clients[0].ended, Some((5, 0)));
    assert_eq!(server.calls().len(), 1);
}

#[test]
fn a_fault_ends_what_it_is_about() {
    let unknown = || Writer::message(16).pair(999, b"x").finish();
    let (mut server, mut clients) = connected();
    let session = clients[0].session;
    clients[0].say(session, unknown());
    let actions = converse(&mut server, &mut clients, seconds(1));
    let [Action::SessionDown { .. }] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!(clients[0].ended, Some((2, 8)));
    let (mut server, mut clients) = connected();
    clients[0].say(0, unknown());
    let actions = converse(&mut server, &mut clients, seconds(1));
    let [Action::SessionDown { .. }, Action::TunnelDown { .. }] = &actions[..] else {
        panic!("{actions:?}");
    };
    assert_eq!(clients[0].ended, Some((2, 8)));
}

#[test]
fn the_server_goes_away_and_says_so() {
    let (mut server, mut clients) = connected();
    server.shut_down(seconds(1));
    converse(&mut server, &mut clients, seconds(1));
    assert_eq!(clients[0].ended, Some((6, 0)));
    let (at, _) = run_out(&mut server);
    assert!(at <= seconds(40));
}
