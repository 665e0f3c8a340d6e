//! What the load balancing fuzz targets and the stable test that replays their corpus do with bytes.

#![allow(dead_code)] // each target uses one part

use bytes::{Buf, BytesMut};
use sluice_router::lb::http::cookie;
use sluice_router::lb::http::framing::{Framing, Verdict};

/// A client's stream: cut differently it comes to the same, and each head that passes is one head for another reader,
/// with the same body behind it.
pub(crate) fn framing(bytes: &[u8]) {
    let whole = read(bytes, usize::MAX);
    for pieces in [1, 7] {
        let cut = read(bytes, pieces);
        assert_eq!(whole.refused, cut.refused, "cut into pieces of {pieces}");
        if !whole.refused {
            assert_eq!(whole.heads, cut.heads, "cut into pieces of {pieces}");
        }
    }
    for head in &whole.heads {
        judge(head);
    }
}

#[derive(Default)]
struct Read {
    heads: Vec<Vec<u8>>,
    refused: bool,
}

fn read(bytes: &[u8], pieces: usize) -> Read {
    let (mut framing, mut buffer, mut read) =
        (Framing::default(), BytesMut::new(), Read::default());
    for piece in bytes.chunks(pieces) {
        buffer.extend_from_slice(piece);
        loop {
            if framing.held() {
                framing.release();
            }
            let head = framing.between();
            match framing.judge(&mut buffer) {
                Verdict::Pass(length) => {
                    assert!(length > 0 && length <= buffer.len());
                    if head {
                        read.heads.push(buffer[..length].to_vec());
                    }
                    buffer.advance(length);
                }
                Verdict::More => break,
                Verdict::Refuse(_) => return Read { refused: true, ..read },
            }
        }
    }
    read
}

/// What another reader makes of a head that passed.
fn judge(head: &[u8]) {
    let mut headers = [httparse::EMPTY_HEADER; 128];
    let mut request = httparse::Request::new(&mut headers);
    let parsed = request.parse(head).expect("another reader takes it");
    assert_eq!(parsed, httparse::Status::Complete(head.len()), "to its end");
    let all =
        |name: &str| request.headers.iter().filter(|it| it.name.eq_ignore_ascii_case(name)).count();
    let (lengths, codings) = (all("content-length"), all("transfer-encoding"));
    assert!(lengths + codings <= 1, "its length is said once");
    assert!(all("host") <= 1);
}

/// Cookie fields: what is found is in them, and what is taken away is gone.
pub(crate) fn cookies(bytes: &[u8]) {
    let found = cookie::find(bytes, |name| name == b"SRV");
    let without = cookie::without(bytes, b"SRV").unwrap_or_default();
    assert!(cookie::find(&without, |name| name == b"SRV").is_none());
    let changed = cookie::changed(bytes, b"SRV", |value| [b"m1~", value].concat());
    if let Some((_, value)) = found {
        let after = cookie::find(&changed, |name| name == b"SRV").expect("it is still there");
        assert_eq!(after.1, [b"m1~", value].concat());
    }
    let (name, value, attributes) = cookie::parts_of_set(bytes);
    assert!(name.len() + value.len() + attributes.len() <= bytes.len());
}

/// The first bytes of a TLS connection: whatever they are, they end in an answer or an error.
pub(crate) fn hello(bytes: &[u8]) {
    use sluice_router::lb::tls::ServerTls;
    use std::sync::LazyLock;
    static TLS: LazyLock<ServerTls> = LazyLock::new(|| {
        let pem = include_str!("lb-test.pem");
        let digest = sluice_api::types::BlobDigest::of(pem.as_bytes());
        let tls = serde_json::json!({ "certificates": [digest] });
        let tls = serde_json::from_value(tls).expect("a sound form");
        let blobs = [(digest, sluice_api::types::SecretBytes::new(pem))].into();
        ServerTls::new(&tls, sluice_api::config::balancer::Mode::Http, &blobs, None)
            .expect("a good certificate")
    });
    let config = std::sync::Arc::clone(TLS.acceptor.config());
    let mut connection = rustls::ServerConnection::new(config).expect("a good configuration");
    let mut input = bytes;
    while !input.is_empty() {
        match connection.read_tls(&mut input) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        if connection.process_new_packets().is_err() {
            return;
        }
        let mut answer = Vec::new();
        while connection.wants_write() {
            if connection.write_tls(&mut answer).is_err() {
                return;
            }
        }
    }
}
