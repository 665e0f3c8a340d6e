//! Messages of VICI, as far as they are needed (strongSwan's vici README; keys as in swanctl.conf(5)).

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};
use sluice_api::config::vpn::IkeVersion;

use super::names;
use crate::vpn::ike::{
    Child, ChildName, ChildState, Connection, ConnectionName, Mode, SaState, Selector, SharedKey,
};

/// `load-conn`.
#[derive(Serialize)]
pub(super) struct LoadConn<'a>(BTreeMap<&'a str, Conn>);

#[derive(Serialize)]
struct Conn {
    version: &'static str,
    local_addrs: Vec<String>,
    remote_addrs: Vec<String>,
    proposals: Vec<String>,
    rekey_time: String,
    /// IKEv1 knows no new keys of a first phase without proving oneself again.
    reauth_time: String,
    over_time: String,
    dpd_delay: String,
    dpd_timeout: String,
    encap: bool,
    mobike: bool,
    keyingtries: &'static str,
    unique: &'static str,
    local: Auth,
    remote: Auth,
    children: BTreeMap<String, ChildConf>,
}

#[derive(Serialize)]
struct Auth {
    auth: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
}

#[derive(Serialize)]
struct ChildConf {
    mode: &'static str,
    local_ts: Vec<String>,
    remote_ts: Vec<String>,
    esp_proposals: Vec<String>,
    rekey_time: String,
    life_time: String,
    start_action: &'static str,
    close_action: &'static str,
    dpd_action: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    mark_in: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mark_out: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    set_mark_in: Option<&'static str>,
}

impl<'a> LoadConn<'a> {
    pub(super) fn new(connection: &'a Connection) -> Self {
        Self(BTreeMap::from([(connection.name.as_str(), Conn::new(connection))]))
    }
}

/// The last tenth of a lifetime is left for making new keys.
fn soft(lifetime: u32) -> u32 {
    lifetime - lifetime / 10
}

impl Conn {
    fn new(connection: &Connection) -> Self {
        let ike = &connection.ike;
        let version = match ike.version {
            IkeVersion::V1 => "1",
            IkeVersion::V2 => "2",
            IkeVersion::Any => "0",
        };
        let of_clients = connection.children.iter().any(|child| child.mode == Mode::Transport);
        let dpd = connection.dpd.map_or((0, 0), |dpd| (dpd.delay, dpd.timeout));
        let any = || "%any".to_owned();
        Self {
            version,
            local_addrs: vec![connection.local.to_string()],
            remote_addrs: vec![connection.peer.address.map_or_else(any, |a| a.to_string())],
            proposals: ike.proposals.iter().map(names::ike).collect(),
            rekey_time: soft(ike.lifetime).to_string(),
            reauth_time: "0".to_owned(),
            over_time: (ike.lifetime / 10).to_string(),
            dpd_delay: dpd.0.to_string(),
            dpd_timeout: dpd.1.to_string(),
            encap: connection.force_encapsulation,
            mobike: false,
            // trying again is decided outside, where it can be seen
            keyingtries: "1",
            // clients name themselves by their inside addresses, which several may share
            unique: if of_clients { "never" } else { "replace" },
            local: Auth { auth: "psk", id: Some(connection.local_id.to_string()) },
            remote: Auth {
                auth: "psk",
                id: Some(connection.peer.id.as_ref().map_or_else(any, ToString::to_string)),
            },
            children: connection
                .children
                .iter()
                .map(|child| (child.name.to_string(), ChildConf::new(child)))
                .collect(),
        }
    }
}

impl ChildConf {
    fn new(child: &Child) -> Self {
        let transport = child.mode == Mode::Transport;
        // a mark for each client's association: put on what comes in by it, asked of what is to go out by it
        let unique = transport.then_some("%unique");
        Self {
            mode: if transport { "transport" } else { "tunnel" },
            local_ts: vec![selector(child.local)],
            remote_ts: vec![selector(child.remote)],
            esp_proposals: child.esp.proposals.iter().map(names::esp).collect(),
            rekey_time: soft(child.esp.lifetime).to_string(),
            life_time: child.esp.lifetime.to_string(),
            // whoever drives the engine begins tunnels, and begins them again
            start_action: "none",
            close_action: "none",
            dpd_action: "clear",
            mark_in: unique,
            mark_out: unique,
            set_mark_in: transport.then_some("%same"),
        }
    }
}

fn selector(selector: Selector) -> String {
    match selector {
        Selector::Network(network) => network.to_string(),
        // numbers, since the image has no list of protocols and services
        Selector::Udp(Some(port)) => format!("dynamic[17/{port}]"),
        Selector::Udp(None) => "dynamic[17]".to_owned(),
    }
}

/// `load-shared`.
#[derive(Serialize)]
pub(super) struct LoadShared<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    data: &'a str,
    owners: Vec<String>,
}

impl<'a> LoadShared<'a> {
    pub(super) fn new(connection: &'a Connection, key: &'a SharedKey) -> Self {
        // a key of named peers is found by them alone: were our end an owner too, a client of remote access would match it
        // as well as the key meant for it
        let owners = match &key.peers[..] {
            [] => vec![connection.local_id.to_string()],
            peers => peers.iter().map(ToString::to_string).collect(),
        };
        Self { id: connection.name.as_str(), kind: "IKE", data: key.key.reveal(), owners }
    }
}

