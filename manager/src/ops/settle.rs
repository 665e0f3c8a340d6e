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
    if old.is_some_and(|wanted| wanted.digest == digest) {
        return Ok(());
    }
    let findings = config.check();
    if Finding::any_error(&findings) {
        return Err(Error::Rejected(findings));
    }
    config.generation = after(wanted::highest(conn, id).await?)?;
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

/// An old or a found content as what is wanted from now on.
pub(super) struct Renewed<'a> {
    /// The document, whatever its number.
    pub(super) document: &'a str,
    /// The new number is above this one too.
    pub(super) above: Generation,
    /// Why the content is not what the model makes; none: it is.
    pub(super) pinned: bool,
    /// Who wants it, and why.
    pub(super) cause: Cause<'a>,
}

/// Makes a document what the appliance should have, under a new number.
pub(super) async fn renew(
    conn: &mut Conn,
    id: &ApplianceId,
    renewed: &Renewed<'_>,
) -> Result<Effect, Error> {
    let corrupt = |reason: String| Error::Corrupt { what: "configuration", reason };
    let mut config: ApplianceConfig =
        serde_json::from_str(renewed.document).map_err(|error| corrupt(error.to_string()))?;
    let findings = config.check();
    if Finding::any_error(&findings) {
        return Err(Error::Rejected(findings));
    }
    config.generation = Generation::MIN;
    let digest = digest(&config)?;
    let highest = wanted::highest(conn, id.as_str()).await?.max(renewed.above.get());
    config.generation = after(highest)?;
    write(conn, id.as_str(), &config, digest, renewed.cause).await?;
    if renewed.pinned {
        wanted::pin(conn, id.as_str(), renewed.cause.reason).await?;
    }
    Ok(Effect { appliance: id.clone(), generation: config.generation })
}

/// Compiles every appliance: another build of the manager may make another configuration of the same model. One that
/// was put on an older content stays there.
pub async fn refresh(store: &Store) -> Result<(), Error> {
    let mut transaction = store.begin().await?;
    let mut context = Context::new(&mut transaction, None);
    for id in wanted::unpinned(context.conn).await? {
        context.touch(&id);
    }
    settle(&mut context, "another build of the manager".to_owned()).await?;
    transaction.commit().await?;
    Ok(())
}
