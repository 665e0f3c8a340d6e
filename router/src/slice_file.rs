//! Where a service on a desk gets its slice from: a file of its own, or a whole configuration.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use serde::de::DeserializeOwned;
use sluice_api::RouterDocument;

/// Arguments of `sluice-router dhcp` and `sluice-router dns`.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct SliceArgs {
    /// Serve this slice of the service (JSON)
    #[arg(long, value_name = "FILE")]
    slice: Option<PathBuf>,
    /// Serve the networks of this router configuration (JSON)
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl SliceArgs {
    /// The slice as it is in the file now; `of` takes it out of a configuration.
    pub(crate) fn load<T: DeserializeOwned>(&self, of: impl Fn(&RouterDocument) -> T) -> Result<T> {
        match (&self.slice, &self.config) {
            (Some(path), _) => parse(path),
            (_, Some(path)) => parse(path).map(|config| of(&config)),
            _ => anyhow::bail!("neither a slice nor a configuration; give --slice or --config"),
        }
    }

    /// The folder that the file is in.
    pub(crate) fn folder(&self) -> Option<&Path> {
        self.slice.as_ref().or(self.config.as_ref())?.parent()
    }
}

fn parse<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_slice(&bytes)
        .with_context(|| format!("{} is not what was expected", path.display()))
}
