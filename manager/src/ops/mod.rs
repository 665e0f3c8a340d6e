//! Changes to the cloud: each is one transaction with its allocations and the configurations that follow from it.
//!
//! Guarantees: a change happens whole or not at all; a request id answers the same however often it is sent; a
//! configuration that the appliance would refuse is refused here, before it is stored. Not here: what a change to an
//! object does, which its kind says; and pushing.

mod addresses;
mod asking;
mod authority;
mod cloud;
pub mod explain;
mod export;
mod had;
mod images;
pub mod lint;
mod machine;
mod named;
mod news;
mod operate;
mod owned;
mod promised;
mod settle;
pub mod usage;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sluice_api::types::{ApplianceId, Generation, ObjectId};
use sluice_api::{Digest, Finding};
use utoipa::ToSchema;

use self::settle::Now;
pub use addresses::hide_addresses;
pub use asking::note_asking;
pub use authority::{AuthorityStatus, authority_status, begin_life, retire, rotate};
pub use cloud::{CloudChange, CloudReport};
pub use export::export;
pub use images::settle_images;
pub use machine::boot_document;
pub use news::note_reports;
pub use operate::{
    Decision, Found, adopt, differences, document, found, overwrite, push_again, resume, rollback,
};
pub use promised::keep_promises;
pub use settle::refresh;

use crate::access::Caller;
use crate::error::Error;
use crate::kinds::appliance::{Appliance, object_id};
use crate::kinds::console_grant::{self, RevokeSpec};
use crate::kinds::{self, AnyKind, Context, dynamic};
use crate::model::{CloudSpec, EndpointSpec};
use crate::store::{Conn, Scope, Store, StoredAnswer, audit, requests, to_json, wanted};

/// One change; objects are named by name or id, kinds by their word.
#[derive(Clone, Debug, Serialize)]
pub enum Change {
    /// A new object.
    Create {
        /// Its kind.
        kind: &'static str,
        /// What it is to be, as its kind understands it.
        spec: Value,
    },
    /// Another object.
    Update {
        /// Its kind.
        kind: &'static str,
        /// Which one.
        object: ObjectId,
        /// What of it changes.
        patch: Value,
        /// Refuse when it has another version than this.
        version: Option<i64>,
    },
    /// No such object any more.
    Delete {
        /// Its kind.
        kind: &'static str,
        /// Which one.
        object: ObjectId,
        /// Refuse when it has another version than this.
        version: Option<i64>,
    },
    /// Something else done with an object.
    Act {
        /// Its kind.
        kind: &'static str,
        /// Which one.
        object: ObjectId,
        /// What.
        action: &'static str,
        /// How.
        body: Value,
        /// Refuse when it has another version than this.
        version: Option<i64>,
    },
    /// Links to consoles taken away.
    RevokeConsoles(RevokeSpec),
    /// Another way to an appliance.
    SetEndpoint(ObjectId, EndpointSpec),
    /// A whole cloud.
    Apply {
        /// What there is to be.
        cloud: CloudSpec,
        /// Delete what the description does not have.
        prune: bool,
        /// Only say what would change.
        dry_run: bool,
        /// Refuse when what changes has another digest than this.
        expect: Option<Digest>,
    },
}

/// What a change came to: HTTP status and body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// 201 created, else 200.
    pub status: u16,
    /// The object, as it is now or, when deleted, as it was.
    pub body: String,
    /// Appliances whose configuration or endpoint it may have changed.
    pub touched: BTreeSet<String>,
    /// Configurations that would have followed, by appliance: of a dry run alone.
    pub candidates: Vec<Candidate>,
}

/// A configuration that a change would lead to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Whose.
    pub appliance: Appliance,
    /// The document.
    pub document: String,
}

/// When a change is in force: once this appliance has this generation, or a later one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Effect {
    /// Which appliance.
    pub appliance: ApplianceId,
    /// Number of its configuration that has the change in it.
    pub generation: Generation,
    /// What the change gives reason to remark upon, such as a rule that does nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
}

/// Makes `change` for `caller`; with a request id that was used before for the same change, repeats the answer instead.
pub async fn execute(
    store: &Store,
    caller: &Caller,
    request: Option<&str>,
    change: &Change,
) -> Result<Outcome, Error> {
    let mut transaction = match change {
        Change::Apply { .. } => store.apart().await?,
        _ => store.join().await?,
    };
    let digest = digest(change)?;
    if let Some(answer) = repeated(&mut transaction, caller, request, &digest).await? {
        // the first of the two may be in the same transaction
        transaction.commit().await?;
        return Ok(answer);
    }
    let mut context = Context::new(&mut transaction, caller, request);
    let (status, mut answer) = run(&mut context, change).await?;
    let dry = matches!(change, Change::Apply { dry_run: true, .. });
    let now = if dry { Now::All } else { Now::Few };
    let effects = settle::settle(&mut context, word(change), now).await?;
    if let Value::Object(fields) = &mut answer {
        fields.insert("effects".to_owned(), json!(effects));
    }
    let touched = context.touched.iter().map(ToString::to_string).collect();
    let kept = to_json(&answer, "answer")?;
    let once = std::mem::take(&mut context.once);
    if let Value::Object(fields) = &mut answer
        && !once.is_empty()
    {
        fields.insert("once".to_owned(), json!(once));
    }
    let body = to_json(&answer, "answer")?;
    let mut outcome = Outcome { status, body, touched, candidates: Vec::new() };
    if dry {
        // dropped without commit: the rules were asked, nothing was changed
        outcome.candidates = candidates(&mut transaction, &effects).await?;
        return Ok(outcome);
    }
    audit::note(&mut transaction, caller, &word(change), &effects, request).await?;
    if let Some(id) = request {
        // without what is told once
        let answer = StoredAnswer { digest, status: outcome.status, answer: kept };
        requests::store(&mut transaction, &caller.owner, id, &answer).await?;
    }
    transaction.commit().await?;
    Ok(outcome)
}

