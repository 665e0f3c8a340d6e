//! The end of a change: each touched appliance gets the configuration that follows, with a higher number if it differs.

use sluice_api::types::{ApplianceId, Generation};
use sluice_api::{ApplianceConfig, Digest, Finding};

use super::Effect;
use crate::compile;
use crate::error::Error;
use crate::kinds::appliance::{Appliance, object_id};
use crate::kinds::context::ACCOUNT;
use crate::kinds::{Context, dynamic};
use crate::store::objects::ALL;
use crate::store::wanted::{self, Cause};
use crate::store::{Conn, Store, WantedRow, allocations, to_json};

/// Compiles every touched appliance that still exists; says which generation of each has the change in it.
pub(super) async fn settle(
    context: &mut Context<'_>,
    reason: String,
) -> Result<Vec<Effect>, Error> {
    let cause = Cause { actor: ACCOUNT, reason: &reason };
    let mut effects = Vec::new();
    for id in context.touched.clone() {
        let key = object_id(&id);
        let filter = [("id", key.as_str())];
        let found: Option<Appliance> = dynamic::load(context.conn, &filter, ALL).await?.pop();
        if let Some(appliance) = found {
            recompile(context.conn, &appliance, cause).await?;
            let generation = let_go(context.conn, &id).await?;
            effects.push(Effect { appliance: id, generation });
        }
    }
    Ok(effects)
}

/// What is being released is free once the configuration that is wanted now, whose number is returned, is confirmed.
async fn let_go(conn: &mut Conn, id: &ApplianceId) -> Result<Generation, Error> {
    let id = id.as_str();
    let generation = wanted::wanted(conn, id).await?.map_or(0, |wanted| wanted.generation);
    let number = i64::try_from(generation).unwrap_or(i64::MAX);
    allocations::stamp(conn, id, number).await?;
    let machine = wanted::machine(conn, id).await?.unwrap_or_default();
    if machine.sent.is_none() {
        // it was never told of anything, so nothing has to be forgotten
        allocations::free(conn, id, number).await?;
    }
    Generation::try_from(generation)
        .map_err(|error| Error::Corrupt { what: "generation", reason: error.to_string() })
}

async fn recompile(conn: &mut Conn, appliance: &Appliance, cause: Cause<'_>) -> Result<(), Error> {
    let id = appliance.id.as_str();
    let mut config = compile::configuration(conn, appliance).await?;
    let digest = digest(&config)?;
    let old = wanted::wanted(conn, id).await?;
    let generation = old.as_ref().map_or(0, |wanted| wanted.generation);
    if old.is_some_and(|wanted| wanted.digest == digest) {
        return Ok(());
    }
    let findings = config.check();
    if Finding::any_error(&findings) {
        return Err(Error::Rejected(findings));
    }
    config.generation = after(generation)?;
    write(conn, id, &config, digest, cause).await
}

/// Digest of the content: the number is the same for all.
fn digest(config: &ApplianceConfig) -> Result<String, Error> {
    let digest = Digest::of(config)
        .map_err(|error| Error::Corrupt { what: "configuration", reason: error.to_string() })?;
    Ok(digest.as_str().to_owned())
}

fn after(generation: u64) -> Result<Generation, Error> {
    Generation::try_from(generation.saturating_add(1))
        .map_err(|error| Error::Corrupt { what: "generation", reason: error.to_string() })
}

async fn write(
    conn: &mut Conn,
    id: &str,
    config: &ApplianceConfig,
    digest: String,
    cause: Cause<'_>,
) -> Result<(), Error> {
    let generation = config.generation.get();
    let wanted = WantedRow { generation, digest, config: to_json(config, "configuration")? };
    wanted::set(conn, id, &wanted, cause).await
}

/// Gives the wanted configuration a number above `seen`, which the appliance has from elsewhere (a store that was put
/// back to an older state); the content stays. Returns false when a higher number is wanted already.
pub async fn raise(conn: &mut Conn, id: &str, seen: Generation) -> Result<bool, Error> {
    let Some(wanted) = wanted::wanted(conn, id).await? else { return Ok(false) };
    if wanted.generation > seen.get() {
        return Ok(false);
    }
    let corrupt = |reason: String| Error::Corrupt { what: "configuration", reason };
    let mut config: ApplianceConfig =
        serde_json::from_str(&wanted.config).map_err(|error| corrupt(error.to_string()))?;
    config.generation = after(seen.get())?;
    let reason = format!("raised above generation {seen}, which the appliance had from elsewhere");
    let cause = Cause { actor: ACCOUNT, reason: &reason };
    write(conn, id, &config, wanted.digest, cause).await?;
    Ok(true)
}

/// Compiles every appliance: another build of the manager may make another configuration of the same model.
pub async fn refresh(store: &Store) -> Result<(), Error> {
    let mut transaction = store.begin().await?;
    let mut context = Context::new(&mut transaction, None);
    for id in wanted::ids(context.conn).await? {
        context.touch(&id);
    }
    settle(&mut context, "another build of the manager".to_owned()).await?;
    transaction.commit().await?;
    Ok(())
}
