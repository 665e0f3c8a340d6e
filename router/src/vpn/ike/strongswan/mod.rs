//! strongSwan's charon, driven over VICI.
//!
//! Guarantees: one connection, one shared key and one load each; keys go over the socket alone, never into a file or a log.
//! charon forgets everything when it ends; whoever drives this engine loads anew when it is back.

mod message;
mod names;
mod words;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{StreamExt, pin_mut};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sluice_api::config::vpn::{Encryption, Hash};
use sluice_api::types::DhGroup;

use super::{
    Capabilities, ChildName, Connection, ConnectionName, EngineError, IkeEngine, SaState,
    SharedKey, Trouble,
};
use message::{ByName, LoadConn, LoadShared, LogLine, Matched, Outcome, Sas, Select};

/// Where charon of the image listens.
pub const SOCKET: &str = "/run/charon.vici";
/// How long charon may take to answer; it answers at once unless something is very wrong.
const PATIENCE: Duration = Duration::from_secs(10);
/// Troubles that are kept for whoever asks.
const TROUBLES: usize = 256;

/// charon at a socket.
pub struct Strongswan {
    socket: PathBuf,
    client: Option<rsvici::Client>,
    troubles: Arc<Mutex<VecDeque<Trouble>>>,
    /// Reads charon's log; ends with the connection that it reads from.
    listener: Option<tokio::task::JoinHandle<()>>,
}

impl Strongswan {
    /// The engine; nothing is connected before the first call.
    pub fn new(socket: &Path) -> Self {
        Self { socket: socket.to_owned(), client: None, troubles: Arc::default(), listener: None }
    }

    async fn client(&mut self) -> Result<&mut rsvici::Client, EngineError> {
        if self.listener.as_ref().is_none_or(tokio::task::JoinHandle::is_finished) {
            // it listens first, so that nothing that happens is missed; a new charon gets new connections
            self.client = None;
            let events = self.connect().await?;
            self.listener = Some(tokio::spawn(listen(events, Arc::clone(&self.troubles))));
        }
        match &mut self.client {
            Some(_) => (),
            empty => *empty = Some(connect(&self.socket).await?),
        }
        self.client.as_mut().ok_or_else(|| EngineError::Unreachable("not connected".to_owned()))
    }

    async fn connect(&self) -> Result<rsvici::Client, EngineError> {
        connect(&self.socket).await
    }

    /// One request; a connection that failed is not used again.
    async fn ask<T: DeserializeOwned>(
        &mut self,
        command: &str,
        message: impl Serialize,
    ) -> Result<T, EngineError> {
        let client = self.client().await?;
        let answer = tokio::time::timeout(PATIENCE, client.request(command, message)).await;
        let answer = match answer {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) if error.is_data() => EngineError::Answer(error.to_string()),
            Ok(Err(error)) => EngineError::Unreachable(error.to_string()),
            Err(_) => EngineError::Unreachable(format!("no answer to {command}")),
        };
        self.client = None;
        Err(answer)
    }

    /// A request that can be refused.
    async fn tell(
        &mut self,
        name: &ConnectionName,
        what: &'static str,
        command: &str,
        message: impl Serialize,
    ) -> Result<(), EngineError> {
        let outcome: Outcome = self.ask(command, message).await?;
        if outcome.success {
            return Ok(());
        }
        let reason = outcome.errmsg.unwrap_or_else(|| "no reason given".to_owned());
        Err(EngineError::Refused { name: name.clone(), what, reason })
    }
}

impl Drop for Strongswan {
    fn drop(&mut self) {
        if let Some(listener) = &self.listener {
            listener.abort();
        }
    }
}

async fn connect(socket: &Path) -> Result<rsvici::Client, EngineError> {
    rsvici::unix::connect(socket).await.map_err(|error| EngineError::Unreachable(error.to_string()))
}

/// Picks what went wrong out of charon's log until it ends.
async fn listen(mut client: rsvici::Client, troubles: Arc<Mutex<VecDeque<Trouble>>>) {
    let lines = client.subscribe::<LogLine>("log");
    pin_mut!(lines);
    while let Some(Ok(line)) = lines.next().await {
        tracing::debug!(ike = line.name(), "{}", line.msg);
        if let Some(trouble) = words::trouble(&line) {
            let mut troubles = troubles.lock().unwrap_or_else(PoisonError::into_inner);
            if troubles.len() == TROUBLES {
                troubles.pop_front();
            }
            troubles.push_back(trouble);
        }
    }
}

#[async_trait]
impl IkeEngine for Strongswan {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            engine: "strongswan",
            encryption: Encryption::ALL.into(),
            hashes: Hash::ALL.into(),
            groups: DhGroup::NUMBERS
                .into_iter()
                .filter_map(|number| DhGroup::try_from(u64::from(number)).ok())
                .collect(),
            marks: true,
        }
    }

    async fn load(&mut self, connection: &Connection, key: &SharedKey) -> Result<(), EngineError> {
        let name = &connection.name;
        self.tell(name, "the key", "load-shared", LoadShared::new(connection, key)).await?;
        self.tell(name, "the connection", "load-conn", LoadConn::new(connection)).await
    }

    async fn unload(&mut self, name: &ConnectionName) -> Result<(), EngineError> {
        // what is not there cannot be unloaded, which is what was wanted
        let gone = |outcome: Result<(), EngineError>| match outcome {
            Err(EngineError::Refused { .. }) => Ok(()),
            other => other,
        };
        let by_name = ByName { name: name.as_str() };
        gone(self.tell(name, "its end", "unload-conn", by_name).await)?;
        self.terminate(name).await?;
        let by_id = message::ById { id: name.as_str() };
        gone(self.tell(name, "the end of its key", "unload-shared", by_id).await)
    }

    async fn initiate(
        &mut self,
        name: &ConnectionName,
        child: &ChildName,
    ) -> Result<(), EngineError> {
        self.tell(name, "a tunnel", "initiate", Select::child(name, child)).await
    }

    async fn terminate(&mut self, name: &ConnectionName) -> Result<(), EngineError> {
        // "no matching SAs" is no failure here
        self.ask::<Matched>("terminate", Select::connection(name)).await.map(drop)
    }

    async fn rekey(&mut self, name: &ConnectionName, child: &ChildName) -> Result<(), EngineError> {
        self.tell(name, "new keys", "rekey", Select::rekey(name, child)).await
    }

    async fn state(&mut self) -> Result<Vec<SaState>, EngineError> {
        let client = self.client().await?;
        let mut all = Vec::new();
        let failed = {
            let sas = client.stream_request::<_, Sas>("list-sas", "list-sa", ());
            pin_mut!(sas);
            loop {
                match tokio::time::timeout(PATIENCE, sas.next()).await {
                    Ok(Some(Ok(sa))) => all.extend(sa.into_iter().filter_map(message::state)),
                    Ok(None) => break None,
                    Ok(Some(Err(error))) => break Some(error.to_string()),
                    Err(_) => break Some("no answer to list-sas".to_owned()),
                }
            }
        };
        match failed {
            None => {
                all.sort_by(|one, other| one.name.cmp(&other.name));
                Ok(all)
            }
            Some(reason) => {
                self.client = None;
                Err(EngineError::Answer(reason))
            }
        }
    }

    async fn troubles(&mut self) -> Vec<Trouble> {
        let mut troubles = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        troubles.drain(..).collect()
    }
}