/// What the appliances would get that there are already.
async fn candidates(conn: &mut Conn, effects: &[Effect]) -> Result<Vec<Candidate>, Error> {
    let mut candidates = Vec::new();
    for Effect { appliance: id, .. } in effects {
        let machine = wanted::machine(conn, id.as_str()).await?.unwrap_or_default();
        let wanted = wanted::wanted(conn, id.as_str()).await?;
        if let (Some(wanted), true) = (wanted, machine.certificate_until.is_some()) {
            let appliance = dynamic::by_id(conn, &object_id(id)).await?;
            candidates.push(Candidate { appliance, document: wanted.config });
        }
    }
    Ok(candidates)
}

fn digest(change: &Change) -> Result<String, Error> {
    let digest = Digest::of(change)
        .map_err(|error| Error::Corrupt { what: "change", reason: error.to_string() })?;
    Ok(digest.as_str().to_owned())
}

async fn repeated(
    conn: &mut Conn,
    caller: &Caller,
    request: Option<&str>,
    digest: &str,
) -> Result<Option<Outcome>, Error> {
    let Some(id) = request else { return Ok(None) };
    let Some(stored) = requests::find(conn, &caller.owner, id).await? else { return Ok(None) };
    if stored.digest != digest {
        return Err(Error::RequestReused { id: id.to_owned() });
    }
    let (status, body) = (stored.status, stored.answer);
    Ok(Some(Outcome { status, body, touched: BTreeSet::new(), candidates: Vec::new() }))
}

/// The change in words, for the history.
fn word(change: &Change) -> String {
    match change {
        Change::Create { kind, spec } => match spec.get("name").and_then(Value::as_str) {
            Some(name) => format!("{kind} {name} created"),
            None => format!("{kind} created"),
        },
        Change::Update { kind, object, .. } => format!("{kind} {object} changed"),
        Change::Delete { kind, object, .. } => format!("{kind} {object} deleted"),
        Change::Act { kind, object, action, .. } => format!("{action} of {kind} {object}"),
        Change::RevokeConsoles(_) => "links to consoles revoked".to_owned(),
        Change::SetEndpoint(object, _) => format!("endpoint of {object} set"),
        Change::Apply { .. } => "description applied".to_owned(),
    }
}

fn kind(word: &str) -> Result<&'static dyn AnyKind, Error> {
    kinds::by_word(word)
        .ok_or_else(|| Error::Corrupt { what: "kind", reason: format!("there is no {word}") })
}

/// Makes a change inside a transaction; HTTP status and answer.
async fn run(context: &mut Context<'_>, change: &Change) -> Result<(u16, Value), Error> {
    let answer = match change {
        Change::Create { kind: word, spec } => {
            return Ok((201, kind(word)?.create(context, spec.clone()).await?));
        }
        Change::Update { kind: word, object, patch, version } => {
            unchanged(context, word, object, *version).await?;
            kind(word)?.update(context, object.clone(), patch.clone()).await?
        }
        Change::Delete { kind: word, object, version } => {
            unchanged(context, word, object, *version).await?;
            kind(word)?.delete(context, object.clone()).await?
        }
        Change::Act { kind: word, object, action, body, version } => {
            unchanged(context, word, object, *version).await?;
            kind(word)?.act(context, object.clone(), action, body.clone()).await?
        }
        Change::RevokeConsoles(spec) => json!(console_grant::revoke(context, spec).await?),
        Change::SetEndpoint(id, spec) => json!(machine::endpoint(context, id, spec).await?),
        Change::Apply { cloud, prune, expect, .. } => {
            let terms = cloud::Terms { prune: *prune, expect: expect.as_ref() };
            json!(cloud::apply(context, cloud, terms).await?)
        }
    };
    Ok((200, answer))
}

/// Refuses when the object has another version than the one that was looked at.
async fn unchanged(
    context: &mut Context<'_>,
    word: &'static str,
    object: &ObjectId,
    expected: Option<i64>,
) -> Result<(), Error> {
    let Some(expected) = expected else { return Ok(()) };
    let version =
        kind(word)?.version(context.conn, Scope::Of(context.owner), object.clone()).await?;
    if version == expected {
        return Ok(());
    }
    Err(Error::Changed { kind: word, name: object.to_string(), version })
}
