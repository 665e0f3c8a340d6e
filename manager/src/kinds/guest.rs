//! Guests: an address and a MAC each, and a line in their router's configuration.

mod keypairs;
mod nic;
mod served;

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sluice_api::config::{GuestDhcp, GuestPassword, TokenPolicy};
use sluice_api::types::{
    ApplianceId, BlobDigest, HostName, MacAddr, MetadataValue, ObjectId, PasswordSeconds,
    PublicKey, Secret,
};
use sqlx::Row as _;
use utoipa::ToSchema;

pub use nic::Nic;
pub(super) use nic::{free_name, insert_nic};
use nic::{release_address, release_mac, set_nic, take_address};
pub use served::served;

use super::appliance::take_mac;
use super::fields::Fields;
use super::guest_nic::GuestNic;
use super::keypair::Keypair;
use super::network::Network;
use super::patch::stated;
use super::zone::Zone;
use super::{Action, Column, Context, Key, Kind, Names, dynamic, named};
use crate::error::Error;
use crate::model::UserData;
use crate::store::{allocations, objects};

/// A guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = GuestMachine)]
pub struct Guest {
    /// Never used again once deleted.
    pub id: ObjectId,
    /// Id of its zone.
    pub zone: ObjectId,
    /// Host name.
    pub name: HostName,
    /// Its NICs; the first is the one it was created with.
    pub nics: Vec<Nic>,
    /// Id of the NIC by which it reaches the rest of the world; none: the first.
    #[serde(default)]
    pub default_nic: Option<ObjectId>,
    /// Names of pairs of keys whose owners may log in.
    #[serde(default)]
    pub keypairs: Vec<ObjectId>,
    /// Keys that may log in.
    #[serde(default)]
    pub public_keys: Vec<PublicKey>,
    /// Digest of its user data.
    #[serde(default)]
    pub user_data: Option<BlobDigest>,
    /// Digest of the password that it may fetch once.
    #[serde(default)]
    pub password: Option<BlobDigest>,
    /// How long a password waits to be fetched.
    #[serde(default)]
    pub password_seconds: PasswordSeconds,
    /// What it is told of its size and price.
    #[serde(default)]
    pub service_offering: Option<MetadataValue>,
    /// Whether its metadata are told only to who shows a session token.
    #[serde(default)]
    pub metadata_tokens: TokenPolicy,
}

/// A guest with a NIC in a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GuestSpec {
    /// Zone of the network, by name or id; needed when networks of several zones share a name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<ObjectId>,
    /// Network, by name or id.
    pub network: ObjectId,
    /// Its host name, unique in the network.
    pub name: HostName,
    /// Its address. Default: a free one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "10.1.1.23")]
    pub address: Option<Ipv4Addr>,
    /// Address of its NIC. Default: a free, locally administered one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<MacAddr>,
    /// Further addresses of its NIC, which the guest sets up itself. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub secondary_addresses: Vec<Ipv4Addr>,
    /// What DHCP tells it otherwise than its network's other guests: `{"options": […], "boot": {…}}`. Default: nothing.
    #[serde(default, skip_serializing_if = "GuestDhcp::is_empty")]
    pub dhcp: GuestDhcp,
    /// Pairs of keys whose owners may log in, by name. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keypairs: Vec<ObjectId>,
    /// Keys that may log in besides, each a line of `authorized_keys` without options. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub public_keys: Vec<PublicKey>,
    /// User data, any bytes up to 1 MiB; in JSON and TOML text, or `base64:` and bytes in base64. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_data: Option<UserData>,
    /// A password that the guest fetches once: 1 to 256 bytes without control characters. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
    /// How long a password waits to be fetched, in seconds, 60 to 2592000. Default: 86400.
    #[serde(default)]
    pub password_seconds: PasswordSeconds,
    /// `service-offering` of its metadata, which is EC2's `instance-type` too. Default: there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_offering: Option<MetadataValue>,
    /// Whether its metadata are told only to who shows a session token ("IMDSv2"). Default: `optional`, since
    /// CloudStack's clients send none.
    #[serde(default)]
    pub metadata_tokens: TokenPolicy,
}

