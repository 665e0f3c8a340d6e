//! What NICs and links need: addresses on the wire, and names.
//!
//! Guarantees: no address on the wire is given twice in a cloud.

use sluice_api::types::{LinkName, MacAddr};

use super::Context;
use crate::alloc::{PoolClass, PoolName, mac_number, random_mac};
use crate::error::Error;
use crate::store::{Taken, allocations};

/// How often a random MAC is drawn; with 46 bits the second is needed once in a million clouds.
const DRAWS: usize = 8;

/// The name of a link: a stem and a number.
pub(super) fn link(stem: &str, number: Option<usize>) -> Result<LinkName, Error> {
    let number = number.map(|number| number.to_string()).unwrap_or_default();
    format!("{stem}{number}")
        .parse()
        .map_err(|error| Error::Corrupt { what: "link name", reason: format!("{error}") })
}

/// The first name of `stem` that none of `used` has.
pub(super) fn free_link<'a>(
    stem: &str,
    used: impl Iterator<Item = &'a LinkName> + Clone,
) -> Result<LinkName, Error> {
    let mut number = 0;
    loop {
        let name = link(stem, Some(number))?;
        if !used.clone().any(|other| other == &name) {
            return Ok(name);
        }
        number += 1;
    }
}

/// Takes the MAC that was asked for, or a random one.
pub async fn take_mac(
    context: &mut Context<'_>,
    asked: Option<MacAddr>,
    taken: Taken<'_>,
) -> Result<MacAddr, Error> {
    let pool = PoolName::of_cloud(PoolClass::Mac);
    if let Some(mac) = asked {
        if allocations::take(context.conn, &pool, mac_number(mac), taken).await? {
            return Ok(mac);
        }
        return Err(Error::Conflict { field: "mac", reason: format!("{mac} is taken") });
    }
    for _ in 0..DRAWS {
        let mac = random_mac();
        if allocations::take(context.conn, &pool, mac_number(mac), taken).await? {
            return Ok(mac);
        }
    }
    Err(Error::Exhausted { pool: "the MAC addresses".to_owned() })
}
