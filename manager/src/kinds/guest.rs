//! Guests: an address and a MAC each, and a line in their router's configuration.

use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sluice_api::config::{GuestDhcp, GuestMetadata, GuestPassword};
use sluice_api::types::{
    ApplianceId, BlobDigest, HostName, MacAddr, ObjectId, PasswordSeconds, PublicKey, Secret,
};
use sqlx::Row as _;
use utoipa::ToSchema;

use super::appliance::take_mac;
use super::network::Network;
use super::public_ip::ipv4;
use super::zone::Zone;
use super::{Column, Context, Key, Kind, Names, dynamic};
use crate::alloc::{Pool, PoolClass, PoolName, mac_number};
use crate::error::Error;
use crate::store::{Row, allocations, from_json, objects};

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
    /// Keys that may log in.
    #[serde(default)]
    pub public_keys: Vec<PublicKey>,
    /// Digest of its user data.
    #[serde(default)]
    pub user_data: Option<BlobDigest>,
    /// Digest of the password that it may fetch once.
    #[serde(default)]
    pub password: Option<BlobDigest>,
}

/// A guest's NIC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Nic {
    /// Also its id in the router's configuration.
    pub id: ObjectId,
    /// Id of its network.
    pub network: ObjectId,
    /// Its address on the wire.
    pub mac: MacAddr,
    /// Its address.
    #[schema(value_type = String)]
    pub address: Ipv4Addr,
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
    /// Keys that may log in, each a line of `authorized_keys` without options. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub public_keys: Vec<PublicKey>,
    /// User data as text, at most 1 MiB. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_data: Option<Secret>,
    /// A password that the guest fetches once. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
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
    /// New keys; they replace all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_keys: Option<Vec<PublicKey>>,
    /// New user data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_data: Option<Secret>,
    /// New password, which the guest fetches once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
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

    type Spec = GuestSpec;
    type Patch = GuestPatch;

    fn id(&self) -> ObjectId {
        self.id.clone()
    }

    fn name(&self) -> String {
        self.name.to_string()
    }

    async fn create(
        context: &mut Context<'_>,
        id: ObjectId,
        spec: GuestSpec,
    ) -> Result<Self, Error> {
        let network = network_of(context, spec.zone.as_ref(), &spec.network).await?;
        free_name(context, &network, &spec.name).await?;
        let nic: ObjectId = objects::next_id(context.conn, "nic")
            .await?
            .parse()
            .map_err(|error| Error::Corrupt { what: "id", reason: format!("{error}") })?;
        let address = take_address(context, &network, &nic, spec.address).await?;
        let taken = context.taken(nic.as_str(), "guest NIC", network.router.as_ref());
        let mac = take_mac(context, spec.mac, taken).await?;
        let nics = vec![Nic { id: nic.clone(), network: network.id, mac, address }];
        let mut guest = Self {
            id,
            zone: network.zone,
            name: spec.name,
            nics,
            public_keys: spec.public_keys,
            user_data: None,
            password: None,
        };
        guest.keep(context, spec.user_data.as_ref(), spec.password.as_ref()).await?;
        Ok(guest)
    }

    async fn created(&mut self, context: &mut Context<'_>) -> Result<(), Error> {
        for (position, nic) in (0_i64..).zip(&self.nics) {
            insert_nic(context, self, position, nic).await?;
        }
        Ok(())
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
        self.public_keys = patch.public_keys.unwrap_or_else(|| self.public_keys.clone());
        self.keep(context, patch.user_data.as_ref(), patch.password.as_ref()).await
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

    /// Its addresses are free once its router confirmed a configuration without it.
    async fn deleting(&mut self, context: &mut Context<'_>) -> Result<(), Error> {
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
        }
        Ok(fields)
    }
}

/// Most bytes of user data.
const MOST_USER_DATA: usize = 1 << 20;

impl Guest {
    /// Keeps what is given of user data and password.
    async fn keep(
        &mut self,
        context: &mut Context<'_>,
        user_data: Option<&Secret>,
        password: Option<&Secret>,
    ) -> Result<(), Error> {
        if let Some(data) = user_data {
            let bytes = data.reveal().as_bytes();
            if bytes.len() > MOST_USER_DATA {
                let reason = format!("{} bytes are more than {MOST_USER_DATA}", bytes.len());
                return Err(Error::Invalid { field: "user_data", reason });
            }
            self.user_data = Some(context.keep(bytes).await?);
        }
        if let Some(password) = password {
            self.password = Some(context.keep_secret("password", password).await?);
        }
        Ok(())
    }

