//! libreswan, through the crate that owns everything that touches it.
//!
//! Each tunnel is a connection of libreswan's own; those of the same two ends share a first phase by themselves. What it
//! cannot: group 2, either version of IKE in one connection, and clients behind one NAT apart. pluto is a child of the
//! process that drives it, and what it says is read from its log.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use libreswan_ffi::conf::{Cipher, Integrity, Proposal as Written, Subnet, Traffic, Version};
use libreswan_ffi::{
    Conn, Files, Made, Meaning, Name, Peer, Pluto, Programs, Psk, ToolError, Tools,
};
use sluice_api::config::vpn::{Encryption, Hash, IkeVersion};
use sluice_api::types::DhGroup;

use super::{
    Capabilities, Child, ChildName, ChildState, Connection, ConnectionName, EngineError, IkeEngine,
    Proposal, SaState, Selector, SharedKey, Trouble, TroubleKind,
};

/// How long pluto may take from its start until it answers; what its service may take is longer.
const STARTS_WITHIN: Duration = Duration::from_secs(30);
/// How long is waited for what comes of a tunnel that is begun.
const UP_PATIENCE: Duration = Duration::from_secs(40);
/// Troubles that are kept for whoever asks.
const TROUBLES: usize = 256;

/// pluto with its files and programs.
pub struct Libreswan {
    programs: Programs,
    tools: Tools,
    files: Files,
    pluto: Option<Pluto>,
    /// What is loaded.
    loaded: BTreeMap<ConnectionName, Loaded>,
    heard: Arc<Mutex<Heard>>,
}

/// A connection that is loaded: its tunnels, and what pluto does not say of them.
struct Loaded {
    children: Vec<Name>,
    version: u8,
    remote: String,
}

/// What pluto said.
#[derive(Default)]
struct Heard {
    troubles: VecDeque<Trouble>,
    /// The keys in use, by tunnel.
    made: BTreeMap<String, Made>,
}

impl Heard {
    fn trouble(&mut self, trouble: Trouble) {
        if self.troubles.len() == TROUBLES {
            self.troubles.pop_front();
        }
        self.troubles.push_back(trouble);
    }

    /// A line of the log: new keys, or what went wrong.
    fn line(&mut self, line: &str) {
        if let Some(made) = libreswan_ffi::parse_made(line) {
            self.made.insert(made.name.clone(), made);
        } else if let Some((child, meaning)) = libreswan_ffi::meaning(line) {
            let words = line.chars().take(200).collect();
            let name = child.and_then(connection_of);
            self.trouble(Trouble { name, kind: kind(meaning), words });
        }
    }
}

/// The connection that a tunnel of this name belongs to: the name without its number.
fn connection_of(child: &str) -> Option<ConnectionName> {
    ConnectionName::of_daemon(child.rsplit_once('-')?.0)
}

