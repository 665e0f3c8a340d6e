//! `sluice-manager restore`: a new store out of a back-up.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::{Context as _, bail};
use tracing::info;

use crate::store::Location;
use crate::store::backup::{Head, Line, RestoreError, restore};

/// Puts the back-up in `file` into the store, and the authority that is in it into `authority`.
pub(super) async fn run(store: &Location, authority: &Path, file: &Path) -> anyhow::Result<()> {
    let name = file.display();
    let input: Box<dyn BufRead + Send> = if file == Path::new("-") {
        Box::new(BufReader::new(io::stdin()))
    } else {
        Box::new(BufReader::new(File::open(file).with_context(|| format!("{name}"))?))
    };
    let mut lines = lines(input);
    let head = head(lines.next()).with_context(|| format!("{name}"))?;
    same_or_none(authority, &head)?;
    let place = || write(authority, &head.authority);
    let rows = restore(store, &head, lines, place).await.with_context(|| format!("{name}"))?;
    info!(%store, rows, made = head.at, "put back; nothing is pushed until `sluice resume`");
    Ok(())
}

fn lines(input: impl BufRead) -> impl Iterator<Item = Result<Line, RestoreError>> {
    (1..).zip(input.lines()).map(|(line, text)| {
        let wrong = |reason: String| RestoreError::Line { line, reason };
        let text = text.map_err(|error| wrong(error.to_string()))?;
        serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))
    })
}

fn head(first: Option<Result<Line, RestoreError>>) -> anyhow::Result<Head> {
    match first.transpose().context("it is no back-up")? {
        Some(Line::Head(head)) => Ok(head),
        _ => bail!("it is no back-up"),
    }
}

/// An authority that is there already is the same, or stays.
fn same_or_none(path: &Path, head: &Head) -> anyhow::Result<()> {
    match fs::read_to_string(path) {
        Ok(text) if text != head.authority => {
            bail!("{} holds another authority than the back-up; put it aside first", path.display())
        }
        _ => Ok(()),
    }
}

fn write(path: &Path, text: &str) -> Result<(), RestoreError> {
    let failed = |error: io::Error| RestoreError::Authority {
        path: path.display().to_string(),
        source: error,
    };
    if path.exists() {
        return Ok(());
    }
    let file = File::options().write(true).create_new(true).mode(0o600).open(path);
    let mut file = file.map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)
}
