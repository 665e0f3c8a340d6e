//! What an operator decides about one appliance's configuration: send it again, go back, take over, overwrite.
//!
//! Guarantees: what an appliance had from elsewhere is kept before anything is sent over it; going back is the old content
//! under a new number, so that numbers only rise.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sluice_api::types::{ApplianceId, Generation, ObjectId};
use sqlx::{Any, Transaction};

use super::Effect;
use super::settle::{self, Renewed};
use super::{had, owned};
use crate::access::Caller;
use crate::compile;
use crate::error::Error;
use crate::kinds::appliance::{Appliance, object_id};
use crate::kinds::dynamic;
use crate::push::{PushClient, PushError};
use crate::store::facts::{self, Fact};
use crate::store::wanted::{self, Cause};
use crate::store::{
    Conn, Scope, Store, StoredAnswer, audit, from_json, outcomes, promises, requests, to_json,
};

/// What an appliance has that this store never gave.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its number.
    pub generation: Generation,
    /// The document, byte for byte.
    pub document: String,
}

/// Asks the appliance what it has.
pub async fn found(client: &PushClient) -> Result<Option<Found>, PushError> {
    let status = client.status().await?;
    let Some(current) = status.current else { return Ok(None) };
    let document = client.config_text().await?;
    Ok(Some(Found { generation: current.generation, document }))
}

/// Who decides about which appliance.
#[derive(Clone, Copy, Debug)]
pub struct Decision<'a> {
    /// Who.
    pub caller: &'a Caller,
    /// The request's id; the same again is answered as it was the first time.
    pub request: Option<&'a str>,
    /// The appliance, by name or id.
    pub appliance: &'a ObjectId,
}

impl Decision<'_> {
    fn cause<'c>(&'c self, reason: &'c str) -> Cause<'c> {
        Cause { actor: &self.caller.name, reason }
    }

    /// Id of the appliance.
    async fn id(&self, conn: &mut Conn) -> Result<ApplianceId, Error> {
        let scope = Scope::Of(&self.caller.owner);
        Ok(dynamic::find::<Appliance>(conn, scope, self.appliance).await?.id)
    }

    /// Digest of what is asked, for its request id.
    fn digest(&self, what: &str) -> Result<String, Error> {
        let digest = sluice_api::Digest::of(&("decision", self.appliance, what))
            .map_err(|error| Error::Corrupt { what: "decision", reason: error.to_string() })?;
        Ok(digest.as_str().to_owned())
    }

    /// What the same request came to before.
    async fn before(&self, conn: &mut Conn, what: &str) -> Result<Option<Effect>, Error> {
        let answer = super::repeated(conn, self.caller, self.request, &self.digest(what)?).await?;
        answer.map(|answer| from_json(&answer.body, "effect")).transpose()
    }

    /// Writes it into the list of changes and makes it.
    async fn commit(
        &self,
        mut transaction: Transaction<'_, Any>,
        what: &str,
        effect: Effect,
    ) -> Result<Effect, Error> {
        let effects = std::slice::from_ref(&effect);
        let told = format!("appliance {}: {what}", self.appliance);
        audit::note(&mut transaction, self.caller, &told, effects, self.request).await?;
        if let Some(id) = self.request {
            let (digest, answer) = (self.digest(what)?, to_json(&effect, "effect")?);
            let answer = StoredAnswer { digest, status: 200, answer };
            requests::store(&mut transaction, &self.caller.owner, id, &answer).await?;
        }
        transaction.commit().await?;
        Ok(effect)
    }
}

/// What is wanted is sent over what was found.
pub async fn overwrite(
    store: &Store,
    decision: Decision<'_>,
    found: &Found,
) -> Result<Effect, Error> {
    let mut transaction = store.begin().await?;
    let reason = format!("sent over generation {} from elsewhere", found.generation);
    if let Some(effect) = decision.before(&mut transaction, &reason).await? {
        return Ok(effect);
    }
    let id = keep(&mut transaction, &decision, found).await?;
    let document = wanted_now(&mut transaction, &id).await?;
    let (above, cause) = (found.generation, decision.cause(&reason));
    let renewed = Renewed { document: &document, above, pinned: false, cause };
    let effect = settle::renew(&mut transaction, &id, &renewed).await?;
    decision.commit(transaction, &reason, effect).await
}

/// What is wanted, with what was promised and is yet to be compiled.
async fn wanted_now(conn: &mut Conn, id: &ApplianceId) -> Result<String, Error> {
    if promises::of(conn, id.as_str()).await?.dirty.is_some() {
        let appliance: Appliance = dynamic::by_id(conn, &object_id(id)).await?;
        return to_json(&compile::configuration(conn, &appliance).await?, "configuration");
    }
    let wanted = wanted::wanted(conn, id.as_str()).await?;
    Ok(wanted.map(|wanted| wanted.config).unwrap_or_default())
}

/// What was found is what is wanted, until a change of the model says otherwise. Refused when something in it has been given
/// to others since; the rest of what it has is nobody else's as long as it is in force.
pub async fn adopt(store: &Store, decision: Decision<'_>, found: &Found) -> Result<Effect, Error> {
    let mut transaction = store.begin().await?;
    let reason = format!("adopted generation {} from elsewhere", found.generation);
    if let Some(effect) = decision.before(&mut transaction, &reason).await? {
        return Ok(effect);
    }
    let id = keep(&mut transaction, &decision, found).await?;
    let (document, above) = (found.document.as_str(), found.generation);
    let had = had::refuse_given(&mut transaction, &id, document).await?;
    let renewed = Renewed { document, above, pinned: true, cause: decision.cause(&reason) };
    let effect = settle::renew(&mut transaction, &id, &renewed).await?;
    had::hold(&mut transaction, &id, had).await?;
    decision.commit(transaction, &reason, effect).await
}

