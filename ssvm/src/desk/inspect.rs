//! `sluice-ssvm inspect`: what an image is, or why it would not be let in.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;
use sluice_sys::stdout;

use crate::disk::{Disk as _, RealDisk};
use crate::image::{Format, Wanted, inspect};
use crate::pass::Partial;

/// Arguments of `sluice-ssvm inspect`.
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// The image, not compressed
    file: PathBuf,
    /// What it was declared to be: qcow2, raw, vhd, vhdx, vmdk, ova or iso
    #[arg(long)]
    format: Option<Format>,
}

impl InspectArgs {
    /// Looks at the file and prints what it is as JSON.
    pub fn run(&self) -> Result<()> {
        let path = self.file.display();
        let file = RealDisk.open(&self.file).with_context(|| format!("cannot open {path}"))?;
        let length = file.length().with_context(|| format!("cannot read {path}"))?;
        let image = Partial { file: &*file, length, complete: true };
        let wanted = Wanted { format: self.format, ..Wanted::default() };
        match inspect(&image, &wanted) {
            Ok(found) => Ok(stdout::line(serde_json::to_string_pretty(&found)?)?),
            Err(judgement) => bail!("{path} is not let in: {judgement}"),
        }
    }
}
