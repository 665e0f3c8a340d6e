//! From a name or an id to the object.

use sluice_api::types::{ApplianceId, ObjectId};
use sqlx::{Row as _, SqliteConnection};

use crate::error::Error;
use crate::model::{Guest, Network, PhysicalNetwork, PublicRange, Zone};
use crate::store::{guests, networks, zones};

/// The zone called `name`.
pub async fn find_zone(conn: &mut SqliteConnection, name: &ObjectId) -> Result<Zone, Error> {
    let all = zones::zones(conn).await?;
    let fits = |zone: &Zone| &zone.id == name || &zone.name == name;
    only("zone", name, all.into_iter().filter(fits).collect(), |zone| zone.id.to_string())
}

/// The physical network called `name`, in `zone` if that is known.
pub async fn find_physical_network(
    conn: &mut SqliteConnection,
    zone: Option<&ObjectId>,
    name: &ObjectId,
) -> Result<PhysicalNetwork, Error> {
    let all = zones::physical_networks(conn).await?;
    let fits = |network: &PhysicalNetwork| {
        (&network.id == name || &network.name == name) && zone.is_none_or(|id| id == &network.zone)
    };
    let found = all.into_iter().filter(fits).collect();
    only("physical network", name, found, |network| network.id.to_string())
}

/// The public range called `name`, in `zone` if that is known.
pub async fn find_public_range(
    conn: &mut SqliteConnection,
    zone: Option<&ObjectId>,
    name: &ObjectId,
) -> Result<PublicRange, Error> {
    let all = zones::public_ranges(conn).await?;
    let fits = |range: &PublicRange| {
        (&range.id == name || &range.name == name) && zone.is_none_or(|id| id == &range.zone)
    };
    only("public range", name, all.into_iter().filter(fits).collect(), |range| range.id.to_string())
}

/// The network called `name`, in `zone` if that is known.
pub async fn find_network(
    conn: &mut SqliteConnection,
    zone: Option<&ObjectId>,
    name: &ObjectId,
) -> Result<Network, Error> {
    let rows = sqlx::query(
        "SELECT id FROM networks WHERE (id = $1 OR name = $1) AND ($2 IS NULL OR zone = $2)",
    )
    .bind(name.as_str())
    .bind(zone.map(ObjectId::as_str))
    .fetch_all(&mut *conn)
    .await?;
    let id = only_id("network", name, &rows)?;
    let found = networks::networks(conn, Some(&id)).await?;
    only("network", name, found, |network| network.id.to_string())
}

/// The guest called `name`.
pub async fn find_guest(conn: &mut SqliteConnection, name: &ObjectId) -> Result<Guest, Error> {
    let rows = sqlx::query("SELECT id FROM guests WHERE id = $1 OR name = $1")
        .bind(name.as_str())
        .fetch_all(&mut *conn)
        .await?;
    let id = only_id("guest", name, &rows)?;
    let found = guests::guests(conn, None, Some(&id)).await?;
    only("guest", name, found, |guest| guest.id.to_string())
}

/// An appliance's id as such.
pub fn appliance_id(name: &ObjectId) -> Result<ApplianceId, Error> {
    name.as_str().parse().map_err(|_| not_found("appliance", name))
}

pub(super) fn not_found(kind: &'static str, name: &ObjectId) -> Error {
    Error::NotFound { kind, name: name.to_string() }
}

fn only_id(
    kind: &'static str,
    name: &ObjectId,
    rows: &[sqlx::sqlite::SqliteRow],
) -> Result<String, Error> {
    let ids = rows.iter().map(|row| Ok(row.try_get::<String, _>("id")?));
    only(kind, name, ids.collect::<Result<_, Error>>()?, String::clone)
}

fn only<T>(
    kind: &'static str,
    name: &ObjectId,
    mut found: Vec<T>,
    id: impl Fn(&T) -> String,
) -> Result<T, Error> {
    if found.len() > 1 {
        let candidates = found.iter().map(id).collect::<Vec<_>>().join(", ");
        return Err(Error::Ambiguous { kind, name: name.to_string(), candidates });
    }
    found.pop().ok_or_else(|| not_found(kind, name))
}

/// Refuses a name that has the form of an id of its kind: nobody could tell which is meant.
pub(super) fn refuse_id_form(prefix: &str, name: &str) -> Result<(), Error> {
    let digits = name.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('-'));
    if digits.is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit())) {
        let reason = format!("{name} has the form of an id; choose another name");
        return Err(Error::Invalid { field: "name", reason });
    }
    Ok(())
}

/// A conflict over a name.
pub(super) fn name_taken(kind: &'static str, name: impl std::fmt::Display) -> Error {
    Error::Conflict { field: "name", reason: format!("there is a {kind} {name} already") }
}
