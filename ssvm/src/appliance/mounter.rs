//! Keeps file servers mounted: a thread that nobody waits for, with one more for each mount under way.
//!
//! Guarantees: a server that does not answer holds up its own mount alone; a mount that is no longer wanted, or wanted
//! otherwise, goes at once; one that failed is tried again. Whether a store works is not judged here: the service probes it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::unix::fs::chown;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use sluice_api::types::ObjectId;
use sluice_sys::mounts::{self, NfsMount};

use super::{Folders, USER};
use crate::store::mount_failure;

/// Between two attempts at what could not be mounted.
const AGAIN: Duration = Duration::from_secs(10);
/// How long a server has to let itself be connected to.
const REACH: Duration = Duration::from_secs(5);
/// Folders of a store that the service makes objects in (CloudStack's names) and its own.
const FOLDERS: [&str; 5] = [".sluice", "template", "template/tmpl", "volumes", "snapshots"];

type Wanted = BTreeMap<ObjectId, NfsMount>;

enum News {
    Want(Wanted),
    /// A mount under way has ended.
    Ended(ObjectId, NfsMount, io::Result<()>),
}

/// The thread.
pub(super) struct Mounter {
    news: Sender<News>,
}

impl Mounter {
    /// Mounts below the stores' folder of `folders`.
    pub(super) fn start(folders: Folders) -> Self {
        let (news, receiver) = channel();
        let back = news.clone();
        thread::spawn(move || State::new(folders).run(&receiver, &back));
        Self { news }
    }

    /// From now on these are to be mounted and no others.
    pub(super) fn want(&self, wanted: Wanted) {
        // the thread lives as long as this does
        let _ = self.news.send(News::Want(wanted));
    }
}

struct State {
    folders: Folders,
    wanted: Wanted,
    mounted: Wanted,
    under_way: BTreeSet<ObjectId>,
    /// The last failure of each, so that it is said once.
    failed: BTreeMap<ObjectId, String>,
}

impl State {
    fn new(folders: Folders) -> Self {
        Self {
            folders,
            wanted: Wanted::new(),
            mounted: Wanted::new(),
            under_way: BTreeSet::new(),
            failed: BTreeMap::new(),
        }
    }

    fn run(mut self, news: &Receiver<News>, back: &Sender<News>) {
        loop {
            match news.recv_timeout(AGAIN) {
                Ok(News::Want(wanted)) => self.wanted = wanted,
                Ok(News::Ended(id, export, outcome)) => self.ended(id, export, outcome),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.let_go();
            for (id, export) in self.missing() {
                self.under_way.insert(id.clone());
                let (back, point) = (back.clone(), self.folders.mount_point(&id));
                thread::spawn(move || {
                    let outcome = mount(&id, &export, &point);
                    let _ = back.send(News::Ended(id, export, outcome));
                });
            }
        }
    }

    fn ended(&mut self, id: ObjectId, export: NfsMount, outcome: io::Result<()>) {
        self.under_way.remove(&id);
        match outcome {
            Ok(()) => {
                tracing::info!(store = %id, source = export.source(), "store mounted");
                self.failed.remove(&id);
                self.tell(&id, None);
                self.mounted.insert(id, export);
            }
            Err(error) => {
                let reason = mounts::reason(&export, &error);
                self.tell(&id, Some(&reason));
                if self.failed.insert(id.clone(), reason.clone()).as_ref() != Some(&reason) {
                    tracing::error!(store = %id, reason, "store not mounted");
                }
            }
        }
    }

    /// Says beside the mount point why nothing is there: the service reports it.
    fn tell(&self, id: &ObjectId, reason: Option<&str>) {
        let Some(path) = mount_failure(&self.folders.mount_point(id)) else { return };
        let told = match reason {
            // the service reads it at any moment
            Some(reason) if std::fs::read_to_string(&path).is_ok_and(|was| was == reason) => Ok(()),
            Some(reason) => {
                let fresh = path.with_extension("new");
                std::fs::write(&fresh, reason).and_then(|()| std::fs::rename(fresh, path))
            }
            None => std::fs::remove_file(path),
        };
        match told {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(store = %id, %error, "what became of a mount is not told");
            }
            _ => {}
        }
    }

    /// Takes away what is mounted and no longer wanted so.
    fn let_go(&mut self) {
        let gone: Vec<ObjectId> = self
            .mounted
            .iter()
            .filter(|(id, export)| self.wanted.get(id) != Some(export))
            .map(|(id, _)| id.clone())
            .collect();
        for id in gone {
            self.mounted.remove(&id);
            match mounts::detach(&self.folders.mount_point(&id)) {
                Ok(()) => tracing::info!(store = %id, "store unmounted"),
                Err(error) => tracing::warn!(store = %id, %error, "store not unmounted"),
            }
        }
    }

    /// What is wanted, not mounted, and not being mounted.
    fn missing(&self) -> Vec<(ObjectId, NfsMount)> {
        let missing =
            |id: &ObjectId| !self.mounted.contains_key(id) && !self.under_way.contains(id);
        let wanted = self.wanted.iter().filter(|(id, _)| missing(id));
        wanted.map(|(id, export)| (id.clone(), export.clone())).collect()
    }
}

fn mount(id: &ObjectId, export: &NfsMount, point: &Path) -> io::Result<()> {
    mounts::reach(export, REACH)?;
    mounts::nfs(export, point)?;
    if !export.read_only
        && let Err(error) = make_folders(point)
    {
        // an export that lets root do nothing may still have been prepared by its owner; the service's canary tells
        tracing::warn!(store = %id, %error, "the store's folders cannot be made by us");
    }
    Ok(())
}

/// The service is no root, so the folders that it works in are given to it; what is below them stays whose it is.
fn make_folders(store: &Path) -> io::Result<()> {
    for folder in FOLDERS.map(|name| store.join(name)) {
        if !folder.is_dir() {
            std::fs::create_dir(&folder)?;
            chown(&folder, Some(USER), Some(USER))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn export(path: &str) -> NfsMount {
        NfsMount {
            server: "192.0.2.1".parse().unwrap(),
            path: path.to_owned(),
            version: "4.2",
            read_only: false,
        }
    }

    fn id(text: &str) -> ObjectId {
        text.parse().unwrap()
    }

    #[test]
    fn what_is_wanted_and_not_there_is_missing_once() {
        let folders = Folders::new(Path::new("/nowhere"), Path::new("/nowhere"));
        let mut state = State::new(folders);
        state.wanted.insert(id("a"), export("/a"));
        assert_eq!(state.missing().len(), 1);
        state.under_way.insert(id("a"));
        assert_eq!(state.missing().len(), 0);
        state.ended(id("a"), export("/a"), Err(io::Error::other("no route")));
        assert_eq!(state.missing().len(), 1, "it is tried again");
        state.ended(id("a"), export("/a"), Ok(()));
        assert_eq!(state.missing().len(), 0);
        state.wanted.insert(id("a"), export("/b"));
        state.let_go();
        assert_eq!(state.missing(), [(id("a"), export("/b"))], "another export is another mount");
    }
}
