//! A whole cloud from one description: the difference to what there is, as lines and as changes.
//!
//! Guarantees: pure comparison; a second run finds nothing to do; what cannot be changed in place is refused with a
//! reason rather than deleted and made anew, for that would end every connection of the network.

mod compare;

use serde::{Deserialize, Serialize};
use sqlx::SqliteConnection;
use utoipa::ToSchema;

use super::{Change, Context};
use crate::error::Error;
use crate::model::{CloudSpec, Guest, Network, PhysicalNetwork, PublicRange, Zone};
use crate::store::{guests, networks, zones};

/// What there is.
#[derive(Clone, Debug, Default)]
pub(super) struct Existing {
    pub(super) zones: Vec<Zone>,
    pub(super) physical: Vec<PhysicalNetwork>,
    pub(super) ranges: Vec<PublicRange>,
    pub(super) networks: Vec<Network>,
    pub(super) guests: Vec<Guest>,
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CloudChange {
    /// `+` made, `~` changed, `-` deleted.
    pub sign: char,
    /// The object and what of it changes, for a person.
    pub text: String,
}

impl std::fmt::Display for CloudChange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.sign, self.text)
    }
}

/// What applying a description changes, in order of execution.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CloudReport {
    /// The differences; none: nothing to do.
    pub changes: Vec<CloudChange>,
}

/// Makes the zones that `cloud` names what it says; with `keep`, without deleting anything.
pub(super) async fn apply(
    context: &mut Context<'_>,
    cloud: &CloudSpec,
    keep: bool,
) -> Result<CloudReport, Error> {
    let existing = load(context.conn).await?;
    let mut report = CloudReport::default();
    for (line, change) in compare::differences(&existing, cloud, keep)? {
        Box::pin(super::run_single(context, &change)).await?;
        report.changes.push(line);
    }
    Ok(report)
}

async fn load(conn: &mut SqliteConnection) -> Result<Existing, Error> {
    Ok(Existing {
        zones: zones::zones(conn).await?,
        physical: zones::physical_networks(conn).await?,
        ranges: zones::public_ranges(conn).await?,
        networks: networks::networks(conn, None).await?,
        guests: guests::guests(conn, None, None).await?,
    })
}

/// A difference and the change that makes it go away.
pub(super) type Step = (CloudChange, Change);
