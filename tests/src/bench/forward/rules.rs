//! The rules of a router, as nft loads them.

#![allow(clippy::indexing_slicing)] // fields of documents that are made here

use anyhow::{Context as _, Result};
use serde_json::json;
use sluice_agent::Appliance as _;
use sluice_router::{Router, compile};
use sluice_sys::nft::{self, Expr, Flowtable, Ident, ObservedTables, Rule, RuleId, Table};

/// Of a configuration with `count` firewall rules that no stream here is about. With `flowtable` connections that are
/// taken up are forwarded by one, past all rules.
pub(super) fn text(count: usize, flowtable: bool) -> Result<String> {
    let mut tables = Router.desired(&config(count)?).tables;
    if flowtable {
        offload(tables.get_mut(&compile::table_id()).context("the router's table")?)?;
    }
    Ok(nft::diff(&ObservedTables::new(), &tables).render())
}

fn offload(table: &mut Table) -> Result<()> {
    let name = Ident::fixed("fast");
    let links = ["guest0", "pub0"].map(str::parse).into_iter().collect::<Result<_, _>>()?;
    table.flowtables.insert(name.clone(), Flowtable { links });
    let chain = table.chains.get_mut(&Ident::fixed("filter-forward")).context("its chain")?;
    let rule = Rule { id: RuleId::fixed("forward/fast"), exprs: vec![Expr::Offload(name)] };
    chain.rules.insert(0, rule);
    Ok(())
}

/// examples/router.json with one network, and firewall rules that this stream is not about.
fn config(count: usize) -> Result<sluice_api::RouterDocument> {
    let mut config = crate::faults::example();
    config.role.networks.truncate(1);
    let mut document = json!(config);
    let router = &mut document["role"]["router"];
    router["public_addresses"] =
        json!([{ "id": "ip-1", "address": "198.51.100.10", "link": "pub0" }]);
    router["firewall"] = (0..count)
        .map(|n| {
            json!({ "id": format!("fw-{n}"), "public": "198.51.100.10",
                    "traffic": { "tcp": { "ports": (1 + n).to_string() } } })
        })
        .collect();
    sluice_api::RouterDocument::decode(document.to_string().as_bytes())
        .map(|(config, _)| config)
        .map_err(|findings| anyhow::anyhow!("{:?}", findings.first()))
}
