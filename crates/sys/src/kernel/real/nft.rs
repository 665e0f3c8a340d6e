//! Rules through the `nft` program, and the memory of what they are.
//!
//! Guarantees: a script is one kernel transaction, and the memory says what the kernel has. After a script of ours that is
//! what nft echoed, which is compared with the script: verifying costs what changed. Where there is no echo, where it is
//! not as the script said, and whenever the generation number does not prove that nobody else changed anything, the
//! tables are listed anew. An audit compares a set at a time, and one that is given up has lost nothing. No call waits for ever. Why a program: libnftables would bring its memory peak (170 MB at
//! 100,000 elements) into our process, and gains nothing (rust-stack Q1).

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::sync::{Mutex, OnceCell};

use tracing::warn;

use super::generation::{exists, generation};
use super::{elements, failed};
use crate::kernel::{KernelError, Object};
use crate::nft::{self, Counters, ObservedSet, ObservedTable, ObservedTables, Script, TableId};
use crate::process::{let_give_way, watch_memory};

/// How long one run of `nft` may take; the largest script known, 100,000 elements, takes seconds under emulation.
const PATIENCE: Duration = Duration::from_mins(1);
/// Looks at rules that somebody else keeps changing, before it is an error.
const LOOKS: usize = 5;

/// The first version whose echo says what the kernel made of a script that is text, and that lists sets without reading
/// their elements. Before, `-j` made nft take standard input for JSON; it then did nothing, and called that success.
const RECENT: [u32; 3] = [1, 1, 3];
/// Objects of a script whose echo is asked for: the kernel makes a message of 8 KiB for each, all of them before the first
/// is sent. Larger ones cost less to list; that of 100,000 elements overruns nft's own socket, which makes it fail after the
/// commit.
const ECHOED: usize = 1000;

/// Where `nft` is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NftProgram(pub PathBuf);

impl Default for NftProgram {
    fn default() -> Self {
        Self(PathBuf::from("/usr/sbin/nft"))
    }
}

/// The rules of this namespace.
#[derive(Debug)]
pub(super) struct Rules {
    program: NftProgram,
    memory: Mutex<Option<Memory>>,
    recent: OnceCell<bool>,
}

/// What the tables were at a generation.
#[derive(Debug)]
struct Memory {
    generation: u32,
    looked_at: BTreeSet<TableId>,
    tables: ObservedTables,
    /// Sets that an audit found to be what is remembered, until it is through: one that is given up goes on from there.
    proven: BTreeSet<(TableId, String)>,
}

impl Memory {
    /// What the tables are at `generation`, if that is where our script alone led, and the echo says what the script did.
    fn after(mut self, script: &Script, echo: &[u8], generation: u32) -> Option<Self> {
        if generation != following(self.generation) {
            return None;
        }
        let handles = script.confirmed_by(echo, &self.tables);
        let handles = handles
            .inspect_err(|error| warn!(%error, "rules are listed to see what they are"))
            .ok()?;
        script.done(&mut self.tables, &mut handles.into_iter()).ok()?;
        self.generation = generation;
        Some(self)
    }
}

/// The generation after this one; the kernel leaves out 0.
fn following(generation: u32) -> u32 {
    generation.checked_add(1).unwrap_or(1)
}

/// `nftables v1.1.3 (Commodore Bullmoose #4)`.
fn version(said: &str) -> Option<[u32; 3]> {
    let text = said.strip_prefix("nftables v")?.split_whitespace().next()?;
    let mut numbers = text.split('.').map(str::parse);
    let mut next = || numbers.next().unwrap_or(Ok(0)).ok();
    Some([next()?, next()?, next()?])
}

impl Rules {
    pub(super) fn new(program: NftProgram) -> Self {
        Self { program, memory: Mutex::new(None), recent: OnceCell::new() }
    }

    /// The generation number and those of `wanted` that exist; listed in any case when `anew`.
    pub(super) async fn observe(
        &self,
        wanted: &BTreeSet<TableId>,
        anew: bool,
    ) -> Result<(u32, ObservedTables), KernelError> {
        let mut memory = self.memory.lock().await;
        let now = now()?;
        let followed = memory
            .as_mut()
            .filter(|memory| memory.generation == now && wanted.is_subset(&memory.looked_at));
        let known = match followed {
            Some(memory) if anew => self.is_what_is_there(memory).await?,
            followed => followed.is_some(),
        };
        if !known {
            // never two of them at once: that is what a large table has room for
            *memory = None;
            *memory = Some(self.look(wanted.clone()).await?);
        }
        let Some(memory) = memory.as_ref() else { return Ok((now, ObservedTables::new())) };
        let tables = memory.tables.iter().filter(|(id, _)| wanted.contains(id));
        let tables = tables.map(|(id, table)| (id.clone(), table.clone())).collect();
        Ok((memory.generation, tables))
    }

