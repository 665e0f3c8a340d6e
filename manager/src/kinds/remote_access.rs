//! Remote access: road warriors come into guest networks by L2TP over IPsec (guide 11.17).

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sluice_api::config::vpn::TunnelInternet;
use sluice_api::types::{ApplianceId, BlobDigest, ClientRange, ObjectId, Secret};
use utoipa::ToSchema;

use super::guest::random_letters;
use super::zone::Zone;
use super::{Column, Context, Key, Kind, Names, State, named, of_router, rule, tunnel};
use crate::error::Error;

/// A remote access; fields as in [`RemoteAccessSpec`], references as ids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = VpnRemoteAccess)]
pub struct RemoteAccess {
    /// Never used again once deleted.
    pub id: ObjectId,
    /// Unique in the zone.
    pub name: ObjectId,
    /// Id of its zone.
    pub zone: ObjectId,
    /// Id of the appliance that has the address.
    pub router: ApplianceId,
    /// Id of the public address.
    pub public_ip: ObjectId,
    /// Addresses: the first is the server's, the others are given to clients.
    pub range: ClientRange,
    /// May clients reach the Internet through the tunnel?
    pub internet: TunnelInternet,
    /// May clients come in by obsolete algorithms?
    #[serde(default)]
    pub allow_obsolete: bool,
    /// Digest of the pre-shared key.
    pub psk: BlobDigest,
}

/// A remote access to be. Clients reach the network of the address, or all networks of its router.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RemoteAccessSpec {
    /// Unique in the zone.
    pub name: ObjectId,
    /// Public address, by name or id; one has one remote access, and no static NAT.
    pub public_ip: ObjectId,
    /// Addresses such as `10.1.2.1-10.1.2.8`, nobody else's: the first is the server's, the others are given to clients.
    /// Default: the zone's `vpn_range`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<ClientRange>,
    /// May clients reach the Internet through the tunnel? Default: deny.
    #[serde(default)]
    pub internet: TunnelInternet,
    /// May clients come in by algorithms that can be broken today or soon? The clients of Android offer nothing else. It then
    /// goes for all tunnels of the router, and is a warning. Default: no.
    #[serde(default)]
    pub allow_obsolete: bool,
    /// The pre-shared key of all clients, 8 to 256 characters. Default: one of the zone's `vpn_psk_length` letters is made, and
    /// told once; in a description it must be given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub psk: Option<Secret>,
}

/// Changes to a remote access; what is left out stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RemoteAccessPatch {
    /// New addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<ClientRange>,
    /// New way to the Internet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub internet: Option<TunnelInternet>,
    /// Allow obsolete algorithms, or no longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_obsolete: Option<bool>,
    /// New pre-shared key, 8 to 256 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub psk: Option<Secret>,
}

impl Kind for RemoteAccess {
    const NAMES: Names = Names {
        word: "remote access",
        plural: "remote accesses",
        prefix: "ra",
        about: "Remote access to guest networks by L2TP over IPsec",
    };
    const KEYS: &'static [Key] = &[
        Key::to("zone", "zone"),
        Key::to("router", "appliance"),
        Key::to("public_ip", "public ip"),
    ];
    const SCOPE: Option<&'static str> = Some("zone");
    const COLUMNS: &'static [Column] = &[
        ("ID", "/id"),
        ("NAME", "/name"),
        ("PUBLIC IP", "/public_ip"),
        ("RANGE", "/range"),
        ("INTERNET", "/internet"),
    ];
    const STATE: Option<State> = Some(State {
        service: "l2tp",
        about: "Sessions: who is in, from where, and with how many bytes, now",
        columns: &[
            ("REMOTE ACCESS", "/name"),
            ("USER", "/user"),
            ("ADDRESS", "/address"),
            ("FROM", "/client"),
            ("SECONDS", "/seconds"),
            ("BYTES IN", "/bytes_in"),
            ("BYTES OUT", "/bytes_out"),
        ],
    });

    type Spec = RemoteAccessSpec;
    type Patch = RemoteAccessPatch;

    named!();
    of_router!();

    async fn create(
        context: &mut Context<'_>,
        id: ObjectId,
        spec: RemoteAccessSpec,
    ) -> Result<Self, Error> {
        let (ip, router) = rule::address(context, &spec.public_ip).await?;
        let others = context.all::<Self>(&[("public_ip", ip.id.as_str())]).await?;
        if let Some(other) = others.first() {
            let reason = format!("{} has remote access {} already", ip.address, other.name);
            return Err(Error::Conflict { field: "public_ip", reason });
        }
        let zone: Zone = context.get(&ip.zone).await?;
        let range = spec.range.unwrap_or(zone.vpn_range);
        let (internet, allow_obsolete) = (spec.internet, spec.allow_obsolete);
        tunnel::key("psk", spec.psk.as_ref())?;
        let psk = match spec.psk {
            None if !context.describing => {
                let made = Secret::new(random_letters(zone.vpn_psk_length.into()));
                context.tell_once(&id, "psk", made.reveal());
                Some(made)
            }
            given => given,
        };
        let psk = context.keep_required("psk", psk.as_ref()).await?;
        let (name, zone, public_ip) = (spec.name, zone.id, ip.id);
        Ok(Self { id, name, zone, router, public_ip, range, internet, allow_obsolete, psk })
    }

    async fn update(
        &mut self,
        context: &mut Context<'_>,
        patch: RemoteAccessPatch,
    ) -> Result<(), Error> {
        self.range = patch.range.unwrap_or(self.range);
        self.internet = patch.internet.unwrap_or(self.internet);
        self.allow_obsolete = patch.allow_obsolete.unwrap_or(self.allow_obsolete);
        tunnel::key("psk", patch.psk.as_ref())?;
        if let Some(psk) = &patch.psk {
            self.psk = context.keep_secret("psk", psk).await?;
        }
        Ok(())
    }

    async fn state(&self, _: &mut Context<'_>, report: &Value) -> Result<Vec<Value>, Error> {
        let all = report.get("sessions").and_then(Value::as_array);
        let own = all.into_iter().flatten().filter(|session| session["access"] == json!(self.id));
        Ok(own.map(|session| self.session(session)).collect())
    }
}

impl RemoteAccess {
    /// A session as it is listed.
    fn session(&self, said: &Value) -> Value {
        json!({
            "name": self.name, "id": self.id, "user": said["user"], "address": said["address"],
            "client": said["client"], "authentication": said["authentication"],
            "seconds": said["seconds"], "bytes_in": said["bytes-in"], "bytes_out": said["bytes-out"],
        })
    }
}
