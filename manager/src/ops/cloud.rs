//! A whole cloud from one description: the difference to what there is, as lines and as changes.
//!
//! Guarantees: pure comparison; a second run finds nothing to do; what cannot be changed in place is refused with a
//! reason rather than deleted and made anew, for that would end every connection of the network; what was confirmed by
//! its digest is what is made. A range or physical network whose items a router has not let go yet is not deleted but
//! told as waiting: failing would mean that a network and its range could never leave a description together.

mod compare;
mod waiting;

use serde::{Deserialize, Serialize};
use sluice_api::Digest;
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CloudReport {
    /// The differences; none: nothing to do now.
    pub changes: Vec<CloudChange>,
    /// Deletions that are put off, each with what it waits for; apply again after that.
    #[serde(default)]
    pub waiting: Vec<String>,
    /// Digest of all that is changed and put off: `expect` of the call that is to make exactly this.
    pub digest: Digest,
}

/// How a description is applied.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms<'a> {
    /// Delete nothing.
    pub(super) keep: bool,
    /// Make only the changes with this digest.
    pub(super) expect: Option<&'a Digest>,
}

/// Makes the zones that `cloud` names what it says.
pub(super) async fn apply(
    context: &mut Context<'_>,
    cloud: &CloudSpec,
    terms: Terms<'_>,
) -> Result<CloudReport, Error> {
    let existing = load(context.conn).await?;
    let (mut done, mut waiting) = (Vec::new(), Vec::new());
    for step in compare::differences(&existing, cloud, terms.keep)? {
        if let Some(reason) = waiting::reason(context, &step.1).await? {
            waiting.push(reason);
        } else {
            Box::pin(super::run_single(context, &step.1)).await?;
            done.push(step);
        }
    }
    let digest = Digest::of(&(&done, &waiting))
        .map_err(|error| Error::Corrupt { what: "difference", reason: error.to_string() })?;
    if terms.expect.is_some_and(|expected| expected != &digest) {
        return Err(Error::Moved);
    }
    let changes = done.into_iter().map(|(line, _)| line).collect();
    Ok(CloudReport { changes, waiting, digest })
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