/// Changes to a guest; what is left out stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GuestPatch {
    /// New host name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<HostName>,
    /// New address of its first NIC; the guest has to renew its lease.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "10.1.1.23")]
    pub address: Option<Ipv4Addr>,
    /// New address on the wire of its first NIC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<MacAddr>,
    /// New further addresses of its first NIC; they replace all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>)]
    pub secondary_addresses: Option<Vec<Ipv4Addr>>,
    /// What DHCP tells its first NIC otherwise from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dhcp: Option<GuestDhcp>,
    /// New pairs of keys, by name; they replace all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keypairs: Option<Vec<ObjectId>>,
    /// New keys; they replace all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_keys: Option<Vec<PublicKey>>,
    /// New user data; null: there are none.
    #[serde(default, deserialize_with = "stated", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<UserData>)]
    pub user_data: Option<Option<UserData>>,
    /// New password, which the guest fetches once; null: what waits to be fetched is taken back.
    #[serde(default, deserialize_with = "stated", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Secret>)]
    pub password: Option<Option<Secret>>,
    /// How long a password waits to be fetched from now on, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_seconds: Option<PasswordSeconds>,
    /// New `service-offering` of its metadata; null: there is none.
    #[serde(default, deserialize_with = "stated", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<MetadataValue>)]
    pub service_offering: Option<Option<MetadataValue>>,
    /// Whether its metadata are told only to who shows a session token from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata_tokens: Option<TokenPolicy>,
}

