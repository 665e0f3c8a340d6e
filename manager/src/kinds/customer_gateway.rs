//! Customer gateways: the other ends of site-to-site connections (guide 11.19.6).

use serde::{Deserialize, Serialize};
use sluice_api::config::vpn::{self, Encryption, Hash, IkeVersion};
use sluice_api::types::{
    ApplianceId, BlobDigest, Cidr, DhGroup, HostAddress, IkeId, LifetimeSeconds, ObjectId, Secret,
};
use utoipa::ToSchema;

use super::patch::stated;
use super::vpn_connection::{self, Clash, VpnConnection};
use super::zone::Zone;
use super::{Column, Context, Key, Kind, Names, named, rule, tunnel};
use crate::error::Error;
use crate::store::reports;

/// A customer gateway; fields as in [`CustomerGatewaySpec`], references as ids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = VpnCustomerGateway)]
pub struct CustomerGateway {
    /// Never used again once deleted.
    pub id: ObjectId,
    /// Unique in the zone.
    pub name: ObjectId,
    /// Id of its zone.
    pub zone: ObjectId,
    /// Its address; none: it may come from anywhere.
    pub address: Option<HostAddress>,
    /// How it names itself; none: by its address.
    pub peer_id: Option<IkeId>,
    /// Networks behind it.
    pub networks: Vec<Cidr>,
    /// Digest of the pre-shared key.
    pub psk: BlobDigest,
    /// Which IKE.
    pub ike_version: IkeVersion,
    /// Encryption of the first phase.
    pub ike_encryption: Encryption,
    /// Integrity of the first phase.
    pub ike_hash: Hash,
    /// Diffie-Hellman group of the first phase; none: any good one.
    pub ike_group: Option<DhGroup>,
    /// Lifetime of the first phase in seconds.
    pub ike_lifetime: LifetimeSeconds,
    /// Encryption of the second phase.
    pub esp_encryption: Encryption,
    /// Integrity of the second phase; none with encryption that has its own.
    pub esp_hash: Option<Hash>,
    /// Group of perfect forward secrecy; none: none.
    pub esp_pfs: Option<DhGroup>,
    /// Lifetime of the second phase in seconds.
    pub esp_lifetime: LifetimeSeconds,
    /// Is a silent peer asked whether it is there?
    pub dead_peer_detection: bool,
    /// Is ESP wrapped in UDP although no NAT is seen?
    pub force_encapsulation: bool,
    /// May obsolete algorithms be used?
    pub allow_obsolete: bool,
}

/// A customer gateway to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CustomerGatewaySpec {
    /// Zone, by name or id.
    pub zone: ObjectId,
    /// Unique in the zone.
    pub name: ObjectId,
    /// Its address, IPv4. Default: it may come from anywhere, which asks for a passive connection and a `peer_id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<HostAddress>,
    /// How it names itself; behind NAT that is often its inside address. Default: its address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer_id: Option<IkeId>,
    /// Networks behind it, IPv4; at least one, and none overlaps another.
    pub networks: Vec<Cidr>,
    /// The pre-shared key, 8 to 256 characters. Required when it is created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub psk: Option<Secret>,
    /// Which IKE. Default: v2.
    #[serde(default)]
    pub ike_version: IkeVersion,
    /// Encryption of the first phase. Default: aes256.
    #[serde(default = "aes256")]
    pub ike_encryption: Encryption,
    /// Integrity of the first phase. Default: sha256.
    #[serde(default = "sha256")]
    pub ike_hash: Hash,
    /// Diffie-Hellman group of the first phase. Default: any good one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ike_group: Option<DhGroup>,
    /// Lifetime of the first phase in seconds. Default 86400.
    #[serde(default = "day")]
    pub ike_lifetime: LifetimeSeconds,
    /// Encryption of the second phase. Default: aes256.
    #[serde(default = "aes256")]
    pub esp_encryption: Encryption,
    /// Integrity of the second phase. Default: sha256, and none with encryption that has its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub esp_hash: Option<Hash>,
    /// Group of perfect forward secrecy. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub esp_pfs: Option<DhGroup>,
    /// Lifetime of the second phase in seconds. Default 3600.
    #[serde(default = "hour")]
    pub esp_lifetime: LifetimeSeconds,
    /// Is a silent peer asked whether it is there? Default true.
    #[serde(default = "yes")]
    pub dead_peer_detection: bool,
    /// Is ESP wrapped in UDP although no NAT is seen? Default false.
    #[serde(default)]
    pub force_encapsulation: bool,
    /// May algorithms be used that can be broken: 3DES, MD5, groups 2 and 5? Default false.
    #[serde(default)]
    pub allow_obsolete: bool,
}

