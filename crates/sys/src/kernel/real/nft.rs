//! Rules through the `nft` program, and the memory of what they are.
//!
//! Guarantees: a script is one kernel transaction; after one of ours, and unless the generation number proves that nobody
//! changed anything since the last look, the tables are listed anew. No call waits for ever. Why a program: libnftables would bring its memory peak (170 MB at 100,000
//! elements) into our process, and gains nothing (rust-stack Q1).

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::sync::Mutex;

use super::failed;
use super::generation::{exists, generation};
use crate::kernel::{KernelError, Object};
use crate::nft::{self, Counters, ObservedTables, Script, TableId};

/// How long one run of `nft` may take; the largest script known, 100,000 elements, takes seconds under emulation.
const PATIENCE: Duration = Duration::from_mins(1);
/// Looks at rules that somebody else keeps changing, before it is an error.
const LOOKS: usize = 5;

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
}

/// What the tables were at a generation.
#[derive(Debug)]
struct Memory {
    generation: u32,
    looked_at: BTreeSet<TableId>,
    tables: ObservedTables,
}

impl Rules {
    pub(super) fn new(program: NftProgram) -> Self {
        Self { program, memory: Mutex::new(None) }
    }

    /// The generation number and those of `wanted` that exist.
    pub(super) async fn observe(
        &self,
        wanted: &BTreeSet<TableId>,
    ) -> Result<(u32, ObservedTables), KernelError> {
        let mut memory = self.memory.lock().await;
        let now = now()?;
        let known = memory
            .as_ref()
            .is_some_and(|memory| memory.generation == now && wanted.is_subset(&memory.looked_at));
        if !known {
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
                return Ok(Memory { generation: before, looked_at: wanted, tables });
            }
        }
        let source = io::Error::other("somebody changes them faster than they can be listed");
        Err(failed("list", Object::Rules, source))
    }

    async fn list(
        &self,
        wanted: &BTreeSet<TableId>,
    ) -> Result<(ObservedTables, Counters), KernelError> {
        let (mut tables, mut counters) = (ObservedTables::new(), Counters::new());
        for id in wanted {
            if !exists(id).map_err(|source| failed("look for a table of", Object::Rules, source))? {
                continue;
            }
            let (family, name) = (id.family.as_str(), id.name.as_str());
            let listed = self.run(&["-j", "list", "table", family, name], None).await?;
            let (more, counts) = parse(&listed, wanted)?;
            tables.extend(more);
            counters.extend(counts);
        }
        Ok((tables, counters))
    }

    pub(super) async fn counters(&self, table: &TableId) -> Result<Counters, KernelError> {
        Ok(self.list(&BTreeSet::from([table.clone()])).await?.1)
    }

    pub(super) async fn check(&self, script: &Script) -> Result<(), KernelError> {
        self.run(&["-c", "-f", "-"], Some(script.render())).await.map(drop)
    }

    /// Commits. What the kernel made of the script shows at the next look, which reads it back.
    pub(super) async fn commit(&self, script: &Script) -> Result<(), KernelError> {
        self.memory.lock().await.take();
        self.run(&["-f", "-"], Some(script.render())).await.map(drop)
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
        let pipe = child.stdin.take();
        let feed = async {
            if let (Some(mut pipe), Some(input)) = (pipe, input) {
                // an nft that ends early says why on its standard error
                let _closed = pipe.write_all(input.as_bytes()).await;
            }
        };
        let ((), output) = tokio::join!(feed, child.wait_with_output());
        output
    }
}

fn now() -> Result<u32, KernelError> {
    generation()
        .map_err(|source: io::Error| failed("read the generation of", Object::Rules, source))
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
