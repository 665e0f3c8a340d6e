//! Access control lists of a VPC (guide 11.19.4).

use serde::{Deserialize, Serialize};
use sluice_api::types::{ApplianceId, ObjectId};
use utoipa::ToSchema;

use super::vpc::Vpc;
use super::{Column, Context, Key, Kind, Names, NoPatch, named, of_router};
use crate::error::Error;

/// An access control list; its rules are objects of their own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AclList {
    /// Never used again once deleted.
    pub id: ObjectId,
    /// Unique in the VPC.
    pub name: ObjectId,
    /// Id of its zone.
    pub zone: ObjectId,
    /// Id of its VPC.
    pub vpc: ObjectId,
    /// Id of the VPC's router.
    pub router: ApplianceId,
    /// It came with its VPC and goes with it.
    pub with_vpc: bool,
}

/// An access control list to be. Without rules nothing comes in, and everything may leave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AclListSpec {
    /// VPC, by name or id.
    pub vpc: ObjectId,
    /// Unique in the VPC.
    pub name: ObjectId,
    /// It comes with its VPC.
    #[serde(skip)]
    pub with_vpc: bool,
}

impl AclListSpec {
    /// One that comes with the VPC.
    pub(super) fn made_with(vpc: &ObjectId, name: &str) -> Result<Self, Error> {
        let name = name
            .parse()
            .map_err(|error| Error::Corrupt { what: "name", reason: format!("{error}") })?;
        Ok(Self { vpc: vpc.clone(), name, with_vpc: true })
    }
}

impl Kind for AclList {
    const NAMES: Names = Names {
        word: "acl list",
        plural: "acl lists",
        prefix: "acl",
        about: "Access control lists of VPCs",
    };
    const KEYS: &'static [Key] =
        &[Key::to("zone", "zone"), Key::to("vpc", "vpc"), Key::to("router", "appliance")];
    const SCOPE: Option<&'static str> = Some("vpc");
    const COLUMNS: &'static [Column] = &[("ID", "/id"), ("NAME", "/name"), ("VPC", "/vpc")];

    type Spec = AclListSpec;
    type Patch = NoPatch;

    named!();
    of_router!();

    async fn create(
        context: &mut Context<'_>,
        id: ObjectId,
        spec: AclListSpec,
    ) -> Result<Self, Error> {
        let vpc: Vpc = context.find(None, &spec.vpc).await?;
        let router = vpc.router()?;
        let AclListSpec { name, with_vpc, .. } = spec;
        Ok(Self { id, name, zone: vpc.zone, vpc: vpc.id, router, with_vpc })
    }

    fn prunes(&self) -> bool {
        !self.with_vpc
    }
}

/// The list that a tier has which names none.
pub(super) const DEFAULT: &str = "default-deny";

impl AclList {
    /// The list of a tier that names none.
    pub(super) async fn default_of(context: &mut Context<'_>, vpc: &Vpc) -> Result<Self, Error> {
        let all = context.all::<Self>(&[("vpc", vpc.id.as_str()), ("name", DEFAULT)]).await?;
        all.into_iter()
            .next()
            .ok_or_else(|| Error::NotFound { kind: Self::NAMES.word, name: DEFAULT.to_owned() })
    }
}
