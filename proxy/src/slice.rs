//! What the console service is told: where to listen, whom to show what, and how to get at it.
//!
//! Guarantees: a decoded slice is sound in each of its values; unknown fields are refused; secrets print as hidden. A
//! grant's token is not in it, only its hash.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};
pub use sluice_api::config::{
    ConsoleLimits as Limits, ConsoleSettings as Settings, ConsoleSource as Source, ScreenState,
};
use sluice_api::types::{Cidr, ObjectId, Port, Secret};

use crate::rfb::Unencrypted;
use crate::values::{Fingerprint, HostPattern, Origin, PathPrefix, ServerName, TokenHash};

/// Everything the console service is to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConsoleSlice {
    /// Addresses that browsers connect to.
    pub listen: Vec<SocketAddr>,
    /// Addresses where plain HTTP is answered with the way to HTTPS. Default: none.
    #[serde(default)]
    pub redirect: Vec<SocketAddr>,
    /// Certificates; the browser's server name chooses, the first serves all others. Default: none, plain HTTP, for a desk
    /// or behind a reverse proxy that ends TLS.
    #[serde(default)]
    pub certificates: Vec<Certificate>,
    /// Host names, as browsers write them, under which the console answers.
    pub hosts: Vec<HostPattern>,
    /// Origins, besides the page's own, from which a session may be opened. Default: none.
    #[serde(default)]
    pub origins: Vec<Origin>,
    /// Origins whose pages may show the console in a frame. Default: none.
    #[serde(default)]
    pub frame_ancestors: Vec<Origin>,
    /// Path under which everything is. Default: `/`.
    #[serde(default)]
    pub prefix: PathPrefix,
    /// Reverse proxies whose `X-Forwarded-For` is believed. Default: none.
    #[serde(default)]
    pub trusted_proxies: Vec<Cidr>,
    /// Key of the cookies by which a browser is known again, base64 of 32 bytes or more. With the same key a browser is
    /// known by other proxies too, and after a restart. Default: made at start.
    #[serde(default)]
    pub cookie_key: Option<Secret>,
    /// Where browsers find the other proxies that have the same grants and cookie key. Default: none.
    #[serde(default)]
    pub peers: Vec<Origin>,
    /// Who may see what. Default: nobody anything.
    #[serde(default)]
    pub grants: Vec<Grant>,
    /// Bounds and times. Default: see each.
    #[serde(default)]
    pub settings: Settings,
}

/// A certificate towards browsers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// The chain, PEM, the server's own first.
    pub chain: String,
    /// Its private key, PEM.
    pub key: Secret,
}

/// Leave to use one VM's console through one link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// Name of the grant in logs, reports and cookies.
    pub id: ObjectId,
    /// Hash of the token in the link.
    pub token: TokenHash,
    /// The VM.
    pub vm: Vm,
    /// Whether the VM has a screen now. Default: it has.
    #[serde(default)]
    pub state: ScreenState,
    /// Where its link leads to another proxy: here come those browsers alone that were taken there. Default: it leads here.
    #[serde(default)]
    pub home: Option<Origin>,
    /// Its first browser was taken at another proxy: no other is taken. Default false.
    #[serde(default)]
    pub taken: bool,
    /// For whom it was made, as the cloud names them; for the log. Default: not said.
    #[serde(default)]
    pub user: Option<String>,
    /// Where the VM's screen is.
    pub backend: Backend,
    /// Nothing can be typed, clicked or pasted. Default false.
    #[serde(default)]
    pub view_only: bool,
    /// End of the grant and of its sessions, in seconds since 1970.
    pub expires: u64,
    /// From where it may be used. Default: the first browser that opens it, wherever that is.
    #[serde(default)]
    pub source: Source,
    /// Seconds without key, pointer or clipboard after which a session ends. Default: never.
    #[serde(default)]
    pub idle_seconds: Option<u32>,
    /// Bounds of its sessions. Default: see each.
    #[serde(default)]
    pub limits: Limits,
}

/// The VM of a grant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vm {
    /// Its id.
    pub id: ObjectId,
    /// Its name, shown on the page.
    pub name: String,
}

/// A VM's VNC server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Backend {
    /// Address of the host that runs the VM now.
    pub address: IpAddr,
    /// Port there.
    pub port: Port,
    /// How its certificate is proved. Default: TLS is not used.
    #[serde(default)]
    pub tls: Option<BackendTls>,
    /// What may be done without TLS. Default: nothing.
    #[serde(default)]
    pub unencrypted: Unencrypted,
    /// User name of X509Plain. Default: none.
    #[serde(default)]
    pub user: Option<String>,
    /// Password of X509Plain, X509Vnc and VNC authentication. Default: none.
    #[serde(default)]
    pub password: Option<Secret>,
    /// What the server must call its screen, such as `QEMU (i-2-7-VM)`: proof that the port is still this VM's. Default: not
    /// asked.
    #[serde(default)]
    pub desktop_name: Option<String>,
}

/// How a VNC server's certificate is proved. Of the two ways at least one must be given; if both are, both must hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackendTls {
    /// Certificates of the authorities that may have signed it, PEM. Default: none.
    #[serde(default)]
    pub authorities: Option<String>,
    /// SHA-256 of the very certificate, DER. Default: none.
    #[serde(default)]
    pub pin: Option<Fingerprint>,
    /// Name or address that the certificate must be for, where the authorities are what proves it.
    pub name: ServerName,
}

impl ConsoleSlice {
    /// What is wrong between its values; `None` when it is sound.
    pub fn complaint(&self) -> Option<String> {
        if self.hosts.is_empty() && !self.listen.is_empty() {
            return Some(
                "hosts: at least one name is needed, or nobody could open the page".into(),
            );
        }
        if !self.redirect.is_empty() && self.certificates.is_empty() {
            return Some("redirect: there is no certificate for HTTPS to redirect to".into());
        }
        let mut ids = std::collections::BTreeSet::new();
        let mut tokens = std::collections::BTreeSet::new();
        self.grants.iter().find_map(|grant| {
            let wrong = match &grant.backend.tls {
                Some(tls) if tls.authorities.is_none() && tls.pin.is_none() => {
                    "backend.tls: neither authorities nor a pin"
                }
                _ if !ids.insert(&grant.id) => "id: another grant has it",
                _ if !tokens.insert(&grant.token) => "token: another grant has it",
                _ => return None,
            };
            Some(format!("grant {}: {wrong}", grant.id))
        })
    }
}
