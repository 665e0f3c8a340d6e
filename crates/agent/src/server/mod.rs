//! The agent's API: HTTPS with mutual TLS on the control link, port 3922 (design section 3).
//!
//! Guarantees: nobody without a client certificate of the appliance's own authority gets an answer; it is bound to the
//! control link and its addresses, and follows them without dropping an answer under way; slow clients, garbage and
//! large bodies cost a bounded amount of memory and time. Not here: any decision about a configuration, which is the
//! engine's.

mod blobs;
mod body;
mod connection;
mod diagnostics;
mod flows;
mod identity;
mod listen;
pub mod openapi;
mod peers;
mod questions;
mod reply;
mod routes;
mod trust;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sluice_api::boot::Identity;
use sluice_api::report::PowerAction;
use sluice_api::types::ApplianceId;
use tokio::sync::{mpsc, watch};

pub use identity::{Identities, IdentityError};

use crate::clock::Clock;
use crate::diagnostics::Diagnostics;
use crate::engine::{Handle, Listen};
use crate::logs::LogRing;
use crate::questions::Questions;

/// Longest handshake of a client.
pub const HANDSHAKE: Duration = Duration::from_secs(5);

/// What the server is made of.
pub struct Parts {
    /// Way to the engine.
    pub handle: Handle,
    /// Where to listen; changes are followed. Usually [`Handle::listen`].
    pub listen: watch::Receiver<Listen>,
    /// Bind to the loopback device whatever link is said; for tests, which have no other.
    pub on_loopback: bool,
    /// Who we are and whom we trust, from the boot document.
    pub identity: Identity,
    /// Our id; a renewed certificate must be for it.
    pub appliance: ApplianceId,
    /// The boot document in RAM, where a renewed identity is written so that a restarted agent has it; none: nowhere.
    pub boot_file: Option<PathBuf>,
    /// The logs to show.
    pub logs: Arc<LogRing>,
    /// What services ask; usually of the supervisor.
    pub questions: Arc<Questions>,
    /// Where wishes about the power go; the receiver ends the process.
    pub power: mpsc::Sender<PowerAction>,
    /// Longest handshake of a client; usually [`HANDSHAKE`].
    pub handshake: Duration,
}

/// Serves until the last [`watch::Sender`] of `listen` is gone, which is as long as the engine runs.
///
/// Errors only when the identity cannot be used. That a socket cannot be bound is logged and tried again.
pub async fn serve(parts: Parts) -> Result<(), IdentityError> {
    let identities = Identities::new(&parts.identity, parts.appliance, parts.boot_file)?;
    let clock = Arc::new(Clock::default());
    let app = Arc::new(routes::App {
        diagnostics: Diagnostics::new(parts.handle.clone()),
        handle: parts.handle,
        identities: Arc::new(identities),
        logs: parts.logs,
        questions: parts.questions,
        power: parts.power,
        clock: Arc::clone(&clock),
    });
    let identities = Arc::clone(&app.identities);
    let router = routes::router(app);
    let door = connection::Door::new(identities, router, clock, parts.handshake);
    listen::follow(parts.listen, parts.on_loopback, Arc::new(door)).await;
    Ok(())
}