    async fn look(&self, wanted: BTreeSet<TableId>) -> Result<Memory, KernelError> {
        // a change during the listing shows as a generation that moved; nft itself also retries
        for _ in 0..LOOKS {
            let before = now()?;
            let tables = self.list(&wanted).await?.0;
            if now()? == before {
                let proven = BTreeSet::new();
                return Ok(Memory { generation: before, looked_at: wanted, tables, proven });
            }
        }
        Err(failed("list", Object::Rules, busy()))
    }

    /// Whether the kernel has what is remembered: never more than one set is read at a time.
    async fn is_what_is_there(&self, memory: &mut Memory) -> Result<bool, KernelError> {
        // before, nft read the elements even where it was not to list them
        if !self.is_recent().await? {
            return Ok(false);
        }
        let Memory { generation, looked_at, tables, proven } = memory;
        for id in looked_at.iter() {
            let Some(table) = tables.get(id) else {
                if is_there(id)? {
                    return Ok(false);
                }
                continue;
            };
            if !is_there(id)? || !self.is_table(id, table, proven).await? {
                return Ok(false);
            }
        }
        proven.clear();
        Ok(now()? == *generation)
    }

    async fn is_table(
        &self,
        id: &TableId,
        table: &ObservedTable,
        proven: &mut BTreeSet<(TableId, String)>,
    ) -> Result<bool, KernelError> {
        let (listed, _) = self.list_without_elements(id, &BTreeSet::from([id.clone()])).await?;
        if !listed.get(id).is_some_and(|listed| listed.is_but_for_elements(table)) {
            return Ok(false);
        }
        for (name, set) in &table.sets {
            let which = (id.clone(), name.clone());
            if proven.contains(&which) {
                continue;
            }
            let mut read = set.form();
            self.fill(id, name, &mut read, &mut Counters::default()).await?;
            if read != *set {
                return Ok(false);
            }
            proven.insert(which);
        }
        Ok(true)
    }

    async fn list(
        &self,
        wanted: &BTreeSet<TableId>,
    ) -> Result<(ObservedTables, Counters), KernelError> {
        let (mut tables, mut counters) = (ObservedTables::new(), Counters::default());
        for id in wanted {
            if !is_there(id)? {
                continue;
            }
            let (more, counts) = self.list_table(id, wanted).await?;
            tables.extend(more);
            counters.extend(counts);
        }
        Ok((tables, counters))
    }

    /// One table: rules through nft, elements from the kernel itself, as far as both can.
    async fn list_table(
        &self,
        id: &TableId,
        wanted: &BTreeSet<TableId>,
    ) -> Result<(ObservedTables, Counters), KernelError> {
        let (family, name) = (id.family.as_str(), id.name.as_str());
        // before, nft read the elements even where it was not to list them
        if !self.is_recent().await? {
            let listed = self.run(&["-j", "-p", "list", "table", family, name], None).await?;
            return parse(&listed, wanted);
        }
        let (mut tables, mut counters) = self.list_without_elements(id, wanted).await?;
        let Some(table) = tables.get_mut(id) else { return Ok((tables, counters)) };
        for (name, set) in &mut Arc::make_mut(table).sets {
            self.fill(id, name, set, &mut counters).await?;
        }
        Ok((tables, counters))
    }

    async fn list_without_elements(
        &self,
        id: &TableId,
        wanted: &BTreeSet<TableId>,
    ) -> Result<(ObservedTables, Counters), KernelError> {
        let (family, name) = (id.family.as_str(), id.name.as_str());
        let listed = self.run(&["-j", "-p", "-t", "list", "table", family, name], None).await?;
        parse(&listed, wanted)
    }

    /// Reads the elements of a set.
    async fn fill(
        &self,
        table: &TableId,
        name: &str,
        set: &mut ObservedSet,
        counters: &mut Counters,
    ) -> Result<(), KernelError> {
        let Some(form) = elements::Form::of(set) else {
            // of types that only nft can read
            let kind = if set.types.1.is_empty() { "set" } else { "map" };
            let words =
                ["-j", "-p", "list", kind, table.family.as_str(), table.name.as_str(), name];
            let listed = self.run(&words, None).await?;
            let (tables, counts) = parse(&listed, &BTreeSet::from([table.clone()]))?;
            counters.elements.extend(counts.elements);
            if let Some(read) = tables.get(table).and_then(|table| table.sets.get(name)) {
                *set = read.clone();
            }
            return Ok(());
        };
        for _ in 0..LOOKS {
            let read = elements::read(table, name, &form).await;
            let read = read.map_err(|source| failed("list elements of", Object::Rules, source))?;
            if let Some(read) = read {
                let counts = read.counts.into_iter();
                counters.elements.extend(counts.map(|(id, count)| ((name.to_owned(), id), count)));
                (set.elements, set.foreign) = (read.known, read.foreign);
                return Ok(());
            }
        }
        Err(failed("list elements of", Object::Rules, busy()))
    }

