//! TLS towards clients: names, versions, HTTP/2, and a certificate that changes under way; curl and openssl as clients.

use std::net::SocketAddr;
use std::process::Output;

use serde_json::{Value, json};
use sluice_api::types::{BlobDigest, SecretBytes};

use crate::bench::{Bench, free, rule, until};
use crate::origin::Origin;

/// A certificate for `names` with its key in PEM, made by openssl.
pub(crate) fn certificate(names: &[&str], key: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let (cert, private) = (dir.path().join("cert"), dir.path().join("key"));
    let names: Vec<String> = names.iter().map(|name| format!("DNS:{name}")).collect();
    let output = sluice_programs::command("openssl")
        .unwrap()
        .args(["req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=test", "-newkey"])
        .args(key.split(' '))
        .args(["-addext", &format!("subjectAltName={}", names.join(","))])
        .arg("-keyout")
        .arg(&private)
        .arg("-out")
        .arg(&cert)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::read_to_string(cert).unwrap() + &std::fs::read_to_string(private).unwrap()
}

pub(crate) const EC: &str = "ec -pkeyopt ec_paramgen_curve:P-256";

pub(crate) struct Secure {
    pub(crate) bench: Bench,
    pub(crate) at: SocketAddr,
    _origin: Origin,
}

impl Secure {
    pub(crate) async fn with(mode: &str, pems: &[&str]) -> Self {
        let origin = Origin::http("m1").await;
        let at = free();
        let mut secure = Self { bench: Bench::of(json!([])).await, at, _origin: origin };
        secure.bench.slice["balancers"] = json!([rule(at, mode, &[secure._origin.at])]);
        secure.use_certificates(pems).await.unwrap();
        secure
    }

    async fn use_certificates(&mut self, pems: &[&str]) -> Result<(), String> {
        let digests: Vec<String> =
            pems.iter().map(|pem| BlobDigest::of(pem.as_bytes()).to_string()).collect();
        let secrets = pems.iter().map(|pem| json!(SecretBytes::new(*pem)));
        let blobs: serde_json::Map<String, Value> = digests.iter().cloned().zip(secrets).collect();
        self.bench.slice["certificates"] = json!(blobs);
        self.bench.rule()["tls"]["certificates"] = json!(digests);
        self.bench.apply().await
    }

    pub(crate) async fn curl(&self, name: &str, options: &[&str]) -> Output {
        let url = format!("https://{name}:{}/", self.at.port());
        let resolve = format!("{name}:{}:{}", self.at.port(), self.at.ip());
        tokio::process::Command::from(sluice_programs::command("curl").unwrap())
            .args(["-sk", "-m", "10", "--resolve", &resolve, &url])
            .args(["-w", "\nstatus %{http_code} http %{http_version}\n"])
            .args(options)
            .output()
            .await
            .unwrap()
    }

