//! The end of a change: each touched appliance gets the configuration that follows, with a higher number if it differs.

use std::collections::BTreeSet;

use sluice_api::types::{ApplianceId, Generation};
use sluice_api::{ApplianceConfig, Digest, Finding};

use super::Effect;
use super::named::named;
use crate::access::Caller;
use crate::compile;
use crate::error::Error;
use crate::kinds::appliance::{Appliance, object_id};
use crate::kinds::{Context, dynamic};
use crate::store::objects::ALL;
use crate::store::wanted::{self, Cause, State};
use crate::store::{Conn, Store, WantedRow, allocations, promises, to_json};

/// How many appliances are compiled inside the transaction of a change; of more, each is promised a number.
const FEW: usize = 32;

/// Compiles every touched appliance that still exists; says which generation of each has the change in it.
pub(super) async fn settle(
    context: &mut Context<'_>,
    reason: String,
    now: Now,
) -> Result<Vec<Effect>, Error> {
    let actor = context.actor;
    let cause = Cause { actor, reason: &reason };
    let touched = context.touched.clone();
    let later = matches!(now, Now::Few) && touched.len() > FEW;
    let mut effects = Vec::new();
    for id in touched {
        let key = object_id(&id);
        let filter = [("id", key.as_str())];
        let found: Option<Appliance> = dynamic::load(context.conn, &filter, ALL).await?.pop();
        let Some(appliance) = found else { continue };
        let (findings, generation) = if later {
            (Vec::new(), promise_or_compile(context.conn, &appliance, cause).await?)
        } else {
            recompile(context.conn, &appliance, cause).await?
        };
        effects.push(Effect { appliance: id, generation, findings });
    }
    Ok(effects)
}

/// When appliances are compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Now {
    /// At once, as long as they are few.
    Few,
    /// At once, however many.
    All,
}

/// Leaves the compilation to afterwards. One that never had a configuration gets its first at once.
async fn promise_or_compile(
    conn: &mut Conn,
    appliance: &Appliance,
    cause: Cause<'_>,
) -> Result<Generation, Error> {
    let id = appliance.id.as_str();
    let highest = wanted::highest(conn, id).await?;
    if highest == 0 {
        return Ok(recompile(conn, appliance, cause).await?.1);
    }
    let number = after(highest)?.get().max(promises::of(conn, id).await?.promised);
    promises::make(conn, id, number, cause).await?;
    allocations::stamp(conn, id, i64::try_from(number).unwrap_or(i64::MAX)).await?;
    generation_of(number)
}

pub(super) fn generation_of(number: u64) -> Result<Generation, Error> {
    Generation::try_from(number)
        .map_err(|error| Error::Corrupt { what: "generation", reason: error.to_string() })
}

pub(super) async fn state(conn: &mut Conn, appliance: &Appliance) -> Result<State, Error> {
    let id = &appliance.id;
    let found = wanted::state(conn, id.as_str()).await?;
    let missing = || Error::Corrupt { what: "appliance", reason: format!("{id} wants nothing") };
    found.ok_or_else(missing)
}

/// Writes a configuration under the next number, or the one that was promised.
pub(super) async fn number_and_write(
    conn: &mut Conn,
    state: &State,
    mut config: ApplianceConfig,
    digest: String,
    cause: Cause<'_>,
) -> Result<Generation, Error> {
    let id = config.appliance.clone();
    let next = after(wanted::highest(conn, id.as_str()).await?)?.get();
    config.generation = generation_of(next.max(state.promised))?;
    write(conn, id.as_str(), &config, digest, cause).await?;
    Ok(config.generation)
}

/// What is being released is free once `generation` is confirmed.
pub(super) async fn let_go(
    conn: &mut Conn,
    id: &ApplianceId,
    state: &State,
    generation: Generation,
) -> Result<(), Error> {
    let number = i64::try_from(generation.get()).unwrap_or(i64::MAX);
    allocations::stamp(conn, id.as_str(), number).await?;
    if state.sent.is_none() {
        // it was never told of anything, so nothing has to be forgotten
        allocations::free(conn, id.as_str(), number).await?;
    }
    Ok(())
}