    async fn rename(&mut self, context: &mut Context<'_>, new: HostName) -> Result<(), Error> {
        for nic in &self.nics {
            let network: Network = context.get(&nic.network).await?;
            free_name(context, &network, &new).await?;
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
        take_address(context, &network, &nic.id, Some(new)).await?;
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

async fn release_address(context: &mut Context<'_>, nic: &Nic) -> Result<(), Error> {
    let pool = PoolName::within(PoolClass::Guest, &nic.network);
    let value = i64::from(u32::from(nic.address));
    allocations::release_item(context.conn, &pool, value, nic.id.as_str()).await
}

async fn release_mac(context: &mut Context<'_>, nic: &Nic) -> Result<(), Error> {
    let pool = PoolName::of_cloud(PoolClass::Mac);
    allocations::release_item(context.conn, &pool, mac_number(nic.mac), nic.id.as_str()).await
}

async fn set_nic(
    context: &mut Context<'_>,
    nic: &Nic,
    column: &'static str,
    value: &str,
) -> Result<(), Error> {
    let statement = match column {
        "mac" => "UPDATE nics SET mac = $2 WHERE id = $1",
        _ => "UPDATE nics SET address = $2 WHERE id = $1",
    };
    sqlx::query(statement).bind(nic.id.as_str()).bind(value).execute(&mut *context.conn).await?;
    Ok(())
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

async fn insert_nic(
    context: &mut Context<'_>,
    guest: &Guest,
    position: i64,
    nic: &Nic,
) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO nics (id, guest, network, position, hostname, mac, address)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(nic.id.as_str())
    .bind(guest.id.as_str())
    .bind(nic.network.as_str())
    .bind(position)
    .bind(guest.name.as_str())
    .bind(nic.mac.to_string())
    .bind(nic.address.to_string())
    .execute(&mut *context.conn)
    .await?;
    Ok(())
}

async fn free_name(
    context: &mut Context<'_>,
    network: &Network,
    name: &HostName,
) -> Result<(), Error> {
    let found = sqlx::query("SELECT guest FROM nics WHERE network = $1 AND hostname = $2")
        .bind(network.id.as_str())
        .bind(name.as_str())
        .fetch_optional(&mut *context.conn)
        .await?;
    if found.is_none() {
        return Ok(());
    }
    let reason = format!("there is a guest {name} in network {} already", network.name);
    Err(Error::Conflict { field: "name", reason })
}

async fn take_address(
    context: &mut Context<'_>,
    network: &Network,
    nic: &ObjectId,
    asked: Option<Ipv4Addr>,
) -> Result<Ipv4Addr, Error> {
    let pool = Pool::hosts(network.cidr).without(i64::from(u32::from(network.gateway)));
    let name = PoolName::within(PoolClass::Guest, &network.id);
    let taken = context.taken(nic.as_str(), "guest address", network.router.as_ref());
    let Some(address) = asked else {
        let found = allocations::take_any(context.conn, &name, &pool, taken).await?;
        return ipv4(found.ok_or_else(|| Error::Exhausted {
            pool: format!("the addresses of network {}", network.name),
        })?);
    };
    usable(network, address)?;
    if allocations::take(context.conn, &name, i64::from(u32::from(address)), taken).await? {
        return Ok(address);
    }
    Err(Error::Conflict { field: "address", reason: format!("{address} is taken") })
}

fn usable(network: &Network, address: Ipv4Addr) -> Result<(), Error> {
    let invalid = |reason| Err(Error::Invalid { field: "address", reason });
    if !network.cidr.usable_for_host(IpAddr::V4(address)) {
        return invalid(format!("{address} is not a host address of {}", network.cidr));
    }
    if address == network.gateway {
        return invalid(format!("{address} is the gateway of network {}", network.name));
    }
    Ok(())
}

/// The NICs in a network with their host names, by address: what its router serves.
pub async fn served(
    conn: &mut crate::store::Conn,
    network: &ObjectId,
) -> Result<Vec<sluice_api::config::Guest>, Error> {
    let rows = sqlx::query(
        "SELECT n.id, n.hostname, n.mac, n.address, g.body FROM nics n
         JOIN guests g ON g.id = n.guest WHERE n.network = $1",
    )
    .bind(network.as_str())
    .fetch_all(conn)
    .await?;
    rows.iter().map(served_nic).collect()
}

fn served_nic(row: &Row) -> Result<sluice_api::config::Guest, Error> {
    fn part<T: std::str::FromStr>(row: &Row, column: &'static str) -> Result<T, Error>
    where
        T::Err: ToString,
    {
        let text: String = row.try_get(column)?;
        text.parse()
            .map_err(|error: T::Err| Error::Corrupt { what: column, reason: error.to_string() })
    }
    let guest: Guest = from_json(&row.try_get::<String, _>("body")?, Guest::NAMES.word)?;
    let password = guest
        .password
        .map(|blob| GuestPassword { blob, valid_seconds: PasswordSeconds::default() });
    let metadata = GuestMetadata {
        public_keys: guest.public_keys,
        user_data: guest.user_data,
        password,
        ..GuestMetadata::default()
    };
    Ok(sluice_api::config::Guest {
        id: part(row, "id")?,
        mac: part(row, "mac")?,
        address: part(row, "address")?,
        secondary_addresses: Vec::new(),
        hostname: part(row, "hostname")?,
        default_nic: true,
        dhcp: GuestDhcp::default(),
        metadata,
    })
}