    pub(super) async fn counters(&self, table: &TableId) -> Result<Counters, KernelError> {
        Ok(self.list(&BTreeSet::from([table.clone()])).await?.1)
    }

    pub(super) async fn check(&self, script: &Script) -> Result<(), KernelError> {
        self.run(&["-c", "-f", "-"], Some(script.render())).await.map(drop)
    }

    /// Commits, and remembers what the kernel made of the script if it can be known without listing.
    pub(super) async fn commit(&self, script: &Script) -> Result<(), KernelError> {
        let mut memory = self.memory.lock().await;
        // whatever goes wrong from here on, what is remembered is not what is
        let before = memory.take();
        let echoed = script.size() <= ECHOED && self.is_recent().await?;
        let words: &[&str] = if echoed { &["-j", "-p", "-e", "-f", "-"] } else { &["-f", "-"] };
        let output = self.run(words, Some(script.render())).await?;
        if let Some(before) = before.filter(|_| echoed) {
            *memory = before.after(script, &output, now()?);
        }
        Ok(())
    }

    /// Loads a script that is none of the tables that are followed.
    pub(super) async fn load(&self, script: String) -> Result<(), KernelError> {
        self.run(&["-f", "-"], Some(script)).await.map(drop)
    }

    /// Whether this nft is one that echoes what the kernel made of a script.
    async fn is_recent(&self) -> Result<bool, KernelError> {
        let asked = self.recent.get_or_try_init(async || {
            let said = self.run(&["--version"], None).await?;
            Ok::<_, KernelError>(version(&String::from_utf8_lossy(&said)) >= Some(RECENT))
        });
        asked.await.copied()
    }

    async fn run(&self, words: &[&str], input: Option<String>) -> Result<Vec<u8>, KernelError> {
        let output = tokio::time::timeout(PATIENCE, self.output(words, input))
            .await
            .unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut)));
        let output = output.map_err(|source| KernelError::Run {
            program: self.program.0.display().to_string(),
            source,
        })?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(KernelError::Nft { said: said.trim().chars().take(2000).collect() })
    }

    async fn output(&self, words: &[&str], input: Option<String>) -> io::Result<Output> {
        let mut child = Command::new(&self.program.0)
            .args(words)
            .env_clear()
            .stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        // it takes hundreds of MB for a large table, and can be run again
        let_give_way(child.id());
        let pipe = child.stdin.take();
        let feed = async {
            if let (Some(mut pipe), Some(input)) = (pipe, input) {
                // an nft that ends early says why on its standard error
                let _closed = pipe.write_all(input.as_bytes()).await;
            }
        };
        let watched = watch_memory(child.id());
        tokio::select! {
            ((), output) = async { tokio::join!(feed, child.wait_with_output()) } => output,
            never = watched => match never {},
        }
    }
}

fn busy() -> io::Error {
    io::Error::other("somebody changes them faster than they can be listed")
}

/// The generation number of the ruleset.
pub(super) fn now() -> Result<u32, KernelError> {
    generation()
        .map_err(|source: io::Error| failed("read the generation of", Object::Rules, source))
}

fn is_there(table: &TableId) -> Result<bool, KernelError> {
    exists(table).map_err(|source| failed("look for a table of", Object::Rules, source))
}

fn parse(
    listing: &[u8],
    wanted: &BTreeSet<TableId>,
) -> Result<(ObservedTables, Counters), KernelError> {
    nft::parse(listing, |id| wanted.contains(id)).map_err(|error| KernelError::Answer {
        from: "nft",
        object: Object::Rules,
        detail: error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::{RECENT, following, version};

    #[test]
    fn versions_are_read_and_compared() {
        assert_eq!(version("nftables v1.1.3 (Commodore Bullmoose #4)\n"), Some([1, 1, 3]));
        assert_eq!(version("nftables v1.2 (x)"), Some([1, 2, 0]));
        assert!(version("nftables v1.0.6 (Lester Gooch #5)") < Some(RECENT));
        assert!(version("nftables v1.1.10 (x)") > Some(RECENT));
        for nonsense in ["", "nftables", "nftables vx.y", "iptables v1.8.9"] {
            assert_eq!(version(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn generations_leave_out_zero() {
        assert_eq!((following(7), following(u32::MAX)), (8, 1));
    }
}
