//! A whole cloud from one description: the difference to what there is, as lines and as changes.
//!
//! Guarantees: a second run finds nothing to do; what cannot be changed in place is refused with a reason rather than
//! deleted and made anew, for that would end every connection of the network; what was confirmed by its digest is what
//! is made. What an appliance has not let go yet is not deleted but told as waiting: failing would mean that a network
//! and its range could never leave a description together.
//!
//! The comparison runs inside the transaction and makes what it finds, kind by kind, so that an object is compared when
//! its parents are there; a dry run is the same without the commit.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sluice_api::types::ObjectId;
use sluice_api::{Digest, Finding};
use utoipa::ToSchema;

use super::Context;
use crate::code::ErrorCode;
use crate::error::Error;
use crate::kinds::fields::Fields;
use crate::kinds::zone::Zone;
use crate::kinds::{AnyKind, KINDS};
use crate::model::CloudSpec;
use crate::model::cloud::called;
use crate::model::view::CandidatePlan;
use crate::store::Scope;

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
    /// How many objects are made.
    #[serde(default)]
    pub added: usize,
    /// How many are changed.
    #[serde(default)]
    pub changed: usize,
    /// How many are deleted.
    #[serde(default)]
    pub destroyed: usize,
    /// Deletions that are put off, each with what it waits for; apply again after that.
    #[serde(default)]
    pub waiting: Vec<String>,
    /// Of a dry run, when it was asked for: what each appliance would do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub plans: Vec<CandidatePlan>,
    /// Digest of all that is changed and put off: `expect` of the call that is to make exactly this.
    pub digest: Digest,
}

/// How a description is applied.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms<'a> {
    /// Delete what the named zones have and the description does not.
    pub(super) prune: bool,
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
        return Err(Error::Description { code: ErrorCode::Invalid, findings });
    }
    context.describing = true;
    context.zones = named_zones(context, cloud).await?;
    let mut run = Run::default();
    if terms.prune && !context.zones.is_empty() {
        deletions(context, cloud, &mut run).await?;
    }
    for kind in KINDS {
        section(context, *kind, cloud, &mut run).await?;
        if kind.names().section() == "zones" {
            context.zones = named_zones(context, cloud).await?;
        }
    }
    run.report(terms)
}

/// Most mistakes that are told: more help nobody.
const MOST: usize = 100;

/// What was done so far.
#[derive(Default)]
struct Run {
    /// Each difference with the content that was written.
    changes: Vec<(CloudChange, Value)>,
    waiting: Vec<String>,
    /// Where each object stands in the description.
    places: BTreeMap<ObjectId, String>,
    /// Names of what could not be made: what refers to it is no mistake of its own.
    failed: BTreeSet<String>,
    codes: BTreeSet<ErrorCode>,
    findings: Vec<Finding>,
}

impl Run {
    fn add(&mut self, sign: char, text: String, content: Value) {
        self.changes.push((CloudChange { sign, text }, content));
    }

    /// Notes a mistake; an error that is none of the description's is passed on.
    fn wrong(&mut self, place: &str, what: &str, error: Error) -> Result<(), Error> {
        if matches!(error.code(), ErrorCode::Internal | ErrorCode::Busy) {
            return Err(error);
        }
        if let Error::NotFound { name, .. } = &error
            && self.failed.contains(name)
        {
            return Ok(());
        }
        self.codes.insert(error.code());
        let problem = error.problem();
        let dot = |field: String| if field.is_empty() { field } else { format!(".{field}") };
        let path = format!("{place}{}", dot(problem.field.unwrap_or_default()));
        let reason = format!("{what}: {}", problem.message);
        self.findings.push(Finding::error(path, &problem.code, reason));
        Ok(())
    }

    fn report(self, terms: Terms<'_>) -> Result<CloudReport, Error> {
        if !self.findings.is_empty() {
            let only = self.codes.first().filter(|_| self.codes.len() == 1);
            let code = only.copied().unwrap_or(ErrorCode::Invalid);
            return Err(Error::Description { code, findings: self.findings });
        }
        let Self { changes, waiting, .. } = self;
        let digest = Digest::of(&(&changes, &waiting))
            .map_err(|error| Error::Corrupt { what: "difference", reason: error.to_string() })?;
        if terms.expect.is_some_and(|expected| expected != &digest) {
            return Err(Error::Moved);
        }
        let changes: Vec<_> = changes.into_iter().map(|(line, _)| line).collect();
        let count = |sign| changes.iter().filter(|change| change.sign == sign).count();
        let (added, changed, destroyed) = (count('+'), count('~'), count('-'));
        let plans = Vec::new();
        Ok(CloudReport { changes, added, changed, destroyed, waiting, plans, digest })
    }
}

