//! The watch: one task per appliance, woken by changes, otherwise by the clock.
//!
//! Guarantees: an appliance that is slow or gone delays no other; a change is taken up at once by the manager that made
//! it and within one look at the store by any other. Not here: which of several managers pushes; they may all, since
//! the appliance takes each number once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sluice_api::types::ApplianceId;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tracing::{error, info};

use super::identity::Identities;
use super::task::Task;
use super::{PushClient, PushError, chain};
use crate::ca::Authority;
use crate::error::Error;
use crate::kinds::appliance::Appliance;
use crate::ops;
use crate::store::facts::{self, Fact};
use crate::store::{Store, consoles, observations, requests, wanted};

/// How often things are looked at.
#[derive(Clone, Copy, Debug)]
pub struct WatchSettings {
    /// Between two looks at an appliance that is as it should be. Default 5 s.
    pub poll: Duration,
    /// First wait after a failure. Default 1 s.
    pub retry: Duration,
    /// Longest wait after failures. Default 30 s.
    pub retry_most: Duration,
}

impl Default for WatchSettings {
    fn default() -> Self {
        Self {
            poll: Duration::from_secs(5),
            retry: Duration::from_secs(1),
            retry_most: Duration::from_secs(30),
        }
    }
}

/// Why a watch ended: the store has another life than the one that it began with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replaced;

/// A handle on the watch; clones share it.
#[derive(Clone, Debug)]
pub struct Watch {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// Which manager this is, for those that read what it saw.
    name: String,
    store: Store,
    authority: Authority,
    identities: Identities,
    settings: WatchSettings,
    changed: Notify,
    news: Notify,
    tasks: Mutex<BTreeMap<String, Arc<Notify>>>,
}

impl Watch {
    /// A watch over the appliances of `store`; [`Watch::run`] starts it.
    pub fn new(store: Store, authority: Authority, settings: WatchSettings) -> Self {
        let identities = Identities::new(authority.clone());
        let (changed, news, tasks) = (Notify::new(), Notify::new(), Mutex::default());
        let name = format!("manager-{:04x}", rand::random::<u16>());
        let inner = Inner { name, store, authority, identities, settings, changed, news, tasks };
        Self { inner: Arc::new(inner) }
    }

