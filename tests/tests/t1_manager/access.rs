//! Who may call the manager, and what is noted of it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Output};

use nix::unistd::{Uid, User};
use rcgen::{CertificateParams, KeyPair, SanType};
use reqwest::Method;
use serde_json::{Value, json};
use sluice_tests::bin;
use sluice_tests::manager::Manager;

use super::process::{Cloud, first_network};

/// A manager that was started without a word about where to serve.
struct Plain {
    child: Child,
    folder: tempfile::TempDir,
}

impl Plain {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // others may look into the folder: whoever calls is judged by the manager
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let child = Command::new(bin("sluice-manager"))
            .arg("--store")
            .arg(folder.path().join("sluice.db"))
            .spawn()
            .unwrap();
        Self { child, folder }
    }

    fn sluice(&self, words: &[&str], user: Option<u32>) -> Output {
        let mut command = Command::new(bin("sluice"));
        command.args(words).current_dir(self.folder.path());
        if let Some(user) = user {
            command.uid(user);
        }
        command.output().unwrap()
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        let _gone_already = self.child.kill();
        let _status = self.child.wait();
    }
}

#[test]
fn the_socket_is_for_root_and_the_managers_own_user() {
    let manager = Plain::start();
    // at once: a manager that is being started is waited for
    let told = manager.sluice(&["zone", "create", "zone1", "--resolvers", "192.0.2.1"], None);
    assert!(told.status.success(), "{told:?}");
    let socket = manager.folder.path().join("sluice.sock");
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    let audit = manager.sluice(&["--json", "audit"], None);
    let lines: Value = serde_json::from_slice(&audit.stdout).unwrap();
    let own = format!("user {}", Uid::effective());
    assert_eq!((&lines[0]["actor"], &lines[0]["origin"]), (&json!(own), &json!("socket")));
    assert_eq!(lines[0]["what"], "zone zone1 created");
    if Uid::effective().is_root() {
        // whatever the file's mode says, the kernel says who calls
        fs::set_permissions(&socket, fs::Permissions::from_mode(0o666)).unwrap();
        let nobody = User::from_name("nobody").unwrap().unwrap().uid.as_raw();
        let told = manager.sluice(&["--json", "zone", "list"], Some(nobody));
        assert_eq!(told.status.code(), Some(11), "{told:?}");
        let problem: Value = serde_json::from_slice(&told.stderr).unwrap();
        assert_eq!(problem["code"], "forbidden", "errors are JSON too: {problem}");
    }
}

#[test]
fn a_socket_that_is_served_is_not_taken_away() {
    let manager = Plain::start();
    assert!(manager.sluice(&["zone", "list"], None).status.success());
    let folder = manager.folder.path();
    let second = start(folder, &["--socket", "sluice.sock"]);
    assert!(second.contains("a manager is running there"), "{second}");
    assert!(manager.sluice(&["zone", "list"], None).status.success());
}

