//! Over a network that loses, doubles and reorders: each message takes effect once, and nothing is left over.

use proptest::prelude::*;

use super::client::Client;
use super::*;

/// What happens to one datagram.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Pass,
    Lose,
    Double,
    /// Arrives so many tenths of a second later.
    Late(u8),
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        6 => Just(Fate::Pass),
        2 => Just(Fate::Lose),
        1 => Just(Fate::Double),
        2 => (1_u8..30).prop_map(Fate::Late),
    ]
}

/// One direction of the network.
struct Way<F> {
    fates: F,
    late: Vec<(u64, Vec<u8>)>,
}

impl<F: Iterator<Item = Fate>> Way<F> {
    fn carry(&mut self, tenth: u64, datagrams: impl IntoIterator<Item = Vec<u8>>) -> Vec<Vec<u8>> {
        let mut now = Vec::new();
        for datagram in datagrams {
            match self.fates.next().unwrap_or(Fate::Pass) {
                Fate::Pass => now.push(datagram),
                Fate::Lose => (),
                Fate::Double => now.extend([datagram.clone(), datagram]),
                Fate::Late(by) => self.late.push((tenth + u64::from(by), datagram)),
            }
        }
        now.extend(
            self.late.extract_if(.., |(due, _)| *due <= tenth).map(|(_, datagram)| datagram),
        );
        now
    }
}

/// Sets going up and down against each other.
#[derive(Default)]
struct Count {
    tunnels: i32,
    calls: i32,
    ups: i32,
}

impl Count {
    fn follow(&mut self, action: &Action) {
        match action {
            Action::TunnelUp { .. } => self.tunnels += 1,
            Action::TunnelDown { .. } => self.tunnels -= 1,
            Action::SessionUp { .. } => (self.calls, self.ups) = (self.calls + 1, self.ups + 1),
            Action::SessionDown { .. } => self.calls -= 1,
            Action::Send { .. } => (),
        }
        assert!((0..=1).contains(&self.tunnels) && (0..=1).contains(&self.calls));
        assert!(self.calls <= self.tunnels, "a call without its tunnel");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_call_comes_up_once_and_is_let_go(
        there in prop::collection::vec(fate(), 0..30),
        back in prop::collection::vec(fate(), 0..30),
        leaves in any::<bool>(),
    ) {
        let mut server = server();
        let mut client = Client::new(peer(1), 100);
        let mut there = Way { fates: there.into_iter(), late: Vec::new() };
        let mut back = Way { fates: back.into_iter(), late: Vec::new() };
        let mut count = Count::default();
        for tenth in 0..900 {
            let now = Duration::from_millis(100 * tenth);
            if tenth == 600 && leaves {
                client.stop();
            }
            server.tick(now);
            let mut out: Vec<_> = client.tick(now).into_iter().collect();
            out.extend(client.datagrams(now));
            for bytes in there.carry(tenth, out) {
                server.datagram(now, peer(1), &bytes);
            }
            let mut sent = Vec::new();
            for action in server.actions() {
                count.follow(&action);
                if let Action::Send { bytes, .. } = action {
                    sent.push(bytes);
                }
            }
            for bytes in back.carry(tenth, sent) {
                client.receive(now, &bytes);
            }
        }
        let known = if count.ups == 1 {
            prop_assert_eq!(count.calls, i32::from(!leaves));
            true
        } else {
            // everything was lost for longer than one of the two waits
            client.gave_up || count.tunnels == 0
        };
        prop_assert!(known, "{} calls came up, client {:?}", count.ups, client);
        let (_, actions) = run_out(&mut server);
        for action in &actions {
            count.follow(action);
        }
        prop_assert_eq!((count.tunnels, count.calls), (0, 0));
    }
}
