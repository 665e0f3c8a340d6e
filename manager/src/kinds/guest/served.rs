//! What the router of a network is told of its guests.

use std::collections::HashSet;

use sluice_api::config::{GuestMetadata, GuestPassword};
use sluice_api::types::{MetadataValue, ObjectId, PublicKey};
use sqlx::Row as _;

use super::Guest;
use crate::error::Error;
use crate::kinds::keypair::Keypair;
use crate::kinds::{Kind as _, dynamic};
use crate::store::{Owner, Row, Scope, from_json, objects};

/// The NICs in a network with their host names, by address: what its router serves.
pub async fn served(
    conn: &mut crate::store::Conn,
    network: &ObjectId,
) -> Result<Vec<sluice_api::config::Guest>, Error> {
    let rows = sqlx::query(
        "SELECT n.id, n.hostname, n.mac, n.address, g.domain, g.account, g.body, z.name AS zone
         FROM nics n
         JOIN guests g ON g.id = n.guest JOIN zones z ON z.id = g.zone WHERE n.network = $1",
    )
    .bind(network.as_str())
    .fetch_all(&mut *conn)
    .await?;
    let mut served = Vec::new();
    for row in &rows {
        let guest: Guest = from_json(&row.try_get::<String, _>("body")?, Guest::NAMES.word)?;
        let owner = Owner { domain: row.try_get("domain")?, account: row.try_get("account")? };
        let keys = keys_of(conn, &owner, &guest.keypairs).await?;
        served.push(served_nic(row, guest, keys)?);
    }
    Ok(served)
}

/// The public keys of an owner's pairs, in the order of their names here.
async fn keys_of(
    conn: &mut crate::store::Conn,
    owner: &Owner,
    names: &[ObjectId],
) -> Result<Vec<PublicKey>, Error> {
    let mut keys = Vec::new();
    for name in names {
        let filter = [("name", name.as_str())];
        let pairs: Vec<Keypair> =
            dynamic::load_in(conn, Scope::Of(owner), &filter, objects::ALL).await?;
        keys.extend(pairs.into_iter().map(|pair| pair.public_key));
    }
    Ok(keys)
}

fn served_nic(
    row: &Row,
    guest: Guest,
    of_pairs: Vec<PublicKey>,
) -> Result<sluice_api::config::Guest, Error> {
    fn part<T: std::str::FromStr>(row: &Row, column: &'static str) -> Result<T, Error>
    where
        T::Err: ToString,
    {
        let text: String = row.try_get(column)?;
        text.parse()
            .map_err(|error: T::Err| Error::Corrupt { what: column, reason: error.to_string() })
    }
    let id: ObjectId = part(row, "id")?;
    let nic = guest.nics.iter().find(|nic| nic.id == id).cloned();
    let way_out = guest.default_nic.as_ref().or(guest.nics.first().map(|nic| &nic.id));
    let default_nic = way_out == Some(&id);
    // by one NIC alone: it is given once
    let password = guest
        .password
        .filter(|_| default_nic)
        .map(|blob| GuestPassword { blob, valid_seconds: guest.password_seconds });
    let mut public_keys: Vec<_> = of_pairs.into_iter().chain(guest.public_keys).collect();
    let mut seen = HashSet::new();
    public_keys.retain(|key| seen.insert(key.to_string()));
    let metadata = GuestMetadata {
        // one for all its NICs
        instance_id: Some(MetadataValue::from(&guest.id)),
        availability_zone: Some(part(row, "zone")?),
        public_keys,
        user_data: guest.user_data,
        password,
        service_offering: guest.service_offering,
        tokens: guest.metadata_tokens,
        ..GuestMetadata::default()
    };
    Ok(sluice_api::config::Guest {
        mac: part(row, "mac")?,
        address: part(row, "address")?,
        secondary_addresses: nic
            .as_ref()
            .map(|nic| nic.secondary_addresses.clone())
            .unwrap_or_default(),
        hostname: part(row, "hostname")?,
        default_nic,
        dhcp: nic.map(|nic| nic.dhcp).unwrap_or_default(),
        id,
        metadata,
    })
}