/// Runs a manager that must end by itself; what it said.
fn start(folder: &Path, words: &[&str]) -> String {
    let output = Command::new(bin("sluice-manager"))
        .current_dir(folder)
        .env("NO_COLOR", "1")
        .args(["--store", "other.db"])
        .args(words)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn an_address_without_token_or_tls_is_not_served() {
    let folder = tempfile::tempdir().unwrap();
    let told = start(folder.path(), &["--listen", "127.0.0.1:0"]);
    assert!(told.contains("need a token and there is none"), "{told}");
    fs::write(folder.path().join("token"), "short").unwrap();
    let told = start(folder.path(), &["--listen", "127.0.0.1:0", "--token-file", "token"]);
    assert!(told.contains("at least 20 characters"), "{told}");
    fs::write(folder.path().join("token"), "long-enough-for-a-token\n").unwrap();
    let told = start(folder.path(), &["--listen", "0.0.0.0:0", "--token-file", "token"]);
    assert!(told.contains("not a loopback address: give --tls-certificate"), "{told}");
}

/// Status of a call with a token.
async fn status(cloud: &Cloud, token: &str, method: Method, path: &str, body: &Value) -> u16 {
    let url = format!("http://{}{path}", cloud.manager.address);
    let call = cloud.http().request(method, url).bearer_auth(token).json(body);
    call.send().await.unwrap().status().as_u16()
}

fn token(cloud: &Cloud, name: &str, role: &str) -> String {
    let told = cloud.sluice(["token", "create", name, "--role", role, "-o", "-"]);
    assert_eq!(told.code, 0, "{told:?}");
    told.out.trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_may_do_what_its_role_says() {
    let cloud = Cloud::start().await;
    assert_eq!(cloud.sluice(["apply", &first_network(), "--yes"]).code, 0);
    let zone = json!({ "name": "zone9", "resolvers": ["192.0.2.1"] });
    let (reader, operator) = (token(&cloud, "eye", "reader"), token(&cloud, "ci", "operator"));
    let boot = "/v1/appliances/r-1/boot-document";
    for (token, method, path, body, expected) in [
        (&reader, Method::GET, "/v1/networks", &Value::Null, 200),
        (&reader, Method::POST, "/v1/zones", &zone, 403),
        (&reader, Method::POST, boot, &Value::Null, 403),
        (&operator, Method::POST, boot, &Value::Null, 403),
        (&operator, Method::GET, "/v1/backup", &Value::Null, 403),
        (&operator, Method::GET, "/v1/tokens", &Value::Null, 403),
        (&operator, Method::POST, "/v1/zones", &zone, 201),
        (&"sluice_wrong".to_owned(), Method::GET, "/v1/zones", &Value::Null, 401),
    ] {
        let got = status(&cloud, token, method.clone(), path, body).await;
        assert_eq!(got, expected, "{method} {path}");
    }
    let url = |path: &str| format!("http://{}{path}", cloud.manager.address);
    assert_eq!(cloud.http().get(url("/v1/zones")).send().await.unwrap().status(), 401);
    assert_eq!(cloud.http().get(url("/v1/health")).send().await.unwrap().status(), 200);
    let lines = cloud.get("/v1/audit").await;
    assert_eq!(
        (&lines[0]["actor"], &lines[0]["what"]),
        (&json!("ci"), &json!("zone zone9 created"))
    );
    assert!(lines[0]["origin"].as_str().unwrap().starts_with("127.0.0.1:"), "{lines}");
    assert_eq!(cloud.sluice(["token", "delete", "ci"]).code, 0);
    let got = status(&cloud, &operator, Method::GET, "/v1/zones", &Value::Null).await;
    assert_eq!(got, 401, "the token has ended");
    cloud.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn history_says_who_wanted_a_configuration() {
    let cloud = Cloud::start().await;
    assert_eq!(cloud.sluice(["apply", &first_network(), "--yes"]).code, 0);
    let operator = token(&cloud, "ci", "operator");
    let change = json!({ "egress": "deny" });
    let got = status(&cloud, &operator, Method::PATCH, "/v1/networks/net1", &change).await;
    assert_eq!(got, 200);
    let history = cloud.get("/v1/appliances/r-1/generations").await;
    let who: Vec<_> = history.as_array().unwrap().iter().map(|one| one["actor"].clone()).collect();
    assert_eq!(who, ["ci", "administrator"]);
    cloud.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_certificate_it_is_served_over_tls() {
    let folder = tempfile::tempdir().unwrap();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![SanType::IpAddress("127.0.0.1".parse().unwrap())];
    let certificate = params.self_signed(&key).unwrap().pem();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (chain, secret) = (file("chain.pem", &certificate), file("key.pem", &key.serialize_pem()));
    let words = ["--tls-certificate", chain.as_str(), "--tls-key", secret.as_str()];
    let address = "127.0.0.1:0".parse().unwrap();
    let manager = Manager::start(folder.path(), address, &words).await.unwrap();
    let url = format!("https://{}", manager.address);
    let told = manager.sluice(["--manager", &url, "--trust", &chain, "zone", "list"]).unwrap();
    assert_eq!((told.code, told.out.as_str()), (0, "none\n"), "{told:?}");
    let told = manager.sluice(["--manager", &url, "zone", "list"]).unwrap();
    assert_eq!(told.code, 7, "nobody vouches for it: {told:?}");
    manager.kill();
}