    /// Has these appliances looked at now; one that has no task yet gets one.
    pub fn wake<'a>(&self, ids: impl IntoIterator<Item = &'a str>) {
        let tasks = self.tasks();
        for id in ids {
            if let Some(task) = tasks.get(id) {
                task.notify_one();
            }
        }
        // one may have no task yet, or its configuration is yet to be compiled
        self.inner.changed.notify_one();
    }

    /// Has all appliances looked at now.
    pub fn wake_all(&self) {
        for task in self.tasks().values() {
            task.notify_one();
        }
    }

    /// Returns when something was noted of an appliance by this manager.
    pub async fn news(&self) {
        self.inner.news.notified().await;
    }

    /// Something was noted of an appliance.
    pub(super) fn tell(&self) {
        self.inner.news.notify_waiters();
    }

    /// A client of `appliance` where it is reached now.
    pub fn client(&self, appliance: &Appliance) -> Result<PushClient, PushError> {
        PushClient::new(&appliance.id, address(appliance), &self.inner.identities.current()?)
    }

    /// The same, for an appliance whose certificate may have run out: any with one of these keys will do.
    pub(super) fn renewing_client(
        &self,
        appliance: &Appliance,
        keys: &[String],
    ) -> Result<PushClient, PushError> {
        let identity = self.inner.identities.current()?.renewing(keys)?;
        PushClient::new(&appliance.id, address(appliance), &identity)
    }

    /// Which manager this is.
    pub(super) fn name(&self) -> &str {
        &self.inner.name
    }

    pub(super) fn store(&self) -> &Store {
        &self.inner.store
    }

    pub(super) fn authority(&self) -> &Authority {
        &self.inner.authority
    }

    pub(super) fn settings(&self) -> WatchSettings {
        self.inner.settings
    }

    fn tasks(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Arc<Notify>>> {
        self.inner.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Watches until the store is put back under it, and says so. Dropping the future ends every task; what they had
    /// begun is taken up by the next watch.
    pub async fn run(&self) -> Replaced {
        let mut running = JoinSet::new();
        let (mut rounds, mut epoch) = (0_u32, None);
        loop {
            match self.look(&mut running, rounds).await {
                Ok(now) if epoch.as_ref().is_some_and(|then| *then != now) => return Replaced,
                Ok(now) => epoch = Some(now),
                Err(error) => {
                    error!(error = chain(&error), "the store cannot be read; will retry");
                }
            }
            rounds = rounds.wrapping_add(1);
            while let Some(ended) = running.try_join_next() {
                self.ended(ended);
            }
            let _ =
                tokio::time::timeout(self.inner.settings.poll, self.inner.changed.notified()).await;
        }
    }

    /// Starts tasks for appliances that have none; says which life of the store this is.
    async fn look(
        &self,
        running: &mut JoinSet<ApplianceId>,
        rounds: u32,
    ) -> Result<Option<String>, Error> {
        if rounds.is_multiple_of(1000) {
            let mut transaction = self.inner.store.begin().await?;
            requests::purge(&mut transaction).await?;
            consoles::purge(&mut transaction, observations::now()).await?;
            transaction.commit().await?;
        }
        if let Err(error) = self.keep_promises().await {
            error!(error = chain(&error), "a change is yet to be compiled; will retry");
        }
        let mut conn = self.inner.store.read().await?;
        let epoch = facts::get(&mut conn, Fact::Epoch).await?;
        self.same_authority(facts::get(&mut conn, Fact::Authority).await?)?;
        // one that never got a certificate has no machine that could be asked
        let ids = wanted::with_machine(&mut conn).await?;
        drop(conn);
        for id in ids {
            let mut tasks = self.tasks();
            if !tasks.contains_key(id.as_str()) {
                let wake = Arc::new(Notify::new());
                tasks.insert(id.to_string(), Arc::clone(&wake));
                info!(appliance = %id, "watching");
                running.spawn(Task::new(self.clone(), id, wake).run());
            }
        }
        Ok(epoch)
    }

    /// Compiles what changes of many appliances left to be compiled.
    async fn keep_promises(&self) -> Result<(), Error> {
        loop {
            let kept = ops::keep_promises(&self.inner.store).await?;
            if kept.is_empty() {
                return Ok(());
            }
            let tasks = self.tasks();
            kept.iter().filter_map(|id| tasks.get(id.as_str())).for_each(|task| task.notify_one());
        }
    }

    /// Another manager may have changed the authority.
    fn same_authority(&self, current: Option<String>) -> Result<(), Error> {
        let authority = &self.inner.authority;
        let same = || {
            let own = authority.fingerprints();
            current.as_ref().is_none_or(|current| own.first() == Some(current))
        };
        if !same() {
            info!("the authority was changed; reading its file");
            authority.reload()?;
        }
        if same() {
            return Ok(());
        }
        let reason = "its file is not that of the store; copy it from the manager that changed it";
        Err(Error::Corrupt { what: "authority", reason: reason.to_owned() })
    }

    /// A task ends when its appliance is gone; one that broke off is started again at the next look.
    fn ended(&self, ended: Result<ApplianceId, tokio::task::JoinError>) {
        match ended {
            Ok(id) => {
                self.tasks().remove(id.as_str());
                info!(appliance = %id, "no longer watched: it is gone");
            }
            Err(error) => {
                error!(error = chain(&error), "a watch broke off; starting all that are missing");
                self.tasks().retain(|_, wake| Arc::strong_count(wake) > 1);
            }
        }
    }
}

/// Where an appliance is reached.
pub(super) fn address(appliance: &Appliance) -> std::net::SocketAddr {
    let control = (appliance.control.ip(), sluice_api::AGENT_PORT.get()).into();
    appliance.endpoint.unwrap_or(control)
}
