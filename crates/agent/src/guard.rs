//! Services send no frame into the control network, whatever sockets they have: kept up as long as the agent runs.
//!
//! Guarantees: it stands before any service is started, again after somebody took it away or the NIC came back. That the
//! kernel cannot do it is said once in the log. It stays when the agent ends, since services outlive it.

use std::collections::BTreeSet;
use std::sync::Arc;

use sluice_api::types::MacAddr;
use sluice_sys::kernel::{Changes, Guarded, Kernel as _, KernelError, RealKernel, Wake};
use tracing::{error, info};

use crate::causes::chain;

/// The watch over the control NIC.
pub(crate) struct Guard {
    kernel: Arc<RealKernel>,
    mac: MacAddr,
    users: BTreeSet<u32>,
    guarded: Option<Guarded>,
    /// What went wrong the last time.
    failed: Option<String>,
}

impl Guard {
    /// Guards the NIC `mac` against frames of `users`; `None` where nobody could send any.
    pub(crate) async fn put_up(
        kernel: Arc<RealKernel>,
        mac: MacAddr,
        users: BTreeSet<u32>,
    ) -> Option<Self> {
        if users.is_empty() {
            return None;
        }
        let mut guard = Self { kernel, mac, users, guarded: None, failed: None };
        guard.look().await;
        Some(guard)
    }

    /// Keeps it up.
    pub(crate) async fn keep(mut self) {
        let mut changes = match self.kernel.changes() {
            Ok(changes) => changes,
            Err(error) => return self.note(Err(error)),
        };
        // what changed before it listened
        self.look().await;
        while let Some(wake) = next(&mut changes).await {
            let stands = wake == Wake::Rules && matches!(RealKernel::guards_frames(), Ok(true));
            if !stands {
                self.look().await;
            }
        }
    }

    async fn look(&mut self) {
        let looked = self.kernel.guard_frames(self.mac, &self.users, self.guarded.as_ref()).await;
        self.note(looked);
    }

    fn note(&mut self, looked: Result<Option<Guarded>, KernelError>) {
        match looked {
            Ok(guarded) => {
                if guarded.is_some() && guarded != self.guarded {
                    info!("frames of services are kept from the control network");
                }
                (self.guarded, self.failed) = (guarded, None);
            }
            Err(error) => {
                let words = chain(&error);
                if self.failed.as_ref() != Some(&words) {
                    error!(
                        error = words,
                        "frames of services are not kept from the control network"
                    );
                }
                self.failed = Some(words);
            }
        }
    }
}

/// The next change of what it depends on.
async fn next(changes: &mut Changes) -> Option<Wake> {
    loop {
        let wake = changes.next().await?;
        if matches!(wake, Wake::Links | Wake::Rules | Wake::Overrun) {
            return Some(wake);
        }
    }
}
