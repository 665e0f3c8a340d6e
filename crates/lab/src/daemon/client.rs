//! Reaching a running lab.

use std::io;
use std::process::Child;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::lab::LabStatus;
use crate::netns;
use crate::spec::LabSpec;
use crate::wait::Wait;

use super::error::DaemonError;
use super::folder::LabFolder;
use super::process::launch;
use super::protocol::{Reply, Request};

/// Machines start side by side; what boots in them is not awaited.
const UP_BOUND: Duration = Duration::from_mins(2);
const DOWN_BOUND: Duration = Duration::from_secs(30);
/// An answer that is not a guest's takes no longer than a machine's switching itself off.
const ANSWER_BOUND: Duration = Duration::from_secs(90);

/// A running lab, by its folder.
#[derive(Debug)]
pub struct Client {
    folder: LabFolder,
}

impl Client {
    /// The lab `name`, or the only one that runs.
    pub fn find(name: Option<&str>) -> Result<Self, DaemonError> {
        let folder = match name {
            Some(name) => LabFolder::of(name)?,
            None => only_one()?,
        };
        if folder.is_running() {
            Ok(Self { folder })
        } else {
            Err(DaemonError::NotUp(folder.name()))
        }
    }

    /// Starts a lab in the background and waits until it is up.
    pub async fn up(spec: &LabSpec, prefix: &[&str]) -> Result<Self, DaemonError> {
        let folder = LabFolder::of(spec.name.as_str())?;
        if folder.is_running() {
            return Err(DaemonError::Up(folder.name()));
        }
        folder.remove()?;
        folder.create()?;
        let text = serde_json::to_vec_pretty(spec).map_err(io::Error::from);
        text.and_then(|text| std::fs::write(folder.spec(), text))
            .map_err(|source| DaemonError::Folder { path: folder.spec(), source })?;
        let client = Self { folder };
        let child = launch(&client.folder, prefix)?;
        Starting { client: &client, child, up: false }.awaited().await?;
        Ok(client)
    }

    /// Asks one thing.
    pub async fn ask(&self, request: &Request) -> Result<Reply, DaemonError> {
        let bound = match request {
            Request::Exec { timeout_s, .. } => ANSWER_BOUND + Duration::from_secs(*timeout_s),
            _ => ANSWER_BOUND,
        };
        let asked = async {
            let mut stream = self.send(request).await?;
            self.reply(&mut stream).await
        };
        let late = || io::Error::from(io::ErrorKind::TimedOut);
        timeout(bound, asked).await.unwrap_or_else(|_| Err(self.broken(late())))
    }

    /// Everything's state.
    pub async fn status(&self) -> Result<LabStatus, DaemonError> {
        match self.ask(&Request::Status).await? {
            Reply::Status(status) => Ok(status),
            other => Err(self.unexpected(&other)),
        }
    }

    /// A connection that carries a pcap file of the wire's frames until its write side is closed.
    pub async fn capture(&self, wire: &str) -> Result<BufReader<UnixStream>, DaemonError> {
        let mut stream = self.send(&Request::Capture { wire: wire.to_owned() }).await?;
        self.reply(&mut stream).await.map(|_done| stream)
    }

    /// Ends the lab and removes what it left, by force if it does not answer.
    pub async fn down(&self) -> Result<(), DaemonError> {
        let asked = timeout(DOWN_BOUND, self.ask(&Request::Down)).await;
        if let Ok(Ok(_)) = asked {
            let ended = || !self.folder.is_running();
            // one that said yes and hangs is killed below
            let _ended =
                Wait::until_async(DOWN_BOUND, "the lab's end", || async { ended().then_some(()) })
                    .await;
        }
        self.clean()
    }

    /// Removes what labs left that were killed. Returns their names.
    pub fn clean_dead() -> Result<Vec<String>, DaemonError> {
        let mut cleaned = Vec::new();
        for name in LabFolder::names()? {
            let folder = LabFolder::of(&name)?;
            if !folder.is_running() {
                Self { folder }.clean()?;
                cleaned.push(name);
            }
        }
        Ok(cleaned)
    }

    fn clean(&self) -> Result<(), DaemonError> {
        self.folder.kill_owner();
        netns::sweep();
        self.folder.remove()
    }

    async fn send(&self, request: &Request) -> Result<BufReader<UnixStream>, DaemonError> {
        let connected = async {
            let mut stream = UnixStream::connect(self.folder.socket()).await?;
            let mut line = serde_json::to_vec(request)?;
            line.push(b'\n');
            stream.write_all(&line).await?;
            Ok(BufReader::new(stream))
        };
        connected.await.map_err(|source| self.broken(source))
    }

    async fn reply(&self, stream: &mut BufReader<UnixStream>) -> Result<Reply, DaemonError> {
        let mut line = String::new();
        stream.read_line(&mut line).await.map_err(|source| self.broken(source))?;
        match serde_json::from_str(&line) {
            Ok(Reply::Failed { reason }) => Err(DaemonError::Failed(reason)),
            Ok(reply) => Ok(reply),
            Err(_) => Err(DaemonError::Unexpected { name: self.folder.name(), said: line }),
        }
    }

    fn broken(&self, source: io::Error) -> DaemonError {
        DaemonError::Connection { name: self.folder.name(), source }
    }

    fn unexpected(&self, reply: &Reply) -> DaemonError {
        DaemonError::Unexpected { name: self.folder.name(), said: format!("{reply:?}") }
    }
}

fn only_one() -> Result<LabFolder, DaemonError> {
    let folders = LabFolder::names()?.into_iter().map(|name| LabFolder::of(&name));
    let folders: Vec<LabFolder> = folders.collect::<Result<_, _>>()?;
    let mut running = folders.into_iter().filter(LabFolder::is_running);
    let first = running.next().ok_or(DaemonError::NoLab)?;
    let others: Vec<String> = running.map(|folder| folder.name()).collect();
    if others.is_empty() {
        return Ok(first);
    }
    Err(DaemonError::Several(format!("{}, {}", first.name(), others.join(", "))))
}

/// A lab that is not up yet: one that is given up, for whatever reason, leaves nothing behind.
struct Starting<'a> {
    client: &'a Client,
    child: Child,
    up: bool,
}

impl Starting<'_> {
    async fn awaited(mut self) -> Result<(), DaemonError> {
        let folder = &self.client.folder;
        let up = Wait::until_async(UP_BOUND, "the lab to be up", || async {
            UnixStream::connect(folder.socket()).await.is_ok().then_some(())
        });
        tokio::select! {
            up = up => up?,
            () = ended(&mut self.child) => {
                let said = std::fs::read_to_string(folder.log()).unwrap_or_default();
                return Err(DaemonError::Start(said.trim().to_owned()));
            }
        }
        self.up = true;
        Ok(())
    }
}

impl Drop for Starting<'_> {
    fn drop(&mut self) {
        if self.up {
            return;
        }
        // an error means that it has ended already; its machines end with it
        let _ended = self.child.kill().and_then(|()| self.child.wait());
        if let Err(error) = self.client.clean() {
            tracing::warn!(lab = self.client.folder.name(), %error, "left-overs of a lab stay");
        }
    }
}

async fn ended(child: &mut Child) {
    let bound = UP_BOUND * 2;
    let look = || std::future::ready(child.try_wait().ok().flatten());
    if Wait::until_async(bound, "its end", look).await.is_err() {
        // it runs: that is what was hoped for
        std::future::pending::<()>().await;
    }
}
