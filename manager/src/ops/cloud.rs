//! A whole cloud from one description: the difference to what there is, as lines and as changes.
//!
//! Guarantees: a second run finds nothing to do; what cannot be changed in place is refused with a reason rather than
//! deleted and made anew, for that would end every connection of the network; what was confirmed by its digest is what
//! is made. What an appliance has not let go yet is not deleted but told as waiting: failing would mean that a network
//! and its range could never leave a description together.
//!
//! The comparison runs inside the transaction and makes what it finds, kind by kind, so that an object is compared when
//! its parents are there; a dry run is the same without the commit.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sluice_api::Digest;
use sluice_api::types::ObjectId;
use utoipa::ToSchema;

use super::Context;
use crate::error::Error;
use crate::kinds::zone::Zone;
use crate::kinds::{AnyKind, KINDS};
use crate::model::CloudSpec;

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CloudChange {
    /// `+` made, `~` changed, `-` deleted.
    pub sign: char,
    /// The object and what of it changes, for a person.
    pub text: String,
}

impl std::fmt::Display for CloudChange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.sign, self.text)
    }
}

/// What applying a description changes, in order of execution.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CloudReport {
    /// The differences; none: nothing to do now.
    pub changes: Vec<CloudChange>,
    /// Deletions that are put off, each with what it waits for; apply again after that.
    #[serde(default)]
    pub waiting: Vec<String>,
    /// Digest of all that is changed and put off: `expect` of the call that is to make exactly this.
    pub digest: Digest,
}

/// How a description is applied.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms<'a> {
    /// Delete nothing.
    pub(super) keep: bool,
    /// Make only the changes with this digest.
    pub(super) expect: Option<&'a Digest>,
}

/// Makes the zones that `cloud` names what it says.
pub(super) async fn apply(
    context: &mut Context<'_>,
    cloud: &CloudSpec,
    terms: Terms<'_>,
) -> Result<CloudReport, Error> {
    let findings = cloud.check();
    if !findings.is_empty() {
        return Err(Error::Malformed(findings));
    }
    context.zones = named_zones(context, cloud).await?;
    let mut run = Run::default();
    if !terms.keep && !context.zones.is_empty() {
        deletions(context, cloud, &mut run).await?;
    }
    for kind in KINDS {
        for spec in cloud.section(&kind.names().section()) {
            one(context, *kind, spec, &mut run).await?;
        }
        if kind.names().section() == "zones" {
            context.zones = named_zones(context, cloud).await?;
        }
    }
    let Run { changes, waiting } = run;
    let digest = Digest::of(&(&changes, &waiting))
        .map_err(|error| Error::Corrupt { what: "difference", reason: error.to_string() })?;
    if terms.expect.is_some_and(|expected| expected != &digest) {
        return Err(Error::Moved);
    }
    let changes = changes.into_iter().map(|(line, _)| line).collect();
    Ok(CloudReport { changes, waiting, digest })
}

/// What was done so far.
#[derive(Default)]
struct Run {
    /// Each difference with the content that was written.
    changes: Vec<(CloudChange, Value)>,
    waiting: Vec<String>,
}

impl Run {
    fn add(&mut self, sign: char, text: String, content: Value) {
        self.changes.push((CloudChange { sign, text }, content));
    }
}

/// Ids of the zones that the description names and that there are.
async fn named_zones(context: &mut Context<'_>, cloud: &CloudSpec) -> Result<Vec<ObjectId>, Error> {
    let named: BTreeSet<&str> = cloud
        .section("zones")
        .iter()
        .filter_map(|zone| zone.get("name").and_then(Value::as_str))
        .collect();
    let all = context.all::<Zone>(&[]).await?;
    Ok(all.into_iter().filter(|zone| named.contains(zone.name.as_str())).map(|z| z.id).collect())
}

/// Makes one object what the description says of it.
async fn one(
    context: &mut Context<'_>,
    kind: &dyn AnyKind,
    spec: &Map<String, Value>,
    run: &mut Run,
) -> Result<(), Error> {
    let stated = kind.stated(spec)?;
    let word = kind.names().word;
    let name = stated.get("name").and_then(Value::as_str).unwrap_or("without a name").to_owned();
    let Some(id) = kind.locate(context, &stated).await? else {
        kind.create(context, Value::Object(spec.clone())).await?;
        let text = format!("{word} {name}{}", told(&stated));
        run.add('+', text, Value::Object(stated));
        return Ok(());
    };
    let difference = kind.compare(context, id.clone(), &stated).await?;
    if difference.patch.is_empty() {
        return Ok(());
    }
    let text = format!("{word} {name} ({})", difference.notes.join(", "));
    let patch = Value::Object(difference.patch);
    kind.update(context, id, patch.clone()).await?;
    run.add('~', text, patch);
    Ok(())
}

/// The stated fields of a new object, as far as they fit into a line.
fn told(stated: &Map<String, Value>) -> String {
    let short = |(name, value): (&String, &Value)| {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Array(list) => {
                let parts: Option<Vec<&str>> = list.iter().map(Value::as_str).collect();
                parts?.join(" ")
            }
            Value::Number(number) => number.to_string(),
            _ => return None,
        };
        (name != "name" && text.len() <= 48).then(|| format!("{name} {text}"))
    };
    let parts: Vec<_> = stated.iter().filter_map(short).collect();
    if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) }
}

/// Deletes what the named zones have and the description does not, from the guests outwards.
async fn deletions(
    context: &mut Context<'_>,
    cloud: &CloudSpec,
    run: &mut Run,
) -> Result<(), Error> {
    let zones = context.zones.clone();
    for kind in KINDS.iter().rev() {
        if !kind.keys().iter().any(|key| key.field == "zone") {
            continue;
        }
        let mut stays = BTreeSet::new();
        for spec in cloud.section(&kind.names().section()) {
            let stated = kind.stated(spec)?;
            // an ambiguous one is refused where the objects themselves are compared
            stays.extend(kind.locate(context, &stated).await.ok().flatten());
        }
        for zone in &zones {
            let filter = vec![("zone", zone.to_string())];
            for object in kind.list(context.conn, filter, None, None).await? {
                gone(context, *kind, &object, &stays, run).await?;
            }
        }
    }
    Ok(())
}

async fn gone(
    context: &mut Context<'_>,
    kind: &dyn AnyKind,
    object: &Value,
    stays: &BTreeSet<ObjectId>,
    run: &mut Run,
) -> Result<(), Error> {
    let text = |field| object.get(field).and_then(Value::as_str).unwrap_or_default();
    let Ok(id) = text("id").parse::<ObjectId>() else { return Ok(()) };
    if stays.contains(&id) || !kind.prunes(object) {
        return Ok(());
    }
    if let Some(reason) = kind.waits(context, id.clone()).await? {
        run.waiting.push(reason);
        return Ok(());
    }
    kind.delete(context, id).await?;
    run.add('-', format!("{} {}", kind.names().word, text("name")), Value::Null);
    Ok(())
}
