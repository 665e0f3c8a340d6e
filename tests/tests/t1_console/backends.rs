//! QEMU's VNC server with each of its ways to authenticate, and each way to be refused.

use serde_json::{Value, json};

use crate::bench::{Proxy, grant, token};
use sluice_tests::console::certificates::Authority;
use sluice_tests::console::client::{Outcome, look, post, tls};
use sluice_tests::console::qemu::{Qemu, Server};

/// The first grant's backend for QEMU's server at `port`.
fn backend(id: &str, port: u16, more: Value) -> Value {
    let mut grant = grant(id, port);
    grant["backend"]["unencrypted"] = json!("refuse");
    for (field, value) in more.as_object().unwrap() {
        grant["backend"][field] = value.clone();
    }
    grant
}

fn shown(outcome: Outcome, security: &str) {
    match outcome {
        Outcome::Shown(note, init) => {
            let said = note["security"].as_str().unwrap();
            assert_eq!(said.strip_prefix("TLSv1_3 ").unwrap_or(said), security, "{note}");
            assert_eq!(note["encrypted"].as_bool(), Some(security.starts_with("X509")), "{note}");
            assert_eq!(&init[..4], [2, 208, 1, 144], "720 x 400: text mode");
            assert!(String::from_utf8_lossy(&init[24..]).contains("QEMU"));
        }
        Outcome::Closed(code, reason) => panic!("{code} {reason}, not {security}"),
    }
}

fn refused(outcome: Outcome, code: u16) {
    match outcome {
        Outcome::Closed(got, reason) => assert_eq!(got, code, "{reason}"),
        Outcome::Shown(note, _) => panic!("{note}, not {code}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_way_that_qemu_authenticates_is_spoken_and_every_wrong_one_refused() {
    let (authority, other) = (Authority::new(), Authority::new());
    let signed = authority.server("host-7.cloud.internal");
    let folder = tempfile::tempdir().unwrap();
    let servers = [
        Server::Open,
        Server::Password("secret"),
        Server::Tls(&signed, None),
        Server::Tls(&signed, Some("secret")),
    ];
    let qemu = Qemu::start(folder.path(), &servers);
    let [open, password, tls, both] = qemu.ports[..] else { panic!("{:?}", qemu.ports) };
    let trust =
        |authority: &Authority, name: &str| json!({ "authorities": authority.pem, "name": name });
    let right = trust(&authority, "host-7.cloud.internal");
    let pin = sluice_proxy::values::Fingerprint::of(&signed.der).to_string();
    let wrong_pin = sluice_proxy::values::Fingerprint::of(b"another").to_string();
    let cases = [
        ("none", open, json!({ "unencrypted": "anything" }), Ok("none")),
        (
            "none-refused",
            open,
            json!({ "unencrypted": "password", "password": "secret" }),
            Err(4204),
        ),
        (
            "vnc",
            password,
            json!({ "unencrypted": "password", "password": "secret" }),
            Ok("VNC authentication"),
        ),
        (
            "vnc-wrong",
            password,
            json!({ "unencrypted": "password", "password": "wrong" }),
            Err(4201),
        ),
        ("vnc-refused", password, json!({ "password": "secret" }), Err(4204)),
        ("x509", tls, json!({ "tls": right }), Ok("X509None")),
        ("x509-ca", tls, json!({ "tls": trust(&other, "host-7.cloud.internal") }), Err(4202)),
        ("x509-name", tls, json!({ "tls": trust(&authority, "host-8.cloud.internal") }), Err(4202)),
        ("x509-pin", tls, json!({ "tls": { "pin": pin, "name": "host-7" } }), Ok("X509None")),
        (
            "x509-wrong-pin",
            tls,
            json!({ "tls": { "pin": wrong_pin, "name": "host-7" } }),
            Err(4202),
        ),
        ("x509-plain", tls, json!({ "unencrypted": "anything" }), Err(4204)),
        ("both", both, json!({ "tls": right, "password": "secret" }), Ok("X509Vnc")),
        ("both-wrong", both, json!({ "tls": right, "password": "wrong" }), Err(4201)),
    ];
    let grants: Vec<Value> =
        cases.iter().map(|(id, port, more, _)| backend(id, *port, more.clone())).collect();
    let proxy = Proxy::start(&grants, json!({}));
    for (id, _, _, expected) in cases {
        let outcome = look(proxy.address, id).await;
        match expected {
            Ok(security) => shown(outcome, security),
            Err(code) => refused(outcome, code),
        }
    }
    let (log, report) = (proxy.log(), proxy.report().to_string());
    for secret in ["secret", &token("both")] {
        assert!(!log.contains(secret) && !report.contains(secret), "{secret} was written down");
    }
    for words in ["is allowed: 1 (none)", "is allowed: 19 (VeNCrypt)", "not the one that is pinned"]
    {
        assert!(log.contains(words), "{words}: {log}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn browsers_get_tls_1_2_and_1_3_and_a_new_certificate_without_a_restart() {
    let authority = Authority::new();
    let (first, second) = (authority.server("localhost"), authority.server("localhost"));
    let certificate = |signed: &sluice_tests::console::certificates::Signed| json!([{ "chain": signed.chain, "key": signed.key }]);
    let redirect = crate::bench::free();
    let more = json!({ "certificates": certificate(&first), "redirect": [redirect] });
    let mut proxy = Proxy::start(&[grant("g-1", 1)], more);
    let address = proxy.address;
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let (stream, shown) = tls(address, &authority.pem, version).await.unwrap();
        assert_eq!(shown, first.der);
        let (status, answer, cookie) = post(stream, address, "https", "g-1").await;
        assert_eq!(status, 200, "{answer}");
        assert!(cookie.starts_with("sluice-console-g-1="), "{cookie}");
    }
    let (old, _) = tls(address, &authority.pem, &rustls::version::TLS13).await.unwrap();
    proxy.slice["certificates"] = certificate(&second);
    proxy.reload();
    let (_, shown) = tls(address, &authority.pem, &rustls::version::TLS13).await.unwrap();
    assert_eq!(shown, second.der);
    assert_eq!(post(old, address, "https", "g-1").await.0, 200, "the old connection lives on");
    let plain = tokio::net::TcpStream::connect(redirect).await.unwrap();
    assert_eq!(post(plain, redirect, "http", "g-1").await.0, 308);
}
