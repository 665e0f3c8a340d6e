//! One process of the service takes over from another: a newer build, or one that was started with other rights.
//!
//! Guarantees: listening sockets go from the one to the other while both hold them, so that no connection is refused or
//! lost in a queue; connections that are open end in the process that has them, under the newest configuration, which
//! the newer process passes on; counts, health and bindings of clients go on. A newer process that fails before it serves
//! leaves the older one as it is. Both have the same user, and each looks whether the other does.
//!
//! The course: the newer one connects and gets a [`Legacy`] and the sockets; when its first configuration is in force it
//! says [`ToFormer::Taken`]; the older one accepts no more, says [`ToNext::Closed`], and ends with its last connection.

mod former;
mod next;

use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sluice_api::report::balancing::{Counts, Report};
use sluice_api::types::ObjectId;
use sluice_sys::hand_over;
use tracing::{info, warn};

use super::memory::Bindings;
use super::slice::LbSlice;

pub(super) use next::{Former, Inheritance};

/// How long the other process may take for one answer.
const ANSWER: Duration = Duration::from_secs(10);
/// Largest message: a slice with its certificates, or the bindings of some million clients.
const LARGEST: usize = 1 << 28;

/// What a process leaves to the next.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Legacy {
    /// What the sockets that follow listen on, in their order.
    pub(super) listening: Vec<SocketAddr>,
    /// Counts and health.
    pub(super) report: Report,
    /// Clients of each rule that has some.
    pub(super) bindings: Vec<(ObjectId, Bindings)>,
}

/// What the newer process says.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum ToFormer {
    /// It accepts on all sockets.
    Taken,
    /// This is the configuration from now on.
    Slice(LbSlice),
}

/// What the older process says.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum ToNext {
    /// It accepts nothing any more, and its door is shut.
    Closed,
    /// It has counted this since it last said so.
    Counted(Vec<Counted>),
}

/// What was counted for a rule, or for a member of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Counted {
    /// The rule.
    pub(super) rule: ObjectId,
    /// The member.
    pub(super) member: Option<ObjectId>,
    /// How much more.
    pub(super) counts: Counts,
}

/// Where the next process knocks.
pub(super) struct Door(String);

/// A door that is open.
pub(super) struct Open(UnixListener);

impl Door {
    /// A door of the service called `name`, not open yet.
    pub(super) fn new(name: &str) -> Self {
        Self(format!("sluice/{name}/{}", hand_over::own_user()))
    }

    /// What the process leaves that is behind the door; `None` when there is none.
    pub(super) fn knock(&self) -> Option<Inheritance> {
        let channel = hand_over::connect(&self.0).ok()?;
        match Inheritance::receive(channel) {
            Ok(inheritance) => Some(inheritance),
            Err(error) => {
                warn!(%error, "nothing is taken over from the process before");
                None
            }
        }
    }

    /// Opens the door; `None` when another process has it.
    pub(super) fn open(self) -> Option<Open> {
        match hand_over::listen(&self.0) {
            Ok(listener) => Some(Open(listener)),
            Err(error) => {
                warn!(%error, "the next process cannot take over from this one");
                None
            }
        }
    }
}

/// Waits for answers no longer than [`ANSWER`]; only a process of the same user is spoken to.
fn checked(channel: UnixStream) -> io::Result<UnixStream> {
    channel.set_nonblocking(false)?;
    channel.set_read_timeout(Some(ANSWER))?;
    channel.set_write_timeout(Some(ANSWER))?;
    let user = hand_over::peer_user(&channel)?;
    if user == hand_over::own_user() {
        return Ok(channel);
    }
    info!(user, "another user's process knocked");
    Err(io::ErrorKind::PermissionDenied.into())
}

fn say(mut channel: &UnixStream, message: &impl Serialize) -> io::Result<()> {
    let bytes = serde_json::to_vec(message)?;
    let length = u32::try_from(bytes.len()).ok().filter(|_| bytes.len() <= LARGEST);
    let length = length.ok_or_else(|| io::Error::other("a message is too long"))?;
    channel.write_all(&length.to_be_bytes())?;
    channel.write_all(&bytes)
}

fn hear<T: DeserializeOwned>(mut channel: &UnixStream) -> io::Result<T> {
    let mut length = [0; 4];
    channel.read_exact(&mut length)?;
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > LARGEST {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a message is too long"));
    }
    let mut bytes = vec![0; length];
    channel.read_exact(&mut bytes)?;
    Ok(serde_json::from_slice(&bytes)?)
}