fn lock(heard: &Mutex<Heard>) -> MutexGuard<'_, Heard> {
    heard.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Libreswan {
    /// The engine: its files in `folder`, which must be in RAM. pluto is started with the first connection.
    pub fn new(programs: Programs, folder: &Path) -> std::io::Result<Self> {
        Ok(Self {
            tools: Tools::new(&programs.folder, folder),
            programs,
            files: Files::create(folder)?,
            pluto: None,
            loaded: BTreeMap::new(),
            heard: Arc::default(),
        })
    }

    /// pluto runs, or is started. One that ended has forgotten everything, which whoever drives this must hear once.
    async fn running(&mut self) -> Result<(), EngineError> {
        let unreachable = |text: String| EngineError::Unreachable(text);
        if let Some(pluto) = &mut self.pluto {
            let Some(how) = pluto.ended() else { return Ok(()) };
            (self.pluto, self.loaded) = (None, BTreeMap::new());
            lock(&self.heard).made.clear();
            return Err(unreachable(format!("pluto ended: {how}")));
        }
        let heard = Arc::clone(&self.heard);
        let hear = move |line: &str| {
            tracing::debug!("{line}");
            lock(&heard).line(line);
        };
        let started = Pluto::start(&self.programs, &self.files, hear).await;
        self.pluto = Some(started.map_err(|error| unreachable(error.to_string()))?);
        Ok(())
    }

    async fn drop_children(&mut self, name: &ConnectionName) -> Result<(), EngineError> {
        let Some(loaded) = self.loaded.remove(name) else { return Ok(()) };
        for child in loaded.children {
            match self.tools.delete(&child).await {
                Ok(()) | Err(ToolError::UnknownName) => (),
                Err(error) => return Err(refused(name, "its end", error)),
            }
            lock(&self.heard).made.remove(child.as_str());
            self.files.remove_conn(&child).map_err(|error| answer(&error))?;
        }
        Ok(())
    }

    async fn load_child(
        &mut self,
        connection: &Connection,
        child: &Child,
    ) -> Result<(), EngineError> {
        let name = &connection.name;
        let conn = conn(connection, child)?;
        let file = self.files.put_conn(&conn).map_err(|error| answer(&error))?;
        let added = self.tools.add(&file, &conn.name).await;
        added.map_err(|error| refused(name, "a tunnel", error))?;
        let loaded = self.loaded.entry(name.clone()).or_insert_with(|| Loaded::new(connection));
        loaded.children.push(conn.name);
        Ok(())
    }

    fn owner(&self, child: &str) -> Option<(&ConnectionName, &Loaded)> {
        let mut all = self.loaded.iter();
        all.find(|(_, loaded)| loaded.children.iter().any(|known| known.as_str() == child))
    }

    fn tunnel(&self, tunnel: &libreswan_ffi::Traffic) -> ChildState {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let made = lock(&self.heard).made.get(&tunnel.name).cloned();
        ChildState {
            name: tunnel.name.clone(),
            installed: true,
            local: Vec::new(),
            remote: Vec::new(),
            algorithms: made.as_ref().map(|made| made.algorithms.clone()).unwrap_or_default(),
            group: made.and_then(|made| made.group),
            number: tunnel.number,
            bytes_in: tunnel.bytes_in,
            bytes_out: tunnel.bytes_out,
            age: now.saturating_sub(tunnel.since),
            mark: 0,
        }
    }
}

impl Loaded {
    fn new(connection: &Connection) -> Self {
        let remote = connection.peer.address.map(|address| address.to_string());
        Self {
            children: Vec::new(),
            version: if connection.ike.version == IkeVersion::V1 { 1 } else { 2 },
            remote: remote.unwrap_or_default(),
        }
    }

    /// Its state as far as it is known without any association.
    fn state(&self, name: &ConnectionName) -> SaState {
        SaState {
            name: name.clone(),
            established: false,
            initiator: true,
            version: self.version,
            remote: self.remote.clone(),
            remote_id: String::new(),
            nat: false,
            algorithms: String::new(),
            age: 0,
            children: Vec::new(),
        }
    }
}

fn refused(name: &ConnectionName, what: &'static str, error: ToolError) -> EngineError {
    match error {
        ToolError::Run { .. } | ToolError::Unreachable => {
            EngineError::Unreachable(error.to_string())
        }
        ToolError::UnknownName | ToolError::Refused(_) => {
            EngineError::Refused { name: name.clone(), what, reason: error.to_string() }
        }
    }
}

fn answer(error: &dyn std::error::Error) -> EngineError {
    EngineError::Answer(error.to_string())
}

