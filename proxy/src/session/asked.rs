//! The question to the manager, before each connection, whether the VM's screen is still where the grant says.

use std::time::Duration;

use sluice_agent::questions::PATIENCE;
use sluice_agent::service::Asking;
use sluice_api::report::{ScreenQuestion, Verdict};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::backend::BackendError;
use crate::slice::Grant;

/// The agent's own time for the answer, and that of the way to it.
const ANSWERED: Duration = PATIENCE.saturating_add(Duration::from_secs(1));

/// Errors: it is not, or nobody said so in time.
pub(super) async fn still_there(
    grant: &Grant,
    manager: &mpsc::Sender<Asking>,
) -> Result<(), BackendError> {
    let backend = &grant.backend;
    let question =
        ScreenQuestion { vm: grant.vm.id.clone(), address: backend.address, port: backend.port };
    match timeout(ANSWERED, ask(&question, manager)).await {
        Ok(Some(Verdict { stands: true, .. })) => Ok(()),
        Ok(Some(Verdict { reason, .. })) => {
            Err(BackendError::Elsewhere(reason.unwrap_or_else(|| "the manager says so".into())))
        }
        Ok(None) | Err(_) => Err(BackendError::Unasked),
    }
}

async fn ask(question: &ScreenQuestion, manager: &mpsc::Sender<Asking>) -> Option<Verdict> {
    let question = serde_json::to_value(question).ok()?;
    let (reply, answer) = oneshot::channel();
    manager.send(Asking { question, reply }).await.ok()?;
    answer.await.ok()
}
