//! What clients of others say, byte for byte, one message after the other as they do.

use super::*;

/// A client's tunnel and call, as the clients below number them.
const TUNNEL: u16 = 0x1234;
const CALL: u16 = 0x4321;

/// Android's first message, as its `mtpd` puts it together: every pair mandatory, the order its own, a window of one.
const ANDROID: &[u8] = b"\x80\x08\x00\x00\x00\x00\x00\x01\x80\x08\x00\x00\x00\x02\x01\x00\
    \x80\x0f\x00\x00\x00\x07anonymous\x80\x0a\x00\x00\x00\x03\x00\x00\x00\x03\
    \x80\x08\x00\x00\x00\x09\x12\x34\x80\x08\x00\x00\x00\x0a\x00\x01";
/// Windows', from what a router of another vendor logged of one: firmware 0x0500, vendor Microsoft, a window of eight.
const WINDOWS: &[u8] = b"\x80\x08\x00\x00\x00\x00\x00\x01\x80\x08\x00\x00\x00\x02\x01\x00\
    \x80\x0a\x00\x00\x00\x03\x00\x00\x00\x01\x80\x0a\x00\x00\x00\x04\x00\x00\x00\x00\
    \x00\x08\x00\x00\x00\x06\x05\x00\x80\x0a\x00\x00\x00\x07NONE\x00\x0f\x00\x00\x00\x08Microsoft\
    \x80\x08\x00\x00\x00\x09\x12\x34\x80\x08\x00\x00\x00\x0a\x00\x08";
const CONNECTED: &[u8] = b"\x80\x08\x00\x00\x00\x00\x00\x03";
const CALLS: &[u8] = b"\x80\x08\x00\x00\x00\x00\x00\x0a\x80\x08\x00\x00\x00\x0e\x43\x21\
    \x80\x0a\x00\x00\x00\x0f\x00\x00\x00\x01";
const CALL_CONNECTED: &[u8] =
    b"\x80\x08\x00\x00\x00\x00\x00\x0c\x80\x0a\x00\x00\x00\x18\x05\xf5\xe1\x00\
    \x80\x0a\x00\x00\x00\x13\x00\x00\x00\x03";

/// An answer: its numbers, and its message type; `None`: an acknowledgement alone.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    ns: u16,
    nr: u16,
    kind: Option<u16>,
}

/// The server's one answer to a message, at once; with the ids that it gave out, and what else is to be done.
fn say(server: &mut Lns, message: &Control<'_>) -> (Answer, Vec<u8>, Vec<Action>) {
    let bytes = datagram::encode_control(message);
    assert_eq!(server.datagram(seconds(1), peer(1), &bytes), None);
    let (said, rest): (Vec<_>, Vec<_>) =
        server.actions().into_iter().partition(|action| matches!(action, Action::Send { .. }));
    let [Action::Send { bytes, .. }] = &said[..] else { panic!("{said:?}") };
    let Ok(Datagram::Control(control)) = decode(bytes) else { panic!("{bytes:02x?}") };
    assert_eq!(control.tunnel, TUNNEL);
    let body = control.body.to_vec();
    // the message type is the first pair, mandatory and in clear: mtpd takes no other
    let kind = body.strip_prefix(b"\x80\x08\x00\x00\x00\x00").map(|rest| {
        let [high, low, ..] = rest else { panic!("{body:02x?}") };
        u16::from_be_bytes([*high, *low])
    });
    assert!(kind.is_some() || body.is_empty(), "{body:02x?}");
    (Answer { ns: control.ns, nr: control.nr, kind }, body, rest)
}

/// The value of the pair of this kind that is two bytes long.
fn number(body: &[u8], kind: u8) -> u16 {
    let header = [0x80, 0x08, 0, 0, 0, kind];
    let place = body.windows(6).position(|window| window == header).unwrap();
    u16::from_be_bytes([body[place + 6], body[place + 7]])
}

/// A client that waits for the answer to each message, even for the bare acknowledgement, before it says the next.
fn calls_in(first: &[u8]) {
    let mut server = server();
    let message = |tunnel, session, ns, nr, body| Control { tunnel, session, ns, nr, body };
    let (answer, body, _) = say(&mut server, &message(0, 0, 0, 0, first));
    assert_eq!(answer, Answer { ns: 0, nr: 1, kind: Some(2) });
    let tunnel = number(&body, 9);
    let (answer, _, rest) = say(&mut server, &message(tunnel, 0, 1, 1, CONNECTED));
    assert_eq!(answer, Answer { ns: 1, nr: 2, kind: None });
    assert!(matches!(rest[..], [Action::TunnelUp { peer_tunnel: TUNNEL, .. }]), "{rest:?}");
    let (answer, body, _) = say(&mut server, &message(tunnel, 0, 2, 1, CALLS));
    assert_eq!(answer, Answer { ns: 1, nr: 3, kind: Some(11) });
    let session = number(&body, 14);
    let (answer, _, rest) = say(&mut server, &message(tunnel, session, 3, 2, CALL_CONNECTED));
    assert_eq!(answer, Answer { ns: 2, nr: 4, kind: None });
    let key = SessionKey { tunnel, session };
    let expected = Action::SessionUp { key, peer_session: CALL, sequenced: false };
    assert_eq!(rest, [expected]);
}

#[test]
fn android_calls_in() {
    calls_in(ANDROID);
}

#[test]
fn windows_calls_in() {
    calls_in(WINDOWS);
}
