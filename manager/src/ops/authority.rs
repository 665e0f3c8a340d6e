//! The authority and the store: that they belong together, and how the authority is changed.
//!
//! Guarantees: a manager does not start with another authority than the store's, for none of the appliances would know
//! it. A change of the authority loses no appliance: the older one stays trusted until every appliance was seen with a
//! certificate of the new one.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};
use sluice_api::Digest;
use utoipa::ToSchema;

use crate::access::Caller;
use crate::ca::Authority;
use crate::error::Error;
use crate::store::facts::{self, Fact};
use crate::store::{Conn, Store, StoredAnswer, audit, observations, requests};

/// Makes sure that the authority in the file at `path` is the store's; a new store gets a new one. `replace` gives up a
/// lost one.
pub async fn begin_life(
    store: &Store,
    path: &Path,
    life: Duration,
    replace: bool,
) -> anyhow::Result<Authority> {
    let mut transaction = store.begin().await.context("the store cannot be written")?;
    facts::epoch(&mut transaction).await?;
    let known = facts::get(&mut transaction, Fact::Authority).await?.filter(|_| !replace);
    if known.is_some() && !path.exists() {
        bail!(
            "the authority's file {} is lost, and every appliance knows that authority alone: put it \
             back from where it was copied to (a back-up has it), or start once with \
             --replace-authority, after which each machine needs a new boot document",
            path.display()
        );
    }
    let authority = Authority::at(path, life)?;
    let there = authority.fingerprints();
    if known.is_some_and(|known| !there.contains(&known)) {
        bail!(
            "the authority in {} is not that of the store: put the right file there, or start once \
             with --replace-authority, after which each machine needs a new boot document",
            path.display()
        );
    }
    take_up(&mut transaction, &authority).await?;
    transaction.commit().await?;
    Ok(authority)
}

/// Has the store know the authority of the file: a change of it may have broken off in between.
async fn take_up(conn: &mut Conn, authority: &Authority) -> Result<(), Error> {
    let known = facts::get(conn, Fact::Authority).await?;
    let Some(current) = authority.fingerprints().into_iter().next() else { return Ok(()) };
    if known.as_ref() == Some(&current) {
        return Ok(());
    }
    facts::set(conn, Fact::Authority, &current).await?;
    observations::renew_all(conn).await
}

/// Reads the file again and makes sure that it is not older than what the store knows: another manager may have changed the
/// authority, and this one's file be a copy of before.
async fn newest(conn: &mut Conn, authority: &Authority) -> Result<(), Error> {
    authority.reload()?;
    let known = facts::get(conn, Fact::Authority).await?;
    if known.is_some_and(|known| !authority.fingerprints().contains(&known)) {
        let reason = "the file of this manager is not that of the store; copy it from the manager that changed it";
        return Err(Error::Invalid { field: "authority", reason: reason.to_owned() });
    }
    take_up(conn, authority).await
}

/// The authorities, and what stands in the way of giving the older ones up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuthorityStatus {
    /// SHA-256 of the certificate of the authority that issues.
    pub current: String,
    /// The same of those that are still trusted.
    pub older: Vec<String>,
    /// Appliances that were not seen with a certificate of the current one yet.
    pub waiting: Vec<String>,
}

/// How things are with the authorities.
pub async fn authority_status(
    store: &Store,
    authority: &Authority,
) -> Result<AuthorityStatus, Error> {
    let mut all = authority.fingerprints().into_iter();
    let (current, older) = (all.next().unwrap_or_default(), all.collect::<Vec<_>>());
    let waiting = if older.is_empty() {
        Vec::new()
    } else {
        observations::on_old_authority(&mut *store.read().await?).await?
    };
    Ok(AuthorityStatus { current, older, waiting })
}

/// Begins a new authority; the same request again begins no other.
pub async fn rotate(
    store: &Store,
    authority: &Authority,
    caller: &Caller,
    request: Option<&str>,
) -> Result<(), Error> {
    const WHAT: &str = "authority changed";
    // the turn of writers keeps two managers from doing it at once
    let mut transaction = store.begin().await?;
    let digest = Digest::of_bytes(WHAT.as_bytes()).as_str().to_owned();
    if super::repeated(&mut transaction, caller, request, &digest).await?.is_some() {
        return Ok(());
    }
    newest(&mut transaction, authority).await?;
    authority.rotate()?;
    if let Some(current) = authority.fingerprints().first() {
        facts::set(&mut transaction, Fact::Authority, current).await?;
    }
    observations::renew_all(&mut transaction).await?;
    audit::note(&mut transaction, caller, WHAT, &[], request).await?;
    if let Some(id) = request {
        let answer = StoredAnswer { digest, status: 200, answer: String::new() };
        requests::store(&mut transaction, &caller.owner, id, &answer).await?;
    }
    transaction.commit().await?;
    Ok(())
}

/// Gives the older authorities up; refused while an appliance may know no other, unless `force` gives that up too.
pub async fn retire(
    store: &Store,
    authority: &Authority,
    caller: &Caller,
    force: bool,
) -> Result<(), Error> {
    let mut transaction = store.begin().await?;
    newest(&mut transaction, authority).await?;
    let waiting = observations::on_old_authority(&mut transaction).await?;
    if !force && !waiting.is_empty() && authority.fingerprints().len() > 1 {
        let by = format!("{}, which were not seen with a newer certificate", waiting.join(", "));
        let name = "that came before".to_owned();
        return Err(Error::InUse { kind: "authority", name, by });
    }
    authority.retire()?;
    audit::note(&mut transaction, caller, "older authorities given up", &[], None).await?;
    transaction.commit().await?;
    Ok(())
}
