//! Frames that no honest peer sends: nothing panics, nothing is answered that should not be, every link ends.

use proptest::prelude::*;

use super::client::{Client, MS};
use super::phases::converse;
use super::*;

/// LCP is up after the first; after the second the proof is done too.
fn ready(proved: bool) -> (Link, Users) {
    let (mut server, mut users) = (server(&ALL), Users::default());
    let password = if proved { "correct horse" } else { "" };
    if proved {
        let mut client = Client::new(&[&MS], "anna", password);
        converse(&mut server, &mut client, &mut users, Duration::ZERO);
        return (server, users);
    }
    let requests = sent(&server.outputs());
    let mut ack = requests[0].clone();
    ack[2] = 2;
    server.receive(Duration::ZERO, &ack, &mut users);
    server.receive(Duration::ZERO, b"\xc0\x21\x01\x01\x00\x04", &mut users);
    (server, users)
}

fn replies(server: &mut Link, users: &mut Users, frame: &[u8]) -> Vec<Output> {
    server.outputs();
    server.receive(Duration::ZERO, frame, users);
    server.outputs()
}

#[test]
fn lengths_that_lie_get_no_answer() {
    for frame in [
        &b""[..],
        b"\xff\x03",
        b"\xc0",
        b"\xc0\x21",
        b"\xc0\x21\x01\x01\x00",
        b"\xc0\x21\x01\x01\x00\x03",
        b"\xc0\x21\x01\x01\x00\x00",
        b"\xc0\x21\x01\x01\xff\xff\x01\x04",
        // an option of length 0, of 1, and one that runs past the end
        b"\xc0\x21\x01\x01\x00\x06\x05\x00",
        b"\xc0\x21\x01\x01\x00\x06\x05\x01",
        b"\xc0\x21\x01\x01\x00\x06\x05\xff",
    ] {
        let (mut server, mut users) = ready(false);
        assert_eq!(replies(&mut server, &mut users, frame), [], "{frame:02x?}");
    }
}

#[test]
fn proofs_that_are_none_are_refused_or_dropped() {
    for frame in [
        // a value of 255 bytes in a packet of 10, one of 16 bytes where 49 are due, one without a name
        &b"\xc2\x23\x02\x00\x00\x0a\xff\x00\x00\x00\x00\x00"[..],
        b"\xc2\x23\x02\x00\x00\x05\x00",
        b"\xc2\x23\x02\x00\x00\x04",
        b"\xc0\x23\x01\x00\x00\x04",
        b"\xc0\x23\x01\x00\x00\x06\xff\xff",
    ] {
        let (mut server, mut users) = ready(false);
        let outputs = replies(&mut server, &mut users, frame);
        assert!(!outputs.iter().any(|output| matches!(output, Output::Up(_))), "{frame:02x?}");
        assert_eq!(server.user(), None);
    }
}

#[test]
fn an_answer_to_another_question_changes_nothing() {
    let (mut server, mut users) = (server(&ALL), Users::default());
    let request = sent(&server.outputs())[0].clone();
    let mut wrong_id = request.clone();
    (wrong_id[2], wrong_id[3]) = (2, request[3].wrapping_add(1));
    let mut wrong_options = request.clone();
    wrong_options[2] = 2;
    *wrong_options.last_mut().unwrap() ^= 1;
    for frame in [wrong_id, wrong_options] {
        assert_eq!(replies(&mut server, &mut users, &frame), []);
    }
}

#[test]
fn unknown_codes_are_rejected_and_discards_are_not() {
    let (mut server, mut users) = ready(true);
    let outputs = replies(&mut server, &mut users, b"\xc0\x21\x7f\x09\x00\x04");
    let [Output::Frame(frame)] = &outputs[..] else { panic!("{outputs:?}") };
    assert_eq!(frame[2], 7, "Code-Reject");
    assert_eq!(frame[6..], *b"\x7f\x09\x00\x04");
    for code in [11, 12, 13] {
        let frame = [0xc0, 0x21, code, 1, 0, 8, 0, 0, 0, 0];
        assert_eq!(replies(&mut server, &mut users, &frame), [], "code {code}");
    }
}

#[test]
fn an_echo_carries_our_number_and_its_content() {
    let (mut server, mut users) = ready(true);
    let outputs = replies(&mut server, &mut users, b"\xc0\x21\x09\x05\x00\x0a\0\0\0\0hi");
    let [Output::Frame(frame)] = &outputs[..] else { panic!("{outputs:?}") };
    assert_eq!((frame[2], frame[3], &frame[10..]), (10, 5, &b"hi"[..]));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_frames_at_any_time_end_in_the_end(
        proved in any::<bool>(),
        frames in prop::collection::vec(
            (prop::sample::select(vec![0xc021_u16, 0xc023, 0xc223, 0x8021, 0x80fd, 0x0021]),
             0_u8..16, 0_u8..8, prop::collection::vec(any::<u8>(), 0..40), 0_u64..4000),
            0..30,
        ),
    ) {
        let (mut server, mut users) = ready(proved);
        let mut now = Duration::ZERO;
        for (number, code, id, data, pause) in frames {
            now += Duration::from_millis(pause);
            server.tick(now);
            let length = u16::try_from(data.len() + 4).unwrap().to_be_bytes();
            let frame = [&number.to_be_bytes()[..], &[code, id], &length, &data].concat();
            server.receive(now, &frame, &mut users);
            server.outputs();
        }
        while let Some(at) = server.deadline() {
            prop_assert!(at <= now + seconds(600), "it never ends");
            server.tick(at);
            server.outputs();
        }
    }
}
