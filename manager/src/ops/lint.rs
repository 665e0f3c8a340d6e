//! What is remarked upon in the configuration that an appliance is to have.

use serde::{Deserialize, Serialize};
use sluice_api::report::RuleOwner;
use sluice_api::types::{ApplianceId, Generation};
use sluice_api::{ApplianceConfig, Finding};
use utoipa::ToSchema;

use super::explain;
use super::named::named;
use crate::error::Error;
use crate::kinds::KINDS;
use crate::store::Conn;

/// The remarks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Linted {
    /// Which appliance.
    pub appliance: ApplianceId,
    /// The configuration that was looked at.
    pub generation: Generation,
    /// All of them; empty: there is nothing to say.
    pub findings: Vec<Finding>,
    /// What the rules that they name are to their owners.
    pub owners: Vec<RuleOwner>,
}

/// Looks at a stored configuration.
pub async fn lint(conn: &mut Conn, document: &str) -> Result<Linted, Error> {
    let config: ApplianceConfig = serde_json::from_str(document)
        .map_err(|error| Error::Corrupt { what: "configuration", reason: error.to_string() })?;
    let findings = config.check();
    let owners = owners(conn, &findings).await?;
    let findings = named(conn, &config, findings).await?;
    let ApplianceConfig { appliance, generation, .. } = config;
    Ok(Linted { appliance, generation, findings, owners })
}

/// Findings name rules by their ids, which begin with the prefix of their kind.
async fn owners(conn: &mut Conn, findings: &[Finding]) -> Result<Vec<RuleOwner>, Error> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let words = findings.iter().flat_map(|it| it.reason.split(|c: char| !word(c)));
    let mut ids: Vec<&str> = words.filter(|word| kind_of(word).is_some()).collect();
    ids.sort_unstable();
    ids.dedup();
    let mut owners = Vec::new();
    for id in ids {
        let Some(kind) = kind_of(id).and_then(explain::beginning_of) else { continue };
        let rule = format!("{kind}/{id}");
        for owner in explain::owners(conn, vec![rule.as_str()]).await? {
            owners.push(RuleOwner { rule: id.to_owned(), ..owner });
        }
    }
    Ok(owners)
}

/// The word of the kind whose ids look like this.
fn kind_of(id: &str) -> Option<&'static str> {
    let (prefix, number) = id.rsplit_once('-')?;
    let counted = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    let kind = KINDS.iter().find(|kind| counted && kind.names().prefix == prefix)?;
    Some(kind.names().word)
}
