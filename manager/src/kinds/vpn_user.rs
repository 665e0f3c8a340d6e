//! Users of remote access (guide 11.17).

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sluice_api::types::{ApplianceId, BlobDigest, ObjectId, Secret};
use utoipa::ToSchema;

use super::fields::Fields;
use super::remote_access::RemoteAccess;
use super::{Action, Column, Context, Key, Kind, Names, named, of_router};
use crate::error::Error;

/// A user of remote access.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = RemoteUser)]
pub struct VpnUser {
    /// Never used again once deleted.
    pub id: ObjectId,
    /// The name that the user comes in with; unique in the remote access.
    pub name: ObjectId,
    /// Id of its zone.
    pub zone: ObjectId,
    /// Id of the remote access's router.
    pub router: ApplianceId,
    /// Id of the remote access.
    pub remote_access: ObjectId,
    /// Digest of the password.
    pub password: BlobDigest,
    /// How often the user's sessions were ended.
    pub disconnects: u32,
}

/// A user of remote access to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct VpnUserSpec {
    /// Remote access, by name or id.
    pub remote_access: ObjectId,
    /// The name that the user comes in with; unique in the remote access.
    pub name: ObjectId,
    /// The password. Required when the user is created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
}

/// Changes to a user of remote access; what is left out stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct VpnUserPatch {
    /// New password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
}

impl Kind for VpnUser {
    const NAMES: Names = Names {
        word: "vpn user",
        plural: "vpn users",
        prefix: "vu",
        about: "Users of remote access",
    };
    const KEYS: &'static [Key] = &[
        Key::to("zone", "zone"),
        Key::to("router", "appliance"),
        Key::to("remote_access", "remote access"),
    ];
    const SCOPE: Option<&'static str> = Some("remote_access");
    const COLUMNS: &'static [Column] =
        &[("ID", "/id"), ("NAME", "/name"), ("REMOTE ACCESS", "/remote_access")];
    const ACTIONS: &'static [Action] =
        &[Action { name: "disconnect", about: "End the sessions of one", body: Fields::default }];

    type Spec = VpnUserSpec;
    type Patch = VpnUserPatch;

    named!();
    of_router!();

    async fn create(
        context: &mut Context<'_>,
        id: ObjectId,
        spec: VpnUserSpec,
    ) -> Result<Self, Error> {
        let access: RemoteAccess = context.find(None, &spec.remote_access).await?;
        let password = context.keep_required("password", spec.password.as_ref()).await?;
        let RemoteAccess { zone, router, id: remote_access, .. } = access;
        Ok(Self { id, name: spec.name, zone, router, remote_access, password, disconnects: 0 })
    }

    async fn update(
        &mut self,
        context: &mut Context<'_>,
        patch: VpnUserPatch,
    ) -> Result<(), Error> {
        if let Some(password) = &patch.password {
            self.password = context.keep_secret("password", password).await?;
        }
        Ok(())
    }

    async fn act(
        &mut self,
        _: &mut Context<'_>,
        _action: &'static str,
        _body: Value,
    ) -> Result<Value, Error> {
        self.disconnects = self.disconnects.wrapping_add(1);
        Ok(json!(self))
    }
}
