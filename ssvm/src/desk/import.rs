//! `sluice-ssvm import`: brings one image into a directory, as the service would. The same command again goes on where it was
//! interrupted.

use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use sluice_api::types::ObjectId;
use sluice_sys::stdout;

use crate::checksum::Checksum;
use crate::image::Format;
use crate::jobs::JobReport;
use crate::service::Storage;
use crate::slice::{
    FetchPolicy, Job, Limits, Place, Source, SourceUrl, StorageSlice, StoreKind, StoreSlice, What,
};

/// Between two looks at how far it is.
const LOOK: Duration = Duration::from_millis(50);

/// Arguments of `sluice-ssvm import`.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// Where the image is: http or https
    url: SourceUrl,
    /// The store: a directory
    #[arg(long, value_name = "DIR")]
    store: PathBuf,
    /// Begin a store in a directory that is missing or empty
    #[arg(long)]
    create: bool,
    /// Where it is to stand, such as template/tmpl/2/201/NAME
    #[arg(long)]
    place: Place,
    /// What it must be: qcow2, raw, vhd, vhdx, vmdk, ova or iso
    #[arg(long)]
    format: Option<Format>,
    /// What it must hash to as fetched, such as sha256:HEX
    #[arg(long)]
    checksum: Option<Checksum>,
    /// Fetch from this private network as well; may be given several times
    #[arg(long = "allow", value_name = "CIDR")]
    allowed: Vec<sluice_api::types::Cidr>,
    /// Fetch from this TCP port as well; may be given several times
    #[arg(long = "port")]
    ports: Vec<u16>,
}

impl ImportArgs {
    /// Imports and prints what it made as JSON.
    pub fn run(&self) -> Result<()> {
        super::block_on(self.import())
    }

    async fn import(&self) -> Result<()> {
        if !self.create {
            stands(&self.store)?;
        }
        let slice = self.slice()?;
        let mut storage = Storage::default();
        storage.set(&slice).await.map_err(anyhow::Error::msg)?;
        loop {
            let report = storage.report().jobs.into_iter().next().context("the job is gone")?;
            show(&report);
            match (report.state, report.object, report.failure) {
                ("done", Some(object), _) => {
                    let told = stdout::line(serde_json::to_string_pretty(&object)?);
                    self.forget(storage, slice).await?;
                    return Ok(told?);
                }
                ("failed", _, failure) => {
                    self.forget(storage, slice).await?;
                    bail!("{}", failure.map_or("no reason".to_owned(), |failure| failure.reason));
                }
                _ => tokio::time::sleep(LOOK).await,
            }
        }
    }

    /// So that the same command may be given again.
    async fn forget(&self, mut storage: Storage, mut slice: StorageSlice) -> Result<()> {
        slice.jobs.clear();
        storage.set(&slice).await.map_err(anyhow::Error::msg)
    }

    fn slice(&self) -> Result<StorageSlice> {
        let store = std::path::absolute(&self.store)?;
        let id: ObjectId = "desk".parse()?;
        let what = What::Import {
            source: Source::Url(self.url.clone()),
            store: id.clone(),
            place: self.place.clone(),
            format: self.format,
            checksum: self.checksum.clone(),
            most_bytes: None,
            parent: None,
            layout: None,
        };
        let mut fetch = FetchPolicy { allowed: self.allowed.clone(), ..FetchPolicy::default() };
        fetch.ports.extend(&self.ports);
        Ok(StorageSlice {
            owner: id.clone(),
            journal: store.join(".sluice/desk"),
            stores: vec![StoreSlice {
                id: id.clone(),
                kind: StoreKind::Directory { path: store, filesystem: None },
                read_only: false,
                full_percent: sluice_api::types::Percent::MAX,
            }],
            jobs: vec![Job { id, what }],
            grants: Vec::new(),
            listen: Vec::new(),
            peers: Vec::new(),
            identities: Vec::new(),
            limits: Limits::default(),
            fetch,
            resolvers: Vec::new(),
            proxy: None,
            authorities: String::new(),
        })
    }
}

/// Whether there is something at `store`: the place of a mount that vanished is missing or empty, and no store.
fn stands(store: &Path) -> Result<()> {
    let path = store.display();
    let mut there = std::fs::read_dir(store).with_context(|| {
        format!("there is no store at {path}; is it mounted? --create begins one there")
    })?;
    match there.next() {
        Some(entry) => entry.map(drop).with_context(|| format!("{path} cannot be read")),
        None => bail!("{path} is empty; is the store mounted? --create begins one there"),
    }
}

/// One line that is written over, for people alone.
fn show(report: &JobReport) {
    let mut stderr = std::io::stderr();
    if !stderr.is_terminal() {
        return;
    }
    let total = report.total.map_or("?".to_owned(), |total| (total >> 20).to_string());
    let (taken, image) = (report.taken >> 20, report.image >> 20);
    // a terminal that went away is no reason to stop
    let _ = write!(stderr, "\r\x1b[K{}: {taken} of {total} MiB, image {image} MiB", report.state);
    let ended = matches!(report.state, "done" | "failed");
    let _ = if ended { writeln!(stderr) } else { stderr.flush() };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_or_empty_is_no_store() {
        let folder = tempfile::tempdir().unwrap();
        let refused = |path: &Path| format!("{:#}", stands(path).unwrap_err());
        let missing = refused(&folder.path().join("vanished"));
        assert!(missing.contains("is it mounted? --create"), "{missing}");
        assert!(refused(folder.path()).contains("is empty"));
        std::fs::create_dir(folder.path().join("template")).unwrap();
        stands(folder.path()).unwrap();
    }
}
