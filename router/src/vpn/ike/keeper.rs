//! What is to be begun, and what is to be said of each connection: pure, from what the daemon says and the time.
//!
//! Guarantees: a connection that is ours to begin is begun at once and, while it is down, again after pauses that grow to a
//! minute; one that stands is left alone; its state follows from its security associations. Perfect forward secrecy of
//! IKEv2 shows with the first new keys only (RFC 7296 1.2), so new keys are asked for early, once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    ChildName, ChildState, Connection, ConnectionName, SaState, Start, Trouble, TroubleKind,
};

/// Pauses between attempts: the first, and the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
/// A tunnel of this age is asked for new keys to prove PFS: it carries traffic, and nobody waits for it any more.
const PROOF_AFTER: u64 = 5;
/// And again so long after an attempt that came to nothing.
const PROOF_AGAIN: Duration = Duration::from_mins(10);

/// What the daemon is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Begin this tunnel.
    Initiate(ConnectionName, ChildName),
    /// Make new keys for this tunnel.
    Rekey(ConnectionName, ChildName),
}

/// Where a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Every tunnel carries packets.
    Connected,
    /// Some tunnels do.
    Partly,
    /// It is being begun.
    Connecting,
    /// The peer has not begun it.
    Waiting,
    /// It failed, and is tried again if it is ours to begin.
    Error,
}

/// What is known of perfect forward secrecy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pfs {
    /// Not asked for.
    Off,
    /// No new keys were made yet.
    NotYetProved,
    /// The keys in use were made with it.
    Proved,
    /// The peer refused new keys with it.
    Refused,
}

/// A connection as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Report {
    /// Where it is.
    pub phase: Phase,
    /// What went wrong last, since it stood last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<TroubleKind>,
    /// That for a person, with the daemon's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Perfect forward secrecy.
    pub pfs: Pfs,
    /// Where the peer is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// How it named itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer_id: Option<String>,
    /// Version of IKE.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ike_version: Option<u8>,
    /// Algorithms of the first phase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ike: Option<String>,
    /// A NAT stands between.
    pub nat: bool,
    /// Its tunnels.
    pub tunnels: Vec<ChildState>,
}

/// One connection that is kept.
#[derive(Debug)]
struct Kept {
    connection: Connection,
    sas: Vec<SaState>,
    /// When each tunnel that is down is begun next, and how often that was done in vain.
    attempts: BTreeMap<ChildName, Attempt>,
    trouble: Option<Trouble>,
    proof: Proof,
    /// Bytes that had come in at the last look, and whether since then packets came that failed their integrity check.
    bytes_in: u64,
    garbled: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Attempt {
    at: Duration,
    made: u32,
}

#[derive(Clone, Copy, Debug, Default)]
struct Proof {
    asked: Option<Duration>,
    refused: bool,
}

/// All connections.
#[derive(Debug, Default)]
pub struct Keeper {
    kept: BTreeMap<ConnectionName, Kept>,
    /// What could not be assigned to a connection.
    pub strays: BTreeMap<TroubleKind, u64>,
}

impl Keeper {
    /// Keeps `connection` from now on, or the new form of it; what is known of the old one is forgotten.
    pub fn put(&mut self, connection: Connection) {
        let name = connection.name.clone();
        let kept = Kept {
            connection,
            sas: Vec::new(),
            attempts: BTreeMap::new(),
            trouble: None,
            proof: Proof::default(),
            bytes_in: 0,
            garbled: false,
        };
        self.kept.insert(name, kept);
    }

    /// Keeps it no longer.
    pub fn remove(&mut self, name: &ConnectionName) {
        self.kept.remove(name);
    }

    /// Everything kept is new to the daemon, which has started anew.
    pub fn forget_state(&mut self) {
        for kept in self.kept.values_mut() {
            kept.sas.clear();
            kept.attempts.clear();
            kept.proof = Proof::default();
        }
    }

    /// Takes what the daemon says; what it is to do now.
    pub fn observe(
        &mut self,
        now: Duration,
        sas: Vec<SaState>,
        troubles: Vec<Trouble>,
    ) -> Vec<Act> {
        self.kept.values_mut().for_each(|kept| kept.sas.clear());
        for sa in sas {
            if let Some(kept) = self.kept.get_mut(&sa.name) {
                kept.sas.push(sa);
            }
        }
        for trouble in troubles {
            self.note(trouble);
        }
        self.kept.values_mut().flat_map(|kept| kept.acts(now)).collect()
    }

    fn note(&mut self, trouble: Trouble) {
        let kept = trouble.name.as_ref().and_then(|name| self.kept.get_mut(name));
        match kept {
            Some(kept) => kept.note(trouble),
            None => *self.strays.entry(trouble.kind).or_default() += 1,
        }
    }

    /// Packets failed their integrity check since the last look, or none did. The kernel does not say whose they were: those
    /// tunnels are suspected that stand and through which nothing came meanwhile.
    pub fn note_integrity(&mut self, failed: bool) {
        for kept in self.kept.values_mut() {
            let total = kept.total_in();
            let silent = kept.bytes_in == total;
            kept.bytes_in = total;
            kept.garbled = silent && (kept.garbled || failed) && !kept.installed().is_empty();
        }
    }