/// Changes to a customer gateway; what is left out stays. Refused while its connection stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CustomerGatewayPatch {
    /// New address; null: it may come from anywhere.
    #[serde(default, deserialize_with = "stated", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<HostAddress>)]
    pub address: Option<Option<HostAddress>>,
    /// How it names itself now; null: by its address.
    #[serde(default, deserialize_with = "stated", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<IkeId>)]
    pub peer_id: Option<Option<IkeId>>,
    /// New networks; they replace all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub networks: Option<Vec<Cidr>>,
    /// New pre-shared key, 8 to 256 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub psk: Option<Secret>,
    /// Another IKE.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ike_version: Option<IkeVersion>,
    /// Other encryption of the first phase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ike_encryption: Option<Encryption>,
    /// Other integrity of the first phase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ike_hash: Option<Hash>,
    /// Another Diffie-Hellman group of the first phase; null: any good one.
    #[serde(default, deserialize_with = "stated", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<DhGroup>)]
    pub ike_group: Option<Option<DhGroup>>,
    /// New lifetime of the first phase in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ike_lifetime: Option<LifetimeSeconds>,
    /// Other encryption of the second phase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub esp_encryption: Option<Encryption>,
    /// Other integrity of the second phase; left out with new encryption: what goes with that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub esp_hash: Option<Hash>,
    /// Another group of perfect forward secrecy; null: none.
    #[serde(default, deserialize_with = "stated", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<DhGroup>)]
    pub esp_pfs: Option<Option<DhGroup>>,
    /// New lifetime of the second phase in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub esp_lifetime: Option<LifetimeSeconds>,
    /// Is a silent peer asked whether it is there?
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_peer_detection: Option<bool>,
    /// Is ESP wrapped in UDP although no NAT is seen?
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub force_encapsulation: Option<bool>,
    /// Allow obsolete algorithms, or no longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_obsolete: Option<bool>,
}

fn aes256() -> Encryption {
    Encryption::Aes256
}

fn sha256() -> Hash {
    Hash::Sha256
}

fn day() -> LifetimeSeconds {
    LifetimeSeconds::DAY
}

fn hour() -> LifetimeSeconds {
    LifetimeSeconds::HOUR
}

const fn yes() -> bool {
    true
}