/// Makes the objects of a kind what the description says; a mistake in one leaves the others to be looked at.
async fn section(
    context: &mut Context<'_>,
    kind: &dyn AnyKind,
    cloud: &CloudSpec,
    run: &mut Run,
) -> Result<(), Error> {
    let section = kind.names().section();
    let specs = cloud.section(&section);
    for spec in specs {
        // what one gives away in the description, another may get
        let stated = kind.stated(spec);
        if let Ok(stated) = stated {
            kind.yields(context, &stated).await?;
        }
    }
    for (number, spec) in specs.iter().enumerate() {
        if run.findings.len() >= MOST {
            return Ok(());
        }
        let place = format!("{section}[{number}]");
        sqlx::query("SAVEPOINT described").execute(&mut *context.conn).await?;
        let touched = context.touched.clone();
        if let Err(error) = one(context, kind, spec, &place, run).await {
            sqlx::query("ROLLBACK TO described").execute(&mut *context.conn).await?;
            context.touched = touched;
            run.failed.extend(spec.get("name").and_then(Value::as_str).map(str::to_owned));
            run.wrong(&place, &called(kind.names().word, spec), error)?;
        }
        sqlx::query("RELEASE described").execute(&mut *context.conn).await?;
    }
    Ok(())
}

/// Ids of the zones that the description names and that there are.
async fn named_zones(context: &mut Context<'_>, cloud: &CloudSpec) -> Result<Vec<ObjectId>, Error> {
    let named: BTreeSet<&str> = cloud
        .section("zones")
        .iter()
        .filter_map(|zone| zone.get("name").and_then(Value::as_str))
        .collect();
    let all = context.own::<Zone>(&[]).await?;
    Ok(all.into_iter().filter(|zone| named.contains(zone.name.as_str())).map(|z| z.id).collect())
}

/// Makes one object what the description says of it.
async fn one(
    context: &mut Context<'_>,
    kind: &dyn AnyKind,
    spec: &Map<String, Value>,
    place: &str,
    run: &mut Run,
) -> Result<(), Error> {
    let stated = kind.stated(spec)?;
    let word = kind.names().word;
    let name = stated.get("name").and_then(Value::as_str).unwrap_or("without a name").to_owned();
    let Some(id) = kind.locate(context, &stated).await? else {
        let made = kind.create(context, Value::Object(spec.clone())).await?;
        let id = made.get("id").and_then(Value::as_str).and_then(|id| id.parse().ok());
        run.places.extend(id.map(|id: ObjectId| (id, place.to_owned())));
        let text = format!("{word} {name}{}", told(&kind.spec_fields(), &stated));
        run.add('+', text, Value::Object(stated));
        return Ok(());
    };
    if let Some(first) = run.places.insert(id.clone(), place.to_owned()) {
        let reason = format!("stands in the description twice, first at {first}");
        return Err(Error::Invalid { field: "name", reason });
    }
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

/// The stated fields of a new object; what does not fit into a line is named alone.
fn told(fields: &Fields, stated: &Map<String, Value>) -> String {
    let short = |(name, value): (&String, &Value)| {
        if name == "name" || value.is_null() || fields.is_secret(name) {
            return None;
        }
        let text = match value {
            Value::String(text) => Some(text.clone()),
            Value::Array(list) => {
                let parts: Option<Vec<&str>> = list.iter().map(Value::as_str).collect();
                parts.map(|parts| parts.join(" "))
            }
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        };
        let text = text.filter(|text| text.len() <= 48);
        Some(format!("{name} {}", text.as_deref().unwrap_or("…")))
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
        let zoned = kind.keys().iter().any(|key| key.field == "zone");
        if !zoned
            && (kind.names().section() == "zones"
                || cloud.section(&kind.names().section()).is_empty())
        {
            // of what is in no zone, only the kinds that the description has are its business
            continue;
        }
        let mut stays = BTreeSet::new();
        for spec in cloud.section(&kind.names().section()) {
            let stated = kind.stated(spec)?;
            // an ambiguous one is refused where the objects themselves are compared
            stays.extend(kind.locate(context, &stated).await.ok().flatten());
        }
        let filters: Vec<_> = if zoned {
            zones.iter().map(|zone| vec![("zone", zone.to_string())]).collect()
        } else {
            vec![Vec::new()]
        };
        for filter in filters {
            let all = kind.list(context.conn, Scope::Of(context.owner), filter, None, None).await?;
            // of one kind, a younger one may refer to an older one
            for object in all.iter().rev() {
                gone(context, *kind, object, &stays, run).await?;
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
