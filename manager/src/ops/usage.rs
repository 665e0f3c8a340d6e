//! What an appliance counted, with the names that owners gave to what was counted.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sluice_api::report::{RuleOwner, UsageReport};
use sluice_api::types::ApplianceId;
use utoipa::ToSchema;

use super::explain::{OWNERS, beginning_and_id};
use crate::error::Error;
use crate::kinds::{self, AnyKind};
use crate::store::{Conn, Scope};

/// Bytes and packets of one appliance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ApplianceUsage {
    /// Which one.
    pub appliance: ApplianceId,
    /// What it counted.
    pub usage: UsageReport,
    /// How their owners call addresses, networks, forwards and rules, as far as they have names.
    pub owners: Vec<RuleOwner>,
}

/// The report with the names of what the appliance has.
pub async fn named(
    conn: &mut Conn,
    appliance: ApplianceId,
    usage: UsageReport,
) -> Result<ApplianceUsage, Error> {
    let mut known = Known { appliance: &appliance, names: BTreeMap::new() };
    let mut owners = Vec::new();
    for used in &usage.addresses {
        owners.extend(known.owner(conn, &used.name, "public ip", &used.name).await?);
    }
    for used in &usage.networks {
        owners.extend(known.owner(conn, &used.name, "network", &used.name).await?);
    }
    for used in &usage.forwards {
        owners.extend(known.owner(conn, &used.name, "port forward", &used.name).await?);
    }
    for rule in &usage.rules {
        let Some((beginning, id)) = beginning_and_id(&rule.rule) else { continue };
        let Some((_, word)) = OWNERS.iter().find(|(known, _)| *known == beginning) else {
            continue;
        };
        owners.extend(known.owner(conn, &rule.rule, word, id).await?);
    }
    Ok(ApplianceUsage { appliance, usage, owners })
}

/// Names of the objects of an appliance, each kind read once.
struct Known<'a> {
    appliance: &'a ApplianceId,
    names: BTreeMap<&'static str, BTreeMap<String, RuleOwner>>,
}

impl Known<'_> {
    async fn owner(
        &mut self,
        conn: &mut Conn,
        what: &str,
        word: &'static str,
        id: &str,
    ) -> Result<Option<RuleOwner>, Error> {
        if !self.names.contains_key(word) {
            let names = match kinds::by_word(word) {
                Some(kind) => self.read(conn, kind).await?,
                None => BTreeMap::new(),
            };
            self.names.insert(word, names);
        }
        let found = self.names.get(word).and_then(|names| names.get(id));
        Ok(found.map(|owner| RuleOwner { rule: what.to_owned(), ..owner.clone() }))
    }

    /// By id, and public addresses by address.
    async fn read(
        &self,
        conn: &mut Conn,
        kind: &'static dyn AnyKind,
    ) -> Result<BTreeMap<String, RuleOwner>, Error> {
        let own = kind.keys().iter().any(|key| key.field == "router" && key.column.is_some());
        let filter = own.then(|| ("router", self.appliance.to_string())).into_iter().collect();
        let objects = kind.list(conn, Scope::Cloud, filter, None, None).await?;
        let each = objects.iter().filter_map(|object| {
            let text = |field: &str| object.get(field)?.as_str().map(str::to_owned);
            let (id, name) = (text("id")?, text("name")?);
            let key = text("address").unwrap_or_else(|| id.clone());
            let kind = kind.names().word.to_owned();
            Some((key, RuleOwner { rule: String::new(), kind, id, name }))
        });
        Ok(each.collect())
    }
}
