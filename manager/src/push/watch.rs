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
use crate::store::Store;
use crate::store::{requests, wanted};

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

/// A handle on the watch; clones share it.
#[derive(Clone, Debug)]
pub struct Watch {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
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
        let inner = Inner { store, authority, identities, settings, changed, news, tasks };
        Self { inner: Arc::new(inner) }
    }

    /// Has these appliances looked at now; one that has no task yet gets one.
    pub fn wake<'a>(&self, ids: impl IntoIterator<Item = &'a str>) {
        let tasks = self.tasks();
        for id in ids {
            match tasks.get(id) {
                Some(task) => task.notify_one(),
                None => self.inner.changed.notify_one(),
            }
        }
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
        let control = (appliance.control.ip(), sluice_api::AGENT_PORT.get()).into();
        let address = appliance.endpoint.unwrap_or(control);
        PushClient::new(&appliance.id, address, &self.inner.identities.current()?)
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

    /// Watches for ever. Dropping the future ends every task; what they had begun is taken up by the next watch.
    pub async fn run(&self) {
        let mut running = JoinSet::new();
        let mut rounds = 0_u32;
        loop {
            if let Err(error) = self.look(&mut running, rounds).await {
                error!(error = chain(&error), "the store cannot be read; will retry");
            }
            rounds = rounds.wrapping_add(1);
            while let Some(ended) = running.try_join_next() {
                self.ended(ended);
            }
            let _ =
                tokio::time::timeout(self.inner.settings.poll, self.inner.changed.notified()).await;
        }
    }

    /// Starts tasks for appliances that have none.
    async fn look(&self, running: &mut JoinSet<ApplianceId>, rounds: u32) -> Result<(), Error> {
        if rounds.is_multiple_of(1000) {
            let mut transaction = self.inner.store.begin().await?;
            requests::purge(&mut transaction).await?;
            transaction.commit().await?;
        }
        let ids = wanted::ids(&mut *self.inner.store.read().await?).await?;
        for id in ids {
            let mut tasks = self.tasks();
            if !tasks.contains_key(id.as_str()) {
                let wake = Arc::new(Notify::new());
                tasks.insert(id.to_string(), Arc::clone(&wake));
                info!(appliance = %id, "watching");
                running.spawn(Task::new(self.clone(), id, wake).run());
            }
        }
        Ok(())
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