/// `unload-conn`.
#[derive(Serialize)]
pub(super) struct ByName<'a> {
    pub(super) name: &'a str,
}

/// `unload-shared`.
#[derive(Serialize)]
pub(super) struct ById<'a> {
    pub(super) id: &'a str,
}

/// `initiate`, `terminate`, `rekey`.
#[derive(Serialize)]
pub(super) struct Select<'a> {
    ike: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    child: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    force: Option<bool>,
}

impl<'a> Select<'a> {
    pub(super) fn child(name: &'a ConnectionName, child: &'a ChildName) -> Self {
        let (ike, child) = (name.as_str(), Some(child.as_str()));
        // -1: it is begun, and nobody waits
        Self { ike, child, timeout: Some("-1"), force: None }
    }

    pub(super) fn rekey(name: &'a ConnectionName, child: &'a ChildName) -> Self {
        Self { ike: name.as_str(), child: Some(child.as_str()), timeout: None, force: None }
    }

    pub(super) fn connection(name: &'a ConnectionName) -> Self {
        Self { ike: name.as_str(), child: None, timeout: Some("-1"), force: Some(true) }
    }
}

/// The answer to most commands.
#[derive(Debug, Deserialize)]
pub(super) struct Outcome {
    pub(super) success: bool,
    #[serde(default)]
    pub(super) errmsg: Option<String>,
}

/// The answer to `terminate`, which is no success when there was nothing to end.
#[derive(Debug, Deserialize)]
pub(super) struct Matched {}

/// `log` events.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct LogLine {
    pub(super) group: String,
    #[serde(rename = "ikesa-name")]
    ike: Option<String>,
    pub(super) msg: String,
}

impl LogLine {
    pub(super) fn name(&self) -> Option<&str> {
        self.ike.as_deref()
    }

    #[cfg(test)]
    pub(super) fn new(ike: Option<&str>, msg: &str) -> Self {
        Self { group: "IKE".to_owned(), ike: ike.map(str::to_owned), msg: msg.to_owned() }
    }
}

/// `list-sa` events: associations by the name of their connection.
pub(super) type Sas = HashMap<String, IkeSa>;

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub(super) struct IkeSa {
    version: u8,
    state: String,
    remote_host: String,
    remote_port: String,
    remote_id: String,
    initiator: bool,
    nat_local: bool,
    nat_remote: bool,
    nat_any: bool,
    encr_alg: String,
    encr_keysize: Option<String>,
    integ_alg: Option<String>,
    prf_alg: Option<String>,
    dh_group: Option<String>,
    established: u64,
    child_sas: HashMap<String, ChildSa>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct ChildSa {
    name: String,
    uniqueid: u64,
    state: String,
    mark_in: Option<String>,
    encr_alg: String,
    encr_keysize: Option<String>,
    integ_alg: Option<String>,
    dh_group: Option<String>,
    bytes_in: u64,
    bytes_out: u64,
    install_time: u64,
    local_ts: Vec<String>,
    remote_ts: Vec<String>,
}

/// What charon says of one connection; `None` when it is none of ours.
pub(super) fn state((name, sa): (String, IkeSa)) -> Option<SaState> {
    let name = ConnectionName::of_daemon(&name)?;
    let algorithms =
        joined([Some(sized(sa.encr_alg, sa.encr_keysize)), sa.integ_alg, sa.prf_alg, sa.dh_group]);
    let mut children: Vec<_> = sa.child_sas.into_values().map(child_state).collect();
    children.sort_by(|one, other| (&one.name, one.number).cmp(&(&other.name, other.number)));
    Some(SaState {
        name,
        established: sa.state == "ESTABLISHED" || sa.state == "REKEYING",
        initiator: sa.initiator,
        version: sa.version,
        remote: format!("{}:{}", sa.remote_host, sa.remote_port),
        remote_id: sa.remote_id,
        nat: sa.nat_local || sa.nat_remote || sa.nat_any,
        algorithms,
        age: sa.established,
        children,
    })
}

fn child_state(child: ChildSa) -> ChildState {
    let mark = child.mark_in.as_deref().and_then(|mark| u32::from_str_radix(mark, 16).ok());
    ChildState {
        name: child.name,
        // one that is being replaced still carries packets
        installed: matches!(child.state.as_str(), "INSTALLED" | "REKEYING" | "REKEYED"),
        local: child.local_ts,
        remote: child.remote_ts,
        algorithms: joined([
            Some(sized(child.encr_alg, child.encr_keysize)),
            child.integ_alg,
            child.dh_group.clone(),
        ]),
        group: child.dh_group,
        number: child.uniqueid,
        bytes_in: child.bytes_in,
        bytes_out: child.bytes_out,
        age: child.install_time,
        mark: mark.unwrap_or(0),
    }
}

fn sized(algorithm: String, size: Option<String>) -> String {
    size.map_or_else(|| algorithm.clone(), |size| format!("{algorithm}-{size}"))
}

fn joined<const N: usize>(parts: [Option<String>; N]) -> String {
    parts.into_iter().flatten().collect::<Vec<_>>().join("/")
}
