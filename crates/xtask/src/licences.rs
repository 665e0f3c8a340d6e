//! Licences and duplicate versions of everything we link, against `deny.toml`, which cargo-deny reads as well.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::run;

#[derive(Deserialize)]
struct Deny {
    licenses: Licences,
    bans: Bans,
}

#[derive(Deserialize)]
struct Licences {
    allow: BTreeSet<String>,
}

#[derive(Deserialize)]
struct Bans {
    skip: Vec<Skip>,
}

#[derive(Deserialize)]
struct Skip {
    name: String,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
    source: Option<String>,
}

/// Fails with every package whose licence is not allowed and every crate that is linked twice without a reason.
pub(crate) fn check() -> Result<String> {
    let deny: Deny = toml::from_str(&std::fs::read_to_string(run::root().join("deny.toml"))?)
        .context("deny.toml")?;
    let linux = "--filter-platform=x86_64-unknown-linux-gnu";
    let json =
        run::capture(&mut run::cargo(&["metadata", "--format-version=1", "--locked", linux]))?;
    let metadata: Metadata = serde_json::from_str(&json).context("cargo metadata")?;
    let mut wrong = foreign_licences(&metadata, &deny.licenses.allow);
    wrong.extend(duplicates(&metadata, &deny.bans.skip));
    if wrong.is_empty() {
        return Ok(format!("{} packages", metadata.packages.len()));
    }
    bail!(
        "{}\nchange the dependency, or state the exception with its reason in deny.toml",
        wrong.join("\n")
    )
}

fn foreign_licences(metadata: &Metadata, allow: &BTreeSet<String>) -> Vec<String> {
    metadata
        .packages
        .iter()
        .filter(|package| package.source.is_some())
        .filter(|package| !allowed(package.license.as_deref().unwrap_or(""), allow))
        .map(|p| format!("{} {}: licence {:?} is not allowed", p.name, p.version, p.license))
        .collect()
}

/// An SPDX expression is met when one alternative has all its parts allowed. Old crates write `/` for `OR`.
fn allowed(expression: &str, allow: &BTreeSet<String>) -> bool {
    let flat = expression.replace(['(', ')'], " ").replace('/', " OR ");
    flat.split(" OR ")
        .any(|alternative| alternative.split(" AND ").all(|licence| allow.contains(licence.trim())))
}

fn duplicates(metadata: &Metadata, skip: &[Skip]) -> Vec<String> {
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in &metadata.packages {
        versions.entry(&package.name).or_default().insert(&package.version);
    }
    versions
        .into_iter()
        .filter(|(name, found)| found.len() > 1 && !skip.iter().any(|skip| skip.name == *name))
        .map(|(name, found)| format!("{name}: linked in versions {found:?}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_allowed_alternative_is_enough_and_all_parts_are_needed() {
        let allow: BTreeSet<String> = ["MIT", "Apache-2.0"].map(String::from).into();
        assert!(allowed("MIT OR GPL-3.0", &allow));
        assert!(allowed("Apache-2.0/MIT", &allow));
        assert!(allowed("(MIT OR Apache-2.0) AND MIT", &allow));
        assert!(!allowed("MIT AND GPL-3.0", &allow));
        assert!(!allowed("", &allow));
    }
}
