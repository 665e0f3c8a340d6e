//! What all jobs share.

use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::journal::Journal;
use super::stores::Stores;
use crate::disk::Disk;
use crate::fetch::Fetcher;
use crate::slice::{Limits, OwnIdentity, PeerSource, StorageSlice};

/// Most jobs at work, whatever the limits say.
const MOST_TURNS: usize = 64;

/// What jobs work by; read anew for each attempt.
#[derive(Clone)]
pub(super) struct Settings {
    pub(super) limits: Limits,
    pub(super) fetcher: Fetcher,
    pub(super) identities: Vec<OwnIdentity>,
}

impl Settings {
    /// Those of `slice`.
    ///
    /// Errors: nothing can be fetched as it says.
    pub(super) fn of(slice: &StorageSlice) -> Result<Self, String> {
        let (limits, identities) = (slice.limits.clone(), slice.identities.clone());
        Ok(Self { limits, fetcher: Fetcher::new(slice)?, identities })
    }

    /// What fetches from another appliance.
    ///
    /// Errors: what is to be shown there is missing or cannot be used.
    pub(super) fn of_peer(&self, peer: &PeerSource) -> Result<Fetcher, String> {
        let own = self.identities.iter().find(|own| own.digest == peer.identity);
        let own = own.ok_or_else(|| format!("there is no identity {}", peer.identity))?;
        self.fetcher.of_peer(peer, &own.pem)
    }
}

pub(super) struct Shared {
    pub(super) journal: Arc<Journal>,
    pub(super) stores: Stores,
    turns: Arc<Semaphore>,
    /// Turns held back so that no more than the limit are at work.
    held: RwLock<Vec<OwnedSemaphorePermit>>,
    settings: RwLock<Settings>,
}

impl Shared {
    pub(super) fn new(journal: Arc<Journal>, disk: Arc<dyn Disk>, settings: Settings) -> Self {
        let stores = Stores::new(disk, Arc::clone(&journal) as Arc<dyn crate::store::Known>);
        let turns = Arc::new(Semaphore::new(MOST_TURNS));
        Self { journal, stores, turns, held: RwLock::default(), settings: RwLock::new(settings) }
    }

    pub(super) fn settings(&self) -> Settings {
        self.settings.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From now on these. Fewer turns take effect as running jobs end.
    pub(super) fn set(&self, settings: Settings) {
        let wanted = usize::from(settings.limits.jobs).clamp(1, MOST_TURNS);
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        held.truncate(MOST_TURNS - wanted);
        while held.len() < MOST_TURNS - wanted {
            match Arc::clone(&self.turns).try_acquire_owned() {
                Ok(turn) => held.push(turn),
                Err(_) => break,
            }
        }
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = settings;
    }

    /// A turn to work; waits for one.
    pub(super) async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.turns).acquire_owned().await.ok()
    }
}
