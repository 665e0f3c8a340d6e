//! Datagrams that no honest peer sends: nothing panics, nothing is left over.

use proptest::prelude::*;

use super::super::avp::Writer;
use super::super::datagram::encode_control;
use super::client::{Client, converse};
use super::*;

/// Every pair that there is, with content of any length.
fn pairs() -> impl Strategy<Value = Vec<(u16, Vec<u8>, bool)>> {
    let value = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..=4),
        prop::collection::vec(any::<u8>(), 0..=40),
    ];
    prop::collection::vec((0_u16..50, value, any::<bool>()), 0..6)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_messages_in_any_order_leave_nothing(
        messages in prop::collection::vec(
            (0_u16..18, pairs(), any::<bool>(), any::<bool>(), 0_u16..4, 0_u16..4, 0_u64..3000),
            0..20,
        ),
    ) {
        let mut server = server();
        let mut clients = vec![Client::new(peer(1), 100)];
        converse(&mut server, &mut clients, Duration::ZERO);
        let (tunnel, session) = (clients[0].tunnel, clients[0].session);
        let mut now = Duration::ZERO;
        let mut ns = 3;
        let mut open = 2;
        for (number, pairs, in_tunnel, in_session, ahead, nr, pause) in messages {
            now += Duration::from_millis(pause);
            server.tick(now);
            let mut writer = Writer::message(number);
            for (kind, value, mandatory) in pairs {
                writer = if mandatory { writer.pair(kind, &value) } else { writer.optional(kind, &value) };
            }
            let body = writer.finish();
            let control = Control {
                tunnel: if in_tunnel { tunnel } else { 0 },
                session: if in_session { session } else { 0 },
                ns: if in_tunnel { ns + ahead } else { 0 },
                nr,
                body: &body,
            };
            if in_tunnel && ahead == 0 {
                ns += 1;
            }
            server.datagram(now, peer(1), &encode_control(&control));
            open += changes(&server.actions());
        }
        let (_, actions) = run_out(&mut server);
        prop_assert_eq!(open + changes(&actions), 0);
    }

    #[test]
    fn any_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut server = server();
        server.datagram(Duration::ZERO, peer(1), &bytes);
        let mut with_header = b"\xc8\x02\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00".to_vec();
        with_header.extend(&bytes);
        with_header[3] = u8::try_from(with_header.len()).unwrap();
        server.datagram(Duration::ZERO, peer(1), &with_header);
        run_out(&mut server);
    }
}

/// How many more tunnels and calls are there now.
fn changes(actions: &[Action]) -> i32 {
    let change = |action: &Action| match action {
        Action::TunnelUp { .. } | Action::SessionUp { .. } => 1,
        Action::TunnelDown { .. } | Action::SessionDown { .. } => -1,
        Action::Send { .. } => 0,
    };
    actions.iter().map(change).sum()
}
