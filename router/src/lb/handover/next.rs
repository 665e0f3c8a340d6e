//! The newer process: takes the legacy, then keeps the older one up to date.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Mutex, PoisonError};
use std::thread;

use sluice_sys::hand_over;
use tracing::{info, warn};

use super::{Counted, Legacy, ToFormer, ToNext, checked, hear, say};
use crate::lb::live::{Policy, Rule};
use crate::lb::slice::LbSlice;

/// What an older process left, not yet in use.
pub(in crate::lb) struct Inheritance {
    channel: UnixStream,
    sockets: BTreeMap<SocketAddr, OwnedFd>,
    legacy: Legacy,
}

/// The older process, which still has connections.
pub(in crate::lb) struct Former {
    channel: UnixStream,
    counted: Mutex<Receiver<Vec<Counted>>>,
}

impl Inheritance {
    pub(super) fn receive(channel: UnixStream) -> io::Result<Self> {
        let channel = checked(channel)?;
        let legacy: Legacy = hear(&channel)?;
        let sockets = hand_over::receive(&channel, legacy.listening.len())?;
        let sockets = legacy.listening.iter().copied().zip(sockets).collect();
        Ok(Self { channel, sockets, legacy })
    }

    /// The socket that listens on `address`, if the older process has one.
    pub(in crate::lb) fn socket(&self, address: &SocketAddr) -> Option<io::Result<OwnedFd>> {
        self.sockets.get(address).map(OwnedFd::try_clone)
    }

    /// `rule`, which is new to this process, goes on from where it was.
    pub(in crate::lb) fn pass_to(&mut self, rule: &Rule) {
        let Some(left) = self.legacy.report.rules.iter().find(|left| left.id == rule.id) else {
            return;
        };
        rule.counters.take_in(&left.counts);
        let policy = rule.policy();
        for member in &policy.members {
            let address = member.state.endpoint.to_string();
            let same = left.members.iter().find(|it| it.id == member.spec.id);
            if let Some(same) = same.filter(|same| same.address == address) {
                member.state.counters.take_in(&same.counts);
                member.state.health.go_on(same.up, same.health.clone());
            }
        }
        self.bind(rule, &policy);
    }

    fn bind(&mut self, rule: &Rule, policy: &Policy) {
        let bindings = &mut self.legacy.bindings;
        if let Some(at) = bindings.iter().position(|(id, _)| *id == rule.id) {
            policy.memory.go_on(bindings.swap_remove(at).1);
        }
    }

    /// The configuration is in force here: the older process accepts no more when this returns.
    pub(in crate::lb) fn take(self) -> Option<Former> {
        match self.try_to_take() {
            Ok(former) => Some(former),
            Err(error) => {
                // it ends by itself, or was ended
                warn!(%error, "the process before does not say that it accepts no more");
                None
            }
        }
    }

    fn try_to_take(self) -> io::Result<Former> {
        say(&self.channel, &ToFormer::Taken)?;
        while !matches!(hear(&self.channel)?, ToNext::Closed) {}
        info!(sockets = self.sockets.len(), "taken over from the process before");
        self.channel.set_read_timeout(None)?;
        let (sender, counted) = mpsc::channel();
        let reader = self.channel.try_clone()?;
        thread::Builder::new().name("lb-former".to_owned()).spawn(move || {
            while let Ok(message) = hear(&reader) {
                if let ToNext::Counted(more) = message
                    && sender.send(more).is_err()
                {
                    return;
                }
            }
        })?;
        Ok(Former { channel: self.channel, counted: Mutex::new(counted) })
    }
}

impl Former {
    /// Tells it of a configuration; an error when it has ended.
    pub(in crate::lb) fn follow(&self, slice: &LbSlice) -> io::Result<()> {
        say(&self.channel, &ToFormer::Slice(slice.clone()))
    }

    /// What it counted since the last call.
    pub(in crate::lb) fn counted(&self) -> Vec<Counted> {
        let counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        counted.try_iter().flatten().collect()
    }
}