impl Kind for CustomerGateway {
    const NAMES: Names = Names {
        word: "customer gateway",
        plural: "customer gateways",
        prefix: "cg",
        about: "The other ends of site-to-site connections",
    };
    const KEYS: &'static [Key] = &[Key::to("zone", "zone")];
    const SCOPE: Option<&'static str> = Some("zone");
    const COLUMNS: &'static [Column] = &[
        ("ID", "/id"),
        ("NAME", "/name"),
        ("ADDRESS", "/address"),
        ("NETWORKS", "/networks"),
        ("IKE", "/ike_version"),
    ];

    type Spec = CustomerGatewaySpec;
    type Patch = CustomerGatewayPatch;

    named!();

    async fn create(
        context: &mut Context<'_>,
        id: ObjectId,
        spec: CustomerGatewaySpec,
    ) -> Result<Self, Error> {
        let zone: Zone = context.find(None, &spec.zone).await?;
        tunnel::key("psk", spec.psk.as_ref())?;
        let psk = context.keep_required("psk", spec.psk.as_ref()).await?;
        let made = Self {
            id,
            name: spec.name,
            zone: zone.id,
            address: spec.address,
            peer_id: spec.peer_id,
            networks: spec.networks,
            psk,
            ike_version: spec.ike_version,
            ike_encryption: spec.ike_encryption,
            ike_hash: spec.ike_hash,
            ike_group: spec.ike_group,
            ike_lifetime: spec.ike_lifetime,
            esp_encryption: spec.esp_encryption,
            esp_hash: spec.esp_hash,
            esp_pfs: spec.esp_pfs,
            esp_lifetime: spec.esp_lifetime,
            dead_peer_detection: spec.dead_peer_detection,
            force_encapsulation: spec.force_encapsulation,
            allow_obsolete: spec.allow_obsolete,
        };
        made.judge()?;
        Ok(made)
    }

    async fn update(
        &mut self,
        context: &mut Context<'_>,
        patch: CustomerGatewayPatch,
    ) -> Result<(), Error> {
        self.refuse_while_connected(context).await?;
        self.address = patch.address.unwrap_or(self.address);
        self.peer_id = patch.peer_id.unwrap_or_else(|| self.peer_id.take());
        self.networks = patch.networks.unwrap_or_else(|| self.networks.clone());
        tunnel::key("psk", patch.psk.as_ref())?;
        if let Some(psk) = &patch.psk {
            self.psk = context.keep_secret("psk", psk).await?;
        }
        self.ike_version = patch.ike_version.unwrap_or(self.ike_version);
        self.ike_encryption = patch.ike_encryption.unwrap_or(self.ike_encryption);
        self.ike_hash = patch.ike_hash.unwrap_or(self.ike_hash);
        self.ike_group = patch.ike_group.unwrap_or(self.ike_group);
        self.ike_lifetime = patch.ike_lifetime.unwrap_or(self.ike_lifetime);
        if let Some(encryption) = patch.esp_encryption {
            self.esp_encryption = encryption;
            let kept = self.esp_hash.or(Some(Hash::Sha256));
            self.esp_hash = kept.filter(|_| !encryption.has_integrity());
        }
        self.esp_hash = patch.esp_hash.or(self.esp_hash);
        self.esp_pfs = patch.esp_pfs.unwrap_or(self.esp_pfs);
        self.esp_lifetime = patch.esp_lifetime.unwrap_or(self.esp_lifetime);
        self.dead_peer_detection = patch.dead_peer_detection.unwrap_or(self.dead_peer_detection);
        self.force_encapsulation = patch.force_encapsulation.unwrap_or(self.force_encapsulation);
        self.allow_obsolete = patch.allow_obsolete.unwrap_or(self.allow_obsolete);
        self.judge()?;
        self.fit_where_connected(context).await
    }

    async fn touches(&self, context: &mut Context<'_>) -> Result<Vec<ApplianceId>, Error> {
        let own = [("customer_gateway", self.id.as_str())];
        let connections = context.all::<VpnConnection>(&own).await?;
        Ok(connections.into_iter().map(|connection| connection.router).collect())
    }

    /// Encryption without integrity of its own gets one.
    fn canonical(mut spec: CustomerGatewaySpec) -> Result<CustomerGatewaySpec, Error> {
        if spec.esp_hash.is_none() && !spec.esp_encryption.has_integrity() {
            spec.esp_hash = Some(Hash::Sha256);
        }
        Ok(spec)
    }
}

impl CustomerGateway {
    /// What can be judged of it alone.
    fn judge(&self) -> Result<(), Error> {
        tunnel::peer("address", self.address)?;
        tunnel::networks("networks", &self.networks)
    }

    /// It still fits to the router where its connection ends.
    async fn fit_where_connected(&self, context: &mut Context<'_>) -> Result<(), Error> {
        let connections =
            context.all::<VpnConnection>(&[("customer_gateway", self.id.as_str())]).await?;
        for connection in connections {
            match vpn_connection::clash(context, self, &connection.router).await? {
                None => (),
                Some(Clash::Address(reason)) => return Err(rule::invalid("address", reason)),
                Some(Clash::Network(reason)) => return Err(rule::invalid("networks", reason)),
            }
        }
        Ok(())
    }

    /// A tunnel that stands is not changed underneath (guide 11.17.4.1).
    async fn refuse_while_connected(&self, context: &mut Context<'_>) -> Result<(), Error> {
        let connections =
            context.all::<VpnConnection>(&[("customer_gateway", self.id.as_str())]).await?;
        let reports = reports::all(context.conn).await?;
        let standing = connections.iter().find(|connection| connection.stands(&reports));
        standing.map_or(Ok(()), |connection| {
            let reason = format!(
                "vpn connection {} is connected; {} can be changed without one, or while it is down",
                connection.name, self.name
            );
            Err(Error::Conflict { field: "customer_gateway", reason })
        })
    }

    /// The same as a connection's end in a configuration.
    pub(crate) fn as_end(&self) -> vpn::CustomerGateway {
        vpn::CustomerGateway {
            id: self.id.clone(),
            address: self.address,
            peer_id: self.peer_id.clone(),
            networks: self.networks.clone(),
            psk: self.psk,
            ike: vpn::IkePolicy {
                version: self.ike_version,
                encryption: self.ike_encryption,
                hash: self.ike_hash,
                group: self.ike_group,
                lifetime_seconds: self.ike_lifetime,
            },
            esp: vpn::EspPolicy {
                encryption: self.esp_encryption,
                hash: self.esp_hash,
                pfs: self.esp_pfs,
                lifetime_seconds: self.esp_lifetime,
            },
            dead_peer_detection: self.dead_peer_detection,
            force_encapsulation: self.force_encapsulation,
        }
    }
}
