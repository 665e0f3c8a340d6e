//! What only a console proxy has: where browsers find it, the screens it can reach, and who may see which.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::num::{NonZeroU16, NonZeroU32};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::types::{
    BlobDigest, Cidr, Fingerprint, HostPattern, ObjectId, Origin, PathPrefix, Port, ServerName,
    TokenHash,
};

const MESSAGES_PER_SECOND: NonZeroU32 = NonZeroU32::new(500).unwrap();
const PING_SECONDS: NonZeroU16 = NonZeroU16::new(15).unwrap();
const CONNECT_SECONDS: NonZeroU16 = NonZeroU16::new(5).unwrap();
const HANDSHAKE_SECONDS: NonZeroU16 = NonZeroU16::new(10).unwrap();

/// The part of a console proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ProxyConfig {
    /// Addresses of its links on which browsers are served: HTTPS on port 443, and on port 80 the way there. Default: none,
    /// nobody is served.
    #[schema(value_type = Vec<String>, example = json!(["198.51.100.30"]))]
    pub listen: Vec<IpAddr>,
    /// Certificates; the browser's server name chooses, the first serves all others. Default: none, plain HTTP on port 80,
    /// to which `trusted_proxies` alone come.
    pub certificates: Vec<ConsoleCertificate>,
    /// Host names, as browsers write them, under which the console answers. Default: none.
    pub hosts: Vec<HostPattern>,
    /// Origins, besides the page's own, from which a session may be opened. Default: none.
    pub origins: Vec<Origin>,
    /// Origins whose pages may show the console in a frame. Default: none.
    pub frame_ancestors: Vec<Origin>,
    /// Path under which everything is. Default: `/`.
    pub prefix: PathPrefix,
    /// Reverse proxies whose `X-Forwarded-For` is believed. Default: none.
    pub trusted_proxies: Vec<Cidr>,
    /// Key of the cookies by which browsers are known again: a blob of the base64 of 32 bytes or more, the same for all
    /// proxies that share grants. Default: made when the service starts.
    pub cookie_key: Option<BlobDigest>,
    /// Where browsers find the other proxies that have the same screens, grants and cookie key: a page goes on there when
    /// this one is gone, full or draining. Default: none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub peers: Vec<Origin>,
    /// The screens of VMs, each once. Default: none.
    pub screens: Vec<Screen>,
    /// Who may see which. Default: nobody any.
    pub grants: Vec<ConsoleGrant>,
    /// Bounds and times. Default: see each.
    pub settings: ConsoleSettings,
}

impl ProxyConfig {
    /// The blobs that it names.
    pub fn blobs(&self) -> BTreeSet<BlobDigest> {
        let certificates = self.certificates.iter().flat_map(|it| [it.chain, it.key]);
        let authorities = |screen: &Screen| screen.tls.as_ref().and_then(|tls| tls.authorities);
        let screens = self.screens.iter();
        let screens = screens.flat_map(|it| it.password.into_iter().chain(authorities(it)));
        certificates.chain(screens).chain(self.cookie_key).collect()
    }
}

/// A certificate towards browsers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConsoleCertificate {
    /// The chain: a blob of PEM, the server's own first.
    pub chain: BlobDigest,
    /// Its private key: a blob of PEM.
    pub key: BlobDigest,
}

/// A VM's VNC server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Screen {
    /// The VM's id.
    pub vm: ObjectId,
    /// The VM's name, shown on the page.
    pub name: String,
    /// Address of the host that runs the VM now.
    #[schema(value_type = String, example = "10.0.0.17")]
    pub address: IpAddr,
    /// Port of its VNC server.
    pub port: Port,
    /// How its certificate is proved. Default: TLS is not used.
    #[serde(default)]
    pub tls: Option<ScreenTls>,
    /// What may be done without TLS. Default: nothing.
    #[serde(default)]
    pub unencrypted: Unencrypted,
    /// User name of X509Plain. Default: none.
    #[serde(default)]
    pub user: Option<String>,
    /// Password of X509Plain, X509Vnc and VNC authentication: a blob of a random line and then the password. Default: none.
    #[serde(default)]
    pub password: Option<BlobDigest>,
    /// What the server must call its screen, such as `QEMU (i-2-7-VM)`: proof that the port is still this VM's. Default: not
    /// asked.
    #[serde(default)]
    pub desktop_name: Option<String>,
    /// Whether the VM has a screen now; if not, nobody is connected, and the page says why and tries again. Default: it has.
    #[serde(default, skip_serializing_if = "ScreenState::is_there")]
    pub state: ScreenState,
}

/// Whether a VM has a screen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ScreenState {
    /// It has.
    #[default]
    There,
    /// Not now: the VM starts.
    Starting,
    /// Not now: it moves to another host.
    Migrating,
    /// Not now: it is switched off.
    Stopped,
}

