//! Changes to the cloud: each is one transaction with its allocations and the configurations that follow from it.
//!
//! Guarantees: a change happens whole or not at all; a request id answers the same however often it is sent; a
//! configuration that the appliance would refuse is refused here, before it is stored. Not here: what a change to an
//! object does, which its kind says; and pushing.

mod cloud;
mod export;
mod machine;
mod operate;
mod settle;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sluice_api::Digest;
use sluice_api::types::{ApplianceId, Generation, ObjectId};
use utoipa::ToSchema;

pub use cloud::{CloudChange, CloudReport};
pub use export::export;
pub use machine::boot_document;
pub use operate::{
    Found, adopt, differences, document, found, overwrite, push_again, resume, rollback,
};
pub use settle::refresh;

use crate::error::Error;
use crate::kinds::{self, AnyKind, Context};
use crate::model::{CloudSpec, EndpointSpec};
use crate::store::{Conn, Store, StoredAnswer, requests, to_json};

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
    },
    /// No such object any more.
    Delete {
        /// Its kind.
        kind: &'static str,
        /// Which one.
        object: ObjectId,
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
    },
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
}

/// When a change is in force: once this appliance has this generation, or a later one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Effect {
    /// Which appliance.
    pub appliance: ApplianceId,
    /// Number of its configuration that has the change in it.
    pub generation: Generation,
}

/// Makes `change`; with a request id that was used before for the same change, repeats the answer instead.
pub async fn execute(
    store: &Store,
    request: Option<&str>,
    change: &Change,
) -> Result<Outcome, Error> {
    let mut transaction = store.begin().await?;
    let digest = digest(change)?;
    if let Some(answer) = repeated(&mut transaction, request, &digest).await? {
        return Ok(answer);
    }
    let mut context = Context::new(&mut transaction, request);
    let (status, mut answer) = run(&mut context, change).await?;
    let effects = settle::settle(&mut context, word(change)).await?;
    if let Value::Object(fields) = &mut answer {
        fields.insert("effects".to_owned(), json!(effects));
    }
    let touched = context.touched.iter().map(ToString::to_string).collect();
    let outcome = Outcome { status, body: to_json(&answer, "answer")?, touched };
    if matches!(change, Change::Apply { dry_run: true, .. }) {
        // dropped without commit: the rules were asked, nothing was changed
        return Ok(outcome);
    }
    if let Some(id) = request {
        let answer = StoredAnswer { digest, status: outcome.status, answer: outcome.body.clone() };
        requests::store(&mut transaction, id, &answer).await?;
    }
    transaction.commit().await?;
    Ok(outcome)
}

fn digest(change: &Change) -> Result<String, Error> {
    let digest = Digest::of(change)
        .map_err(|error| Error::Corrupt { what: "change", reason: error.to_string() })?;
    Ok(digest.as_str().to_owned())
}

async fn repeated(
    conn: &mut Conn,
    request: Option<&str>,
    digest: &str,
) -> Result<Option<Outcome>, Error> {
    let Some(id) = request else { return Ok(None) };
    let Some(stored) = requests::find(conn, id).await? else { return Ok(None) };
    if stored.digest != digest {
        return Err(Error::RequestReused { id: id.to_owned() });
    }
    Ok(Some(Outcome { status: stored.status, body: stored.answer, touched: BTreeSet::new() }))
}

/// The change in words, for the history.
fn word(change: &Change) -> String {
    match change {
        Change::Create { kind, .. } => format!("{kind} created"),
        Change::Update { kind, object, .. } => format!("{kind} {object} changed"),
        Change::Delete { kind, object } => format!("{kind} {object} deleted"),
        Change::Act { kind, object, action, .. } => format!("{action} of {kind} {object}"),
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
        Change::Update { kind: word, object, patch } => {
            kind(word)?.update(context, object.clone(), patch.clone()).await?
        }
        Change::Delete { kind: word, object } => {
            kind(word)?.delete(context, object.clone()).await?
        }
        Change::Act { kind: word, object, action, body } => {
            kind(word)?.act(context, object.clone(), action, body.clone()).await?
        }
        Change::SetEndpoint(id, spec) => json!(machine::endpoint(context, id, spec).await?),
        Change::Apply { cloud, prune, expect, .. } => {
            let terms = cloud::Terms { prune: *prune, expect: expect.as_ref() };
            json!(cloud::apply(context, cloud, terms).await?)
        }
    };
    Ok((200, answer))
}
