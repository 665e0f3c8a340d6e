//! Over a network that loses, doubles and reorders: a link comes up all the same, and none is left over.

use proptest::prelude::*;

use super::client::{Client, MD5, MS, PAP};
use super::*;

/// What happens to one frame.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Pass,
    Lose,
    Double,
    /// Arrives after those that follow within the second.
    Late,
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        6 => Just(Fate::Pass),
        2 => Just(Fate::Lose),
        1 => Just(Fate::Double),
        1 => Just(Fate::Late),
    ]
}

fn carry(frames: Vec<Vec<u8>>, fates: &mut impl Iterator<Item = Fate>) -> Vec<Vec<u8>> {
    let (mut now, mut later) = (Vec::new(), Vec::new());
    for frame in frames {
        match fates.next().unwrap_or(Fate::Pass) {
            Fate::Pass => now.push(frame),
            Fate::Lose => (),
            Fate::Double => now.extend([frame.clone(), frame]),
            Fate::Late => later.push(frame),
        }
    }
    now.extend(later);
    now
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_link_comes_up_and_is_let_go(
        there in prop::collection::vec(fate(), 0..40),
        back in prop::collection::vec(fate(), 0..40),
        method in prop::sample::select(vec![&MS[..], &MD5, &PAP]),
    ) {
        let (mut server, mut users) = (server(&ALL), Users::default());
        let mut client = Client::new(&[method], "anna", "correct horse");
        let lost = there.iter().chain(&back).filter(|fate| matches!(fate, Fate::Lose)).count();
        let (mut there, mut back) = (there.into_iter(), back.into_iter());
        let (mut up, mut over) = (false, None);
        let follow = |outputs: &[Output], up: &mut bool, over: &mut Option<String>| {
            for output in outputs {
                match output {
                    Output::Up(_) => { assert!(!*up, "up twice"); *up = true; }
                    Output::Down => { assert!(*up, "down without up"); *up = false; }
                    Output::Finished(why) => { assert!(over.is_none()); *over = Some(why.clone()); }
                    Output::Frame(_) => assert!(over.is_none(), "a frame after the end"),
                }
            }
        };
        for tenth in 0..600 {
            let now = Duration::from_millis(100 * tenth);
            server.tick(now);
            client.tick(now);
            let outputs = server.outputs();
            follow(&outputs, &mut up, &mut over);
            for frame in carry(sent(&outputs), &mut back) {
                client.receive(now, &frame);
            }
            for frame in carry(client.frames(), &mut there) {
                server.receive(now, &frame, &mut users);
            }
        }
        // whoever loses more may give up; then the end below is all there is to be said
        prop_assert!(lost > 8 || up && client.is_up(), "over: {over:?}, client {:?}", client.verdict);
        // and now nobody is there any more
        while let Some(at) = server.deadline() {
            server.tick(at);
            follow(&server.outputs(), &mut up, &mut over);
            prop_assert!(at < seconds(600));
        }
        prop_assert!(!up && over.is_some());
    }
}
