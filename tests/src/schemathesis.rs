//! schemathesis, which asks an API by its OpenAPI document; of the versions in `tests/schemathesis.txt`.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::pypi;

/// What is installed.
const VERSIONS: &str = include_str!("../schemathesis.txt");

/// The program, installed when it is missing.
pub fn program() -> Result<PathBuf> {
    let folder = pypi::folder("schemathesis", VERSIONS, |folder| {
        pypi::pip(folder, VERSIONS, &["install"]).context("schemathesis cannot be installed")
    })?;
    Ok(folder.join("bin/st"))
}