    /// The names of the certificate that a client gets who asks for `name`.
    async fn names(&self, name: &str) -> String {
        let script = format!(
            "openssl s_client -connect {} -servername {name} </dev/null 2>/dev/null | openssl x509 -noout -ext subjectAltName",
            self.at
        );
        let output = tokio::process::Command::from(sluice_programs::command("sh").unwrap())
            .args(["-c", &script])
            .output()
            .await
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    }
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn curl_speaks_http2_and_http1_through_it() {
    let secure = Secure::with("http", &[&certificate(&["a.example"], EC)]).await;
    let two = text(&secure.curl("a.example", &["--http2", "-b", "x=1; y=2"]).await);
    assert!(two.contains("status 200 http 2"), "{two}");
    for seen in ["GET /", "host: a.example", "x-forwarded-proto: https", "cookie: x=1; y=2"] {
        assert!(two.contains(seen), "{seen} in {two}");
    }
    let one = text(&secure.curl("a.example", &["--http1.1", "--tls-max", "1.2"]).await);
    assert!(one.contains("status 200 http 1.1"), "{one}");
    let posted =
        text(&secure.curl("a.example", &["--http2", "-d", "some=form", "-X", "PUT"]).await);
    assert!(posted.contains("PUT /") && posted.contains("some=form"), "{posted}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_name_chooses_the_certificate() {
    let first = certificate(&["a.example"], EC);
    let wild = certificate(&["*.b.example", "b.example"], "rsa:2048");
    let secure = Secure::with("tcp", &[&first, &wild]).await;
    assert!(secure.names("a.example").await.contains("DNS:a.example"));
    assert!(secure.names("www.b.example").await.contains("DNS:*.b.example"));
    assert!(secure.names("elsewhere.example").await.contains("DNS:a.example"));
    // a TCP rule ends TLS too
    let answer = text(&secure.curl("b.example", &["--http1.1"]).await);
    assert!(answer.contains("status 200 http 1.1") && !answer.contains("x-forwarded"), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_changes_and_open_connections_stay() {
    let mut secure = Secure::with("http", &[&certificate(&["old.example"], EC)]).await;
    let script = format!(
        "(printf 'GET /one HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n'; read go; printf 'GET /two HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n'; sleep 1) | openssl s_client -quiet -connect {}",
        secure.at
    );
    let mut open = tokio::process::Command::from(sluice_programs::command("sh").unwrap())
        .args(["-c", &script])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    until(|| secure.bench.report().rules[0].counts.requests == 1, "one request").await;
    secure.use_certificates(&[&certificate(&["new.example"], EC)]).await.unwrap();
    assert!(secure.names("x").await.contains("DNS:new.example"));
    let mut stdin = open.stdin.take().unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut stdin, b"go\n").await.unwrap();
    let output = open.wait_with_output().await.unwrap();
    let heard = String::from_utf8_lossy(&output.stdout);
    assert!(heard.contains("GET /one") && heard.contains("GET /two"), "{heard}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_certificate_is_refused_and_the_old_one_stays() {
    let good = certificate(&["good.example"], EC);
    let other = certificate(&["other.example"], EC);
    let mut secure = Secure::with("http", &[&good]).await;
    let split = |pem: &str| {
        let at = pem.find("-----BEGIN PRIVATE KEY").unwrap();
        (pem[..at].to_owned(), pem[at..].to_owned())
    };
    let mixed = split(&good).0 + &split(&other).1;
    let (chain, key) = split(&good);
    for (wrong, reason) in [
        ("nonsense", "no certificate"),
        (&chain, "no private key"),
        (&key, "no certificate"),
        (&mixed, ""),
    ] {
        let refused = secure.use_certificates(&[wrong]).await.unwrap_err();
        assert!(
            refused.contains("rule rule: certificate ") && refused.contains(reason),
            "{refused}"
        );
        assert!(!refused.contains("BEGIN"), "no secret in an error: {refused}");
    }
    assert!(secure.names("x").await.contains("DNS:good.example"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_oldest_version_is_as_configured() {
    let mut secure = Secure::with("http", &[&certificate(&["a.example"], EC)]).await;
    let old = ["--tls-max", "1.2"];
    assert!(secure.curl("a.example", &old).await.status.success());
    secure.bench.rule()["tls"]["minimum"] = json!("1.3");
    secure.bench.apply().await.unwrap();
    assert!(!secure.curl("a.example", &old).await.status.success());
    assert!(secure.curl("a.example", &[]).await.status.success());
    assert!(secure.bench.report().rules[0].counts.request_errors >= 1);
}

#[tokio::test]
async fn checks_over_https_take_any_certificate_and_nothing_but_tls() {
    let secure = Secure::with("http", &[&certificate(&["member.example.net"], EC)]).await;
    let plain = Origin::http("plain").await;
    let mut checked = rule(free(), "tcp", &[secure.at, plain.at]);
    checked["health"]["check"] = json!({ "https": { "host": "www.example.net" } });
    let bench = Bench::with(checked).await;
    let members = || bench.report().rules[0].members.clone();
    let seen = || members().iter().all(|member| member.health.checks >= 2);
    until(seen, "two checks of each").await;
    let [well, ill] = [0, 1].map(|number| members()[number].clone());
    assert!(well.up && well.health.trouble.is_none(), "{well:?}");
    let trouble = ill.health.trouble.unwrap_or_default();
    assert!(!ill.up && trouble.starts_with("TLS: "), "{trouble}");
}