/// Compiles an appliance; says what is remarked upon now and was not before, and which generation has the model in it.
async fn recompile(
    conn: &mut Conn,
    appliance: &Appliance,
    cause: Cause<'_>,
) -> Result<(Vec<Finding>, Generation), Error> {
    let (id, state) = (appliance.id.as_str(), state(conn, appliance).await?);
    let config = compile::configuration(conn, appliance).await?;
    let digest = digest(&config)?;
    let (findings, generation) = if state.digest == digest {
        let generation = generation_of(state.generation)?;
        if state.dirty {
            promises::cover(conn, id, generation).await?;
        }
        (Vec::new(), generation)
    } else {
        let findings = config.check();
        if Finding::any_error(&findings) {
            return Err(Error::Rejected(named(conn, &config, findings).await?));
        }
        let findings = new_remarks(conn, id, findings).await?;
        let findings = named(conn, &config, findings).await?;
        (findings, number_and_write(conn, &state, config, digest, cause).await?)
    };
    let_go(conn, &appliance.id, &state, generation).await?;
    Ok((findings, generation))
}

/// Places in lists change with every rule, so what was said of the configuration before is known by its words.
async fn new_remarks(
    conn: &mut Conn,
    id: &str,
    mut findings: Vec<Finding>,
) -> Result<Vec<Finding>, Error> {
    if findings.is_empty() {
        return Ok(findings);
    }
    let old = wanted::wanted(conn, id).await?;
    let old: Option<ApplianceConfig> = old.and_then(|old| serde_json::from_str(&old.config).ok());
    let said: BTreeSet<String> =
        old.iter().flat_map(ApplianceConfig::check).map(|finding| finding.reason).collect();
    findings.retain(|finding| !said.contains(&finding.reason));
    Ok(findings)
}

/// Digest of the content: the number is the same for all.
pub(super) fn digest(config: &ApplianceConfig) -> Result<String, Error> {
    let digest = Digest::of(config)
        .map_err(|error| Error::Corrupt { what: "configuration", reason: error.to_string() })?;
    Ok(digest.as_str().to_owned())
}

fn after(generation: u64) -> Result<Generation, Error> {
    generation_of(generation.saturating_add(1))
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
        return Err(Error::Rejected(named(conn, &config, findings).await?));
    }
    config.generation = Generation::MIN;
    let digest = digest(&config)?;
    let promise = promises::of(conn, id.as_str()).await?;
    let highest = wanted::highest(conn, id.as_str()).await?.max(renewed.above.get());
    config.generation = after(highest.max(promise.promised))?;
    write(conn, id.as_str(), &config, digest, renewed.cause).await?;
    if promise.dirty.is_some() {
        // whoever waits for what was promised is told of this one
        promises::cover(conn, id.as_str(), config.generation).await?;
    }
    if renewed.pinned {
        wanted::pin(conn, id.as_str(), renewed.cause.reason).await?;
    }
    let generation = config.generation;
    Ok(Effect { appliance: id.clone(), generation, findings: Vec::new() })
}

/// How many appliances are compiled in one transaction, so that changes are not held up for longer.
const BATCH: usize = 32;

/// Compiles every appliance: another build of the manager may make another configuration of the same model. One that
/// was put on an older content stays there.
pub async fn refresh(store: &Store) -> Result<(), Error> {
    let (all, manager) = (wanted::unpinned(&mut *store.read().await?).await?, Caller::manager());
    for batch in all.chunks(BATCH) {
        let mut transaction = store.begin().await?;
        let mut context = Context::new(&mut transaction, &manager, None);
        for id in batch {
            // somebody may have decided about it since
            if !wanted::is_pinned(context.conn, id.as_str()).await? {
                context.touch(id);
            }
        }
        settle(&mut context, "another build of the manager".to_owned(), Now::All).await?;
        transaction.commit().await?;
    }
    Ok(())
}
