//! The router's commands on a desk: check a configuration, show its rules, show what a change would do.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result as Outcome, bail};
use sluice_agent::Appliance;
use sluice_agent::plan::{Plan, plan};
use sluice_api::config::Attachment;
use sluice_api::{Finding, RouterDocument};
use sluice_sys::kernel::{FakeKernel, Kernel};
use sluice_sys::nft;

use crate::Router;

/// A sound configuration with its warnings, or all that is wrong with it.
pub type Judged = Result<(RouterDocument, Vec<Finding>), Vec<Finding>>;

/// Reads and checks the configuration in `path`.
pub fn load(path: &Path) -> Outcome<Judged> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(RouterDocument::decode(&bytes))
}

/// Reads the configuration in `path`, which must be sound.
pub fn load_sound(path: &Path) -> Outcome<RouterDocument> {
    match load(path)? {
        Ok((config, _)) => Ok(config),
        Err(findings) => {
            let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
            bail!("{} is not sound:\n{}", path.display(), lines.join("\n"))
        }
    }
}

/// The nft script that loads the rules of `config` into an empty kernel.
pub fn render(config: &RouterDocument) -> String {
    nft::diff(&nft::ObservedTables::new(), &Router.desired(config).tables).render()
}

/// What a router would do that has `old` in force (or nothing) and is given `new`, worked out on a kernel in memory.
pub async fn change(old: Option<&RouterDocument>, new: &RouterDocument) -> Outcome<Plan> {
    let kernel = FakeKernel::with_nics(nics(old, new));
    if let Some(old) = old {
        for step in compare(&kernel, old).await?.steps {
            kernel.apply(&step).await.with_context(|| format!("the old configuration: {step}"))?;
        }
    }
    compare(&kernel, new).await
}

async fn compare(kernel: &FakeKernel, config: &RouterDocument) -> Outcome<Plan> {
    let desired = Router.desired(config);
    let observed = kernel.observe(&desired.keys([])).await?;
    Ok(plan(&desired, &observed))
}

fn nics(old: Option<&RouterDocument>, new: &RouterDocument) -> Vec<sluice_api::types::MacAddr> {
    let links = old.into_iter().chain([new]).flat_map(|config| &config.links);
    let mut macs: Vec<_> = links
        .filter_map(|link| match &link.attach {
            Attachment::Nic { mac } => Some(*mac),
            Attachment::Vlan { .. } => None,
        })
        .collect();
    macs.sort_unstable();
    macs.dedup();
    macs
}