impl Kind for Guest {
    const NAMES: Names =
        Names { word: "guest", plural: "guests", prefix: "g", about: "Guests and their addresses" };
    const KEYS: &'static [Key] = &[Key::to("zone", "zone"), Key::named("network", "network")];
    const COLUMNS: &'static [Column] = &[
        ("ID", "/id"),
        ("NAME", "/name"),
        ("NETWORK", "/nics/0/network"),
        ("ADDRESS", "/nics/0/address"),
        ("MAC", "/nics/0/mac"),
    ];
    const ACTIONS: &'static [Action] = &[Action {
        name: "reset-password",
        about: "Give one a new password of random characters, which is shown once",
        body: Fields::default,
    }];

    type Spec = GuestSpec;
    type Patch = GuestPatch;

    named!();

    async fn create(
        context: &mut Context<'_>,
        id: ObjectId,
        spec: GuestSpec,
    ) -> Result<Self, Error> {
        let network = network_of(context, spec.zone.as_ref(), &spec.network).await?;
        free_name(context, &network, &spec.name, "name").await?;
        let nic: ObjectId = objects::next_id(context.conn, "nic")
            .await?
            .parse()
            .map_err(|error| Error::Corrupt { what: "id", reason: format!("{error}") })?;
        let mut nic = Nic::take(context, &network, nic, spec.address, spec.mac).await?;
        nic.set_secondary(context, spec.secondary_addresses).await?;
        nic.dhcp = spec.dhcp;
        let mut guest = Self {
            id,
            zone: network.zone,
            name: spec.name,
            nics: vec![nic],
            default_nic: None,
            keypairs: known_keypairs(context, spec.keypairs).await?,
            public_keys: spec.public_keys,
            user_data: None,
            password: None,
            password_seconds: spec.password_seconds,
            service_offering: spec.service_offering,
            metadata_tokens: spec.metadata_tokens,
        };
        guest.keep_user_data(context, spec.user_data.as_ref()).await?;
        guest.keep_password(context, spec.password.as_ref()).await?;
        Ok(guest)
    }

    async fn created(&mut self, context: &mut Context<'_>) -> Result<(), Error> {
        for nic in &self.nics {
            insert_nic(context, self, nic).await?;
        }
        self.note_keypairs(context).await
    }

    async fn update(&mut self, context: &mut Context<'_>, patch: GuestPatch) -> Result<(), Error> {
        if let Some(new) = patch.name.filter(|new| *new != self.name) {
            self.rename(context, new).await?;
        }
        if let Some(address) = patch.address {
            self.move_address(context, address).await?;
        }
        if let Some(mac) = patch.mac {
            self.move_mac(context, mac).await?;
        }
        if let Some(addresses) = patch.secondary_addresses
            && let Some(nic) = self.nics.first_mut()
        {
            nic.set_secondary(context, addresses).await?;
        }
        if let (Some(dhcp), Some(nic)) = (patch.dhcp, self.nics.first_mut()) {
            nic.dhcp = dhcp;
        }
        if let Some(keypairs) = patch.keypairs {
            self.keypairs = known_keypairs(context, keypairs).await?;
            self.note_keypairs(context).await?;
        }
        self.public_keys = patch.public_keys.unwrap_or_else(|| self.public_keys.clone());
        self.password_seconds = patch.password_seconds.unwrap_or(self.password_seconds);
        if let Some(offering) = patch.service_offering {
            self.service_offering = offering;
        }
        self.metadata_tokens = patch.metadata_tokens.unwrap_or(self.metadata_tokens);
        if let Some(data) = &patch.user_data {
            self.keep_user_data(context, data.as_ref()).await?;
        }
        match patch.password {
            Some(None) => self.password = None,
            new => self.keep_password(context, new.flatten().as_ref()).await?,
        }
        Ok(())
    }

    async fn yields(
        &mut self,
        context: &mut Context<'_>,
        stated: &Map<String, Value>,
    ) -> Result<(), Error> {
        let Some(nic) = self.nics.first() else { return Ok(()) };
        let other = |field: &str, own: String| {
            stated.get(field).and_then(Value::as_str).is_some_and(|text| text != own)
        };
        if other("address", nic.address.to_string()) {
            release_address(context, nic).await?;
            set_nic(context, nic, "address", &format!("moving {}", nic.id)).await?;
        }
        if other("mac", nic.mac.to_string()) {
            release_mac(context, nic).await?;
            set_nic(context, nic, "mac", &format!("moving {}", nic.id)).await?;
        }
        Ok(())
    }

    async fn act(
        &mut self,
        context: &mut Context<'_>,
        _action: &'static str,
        _body: Value,
    ) -> Result<Value, Error> {
        let password = random_letters(16);
        self.keep_password(context, Some(&Secret::new(password.clone()))).await?;
        context.tell_once(&self.id, "password", &password);
        Ok(json!(self))
    }

    /// Its addresses are free once its router confirmed a configuration without it.
    async fn deleting(&mut self, context: &mut Context<'_>) -> Result<(), Error> {
        for nic in context.all::<GuestNic>(&[("guest", self.id.as_str())]).await? {
            context.remove(nic).await?;
        }
        for nic in &self.nics {
            allocations::release(context.conn, nic.id.as_str()).await?;
        }
        Ok(())
    }

    async fn touches(&self, context: &mut Context<'_>) -> Result<Vec<ApplianceId>, Error> {
        let mut routers = Vec::with_capacity(self.nics.len());
        for nic in &self.nics {
            routers.extend(context.get::<Network>(&nic.network).await?.router);
        }
        Ok(routers)
    }

    /// The one of that name in the network.
    async fn locate(
        context: &mut Context<'_>,
        spec: &Map<String, Value>,
    ) -> Result<Option<Self>, Error> {
        let part = |field: &str| spec.get(field).and_then(Value::as_str);
        let (zone, network) = (
            part("zone").and_then(|t| t.parse().ok()),
            part("network").and_then(|t| t.parse().ok()),
        );
        let Some(network) = network else { return Ok(None) };
        let network: Network = match network_of(context, zone.as_ref(), &network).await {
            Err(Error::NotFound { .. }) => return Ok(None),
            found => found?,
        };
        let row = sqlx::query("SELECT guest FROM nics WHERE network = $1 AND hostname = $2")
            .bind(network.id.as_str())
            .bind(part("name").unwrap_or_default())
            .fetch_optional(&mut *context.conn)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let id: String = row.try_get("guest")?;
        let found = dynamic::load(context.conn, &[("id", &id)], objects::ALL).await?.pop();
        Ok(found)
    }

    fn as_spec(&self) -> Result<Map<String, Value>, Error> {
        let mut fields = dynamic::common_fields(self)?;
        if let Some(nic) = self.nics.first() {
            fields.insert("network".to_owned(), nic.network.as_str().into());
            fields.insert("address".to_owned(), nic.address.to_string().into());
            fields.insert("mac".to_owned(), nic.mac.to_string().into());
            fields.insert("secondary_addresses".to_owned(), json!(nic.secondary_addresses));
            fields.insert("dhcp".to_owned(), json!(nic.dhcp));
        }
        Ok(fields)
    }
}