/// A connection of ours as libreswan's, for one of its tunnels.
fn conn(connection: &Connection, child: &Child) -> Result<Conn, EngineError> {
    let id = |text: &str| text.parse::<Peer>().map_err(|error| answer(&error));
    let version = match connection.ike.version {
        IkeVersion::V1 => Version::V1,
        IkeVersion::V2 | IkeVersion::Any => Version::V2,
    };
    let traffic = match (child.local, child.remote) {
        (Selector::Network(local), Selector::Network(remote)) => {
            let subnet = |cidr: sluice_api::types::Cidr| Subnet {
                address: cidr.network(),
                prefix: cidr.prefix(),
            };
            Traffic::Tunnel { local: subnet(local), remote: subnet(remote) }
        }
        (Selector::Udp(port), _) | (_, Selector::Udp(port)) => {
            Traffic::Transport { port: port.unwrap_or(1701) }
        }
    };
    Ok(Conn {
        name: child.name.as_str().parse().map_err(|error| answer(&error))?,
        version,
        local: connection.local.into(),
        local_id: id(connection.local_id.as_str())?,
        remote: connection.peer.address,
        remote_id: connection.peer.id.as_ref().map(|peer| id(peer.as_str())).transpose()?,
        traffic,
        ike: connection.ike.proposals.iter().filter_map(written).collect(),
        esp: child.esp.proposals.iter().filter_map(written).collect(),
        ike_lifetime: connection.ike.lifetime,
        esp_lifetime: child.esp.lifetime,
        dpd: connection.dpd.map(|dpd| (dpd.delay, dpd.timeout)),
        force_encapsulation: connection.force_encapsulation,
    })
}

/// A proposal by libreswan's names; `None` for group 2, which one of several proposals may have.
fn written(proposal: &Proposal) -> Option<Written> {
    let cipher = match proposal.encryption {
        Encryption::Aes128 => Cipher::Aes(128),
        Encryption::Aes192 => Cipher::Aes(192),
        Encryption::Aes256 => Cipher::Aes(256),
        Encryption::Aes128Gcm => Cipher::AesGcm(128),
        Encryption::Aes256Gcm => Cipher::AesGcm(256),
        Encryption::TripleDes => Cipher::TripleDes,
    };
    let integrity = proposal.hash.map(|hash| match hash {
        Hash::Md5 => Integrity::Md5,
        Hash::Sha1 => Integrity::Sha1,
        Hash::Sha256 => Integrity::Sha2(256),
        Hash::Sha384 => Integrity::Sha2(384),
        Hash::Sha512 => Integrity::Sha2(512),
    });
    let group = proposal.group.map(DhGroup::number);
    (group != Some(2)).then_some(Written { cipher, integrity, group })
}

fn kind(meaning: Meaning) -> TroubleKind {
    match meaning {
        Meaning::Authentication => TroubleKind::Authentication,
        Meaning::IkeProposal => TroubleKind::IkeProposal,
        Meaning::EspProposal => TroubleKind::EspProposal,
        Meaning::Networks => TroubleKind::Networks,
        Meaning::NoAnswer => TroubleKind::NoAnswer,
        Meaning::Gone => TroubleKind::Gone,
    }
}

#[async_trait]
impl IkeEngine for Libreswan {
    fn capabilities(&self) -> Capabilities {
        let groups = DhGroup::NUMBERS.into_iter().filter(|number| *number != 2);
        Capabilities {
            engine: "libreswan",
            encryption: Encryption::ALL.into(),
            hashes: Hash::ALL.into(),
            groups: groups.filter_map(|number| DhGroup::try_from(u64::from(number)).ok()).collect(),
            marks: false,
        }
    }

    fn starts_within(&self) -> Duration {
        STARTS_WITHIN
    }

    async fn load(&mut self, connection: &Connection, key: &SharedKey) -> Result<(), EngineError> {
        let name = &connection.name;
        self.running().await?;
        self.drop_children(name).await?;
        let file: Name = name.as_str().parse().map_err(|error| answer(&error))?;
        let id = |text: &str| text.parse::<Peer>().map_err(|error| answer(&error));
        let psk = Psk {
            local: id(connection.local_id.as_str())?,
            remotes: key.peers.iter().map(|peer| id(peer.as_str())).collect::<Result<_, _>>()?,
            key: key.key.reveal().as_bytes(),
        };
        self.files.put_key(&file, &psk).map_err(|error| answer(&error))?;
        // an address that came after pluto's start is unknown to it until it looks again
        let listens = self.tools.listen().await;
        listens.map_err(|error| refused(name, "the key", error))?;
        for child in &connection.children {
            self.load_child(connection, child).await?;
        }
        Ok(())
    }

