//! Scripted servers and browsers: every way through the handshakes, and every way to break them.

use super::handshake::{Handshake, HandshakeError, Want};
use super::security::{ALL, Rules, Security, Unencrypted};

/// What a server says, as one stream; what the proxy sends back is collected.
fn talk(rules: Rules, server: &[u8]) -> (Result<Handshake, HandshakeError>, Vec<u8>, usize) {
    let mut handshake = Handshake::new(rules);
    let (mut sent, mut at) = (Vec::new(), 0);
    loop {
        match handshake.want() {
            Want::Write(bytes) => sent.extend(bytes),
            Want::StartTls => {
                sent.extend(b"<tls>");
                handshake.secured();
            }
            Want::Done => return (Ok(handshake), sent, at),
            Want::Read(length) => {
                assert!(length <= 4096, "{length} bytes at once");
                let Some(bytes) = server.get(at..at + length) else {
                    return (Err(HandshakeError::Broken("the script is over")), sent, at);
                };
                at += length;
                if let Err(error) = handshake.give(bytes) {
                    return (Err(error), sent, at);
                }
            }
        }
    }
}

fn rules() -> Rules {
    let bytes = |text: &str| Some(text.as_bytes().to_vec());
    Rules {
        tls: true,
        unencrypted: Unencrypted::Anything,
        user: bytes("operator"),
        password: bytes("secret"),
    }
}

fn plain_rules() -> Rules {
    Rules { tls: false, ..rules() }
}

/// Description of a screen of 640 x 480 called `vm`.
fn init() -> Vec<u8> {
    let mut init = vec![2, 128, 1, 224];
    init.extend([32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0, 0, 0, 0]);
    init.extend([0, 0, 0, 2]);
    init.extend(b"vm");
    init
}