/// Letters of a random password: as many as six bits tell apart.
const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// So many random letters, of six bits each.
pub(super) fn random_letters(count: usize) -> String {
    let letter = |byte: u8| LETTERS.get(usize::from(byte % 64)).map(|letter| char::from(*letter));
    (0..count).map(|_| rand::random()).filter_map(letter).collect()
}

/// The names of pairs of keys that there are.
async fn known_keypairs(
    context: &mut Context<'_>,
    names: Vec<ObjectId>,
) -> Result<Vec<ObjectId>, Error> {
    let mut known = Vec::with_capacity(names.len());
    for name in names {
        known.push(context.find::<Keypair>(None, &name).await?.name);
    }
    Ok(known)
}

impl Guest {
    /// Has these user data from now on, or none.
    async fn keep_user_data(
        &mut self,
        context: &mut Context<'_>,
        data: Option<&UserData>,
    ) -> Result<(), Error> {
        self.user_data = match data {
            Some(data) => {
                let bytes =
                    data.bytes().map_err(|reason| Error::Invalid { field: "user_data", reason })?;
                Some(context.keep(&bytes).await?)
            }
            None => None,
        };
        Ok(())
    }

    /// Has a new password, if there is one.
    async fn keep_password(
        &mut self,
        context: &mut Context<'_>,
        password: Option<&Secret>,
    ) -> Result<(), Error> {
        let Some(password) = password else { return Ok(()) };
        GuestPassword::usable(password.reveal())
            .map_err(|reason| Error::Invalid { field: "password", reason })?;
        self.password = Some(context.keep_secret("password", password).await?);
        Ok(())
    }

    async fn rename(&mut self, context: &mut Context<'_>, new: HostName) -> Result<(), Error> {
        for nic in &self.nics {
            let network: Network = context.get(&nic.network).await?;
            free_name(context, &network, &new, "name").await?;
        }
        sqlx::query("UPDATE nics SET hostname = $2 WHERE guest = $1")
            .bind(self.id.as_str())
            .bind(new.as_str())
            .execute(&mut *context.conn)
            .await?;
        self.name = new;
        Ok(())
    }

    async fn move_address(
        &mut self,
        context: &mut Context<'_>,
        new: Ipv4Addr,
    ) -> Result<(), Error> {
        let Some(nic) = self.nics.first_mut().filter(|nic| nic.address != new) else {
            return Ok(());
        };
        let network: Network = context.get(&nic.network).await?;
        take_address(context, &network, &nic.id, Some(new), "address").await?;
        release_address(context, nic).await?;
        nic.address = new;
        set_nic(context, nic, "address", &new.to_string()).await
    }

    async fn move_mac(&mut self, context: &mut Context<'_>, new: MacAddr) -> Result<(), Error> {
        let Some(nic) = self.nics.first_mut().filter(|nic| nic.mac != new) else { return Ok(()) };
        let network: Network = context.get(&nic.network).await?;
        let id = nic.id.clone();
        let taken = context.taken(id.as_str(), "guest NIC", network.router.as_ref());
        take_mac(context, Some(new), taken).await?;
        release_mac(context, nic).await?;
        nic.mac = new;
        set_nic(context, nic, "mac", &new.to_string()).await
    }
}

async fn network_of(
    context: &mut Context<'_>,
    zone: Option<&ObjectId>,
    name: &ObjectId,
) -> Result<Network, Error> {
    let zone = match zone {
        Some(name) => Some(context.find::<Zone>(None, name).await?.id),
        None => None,
    };
    context.find(zone.as_ref(), name).await
}
