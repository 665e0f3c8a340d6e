//! Users of remote access (guide 11.17): of one, or of all in a zone, as the guide has them for an account.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sluice_api::types::{ApplianceId, BlobDigest, ObjectId, Secret};
use utoipa::ToSchema;

use super::fields::Fields;
use super::remote_access::RemoteAccess;
use super::zone::Zone;
use super::{Action, Column, Context, Key, Kind, Names, named, tunnel};
use crate::error::Error;

/// A user of remote access.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = RemoteUser)]
pub struct VpnUser {
    /// Never used again once deleted.
    pub id: ObjectId,
    /// The name that the user comes in with; nobody else's wherever the user comes in.
    pub name: ObjectId,
    /// Id of its zone.
    pub zone: ObjectId,
    /// Id of the remote access's router; none: of all that there are.
    pub router: Option<ApplianceId>,
    /// Id of the remote access; none: of all in the zone.
    pub remote_access: Option<ObjectId>,
    /// Digest of the password.
    pub password: BlobDigest,
    /// How often the user's sessions were ended.
    pub disconnects: u32,
}

/// A user of remote access to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct VpnUserSpec {
    /// Remote access, by name or id. Default: all in the zone, those to come included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_access: Option<ObjectId>,
    /// Zone, by name or id. Required without a remote access.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<ObjectId>,
    /// The name that the user comes in with; nobody else's wherever the user comes in.
    pub name: ObjectId,
    /// The password, 1 to 255 bytes. Required when the user is created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
}

/// Changes to a user of remote access; what is left out stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct VpnUserPatch {
    /// New password, 1 to 255 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
}

impl Kind for VpnUser {
    const NAMES: Names = Names {
        word: "vpn user",
        plural: "vpn users",
        prefix: "vu",
        about: "Users of one remote access, or of all in a zone",
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

    async fn create(
        context: &mut Context<'_>,
        id: ObjectId,
        spec: VpnUserSpec,
    ) -> Result<Self, Error> {
        let zone: Option<Zone> = match &spec.zone {
            Some(name) => Some(context.find(None, name).await?),
            None => None,
        };
        let access: Option<RemoteAccess> = match &spec.remote_access {
            Some(name) => Some(context.find(zone.as_ref().map(|zone| &zone.id), name).await?),
            None => None,
        };
        let zone = match (zone, &access) {
            (Some(zone), _) => zone,
            (None, Some(access)) => context.get(&access.zone).await?,
            (None, None) => {
                let reason = "remote_access or zone must be given".to_owned();
                return Err(Error::Invalid { field: "remote_access", reason });
            }
        };
        may_join(context, &zone, access.as_ref(), &spec.name).await?;
        tunnel::password("password", spec.password.as_ref())?;
        let password = context.keep_required("password", spec.password.as_ref()).await?;
        let (router, remote_access) = access.map(|access| (access.router, access.id)).unzip();
        let (name, zone) = (spec.name, zone.id);
        Ok(Self { id, name, zone, router, remote_access, password, disconnects: 0 })
    }

    async fn touches(&self, context: &mut Context<'_>) -> Result<Vec<ApplianceId>, Error> {
        if let Some(router) = &self.router {
            return Ok(vec![router.clone()]);
        }
        let all = context.all::<RemoteAccess>(&[("zone", self.zone.as_str())]).await?;
        Ok(all.into_iter().map(|access| access.router).collect())
    }

    async fn update(
        &mut self,
        context: &mut Context<'_>,
        patch: VpnUserPatch,
    ) -> Result<(), Error> {
        tunnel::password("password", patch.password.as_ref())?;
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

/// There is room for one more of the same owner, and wherever the user comes in nobody has the name.
async fn may_join(
    context: &mut Context<'_>,
    zone: &Zone,
    access: Option<&RemoteAccess>,
    name: &ObjectId,
) -> Result<(), Error> {
    let all = context.own::<VpnUser>(&[("zone", zone.id.as_str())]).await?;
    let meets = |user: &&VpnUser| match (&user.remote_access, access) {
        (Some(theirs), Some(access)) => *theirs == access.id,
        _ => true,
    };
    if all.iter().filter(meets).any(|user| user.name == *name) {
        let reason = format!("there is a vpn user {name} already");
        return Err(Error::Conflict { field: "name", reason });
    }
    if all.len() >= usize::from(zone.max_vpn_users) {
        let pool = format!("the {} VPN users of zone {} (max_vpn_users)", all.len(), zone.name);
        return Err(Error::Exhausted { pool });
    }
    Ok(())
}