    async fn unload(&mut self, name: &ConnectionName) -> Result<(), EngineError> {
        self.running().await?;
        self.drop_children(name).await?;
        let file: Name = name.as_str().parse().map_err(|error| answer(&error))?;
        self.files.remove_key(&file).map_err(|error| answer(&error))?;
        let reread = self.tools.reread_secrets().await;
        reread.map_err(|error| refused(name, "the end of its key", error))
    }

    async fn initiate(
        &mut self,
        name: &ConnectionName,
        child: &ChildName,
    ) -> Result<(), EngineError> {
        let child: Name = child.as_str().parse().map_err(|error| answer(&error))?;
        let (tools, name, heard) = (self.tools.clone(), name.clone(), Arc::clone(&self.heard));
        // the program that begins a tunnel is the one that says what came of it
        tokio::spawn(async move {
            let Ok(output) = tools.up(&child, UP_PATIENCE).await else { return };
            let named = output.lines.iter().find_map(|line| {
                libreswan_ffi::meaning(line).map(|(_, meaning)| (kind(meaning), line))
            });
            if let Some((kind, line)) = named.filter(|_| output.code != 0) {
                let trouble = Trouble { name: Some(name), kind, words: line.clone() };
                lock(&heard).trouble(trouble);
            }
        });
        Ok(())
    }

    async fn terminate(&mut self, name: &ConnectionName) -> Result<(), EngineError> {
        let children = self.loaded.get(name).map(|loaded| loaded.children.clone());
        for child in children.unwrap_or_default() {
            match self.tools.down(&child).await {
                Ok(()) | Err(ToolError::UnknownName) => (),
                Err(error) => return Err(refused(name, "its end", error)),
            }
        }
        Ok(())
    }

    async fn rekey(&mut self, name: &ConnectionName, child: &ChildName) -> Result<(), EngineError> {
        let child: Name = child.as_str().parse().map_err(|error| answer(&error))?;
        self.tools.rekey(&child).await.map_err(|error| refused(name, "new keys", error))
    }

    async fn state(&mut self) -> Result<Vec<SaState>, EngineError> {
        self.running().await?;
        let unreachable = |error: ToolError| EngineError::Unreachable(error.to_string());
        let traffic = self.tools.traffic().await.map_err(unreachable)?;
        let states = self.tools.states().await.map_err(unreachable)?;
        let mut all: BTreeMap<ConnectionName, SaState> = BTreeMap::new();
        for (_, child) in libreswan_ffi::parse_states(&states) {
            if let Some((name, loaded)) = self.owner(&child) {
                let state = all.entry(name.clone()).or_insert_with(|| loaded.state(name));
                state.established = true;
            }
        }
        for tunnel in libreswan_ffi::parse_traffic(&traffic) {
            let Some((name, loaded)) = self.owner(&tunnel.name) else { continue };
            let state = all.entry(name.clone()).or_insert_with(|| loaded.state(name));
            state.established = true;
            state.remote_id.clone_from(&tunnel.peer_id);
            state.children.push(self.tunnel(&tunnel));
        }
        Ok(all.into_values().collect())
    }

    async fn troubles(&mut self) -> Vec<Trouble> {
        lock(&self.heard).troubles.drain(..).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_names_connections_troubles_and_keys() {
        let mut heard = Heard::default();
        heard.line("\"s2s-c-1-1\" #2: initiator established Child SA using #1; {ESP=>0x1 <0x2 xfrm=AES_CBC_256-HMAC_SHA1_96 DPD=active}");
        heard.line("\"s2s-c-1-2\" #7: authentication failed: PSK AUTH mismatch");
        heard.line("listening for IKE messages");
        assert_eq!(heard.made["s2s-c-1-1"].algorithms, "AES_CBC_256-HMAC_SHA1_96");
        let trouble = heard.troubles.pop_front().unwrap();
        assert_eq!(trouble.name.unwrap().as_str(), "s2s-c-1");
        assert_eq!(trouble.kind, TroubleKind::Authentication);
        assert!(heard.troubles.is_empty());
    }
}
