//! Changes to the cloud: each is one transaction with its allocations and the configurations that follow from it.
//!
//! Guarantees: a change happens whole or not at all; a request id answers the same however often it is sent; a
//! configuration that the appliance would refuse is refused here, before it is stored. Not here: pushing.

mod appliance;
mod cloud;
mod guest;
mod network;
mod physical;
mod public;
mod resolve;
mod settle;
mod zone;

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value;
use sluice_api::Digest;
use sluice_api::types::ObjectId;
use sqlx::SqliteConnection;

pub use appliance::boot_document;
pub use cloud::{CloudChange, CloudReport};
pub use resolve::{
    appliance_id, find_guest, find_network, find_physical_network, find_public_range, find_zone,
};
pub use settle::raise;

use crate::error::Error;
use crate::model::{
    CloudSpec, EndpointSpec, GuestPatch, GuestSpec, NetworkPatch, NetworkSpec,
    PhysicalNetworkPatch, PhysicalNetworkSpec, PublicRangeSpec, ZonePatch, ZoneSpec,
};
use crate::store::requests;
use crate::store::row_json;
use crate::store::{Store, StoredAnswer};

/// One change; objects are named by name or id.
#[derive(Clone, Debug, Serialize)]
pub enum Change {
    /// A new zone.
    CreateZone(ZoneSpec),
    /// Another zone.
    UpdateZone(ObjectId, ZonePatch),
    /// No such zone any more.
    DeleteZone(ObjectId),
    /// A new physical network.
    CreatePhysicalNetwork(PhysicalNetworkSpec),
    /// Another physical network.
    UpdatePhysicalNetwork(ObjectId, PhysicalNetworkPatch),
    /// No such physical network any more.
    DeletePhysicalNetwork(ObjectId),
    /// A new public range.
    CreatePublicRange(PublicRangeSpec),
    /// No such public range any more.
    DeletePublicRange(ObjectId),
    /// A new network and its router.
    CreateNetwork(NetworkSpec),
    /// Another network.
    UpdateNetwork(ObjectId, NetworkPatch),
    /// No such network any more.
    DeleteNetwork(ObjectId),
    /// A new guest.
    CreateGuest(GuestSpec),
    /// Another guest.
    UpdateGuest(ObjectId, GuestPatch),
    /// No such guest any more.
    DeleteGuest(ObjectId),
    /// Another way to an appliance.
    SetEndpoint(ObjectId, EndpointSpec),
    /// The appliance's machine is gone.
    DeleteAppliance(ObjectId),
    /// A whole cloud.
    Apply {
        /// What there is to be.
        cloud: CloudSpec,
        /// Leave alone what the description does not have.
        keep: bool,
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

/// The transaction that a change is made in.
pub struct Context<'c> {
    conn: &'c mut SqliteConnection,
    request: Option<&'c str>,
    touched: BTreeSet<String>,
}

impl Context<'_> {
    /// Has the configuration of `appliance` compiled before the transaction ends.
    fn touch(&mut self, appliance: &sluice_api::types::ApplianceId) {
        self.touched.insert(appliance.as_str().to_owned());
    }
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
    let mut context = Context { conn: &mut transaction, request, touched: BTreeSet::new() };
    let mut outcome = run(&mut context, change).await?;
    settle::settle(&mut context).await?;
    outcome.touched = context.touched;
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
    conn: &mut SqliteConnection,
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

/// Makes a change inside a transaction; whole clouds are made of the others.
async fn run(context: &mut Context<'_>, change: &Change) -> Result<Outcome, Error> {
    match change {
        Change::Apply { cloud, keep, expect, .. } => {
            let terms = cloud::Terms { keep: *keep, expect: expect.as_ref() };
            changed(&cloud::apply(context, cloud, terms).await?)
        }
        single => run_single(context, single).await,
    }
}

async fn run_single(context: &mut Context<'_>, change: &Change) -> Result<Outcome, Error> {
    match change {
        Change::CreateZone(spec) => created(&zone::create(context, spec).await?),
        Change::UpdateZone(id, patch) => changed(&zone::update(context, id, patch).await?),
        Change::DeleteZone(id) => changed(&zone::delete(context, id).await?),
        Change::CreatePhysicalNetwork(spec) => created(&physical::create(context, spec).await?),
        Change::UpdatePhysicalNetwork(id, patch) => {
            changed(&physical::update(context, id, patch).await?)
        }
        Change::DeletePhysicalNetwork(id) => changed(&physical::delete(context, id).await?),
        Change::CreatePublicRange(spec) => created(&public::create(context, spec).await?),
        Change::DeletePublicRange(id) => changed(&public::delete(context, id).await?),
        Change::CreateNetwork(spec) => created(&network::create(context, spec).await?),
        Change::UpdateNetwork(id, patch) => changed(&network::update(context, id, patch).await?),
        Change::DeleteNetwork(id) => changed(&network::delete(context, id).await?),
        Change::CreateGuest(spec) => created(&guest::create(context, spec).await?),
        Change::UpdateGuest(id, patch) => changed(&guest::update(context, id, patch).await?),
        Change::DeleteGuest(id) => changed(&guest::delete(context, id).await?),
        Change::SetEndpoint(id, spec) => changed(&appliance::endpoint(context, id, spec).await?),
        Change::DeleteAppliance(id) => changed(&appliance::delete(context, id).await?),
        Change::Apply { .. } => changed(&Value::Null),
    }
}

fn created<T: Serialize>(object: &T) -> Result<Outcome, Error> {
    Ok(Outcome { status: 201, ..changed(object)? })
}

fn changed<T: Serialize>(object: &T) -> Result<Outcome, Error> {
    let body = row_json(object, "answer")?;
    Ok(Outcome { status: 200, body, touched: BTreeSet::new() })
}