async fn keep(
    conn: &mut Conn,
    decision: &Decision<'_>,
    found: &Found,
) -> Result<ApplianceId, Error> {
    let id = decision.id(conn).await?;
    let digest = sluice_api::Digest::of_bytes(found.document.as_bytes());
    let Found { generation, document } = found;
    outcomes::keep_found(conn, id.as_str(), *generation, &digest, document).await?;
    Ok(id)
}

/// The content of generation `to` under a new number.
pub async fn rollback(
    store: &Store,
    decision: Decision<'_>,
    to: Generation,
) -> Result<Effect, Error> {
    let mut transaction = store.begin().await?;
    let reason = format!("rolled back to generation {to}");
    if let Some(effect) = decision.before(&mut transaction, &reason).await? {
        return Ok(effect);
    }
    let id = decision.id(&mut transaction).await?;
    let document = document(&mut transaction, &id, to).await?;
    owned::refuse_lost(&mut transaction, &id, &document).await?;
    let (above, cause) = (Generation::MIN, decision.cause(&reason));
    let renewed = Renewed { document: &document, above, pinned: true, cause };
    let effect = settle::renew(&mut transaction, &id, &renewed).await?;
    decision.commit(transaction, &reason, effect).await
}

/// A configuration as it was wanted.
pub async fn document(
    conn: &mut Conn,
    id: &ApplianceId,
    generation: Generation,
) -> Result<String, Error> {
    let found = outcomes::document(conn, id.as_str(), generation).await?;
    let name = || format!("{generation} of {id}");
    found.ok_or_else(|| Error::NotFound { kind: "generation", name: name() })
}

/// The wanted configuration is sent, even if it was undone before.
pub async fn push_again(store: &Store, decision: Decision<'_>) -> Result<ApplianceId, Error> {
    let mut transaction = store.begin().await?;
    let id = decision.id(&mut transaction).await?;
    outcomes::ask_again(&mut transaction, id.as_str()).await?;
    let what = format!("appliance {id}: sent again");
    audit::note(&mut transaction, decision.caller, &what, &[], decision.request).await?;
    transaction.commit().await?;
    Ok(id)
}

/// A store that was put back may be pushed from again.
pub async fn resume(store: &Store, caller: &Caller) -> Result<(), Error> {
    let mut transaction = store.begin().await?;
    facts::clear(&mut transaction, Fact::Hold).await?;
    audit::note(&mut transaction, caller, "pushing resumed", &[], None).await?;
    transaction.commit().await?;
    Ok(())
}

/// The differences between two documents: each place with what was and what is there.
pub fn differences(old: &str, new: &str) -> Result<Vec<Value>, Error> {
    let read = |text: &str| {
        serde_json::from_str::<Value>(text)
            .map_err(|error| Error::Corrupt { what: "configuration", reason: error.to_string() })
    };
    let mut found = Vec::new();
    compare("", &read(old)?, &read(new)?, &mut found);
    Ok(found)
}

fn compare(path: &str, old: &Value, new: &Value, found: &mut Vec<Value>) {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            for (field, value) in old {
                let other = new.get(field).unwrap_or(&Value::Null);
                compare(&join(path, field), value, other, found);
            }
            for (field, value) in new.iter().filter(|(field, _)| !old.contains_key(*field)) {
                compare(&join(path, field), &Value::Null, value, found);
            }
        }
        (Value::Array(old), Value::Array(new)) => lists(path, old, new, found),
        _ if old == new => {}
        _ => found.push(json!({ "path": path, "old": old, "new": new })),
    }
}

fn join(path: &str, field: &str) -> String {
    if path.is_empty() { field.to_owned() } else { format!("{path}.{field}") }
}

/// Parts of a list belong together by what names them, else by their place.
fn lists(path: &str, old: &[Value], new: &[Value], found: &mut Vec<Value>) {
    let (old, new) = (keyed(old), keyed(new));
    for (name, part) in &old {
        let other = new.get(name).copied().unwrap_or(&Value::Null);
        compare(&format!("{path}[{name}]"), part, other, found);
    }
    for (name, part) in new.iter().filter(|(name, _)| !old.contains_key(*name)) {
        compare(&format!("{path}[{name}]"), &Value::Null, part, found);
    }
}

fn keyed(list: &[Value]) -> BTreeMap<String, &Value> {
    let key = |(number, part): (usize, &Value)| {
        let name =
            ["id", "name", "destination"].iter().find_map(|field| part.get(*field)?.as_str());
        name.map_or_else(|| number.to_string(), str::to_owned)
    };
    list.iter().enumerate().map(|(number, part)| (key((number, part)), part)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_told_by_place() {
        let old = r#"{"a": 1, "list": [{"id": "x", "v": 1}, {"id": "y", "v": 2}], "same": [1, 2]}"#;
        let new = r#"{"b": 2, "list": [{"id": "y", "v": 3}], "same": [1, 2]}"#;
        let told: Vec<_> = differences(old, new)
            .unwrap()
            .iter()
            .map(|found| format!("{} {} {}", found["path"], found["old"], found["new"]))
            .collect();
        assert_eq!(
            told,
            [
                "\"a\" 1 null",
                "\"list[x]\" {\"id\":\"x\",\"v\":1} null",
                "\"list[y].v\" 2 3",
                "\"b\" null 2"
            ]
        );
    }
}