fn script(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

const V38: &[u8] = b"RFB 003.008\n";
const OK: &[u8] = &[0; 4];
const CHALLENGE: &[u8] = &[7; 16];

/// What a server of version 3.8 says after `security` was chosen at `vencrypt` or plainly.
fn accepts(security: Security) -> Vec<u8> {
    let subtypes = [260_u32, 261, 262].map(u32::to_be_bytes).concat();
    let vencrypt = script(&[&[0, 2], &[0], &[3], &subtypes, &[1]]);
    let rest = match security {
        Security::X509Plain | Security::X509None => script(&[&vencrypt, OK]),
        Security::X509Vnc => script(&[&vencrypt, CHALLENGE, OK]),
        Security::VncAuthentication => script(&[CHALLENGE, OK]),
        Security::None => OK.to_vec(),
    };
    script(&[&rest, &init()])
}

/// Rules that allow `allowed` and nothing else.
fn only(allowed: &[Security]) -> Rules {
    let has = |security| allowed.contains(&security);
    let unencrypted = match (has(Security::VncAuthentication), has(Security::None)) {
        (_, true) => Unencrypted::Anything,
        (true, false) => Unencrypted::Password,
        _ => Unencrypted::Refuse,
    };
    Rules { unencrypted, tls: allowed.iter().any(|it| it.is_encrypted()), ..rules() }
}

#[test]
fn of_every_list_in_every_order_the_strongest_allowed_is_taken_and_no_byte_too_many() {
    let lists: Vec<Vec<u8>> = permutations(&[1, 2, 19, 16, 5]);
    for offered in &lists {
        for (allowed, expected) in [
            (only(&ALL), [Security::X509Plain, Security::VncAuthentication, Security::None]),
            (
                plain_rules(),
                [Security::VncAuthentication, Security::VncAuthentication, Security::None],
            ),
        ] {
            let has = |number| offered.contains(&number);
            let best = match (has(19), has(2), has(1)) {
                (true, ..) if allowed.tls => expected[0],
                (_, true, _) => Security::VncAuthentication,
                (_, _, true) => Security::None,
                _ => {
                    let count = u8::try_from(offered.len()).unwrap();
                    let (outcome, ..) = talk(allowed, &script(&[V38, &[count], offered]));
                    let refused = outcome.unwrap_err();
                    if count == 0 {
                        assert!(
                            matches!(refused, HandshakeError::Broken(_)),
                            "a reason is missing"
                        );
                    } else {
                        assert_eq!(
                            refused,
                            HandshakeError::NoSecurity { offered: offered.clone() }
                        );
                    }
                    continue;
                }
            };
            let count = u8::try_from(offered.len()).unwrap();
            let server = script(&[V38, &[count], offered, &accepts(best), b"pixels"]);
            let (outcome, sent, read) = talk(allowed, &server);
            let handshake = outcome.unwrap_or_else(|error| panic!("{offered:?}: {error}"));
            assert_eq!(handshake.security(), best, "{offered:?}");
            assert_eq!(read, server.len() - b"pixels".len(), "the session's bytes stay");
            assert_eq!(handshake.init().unwrap().desktop_name(), "vm");
            assert_eq!(handshake.init().unwrap().size(), (640, 480));
            assert_eq!(sent.last(), Some(&1), "the screen is shared");
        }
    }
}

/// All orders of all parts of `of`.
fn permutations(of: &[u8]) -> Vec<Vec<u8>> {
    let mut all = vec![Vec::new()];
    for (at, first) in of.iter().enumerate() {
        let rest: Vec<u8> = [&of[..at], &of[at + 1..]].concat();
        all.extend(permutations(&rest).into_iter().map(|tail| [&[*first][..], &tail].concat()));
    }
    all.sort();
    all.dedup();
    all
}

#[test]
fn inside_vencrypt_too_the_strongest_allowed_is_taken() {
    let subtypes = |of: &[u32]| {
        let numbers: Vec<u8> = of.iter().flat_map(|number| number.to_be_bytes()).collect();
        let count = u8::try_from(of.len()).unwrap();
        script(&[V38, &[1, 19], &[0, 2], &[0], &[count], &numbers])
    };
    let chosen = |rules: Rules, of: &[u32], rest: &[u8]| {
        let (outcome, sent, _) = talk(rules, &script(&[&subtypes(of), &[1], rest, &init()]));
        outcome.map(|handshake| (handshake.security(), sent))
    };
    let (security, sent) = chosen(rules(), &[259, 260, 261, 262], OK).unwrap();
    assert_eq!(security, Security::X509Plain);
    let expected = script(&[
        V38,
        &[19],
        &[0, 2],
        &262_u32.to_be_bytes(),
        b"<tls>",
        &[0, 0, 0, 8, 0, 0, 0, 6],
        b"operatorsecret",
        &[1],
    ]);
    assert_eq!(sent, expected, "the password is said inside TLS");
    let no_user = Rules { user: None, ..rules() };
    let vnc = script(&[CHALLENGE, OK]);
    assert_eq!(chosen(no_user, &[260, 261, 262], &vnc).unwrap().0, Security::X509Vnc);
    assert_eq!(chosen(rules(), &[260], OK).unwrap().0, Security::X509None);
    let anonymous = chosen(rules(), &[257, 258, 259], OK).unwrap_err();
    assert_eq!(anonymous, HandshakeError::NoSubtype { offered: vec![257, 258, 259] });
    let none = chosen(rules(), &[], OK).unwrap_err();
    assert_eq!(none, HandshakeError::NoSubtype { offered: vec![] });
}

#[test]
fn old_versions_are_spoken_and_new_ones_counted_down() {
    let name = |version: &str| {
        let list: &[u8] = if version == "RFB 003.003\n" { &[0, 0, 0, 1] } else { &[1, 1] };
        let result: &[u8] = if version > "RFB 003.007\n" { OK } else { b"" };
        let server = script(&[version.as_bytes(), list, result, &init()]);
        let (outcome, sent, _) = talk(plain_rules(), &server);
        assert!(outcome.is_ok(), "{version}: {outcome:?}");
        String::from_utf8(sent[..12].to_vec()).unwrap()
    };
    assert_eq!(name("RFB 003.003\n"), "RFB 003.003\n");
    assert_eq!(name("RFB 003.007\n"), "RFB 003.007\n");
    for new in ["RFB 003.008\n", "RFB 003.889\n", "RFB 004.001\n", "RFB 005.000\n"] {
        assert_eq!(name(new), "RFB 003.008\n");
    }
    let old = script(&[b"RFB 003.005\n", &[0, 0, 0, 2], CHALLENGE, OK, &init()]);
    let (outcome, sent, _) = talk(plain_rules(), &old);
    assert_eq!(outcome.unwrap().security(), Security::VncAuthentication);
    assert_eq!(&sent[..12], b"RFB 003.003\n");
}

#[test]
fn a_server_that_refuses_is_quoted() {
    let reason = |parts: &[&[u8]]| talk(rules(), &script(parts)).0.unwrap_err().to_string();
    let busy = reason(&[V38, &[0], &[0, 0, 0, 9], b"too\nmany!"]);
    assert_eq!(busy, "the server refused the connection: too many!");
    let old = reason(&[b"RFB 003.003\n", &[0; 4], &[0, 0, 0, 4], b"busy"]);
    assert_eq!(old, "the server refused the connection: busy");
    let denied = reason(&[V38, &[1, 2], CHALLENGE, &[0, 0, 0, 1], &[0, 0, 0, 5], b"wrong"]);
    assert_eq!(denied, "the server did not accept the credentials: wrong");
    let silent = reason(&[b"RFB 003.007\n", &[1, 2], CHALLENGE, &[0, 0, 0, 1]]);
    assert_eq!(silent, "the server did not accept the credentials: ");
    let long = reason(&[V38, &[0], &[255; 4]]);
    assert!(long.contains("too long"), "{long}");
}

#[test]
fn what_breaks_the_protocol_is_refused_without_reading_on() {
    let error = |parts: &[&[u8]]| talk(rules(), &script(parts)).0.unwrap_err();
    assert_eq!(error(&[b"SSH-2.0-Open\n"]), HandshakeError::NotRfb);
    assert_eq!(error(&[b"RFB 002.008\n"]), HandshakeError::NotRfb);
    assert_eq!(error(&[b"RFB 3x3.008\n"]), HandshakeError::NotRfb);
    assert_eq!(error(&[b"RFB +03.008\n"]), HandshakeError::NotRfb);
    let broken = |parts: &[&[u8]]| match error(parts) {
        HandshakeError::Broken(what) => what,
        other => panic!("{other}"),
    };
    assert_eq!(broken(&[V38, &[1, 19], &[0, 1]]), "VeNCrypt older than 0.2");
    assert_eq!(broken(&[V38, &[1, 19], &[0, 2], &[1]]), "VeNCrypt version not accepted");
    let one = script(&[V38, &[1, 19], &[0, 2], &[0], &[1], &262_u32.to_be_bytes()]);
    assert_eq!(broken(&[&one, &[0]]), "VeNCrypt subtype not accepted");
    assert_eq!(broken(&[V38, &[1, 1], &[9; 4]]), "unknown security result");
    let mut long = init();
    long[20..24].copy_from_slice(&[0, 1, 0, 0]);
    assert_eq!(broken(&[V38, &[1, 1], OK, &long]), "name of the screen too long");
}

#[test]
fn a_script_cut_anywhere_asks_for_more_and_never_panics() {
    let whole = script(&[V38, &[3, 1, 2, 19], &accepts(Security::X509Plain)]);
    for length in 0..whole.len() {
        let (outcome, ..) = talk(rules(), &whole[..length]);
        assert_eq!(outcome.unwrap_err(), HandshakeError::Broken("the script is over"));
    }
    assert!(talk(rules(), &whole).0.is_ok());
}

mod browser {
    use super::super::{BrowserError, BrowserHandshake};

    fn feed(chunks: &[&[u8]]) -> Result<(Vec<u8>, Vec<u8>, bool), BrowserError> {
        let mut handshake = BrowserHandshake::default();
        let (mut out, mut rest) = (Vec::new(), Vec::new());
        for chunk in chunks {
            rest.extend(handshake.feed(chunk, &mut out)?);
        }
        Ok((out, rest, handshake.is_done()))
    }

    #[test]
    fn the_handshake_may_come_in_any_pieces() {
        let whole = b"RFB 003.008\n\x01\x01\x03more";
        let expected = (vec![1, 1, 0, 0, 0, 0], b"\x03more".to_vec(), true);
        assert_eq!(feed(&[whole]), Ok(expected.clone()));
        let single: Vec<&[u8]> = whole.chunks(1).collect();
        assert_eq!(feed(&single), Ok(expected));
        assert!(!feed(&[&whole[..13]]).unwrap().2);
    }

    #[test]
    fn another_version_or_type_is_refused() {
        assert_eq!(feed(&[b"RFB 003.003\n"]), Err(BrowserError::Version));
        assert_eq!(feed(&[b"GET / HTTP/1"]), Err(BrowserError::Version));
        assert_eq!(feed(&[b"RFB 003.008\n\x02"]), Err(BrowserError::Type(2)));
    }
}

mod client {
    use super::super::{ClientError, ClientStream, Rule, Seen};

    const FREE: Rule = Rule { view_only: false, clipboard_bytes: 1000 };
    const VIEW: Rule = Rule { view_only: true, ..FREE };

    fn pass(rule: Rule, bytes: &[u8]) -> (Vec<u8>, Seen) {
        let (mut out, mut stream) = (Vec::new(), ClientStream::default());
        let seen = stream.feed(bytes, rule, &mut out).unwrap();
        // whatever the pieces, the outcome is the same
        for size in [1, 2, 3, 7] {
            let (mut again, mut stream, mut messages) = (Vec::new(), ClientStream::default(), 0);
            for piece in bytes.chunks(size) {
                messages += stream.feed(piece, rule, &mut again).unwrap().messages;
            }
            assert_eq!((&again, messages), (&out, seen.messages), "in pieces of {size}");
        }
        (out, seen)
    }

    fn refused(bytes: &[u8]) -> ClientError {
        ClientStream::default().feed(bytes, FREE, &mut Vec::new()).unwrap_err()
    }

    fn encodings(numbers: &[i32]) -> Vec<u8> {
        let count = u16::try_from(numbers.len()).unwrap().to_be_bytes();
        let numbers: Vec<u8> = numbers.iter().flat_map(|it| it.to_be_bytes()).collect();
        [&[2, 0][..], &count, &numbers].concat()
    }

    fn cut_text(length: i32, text: &[u8]) -> Vec<u8> {
        [&[6, 0, 0, 0][..], &length.to_be_bytes(), text].concat()
    }

    /// One of each kind: those that show, then those that change.
    fn showing() -> Vec<Vec<u8>> {
        vec![
            [&[0][..], &[9; 19]].concat(),
            encodings(&[0, 7]),
            [&[3][..], &[1; 9]].concat(),
            [&[150][..], &[1; 9]].concat(),
            [&[248, 0, 0, 0, 0, 0, 0, 0, 3][..], b"abc"].concat(),
        ]
    }

    fn changing() -> Vec<Vec<u8>> {
        vec![
            vec![4, 1, 0, 0, 0, 0, 0, 65],
            vec![5, 1, 0, 1, 0, 1],
            cut_text(5, b"hello"),
            cut_text(-4, &[1, 0, 0, 1]),
            [&[251, 0, 4, 0, 3, 0, 1, 0][..], &[0; 16]].concat(),
            [&[255, 0][..], &[0; 10]].concat(),
        ]
    }

    #[test]
    fn what_is_allowed_passes_unchanged() {
        let all: Vec<u8> = showing().into_iter().chain(changing()).flatten().collect();
        let (out, seen) = pass(FREE, &all);
        assert_eq!(out, all);
        assert_eq!(seen, Seen { messages: 11, inputs: 4, left_out: 0 });
    }

    #[test]
    fn view_only_leaves_out_whatever_could_change_something() {
        let mixed: Vec<u8> = changing()
            .into_iter()
            .zip(showing().into_iter().cycle())
            .flat_map(|(one, other)| [one, other].concat())
            .collect();
        let (out, seen) = pass(VIEW, &mixed);
        let expected: Vec<u8> = showing().into_iter().cycle().take(6).flatten().collect();
        assert_eq!(out, expected);
        assert_eq!((seen.messages, seen.left_out), (12, 6));
        assert_eq!(seen.inputs, 4, "somebody is there all the same");
    }

    #[test]
    fn of_the_clipboard_what_offers_a_text_is_input() {
        for (flags, inputs) in
            [(0x1f00_0001_u32, 0), (1 << 25, 0), (1 << 26, 0), (1 << 27, 1), (1 << 28, 1)]
        {
            let message = cut_text(-4, &flags.to_be_bytes());
            let (out, seen) = pass(FREE, &message);
            assert_eq!((&out, seen.messages, seen.inputs), (&message, 1, inputs), "{flags:x}");
            let (out, seen) = pass(VIEW, &message);
            assert_eq!((out.len(), seen.left_out), (0, 1), "{flags:x}");
        }
        let (short, seen) = pass(FREE, &cut_text(-3, b"abc"));
        assert_eq!((short.len(), seen.inputs), (11, 0));
    }

    #[test]
    fn a_message_begun_under_one_rule_ends_under_it() {
        let text = cut_text(5, b"hello");
        let (mut out, mut stream) = (Vec::new(), ClientStream::default());
        stream.feed(&text[..10], FREE, &mut out).unwrap();
        stream.feed(&text[10..], VIEW, &mut out).unwrap();
        stream.feed(&text[..10], VIEW, &mut out).unwrap();
        stream.feed(&text[10..], FREE, &mut out).unwrap();
        assert_eq!(out, text, "the first whole, the second not at all");
    }

    #[test]
    fn encodings_that_nobody_here_can_parse_are_not_announced() {
        let (out, _) =
            pass(FREE, &encodings(&[7, -309, -26, -316, 0, -258, -305, -259, 0x574d_5664]));
        assert_eq!(out, encodings(&[7, -26, 0, -258, 0x574d_5664]));
        let (none, _) = pass(FREE, &encodings(&[]));
        assert_eq!(none, encodings(&[]));
    }

    #[test]
    fn unknown_messages_and_too_much_of_anything_end_the_stream() {
        assert_eq!(refused(&[1]), ClientError::Unknown(1));
        assert_eq!(refused(&[250, 0, 1, 2]), ClientError::Unknown(250), "power control");
        assert_eq!(refused(&[255, 1]), ClientError::UnknownQemu(1), "audio");
        let long = |error| matches!(error, ClientError::TooLong { .. });
        assert!(long(refused(&cut_text(1001, b""))) && long(refused(&cut_text(-1001, b""))));
        assert!(long(refused(&cut_text(i32::MIN, b""))));
        assert!(long(refused(&[2, 0, 1, 1])), "257 encodings");
        assert!(long(refused(&[248, 0, 0, 0, 0, 0, 0, 0, 65])));
        assert!(long(refused(&[251, 0, 0, 0, 0, 0, 17])));
    }
}