    /// How each connection is.
    pub fn reports(&self) -> impl Iterator<Item = (&ConnectionName, Report)> {
        self.kept.iter().map(|(name, kept)| (name, kept.report()))
    }
}

impl Kept {
    fn note(&mut self, trouble: Trouble) {
        if trouble.kind == TroubleKind::Pfs {
            self.proof.refused = true;
        }
        // the first cause says more than what follows from it, such as silence after a refusal
        let follows = matches!(trouble.kind, TroubleKind::NoAnswer | TroubleKind::Gone);
        if !(follows && self.trouble.is_some()) {
            self.trouble = Some(trouble);
        }
    }

    fn children(&self) -> impl Iterator<Item = &ChildState> {
        self.sas.iter().flat_map(|sa| &sa.children)
    }

    fn total_in(&self) -> u64 {
        self.children().map(|child| child.bytes_in).sum()
    }

    fn installed(&self) -> BTreeSet<&str> {
        let installed = self.children().filter(|child| child.installed);
        installed.map(|child| child.name.as_str()).collect()
    }

    fn acts(&mut self, now: Duration) -> Vec<Act> {
        let installed: BTreeSet<String> = self.installed().into_iter().map(str::to_owned).collect();
        self.attempts.retain(|child, _| !installed.contains(child.as_str()));
        let whole = installed.len() == self.connection.children.len();
        if whole {
            let pfs = |trouble: &Trouble| trouble.kind == TroubleKind::Pfs;
            self.trouble = self.trouble.take().filter(pfs).filter(|_| self.proof.refused);
        }
        let mut acts: Vec<Act> = self.begin(now, &installed);
        acts.extend(self.prove(now));
        acts
    }

    /// Tunnels to begin. While the first phase is under way nothing more is asked of it.
    fn begin(&mut self, now: Duration, installed: &BTreeSet<String>) -> Vec<Act> {
        let busy = self.sas.iter().any(|sa| !sa.established);
        if self.connection.start != Start::Ours || busy {
            return Vec::new();
        }
        let mut acts = Vec::new();
        for child in &self.connection.children {
            if installed.contains(child.name.as_str()) {
                continue;
            }
            let attempt = self.attempts.entry(child.name.clone()).or_default();
            if attempt.at > now {
                continue;
            }
            let pause = FIRST_PAUSE.saturating_mul(1 << attempt.made.min(8)).min(LONGEST_PAUSE);
            *attempt = Attempt { at: now + pause, made: attempt.made.saturating_add(1) };
            acts.push(Act::Initiate(self.connection.name.clone(), child.name.clone()));
        }
        acts
    }

    fn prove(&mut self, now: Duration) -> Option<Act> {
        if self.pfs() != Pfs::NotYetProved {
            return None;
        }
        let ours = self.sas.iter().any(|sa| sa.established && sa.initiator && sa.version == 2);
        let due = self.proof.asked.is_none_or(|asked| asked + PROOF_AGAIN <= now);
        let child = self.children().find(|child| child.installed && child.age >= PROOF_AFTER);
        let child = ChildName::from(child.filter(|_| ours && due)?.name.as_str());
        self.proof.asked = Some(now);
        Some(Act::Rekey(self.connection.name.clone(), child))
    }

    fn pfs(&self) -> Pfs {
        let wanted = self
            .connection
            .children
            .iter()
            .any(|child| child.esp.proposals.iter().any(|proposal| proposal.group.is_some()));
        let proved = self.children().any(|child| child.installed && child.group.is_some());
        match (wanted, proved) {
            (false, _) => Pfs::Off,
            (true, true) => Pfs::Proved,
            (true, false) if self.proof.refused => Pfs::Refused,
            (true, false) => Pfs::NotYetProved,
        }
    }

    fn phase(&self) -> Phase {
        let installed = self.installed().len();
        if installed > 0 {
            let whole = installed >= self.connection.children.len();
            return if whole { Phase::Connected } else { Phase::Partly };
        }
        match (&self.trouble, self.connection.start) {
            (Some(_), _) => Phase::Error,
            (None, Start::Ours) => Phase::Connecting,
            (None, Start::Peers) => Phase::Waiting,
        }
    }

    fn report(&self) -> Report {
        let newest = self.sas.iter().max_by_key(|sa| (sa.established, u64::MAX - sa.age));
        let said = |trouble: &Trouble| format!("{}: {}", trouble.kind.meaning(), trouble.words);
        let garbled = self.garbled.then_some(TroubleKind::Integrity);
        let meant = |kind: TroubleKind| kind.meaning().to_owned();
        Report {
            phase: self.phase(),
            trouble: self.trouble.as_ref().map(|trouble| trouble.kind).or(garbled),
            reason: self.trouble.as_ref().map(said).or(garbled.map(meant)),
            pfs: self.pfs(),
            peer: newest.map(|sa| sa.remote.clone()),
            peer_id: newest.map(|sa| sa.remote_id.clone()),
            ike_version: newest.map(|sa| sa.version),
            ike: newest.map(|sa| sa.algorithms.clone()).filter(|text| !text.is_empty()),
            nat: self.sas.iter().any(|sa| sa.nat),
            tunnels: self.children().cloned().collect(),
        }
    }
}

#[cfg(test)]
mod tests;
