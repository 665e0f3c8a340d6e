//! Configurations that were promised: compiled after the changes that they follow from, in no transaction that writes.
//!
//! Guarantees: changes are not held up while something is compiled; a worker leases what it compiles, so several managers
//! share the work, and what a worker that died had leased is taken up by another; what was compiled before something else
//! was promised, or written, is thrown away and compiled again; one that cannot be compiled holds up no other.

use sluice_api::ApplianceConfig;
use sluice_api::types::ApplianceId;
use tracing::error;

use super::settle::{digest, let_go, number_and_write, state};
use crate::compile;
use crate::error::Error;
use crate::kinds::appliance::{Appliance, object_id};
use crate::kinds::dynamic;
use crate::push::chain;
use crate::store::objects::ALL;
use crate::store::wanted::{Cause, State};
use crate::store::{Conn, Store, promises};

/// How many appliances a worker leases at a time.
const BATCH: i64 = 32;

/// What was compiled, and what it was compiled of.
struct Compiled {
    appliance: Appliance,
    before: State,
    config: ApplianceConfig,
    digest: String,
}

/// Keeps some of the promises; says to which appliances. A configuration that is not sound is wanted all the same: the
/// change is made, and the appliance refuses it with its reasons.
pub async fn keep_promises(store: &Store) -> Result<Vec<ApplianceId>, Error> {
    if promises::open(&mut *store.read().await?, 1).await?.is_empty() {
        return Ok(Vec::new());
    }
    let mut turn = store.begin().await?;
    let leased = promises::lease(&mut turn, BATCH).await?;
    turn.commit().await?;
    let (mut compiled, mut done) = (Vec::new(), Vec::new());
    for id in leased {
        match compile_outside(store, &id).await {
            Ok(found) => {
                compiled.extend(found);
                done.push(id);
            }
            Err(error @ Error::Store(_)) => return Err(error),
            // it is tried again when its lease is over
            Err(error) => error!(appliance = %id, error = chain(&error), "it cannot be compiled"),
        }
    }
    let mut turn = store.begin().await?;
    for one in compiled {
        keep(&mut turn, one).await?;
    }
    promises::end_leases(&mut turn, &done).await?;
    turn.commit().await?;
    Ok(done)
}

/// Compiles an appliance as of one moment; none when it is gone.
async fn compile_outside(store: &Store, id: &ApplianceId) -> Result<Option<Compiled>, Error> {
    let mut moment = store.snapshot().await?;
    let key = object_id(id);
    let found = dynamic::load(&mut moment, &[("id", key.as_str())], ALL).await?.pop();
    let Some(appliance) = found else { return Ok(None) };
    let before = state(&mut moment, &appliance).await?;
    let config = compile::configuration(&mut moment, &appliance).await?;
    let digest = digest(&config)?;
    Ok(Some(Compiled { appliance, before, config, digest }))
}

/// Writes what was compiled, if it is still what is to be.
async fn keep(conn: &mut Conn, compiled: Compiled) -> Result<(), Error> {
    let Compiled { appliance, before, config, digest } = compiled;
    let id = appliance.id.as_str();
    // it may be gone by now
    let Some(now) = crate::store::wanted::state(conn, id).await? else { return Ok(()) };
    let Some((actor, reason)) = promises::of(conn, id).await?.dirty else { return Ok(()) };
    if !now.same_as(&before) {
        return Ok(());
    }
    let cause = Cause { actor: &actor, reason: &reason };
    let generation = if now.digest == digest {
        let generation = super::settle::generation_of(now.generation)?;
        promises::cover(conn, id, generation).await?;
        generation
    } else {
        number_and_write(conn, &now, config, digest, cause).await?
    };
    let_go(conn, &appliance.id, &now, generation).await
}
