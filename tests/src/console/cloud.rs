//! A cloud with one console proxy, one VM host and one VM, as a manager would configure it.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use reqwest::Method;
use serde_json::{Value, json};
use sluice_api::boot::{BootDocument, Role};
use sluice_api::config::ProxyDocument;
use sluice_api::types::{ApplianceId, BlobDigest, TokenHash};
use sluice_manager::push::PushError;
use sluice_manager::{ClientIdentity, PushClient, ca};

use super::certificates::{Authority, Signed};
use super::qemu::Server;
use super::{BOUND, token};

/// The console proxy's id.
pub const PROXY: &str = "v-1";
/// Its address towards browsers.
pub const ADDRESS: &str = "198.51.100.30";
/// The MAC address of its public NIC.
pub const PUBLIC_MAC: &str = "02:00:c6:33:64:0a";
/// The VNC password.
pub const PASSWORD: &str = "hush-pw";

/// The secrets of that cloud.
#[derive(Debug)]
pub struct Cloud {
    /// Signed both certificates.
    pub authority: Authority,
    /// The console's certificate, for `localhost`.
    pub console: Signed,
    /// The VM host's certificate.
    pub host: Signed,
}

fn digest(text: &str) -> BlobDigest {
    BlobDigest::of(text.as_bytes())
}

impl Cloud {
    /// One with certificates of its own.
    pub fn new() -> Self {
        let authority = Authority::new();
        let console = authority.server("localhost");
        let host = authority.server("host-7.cloud.internal");
        Self { authority, console, host }
    }

    /// The VM host's VNC server: TLS with a certificate, and a password inside.
    pub fn vnc(&self) -> Server<'_> {
        Server::Tls(&self.host, Some(PASSWORD))
    }

    /// The proxy's configuration with grants of these ids for the one VM, whose screen is at `host` and `port`. A grant
    /// whose name begins with `view` is for looking alone, one with `first` for the browser that comes first.
    pub fn config(
        &self,
        generation: u64,
        host: IpAddr,
        port: u16,
        grants: &[&str],
    ) -> ProxyDocument {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let grant = |id: &&str| {
            let source = if id.starts_with("first") { "first-browser" } else { "any" };
            json!({ "id": id, "token": TokenHash::of(&token(id)), "vm": "vm-7", "user": "alice",
                "expires": now + 3600, "source": source, "view_only": id.starts_with("view") })
        };
        let grants: Vec<Value> = grants.iter().map(grant).collect();
        let boot = crate::faults::boot();
        let nic = |mac: &str| json!({ "nic": { "mac": mac } });
        let text = json!({
            "version": 2, "generation": generation, "appliance": PROXY, "control": { "link": "ctl" },
            "links": [
                { "name": "ctl", "role": "control", "attach": nic(&boot.control.mac.to_string()),
                  "addresses": [boot.control.address] },
                { "name": "pub0", "role": "public", "attach": nic(PUBLIC_MAC),
                  "addresses": [format!("{ADDRESS}/24")] },
            ],
            "role": { "proxy": {
                "listen": [ADDRESS], "hosts": [ADDRESS],
                "certificates": [
                    { "chain": digest(&self.console.chain), "key": digest(&self.console.key) }],
                "screens": [{ "vm": "vm-7", "name": "web server", "address": host, "port": port,
                    "tls": { "authorities": digest(&self.authority.pem), "name": "host-7.cloud.internal" },
                    "password": digest(&secret(PASSWORD)) }],
                "grants": grants,
                "settings": { "ping_seconds": 2 },
            } },
        });
        ProxyDocument::decode(text.to_string().as_bytes()).unwrap().0
    }

    /// Gives the appliance the blobs of its configurations.
    pub async fn send_blobs(&self, client: &PushClient) -> Result<(), PushError> {
        let Signed { chain, key, .. } = &self.console;
        for text in [chain, key, &self.authority.pem, &secret(PASSWORD)] {
            let (path, body) = (format!("/v1/blobs/{}", digest(text)), text.clone().into_bytes());
            let (status, answer) = client.raw(Method::PUT, &path, body, BOUND).await?;
            assert!(status < 300, "{status} {}", String::from_utf8_lossy(&answer));
        }
        Ok(())
    }
}

/// A blob as secrets are made: a random line, then the secret.
fn secret(text: &str) -> String {
    format!("0123456789abcdef\n{text}")
}

/// Makes the proxy's boot document in `folder`: where it is, and what the manager's clients prove themselves by.
pub fn enrol(folder: &Path) -> (PathBuf, ClientIdentity) {
    let id: ApplianceId = PROXY.parse().unwrap();
    let path = folder.join("manager.db");
    let authority = ca::Authority::open(&path, Duration::from_hours(24)).unwrap();
    let identity = authority.appliance(&id).unwrap().identity;
    let usual = crate::faults::boot();
    let boot = BootDocument { appliance: id, role: Role::Proxy, identity, ..usual };
    let document = folder.join("boot.json");
    std::fs::write(&document, serde_json::to_vec(&boot).unwrap()).unwrap();
    (document, ClientIdentity::new(&authority.client().unwrap().identity).unwrap())
}

/// A client for the proxy's API at `address`.
pub fn client(identity: &ClientIdentity, address: SocketAddr) -> PushClient {
    PushClient::new(&PROXY.parse().unwrap(), address, identity).unwrap()
}
