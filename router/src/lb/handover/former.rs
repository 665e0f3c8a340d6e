//! The older process: waits for the next one, hands over, and ends with its last connection.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use sluice_api::report::balancing::Counts;
use sluice_api::types::ObjectId;
use sluice_sys::hand_over;
use tokio::net::UnixListener;
use tokio::sync::Mutex;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tracing::{info, warn};

use super::{Counted, Open, ToFormer, ToNext, checked, hear, say};
use crate::lb::counters::since;
use crate::lb::server::Server;

/// How long the newer process may take to its first configuration.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often is looked whether the last connection has ended.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Counts of rules and, with a name, of members.
type Accounts = BTreeMap<(ObjectId, Option<ObjectId>), Counts>;

impl Open {
    /// Waits for the next process, leaves everything to it, and serves the connections that are left: true when the last
    /// of them has ended, and this process may end too.
    pub(in crate::lb) async fn hand_over(self, server: Arc<Mutex<Server>>) -> bool {
        let waited = self.wait(&server).await;
        if let Err(error) = &waited {
            warn!(%error, "no other process can take over from this one");
        }
        waited.is_ok()
    }

    async fn wait(self, server: &Mutex<Server>) -> io::Result<()> {
        self.0.set_nonblocking(true)?;
        let listener = UnixListener::from_std(self.0)?;
        loop {
            let (stream, _) = listener.accept().await?;
            let mut server = server.lock().await;
            match stream.into_std().and_then(checked).and_then(|channel| leave(&server, channel)) {
                Ok((channel, accounts)) => {
                    server.stop_accepting().await;
                    drop(listener);
                    linger(&mut server, channel, accounts).await;
                    return Ok(());
                }
                Err(error) => warn!(%error, "the next process did not take over"),
            }
        }
    }
}

/// Leaves everything to the process at the other end, and waits until it serves. This blocks the thread that takes
/// configurations, which wait; connections are served by others.
fn leave(server: &Server, channel: UnixStream) -> io::Result<(UnixStream, Accounts)> {
    let (legacy, listening) = server.legacy();
    let accounts = accounts(server);
    say(&channel, &legacy)?;
    let sockets: Vec<_> = listening.iter().map(|it| it.as_fd()).collect();
    hand_over::send(&channel, &sockets)?;
    // it has to get its first configuration
    channel.set_read_timeout(Some(PATIENCE))?;
    match hear(&channel)? {
        ToFormer::Taken => Ok((channel, accounts)),
        ToFormer::Slice(_) => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Serves the connections that are left.
async fn linger(server: &mut Server, channel: UnixStream, mut accounts: Accounts) {
    let mut slices = match said(&channel) {
        Ok(slices) => slices,
        Err(error) => return warn!(%error, "connections are left to themselves"),
    };
    let mut next_is_there = say(&channel, &ToNext::Closed).is_ok();
    let mut tick = tokio::time::interval(LOOK_EVERY);
    loop {
        tokio::select! {
            slice = slices.recv(), if next_is_there => match slice {
                Some(slice) => server.follow(slice).await,
                None => next_is_there = false,
            },
            _ = tick.tick() => {
                next_is_there = next_is_there && tell(server, &channel, &mut accounts).is_ok();
                if server.open_connections() == 0 {
                    return info!("the last connection of this process has ended");
                }
            }
        }
        if !next_is_there {
            // nobody tells us any more which rules there are
            server.remove_all();
        }
    }
}

/// What the newer process says, read by a thread of its own.
fn said(channel: &UnixStream) -> io::Result<UnboundedReceiver<crate::lb::LbSlice>> {
    let reader = channel.try_clone()?;
    reader.set_read_timeout(None)?;
    let (sender, slices) = unbounded_channel();
    thread::Builder::new().name("lb-next".to_owned()).spawn(move || {
        while let Ok(ToFormer::Slice(slice)) = hear(&reader) {
            if sender.send(slice).is_err() {
                return;
            }
        }
    })?;
    Ok(slices)
}

fn tell(server: &Server, channel: &UnixStream, before: &mut Accounts) -> io::Result<()> {
    let now = accounts(server);
    let mut more = Vec::new();
    for ((rule, member), counts) in &now {
        let known = before.get(&(rule.clone(), member.clone())).cloned().unwrap_or_default();
        let counts = since(&known, counts);
        if counts != Counts::default() {
            more.push(Counted { rule: rule.clone(), member: member.clone(), counts });
        }
    }
    // a rule that is gone has nobody who would ask
    *before = now;
    if more.is_empty() { Ok(()) } else { say(channel, &ToNext::Counted(more)) }
}

fn accounts(server: &Server) -> Accounts {
    let mut accounts = Accounts::new();
    for rule in server.report().rules {
        for member in rule.members {
            accounts.insert((rule.id.clone(), Some(member.id)), member.counts);
        }
        accounts.insert((rule.id, None), rule.counts);
    }
    accounts
}
