//! What the RFB fuzz target and the stable test that replays its corpus do with bytes.

use sluice_proxy::rfb::{
    BrowserHandshake, ClientStream, Handshake, Rule, Rules, Unencrypted, Want,
};

/// Said to a server only where the rules allow it.
const PASSWORD: &[u8] = b"correct horse";

/// The first byte chooses what they are: a VNC server's side of the handshake, a browser's, or a browser's session.
pub(crate) fn bytes(input: &[u8]) {
    let Some((choice, bytes)) = input.split_first() else { return };
    match choice % 4 {
        0 => server(choice / 4, bytes),
        1 => browser(bytes),
        2 => session(bytes, Rule { view_only: false, clipboard_bytes: 4096 }),
        _ => session(bytes, Rule { view_only: true, clipboard_bytes: 4096 }),
    }
}

/// A VNC server says `bytes`: it is never asked for much, and gets no password that the rules do not allow.
fn server(choice: u8, bytes: &[u8]) {
    let unencrypted = match choice % 3 {
        0 => Unencrypted::Refuse,
        1 => Unencrypted::Password,
        _ => Unencrypted::Anything,
    };
    let known = |flag: u8| (choice & flag != 0).then(|| PASSWORD.to_vec());
    let tls = choice & 8 != 0;
    let rules = Rules { tls, unencrypted, user: known(16), password: known(32) };
    let mut handshake = Handshake::new(rules.clone());
    let (mut at, mut secure) = (0, false);
    loop {
        match handshake.want() {
            Want::Read(length) => {
                assert!(length <= 4096, "{length} bytes at once");
                let Some(next) = bytes.get(at..at + length) else { return };
                at += length;
                if handshake.give(next).is_err() {
                    return;
                }
            }
            Want::Write(sent) => {
                let told = sent.windows(PASSWORD.len()).any(|window| window == PASSWORD);
                assert!(secure || !told, "the password in the open");
                assert!(secure || sent.len() != 16 || unencrypted != Unencrypted::Refuse);
            }
            Want::StartTls => {
                assert!(tls && !secure);
                secure = true;
                handshake.secured();
            }
            Want::Done => break,
        }
    }
    let security = handshake.security();
    assert!(rules.allow(security), "{security:?}");
    assert_eq!(secure, security.is_encrypted());
    assert!(handshake.init().is_some());
}

/// A browser says `bytes` at first: whatever the pieces, the outcome is the same.
fn browser(bytes: &[u8]) {
    let whole = greeted(bytes, bytes.len().max(1));
    assert_eq!(whole, greeted(bytes, 1));
}

fn greeted(bytes: &[u8], size: usize) -> Option<(Vec<u8>, Vec<u8>, bool)> {
    let mut handshake = BrowserHandshake::default();
    let (mut out, mut rest) = (Vec::new(), Vec::new());
    for piece in bytes.chunks(size) {
        rest.extend_from_slice(handshake.feed(piece, &mut out).ok()?);
    }
    Some((out, rest, handshake.is_done()))
}

/// A browser sends `bytes` in a session: what is passed on passes again unchanged, and nothing is made up.
fn session(bytes: &[u8], rule: Rule) {
    let out = passed(bytes, rule, bytes.len().max(1));
    assert!(out.len() <= bytes.len());
    assert_eq!(out, passed(bytes, rule, 1));
    assert_eq!(out, passed(&out, rule, 3));
    if rule.view_only {
        let mut stream = ClientStream::default();
        let seen = stream.feed(&out, rule, &mut Vec::new());
        assert!(seen.is_ok_and(|seen| seen.inputs == 0 && seen.left_out == 0));
    }
}

/// What is passed on up to the first offence; an offence's own beginning never is.
fn passed(bytes: &[u8], rule: Rule, size: usize) -> Vec<u8> {
    let (mut stream, mut out) = (ClientStream::default(), Vec::new());
    for piece in bytes.chunks(size) {
        if stream.feed(piece, rule, &mut out).is_err() {
            break;
        }
    }
    out
}