impl ScreenState {
    /// Whether the VM has a screen.
    #[allow(clippy::trivially_copy_pass_by_ref)] // the form that serde asks for
    pub fn is_there(&self) -> bool {
        *self == Self::There
    }
}

/// How a VNC server's certificate is proved. Of the two ways at least one must be given; if both are, both must hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ScreenTls {
    /// Certificates of the authorities that may have signed it: a blob of PEM. Default: none.
    #[serde(default)]
    pub authorities: Option<BlobDigest>,
    /// SHA-256 of the very certificate, DER. Default: none.
    #[serde(default)]
    pub pin: Option<Fingerprint>,
    /// Name or address that the certificate must be for, where the authorities are what proves it.
    pub name: ServerName,
}

/// What a connection without TLS may be used for.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Unencrypted {
    /// Nothing.
    #[default]
    Refuse,
    /// VNC authentication with a password.
    Password,
    /// Also for no authentication at all.
    Anything,
}

/// Leave to use one VM's console through one link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConsoleGrant {
    /// Name of the grant in logs, reports and cookies.
    pub id: ObjectId,
    /// SHA-256 of the token in the link; the token itself is nowhere but in the link.
    pub token: TokenHash,
    /// Id of the VM, which must have a screen.
    pub vm: ObjectId,
    /// Where its link leads to another proxy: there a first browser is taken, here come those alone that were taken there.
    /// Default: its link leads here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub home: Option<Origin>,
    /// Its first browser was taken at another proxy, which is no longer its home: no other is taken. Default false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub taken: bool,
    /// For whom it was made, as the cloud names them; for the log. Default: not said.
    #[serde(default)]
    pub user: Option<String>,
    /// Nothing can be typed, clicked or pasted. Default false.
    #[serde(default)]
    pub view_only: bool,
    /// End of the grant and of its sessions, in seconds since 1970.
    pub expires: u64,
    /// From where it may be used. Default: by the browser that opens it first, wherever that is.
    #[serde(default)]
    pub source: ConsoleSource,
    /// Seconds without key, pointer or clipboard after which a session ends. Default: never.
    #[serde(default)]
    pub idle_seconds: Option<u32>,
    /// Bounds of its sessions. Default: see each.
    #[serde(default)]
    pub limits: ConsoleLimits,
}

/// From where a grant may be used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ConsoleSource {
    /// From anywhere, by as many browsers as there may be sessions.
    Any,
    /// By the browser that opens it first, from anywhere, again and again.
    #[default]
    FirstBrowser,
    /// From these networks.
    Networks(Vec<Cidr>),
}

/// Bounds of the sessions of one grant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ConsoleLimits {
    /// Sessions at the same time; 0 lets nobody in. Default 4.
    pub sessions: u16,
    /// Bytes of screen per second and session. Default: no bound.
    #[schema(value_type = Option<u32>, minimum = 1)]
    pub screen_bytes_per_second: Option<NonZeroU32>,
    /// Messages taken from the browser per second and session; more wait. Default 500.
    #[schema(value_type = u32, minimum = 1)]
    pub messages_per_second: NonZeroU32,
    /// Longest clipboard text in bytes, as sent. Default 1 MiB.
    pub clipboard_bytes: u32,
}

impl Default for ConsoleLimits {
    fn default() -> Self {
        Self {
            sessions: 4,
            screen_bytes_per_second: None,
            messages_per_second: MESSAGES_PER_SECOND,
            clipboard_bytes: 1 << 20,
        }
    }
}

/// Bounds and times of a console proxy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ConsoleSettings {
    /// Sessions at the same time; 0 lets nobody in. Default 500.
    pub sessions: u32,
    /// Seconds between pings to a browser; one that answers none of two is gone. Default 15.
    #[schema(value_type = u16, minimum = 1)]
    pub ping_seconds: NonZeroU16,
    /// Seconds to reach a VNC server. Default 5.
    #[schema(value_type = u16, minimum = 1)]
    pub connect_seconds: NonZeroU16,
    /// Seconds for its handshake, and for the browser's. Default 10.
    #[schema(value_type = u16, minimum = 1)]
    pub handshake_seconds: NonZeroU16,
    /// Takes no new sessions; those that run go on. Default false.
    pub draining: bool,
    /// Asks the manager, before each connection to a VM's screen, whether that is still the VM's: without an answer nobody is
    /// connected. Default false.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub ask_manager: bool,
}

impl Default for ConsoleSettings {
    fn default() -> Self {
        Self {
            sessions: 500,
            ping_seconds: PING_SECONDS,
            connect_seconds: CONNECT_SECONDS,
            handshake_seconds: HANDSHAKE_SECONDS,
            draining: false,
            ask_manager: false,
        }
    }
}
