//! `up`: check the file, start the background process, say how to look around.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use indicatif::ProgressBar;
use sluice_sys::stdout;

use crate::daemon::Client;
use crate::spec::LabSpec;

use super::show;

pub(super) async fn up(file: &Path, check: bool, prefix: &[&str]) -> Result<()> {
    let spec = read(file)?;
    if check {
        return Ok(stdout::line(format_args!("{}: good", file.display()))?);
    }
    let progress = ProgressBar::new_spinner().with_message(format!("starting lab {}", spec.name));
    progress.enable_steady_tick(Duration::from_millis(100));
    let started = Client::up(&spec, prefix).await;
    progress.finish_and_clear();
    let client = started?;
    show::status(&client, false).await?;
    stdout::line(
        "\nlook around: `lab console NODE`, `lab exec NODE -- CMD`, `lab capture WIRE -o FILE`",
    )?;
    Ok(stdout::line("end it:      `lab down`")?)
}

fn read(file: &Path) -> Result<LabSpec> {
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("cannot read the lab file {}", file.display()))?;
    // the background process has another current folder
    let file = std::path::absolute(file)?;
    let folder = file.parent().unwrap_or(Path::new("/"));
    let images = std::path::absolute(LabSpec::usual_images())?;
    match LabSpec::parse(&text, folder, &images) {
        Ok(spec) => Ok(spec),
        Err(findings) => {
            let lines: Vec<String> = findings.iter().map(|f| format!("  {f}")).collect();
            bail!("{}: {} finding(s)\n{}", file.display(), lines.len(), lines.join("\n"))
        }
    }
}
