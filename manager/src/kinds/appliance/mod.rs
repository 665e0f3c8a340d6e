//! System VMs: routers, console proxies and secondary storage VMs. What their machine must be (NICs, addresses) follows
//! from what they serve; what they should do is compiled from the whole model.
//!
//! Guarantees: a NIC and its link keep their names for as long as they are needed, whatever comes and goes beside them.

mod browsed;
mod imports;
mod spec;

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};
use sluice_api::boot::Role;
use sluice_api::types::{
    ApplianceId, BlobDigest, Cidr, HostPattern, InterfaceAddress, LinkName, MacAddr, ObjectId,
    Origin, PathPrefix, Port,
};
use utoipa::ToSchema;

use super::network::Network;
pub use super::nic::take_mac;
pub(super) use super::nic::{free_link, link};
use super::physical_network::PhysicalNetwork;
use super::private_gateway::PrivateGateway;
use super::public_ip::{PublicIp, PublicIpSpec, Purpose, ipv4};
pub use super::uplink::{Uplink, UplinkIpv6};
use super::zone::Zone;
use super::{Column, Context, Key, Kind, Names, console_home, role, uplink};
use crate::alloc::{Pool, PoolClass, PoolName, mac_number};
use crate::error::Error;
use crate::store::{Taken, allocations, wanted};

use self::browsed::found_by;
pub use self::spec::{AppliancePatch, ApplianceSpec};

/// Control addresses that appliances never get: managers, gateways and the lab's own services sit there.
const KEPT_CONTROL_ADDRESSES: i64 = 9;

/// A system VM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Appliance {
    /// Also its host name and the name in its certificate.
    pub id: ApplianceId,
    /// Unique in the zone; the id unless one was given.
    pub name: ObjectId,
    /// What it is.
    pub role: Role,
    /// Id of its zone.
    pub zone: ObjectId,
    /// Its address on the control network.
    pub control: InterfaceAddress,
    /// Where the manager reaches it, if not at the control address.
    #[schema(value_type = Option<String>)]
    pub endpoint: Option<SocketAddr>,
    /// A router that was made with its network.
    #[serde(default)]
    pub with_network: bool,
    /// The NICs that its machine must have; it finds them by their addresses.
    pub nics: Vec<ApplianceNic>,
    /// Its ways out.
    #[serde(default)]
    pub uplinks: Vec<Uplink>,
    /// Id of the physical network that its storage traffic uses.
    #[serde(default)]
    pub storage_network: Option<ObjectId>,
    /// Its address on the storage network.
    #[serde(default)]
    pub storage_address: Option<InterfaceAddress>,
    /// Digest of the certificate chain and key that a proxy or ssvm shows to the public.
    #[serde(default)]
    pub certificate: Option<BlobDigest>,
    /// Digest of its chain alone.
    #[serde(default)]
    pub certificate_chain: Option<BlobDigest>,
    /// Digest of its key alone.
    #[serde(default)]
    pub certificate_key: Option<BlobDigest>,
    /// Names that browsers call a proxy by.
    #[serde(default)]
    pub hosts: Vec<HostPattern>,
    /// Origins whose pages may show a console of a proxy in a frame.
    #[serde(default)]
    pub frame_ancestors: Vec<Origin>,
    /// Reverse proxies before a proxy.
    #[serde(default)]
    pub trusted_proxies: Vec<Cidr>,
    /// Where browsers find a proxy; none: `https://` and the first of `hosts`.
    #[serde(default)]
    pub origin: Option<Origin>,
    /// Path under which a proxy has everything.
    #[serde(default)]
    pub prefix: PathPrefix,
    /// A proxy that takes no new sessions.
    #[serde(default)]
    pub draining: bool,
    /// Digest of the key by which all proxies of the zone know browsers again.
    #[serde(default)]
    pub cookie_key: Option<BlobDigest>,
    /// Private networks that an ssvm may bring images in from.
    #[serde(default)]
    pub allowed_sources: Vec<Cidr>,
    /// Digest of the address of the proxy that an ssvm fetches by.
    #[serde(default)]
    pub source_proxy: Option<BlobDigest>,
    /// Digest of further authorities that an ssvm's sources and object stores may have certificates of.
    #[serde(default)]
    pub source_authorities: Option<BlobDigest>,
    /// TCP ports that an ssvm fetches from; empty: 80 and 443.
    #[serde(default)]
    pub source_ports: Vec<Port>,
    /// Largest disk of an image, in bytes as a guest sees it; none: 2 TiB.
    #[serde(default)]
    pub most_disk_bytes: Option<u64>,
    /// Most memory that unpacking one image may take, in bytes; none: 160 MiB.
    #[serde(default)]
    pub unpack_bytes: Option<u64>,
    /// Images that an ssvm works at at the same time; none: 4.
    #[serde(default)]
    pub image_jobs: Option<u8>,
    /// The public range that was asked for, until it has an address.
    #[serde(skip)]
    asked_range: Option<ObjectId>,
}

/// A NIC that an appliance's machine must have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ApplianceNic {
    /// What it is for.
    pub purpose: NicPurpose,
    /// Id of the physical network to plug it into; none for the control network.
    pub physical_network: Option<ObjectId>,
    /// Name of its link in the appliance.
    pub link: LinkName,
    /// Its address on the wire.
    pub mac: MacAddr,
}

/// What an appliance's NIC is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum NicPurpose {
    /// Control network.
    Control,
    /// Untagged public traffic.
    Public,
    /// Tagged traffic of a physical network.
    Trunk,
    /// Untagged storage traffic.
    Storage,
}

impl Kind for Appliance {
    const NAMES: Names = Names {
        word: "appliance",
        plural: "appliances",
        prefix: "r",
        about: "System VMs: routers, console proxies, secondary storage VMs",
    };
    const KEYS: &'static [Key] = &[
        Key::to("zone", "zone"),
        Key::text("role"),
        Key::to("storage_network", "physical network"),
    ];
    const SCOPE: Option<&'static str> = Some("zone");
    const COLUMNS: &'static [Column] = &[
        ("ID", "/id"),
        ("NAME", "/name"),
        ("ROLE", "/role"),
        ("ZONE", "/zone"),
        ("CONTROL", "/control"),
        ("ENDPOINT", "/endpoint"),
    ];

    type Spec = ApplianceSpec;
    type Patch = AppliancePatch;

    fn prefix(spec: &ApplianceSpec) -> &'static str {
        match spec.role {
            Role::Router => "r",
            Role::Proxy => "p",
            Role::Ssvm => "s",
        }
    }

    fn id(&self) -> ObjectId {
        object_id(&self.id)
    }

    fn name(&self) -> String {
        self.name.to_string()
    }

    async fn create(
        context: &mut Context<'_>,
        id: ObjectId,
        spec: ApplianceSpec,
    ) -> Result<Self, Error> {
        let zone = context.find::<Zone>(None, &spec.zone).await?;
        let appliance: ApplianceId = id
            .as_str()
            .parse()
            .map_err(|_| Error::Corrupt { what: "id", reason: format!("{id} is none") })?;
        let storage = storage_network(context, &zone, &spec).await?;
        let certificate = role::certificate(context, spec.certificate.as_ref()).await?;
        let cookie_key = match spec.role {
            Role::Proxy => Some(role::cookie_key(context, &zone.id).await?),
            Role::Router | Role::Ssvm => None,
        };
        found_by(spec.origin.as_ref(), &spec.hosts)?;
        let mac = take_mac(context, None, nic_of(context, &appliance)).await?;
        let control = ApplianceNic {
            purpose: NicPurpose::Control,
            physical_network: None,
            link: link("ctl", None)?,
            mac,
        };
        let new = Self {
            control: take_control(context, &zone, &appliance).await?,
            id: appliance,
            name: spec.name.unwrap_or(id),
            role: spec.role,
            zone: zone.id,
            endpoint: None,
            with_network: spec.with_network,
            nics: vec![control],
            uplinks: Vec::new(),
            storage_network: storage,
            storage_address: spec.storage_address,
            certificate: certificate.map(|it| it.whole),
            certificate_chain: certificate.map(|it| it.chain),
            certificate_key: certificate.map(|it| it.key),
            allowed_sources: spec.allowed_sources,
            source_proxy: imports::proxy(context, spec.source_proxy.as_ref()).await?,
            source_authorities: imports::authorities(context, spec.source_authorities.as_ref())
                .await?,
            source_ports: spec.source_ports,
            most_disk_bytes: spec.most_disk_bytes,
            unpack_bytes: spec.unpack_bytes,
            image_jobs: spec.image_jobs,
            hosts: spec.hosts,
            frame_ancestors: spec.frame_ancestors,
            trusted_proxies: spec.trusted_proxies,
            origin: spec.origin,
            prefix: spec.prefix,
            draining: spec.draining,
            cookie_key,
            asked_range: spec.public_range,
        };
        new.imports_are_sound()?;
        Ok(new)
    }

    async fn created(&mut self, context: &mut Context<'_>) -> Result<(), Error> {
        wanted::insert(context.conn, self.id.as_str()).await?;
        if self.role == Role::Router {
            return Ok(());
        }
        let spec = PublicIpSpec {
            router: Some(object_id(&self.id)),
            public_range: self.asked_range.take(),
            purpose: Purpose::Appliance,
            ..PublicIpSpec::of_zone(&self.zone)
        };
        context.make::<PublicIp>(spec).await?;
        *self = context.get(&object_id(&self.id)).await?;
        Ok(())
    }

    async fn update(
        &mut self,
        context: &mut Context<'_>,
        patch: AppliancePatch,
    ) -> Result<(), Error> {
        self.change_imports(context, &patch).await?;
        if let Some(new) = role::certificate(context, patch.certificate.as_ref()).await? {
            self.certificate = Some(new.whole);
            (self.certificate_chain, self.certificate_key) = (Some(new.chain), Some(new.key));
        }
        self.hosts = patch.hosts.unwrap_or_else(|| self.hosts.clone());
        self.frame_ancestors =
            patch.frame_ancestors.unwrap_or_else(|| self.frame_ancestors.clone());
        self.trusted_proxies =
            patch.trusted_proxies.unwrap_or_else(|| self.trusted_proxies.clone());
        self.origin = patch.origin.unwrap_or_else(|| self.origin.take());
        found_by(self.origin.as_ref(), &self.hosts)?;
        self.prefix = patch.prefix.unwrap_or_else(|| self.prefix.clone());
        self.draining = patch.draining.unwrap_or(self.draining);
        if patch.draining == Some(true) {
            console_home::leave(context, self).await?;
        }
        Ok(())
    }

    async fn deleting(&mut self, context: &mut Context<'_>) -> Result<(), Error> {
        let id = object_id(&self.id);
        let networks = context.all::<Network>(&[("router", id.as_str())]).await?;
        if let Some(network) = networks.first() {
            let by = format!(
                "network {}; to rebuild the machine, take a new boot document",
                network.name
            );
            return Err(Error::InUse { kind: Self::NAMES.word, name: self.name(), by });
        }
        for mut ip in context.all::<PublicIp>(&[("router", id.as_str())]).await? {
            if ip.purpose == Purpose::Appliance {
                ip.purpose = Purpose::None;
                context.remove(ip).await?;
            }
        }
        // its machine was destroyed, so nothing has to be confirmed any more
        allocations::free_all(context.conn, id.as_str()).await
    }

    fn prunes(&self) -> bool {
        !self.with_network
    }

    async fn touches(&self, context: &mut Context<'_>) -> Result<Vec<ApplianceId>, Error> {
        let mut touched = vec![self.id.clone()];
        if self.role == Role::Proxy {
            // the others say where it is
            touched.extend(role::proxies(context, &self.zone).await?.into_iter().map(|it| it.id));
        }
        Ok(touched)
    }
}

/// An appliance's id as the id of an object.
///
/// # Panics
///
/// Never: both have the same form.
#[expect(clippy::expect_used, reason = "the invariant is in the message")]
pub fn object_id(id: &ApplianceId) -> ObjectId {
    id.as_str().parse().expect("both types have one form")
}

async fn storage_network(
    context: &mut Context<'_>,
    zone: &Zone,
    spec: &ApplianceSpec,
) -> Result<Option<ObjectId>, Error> {
    let invalid = |field, reason: &str| Err(Error::Invalid { field, reason: reason.to_owned() });
    if spec.role != Role::Ssvm && spec.storage_network.is_some() {
        return invalid("storage_network", "is of an ssvm alone");
    }
    match (&spec.storage_network, spec.storage_address) {
        (None, None) => Ok(None),
        (Some(name), Some(_)) => {
            Ok(Some(context.find::<PhysicalNetwork>(Some(&zone.id), name).await?.id))
        }
        _ => invalid("storage_address", "is given together with storage_network"),
    }
}

fn nic_of<'t>(context: &Context<'t>, id: &'t ApplianceId) -> Taken<'t> {
    context.taken(id.as_str(), "appliance NIC", Some(id))
}

async fn take_control(
    context: &mut Context<'_>,
    zone: &Zone,
    id: &ApplianceId,
) -> Result<InterfaceAddress, Error> {
    let mut pool = Pool::hosts(zone.control_cidr).without_first(KEPT_CONTROL_ADDRESSES);
    if let Some(gateway) = zone.control_gateway {
        pool = pool.without(i64::from(u32::from(gateway)));
    }
    let taken = context.taken(id.as_str(), "control address", Some(id));
    let name = PoolName::of_cloud(PoolClass::Control);
    let value = allocations::take_any(context.conn, &name, &pool, taken).await?;
    let value = value.ok_or_else(|| Error::Exhausted {
        pool: format!("the control addresses of zone {}", zone.name),
    })?;
    InterfaceAddress::new(IpAddr::V4(ipv4(value)?), zone.control_cidr.prefix())
        .map_err(|error| Error::Corrupt { what: "control address", reason: error.to_string() })
}

/// What it served is gone: an appliance that was made with it and that no machine ever ran goes too, and frees all that
/// it had; another gets what is left.
pub(super) async fn retire(context: &mut Context<'_>, id: &ApplianceId) -> Result<(), Error> {
    let appliance: Appliance = context.get(&object_id(id)).await?;
    let machine = wanted::machine(context.conn, id.as_str()).await?.unwrap_or_default();
    let never_booted = machine.sent.is_none() && machine.certificate_until.is_none();
    if appliance.with_network && never_booted {
        return context.remove(appliance).await;
    }
    replug(context, id).await
}

/// Where an appliance has to be plugged in, the control network apart.
type Plug = (NicPurpose, ObjectId);

/// Brings NICs and uplinks to what the appliance's networks and public addresses need: what is needed stays as it is,
/// what is no longer needed is released, what is missing is made.
pub async fn replug(context: &mut Context<'_>, id: &ApplianceId) -> Result<(), Error> {
    let key = object_id(id);
    let mut appliance: Appliance = context.get(&key).await?;
    let networks = context.all::<Network>(&[("router", id.as_str())]).await?;
    uplink::plug(context, &mut appliance).await?;
    let mut plugs: Vec<Plug> = Vec::new();
    for up in appliance.uplinks.iter().filter(|up| up.vlan.is_none()) {
        plugs.push((NicPurpose::Public, up.physical_network.clone()));
    }
    let tagged = appliance.uplinks.iter().filter(|up| up.vlan.is_some());
    let gateways = context.all::<PrivateGateway>(&[("router", id.as_str())]).await?;
    let trunks = networks.iter().map(|network| &network.physical_network);
    let private = gateways.iter().map(|gateway| &gateway.physical_network);
    for trunk in trunks.chain(tagged.map(|up| &up.physical_network)).chain(private) {
        plugs.push((NicPurpose::Trunk, trunk.clone()));
    }
    plugs.extend(appliance.storage_network.iter().map(|net| (NicPurpose::Storage, net.clone())));
    nics(context, &mut appliance, plugs).await?;
    context.save(&appliance).await
}

async fn nics(
    context: &mut Context<'_>,
    appliance: &mut Appliance,
    plugs: Vec<Plug>,
) -> Result<(), Error> {
    let plug = |nic: &ApplianceNic| nic.physical_network.clone().map(|net| (nic.purpose, net));
    let (kept, gone): (Vec<_>, Vec<_>) = appliance
        .nics
        .drain(..)
        .partition(|nic| plug(nic).is_none_or(|plug| plugs.contains(&plug)));
    appliance.nics = kept;
    for nic in gone {
        let pool = PoolName::of_cloud(PoolClass::Mac);
        let (number, owner) = (mac_number(nic.mac), appliance.id.as_str());
        allocations::release_item(context.conn, &pool, number, owner).await?;
    }
    for wanted in plugs {
        if appliance.nics.iter().any(|nic| plug(nic).as_ref() == Some(&wanted)) {
            continue;
        }
        let taken = nic_of(context, &appliance.id);
        let mac = take_mac(context, None, taken).await?;
        let link = nic_link(appliance, &wanted)?;
        let (purpose, network) = wanted;
        appliance.nics.push(ApplianceNic { purpose, physical_network: Some(network), link, mac });
    }
    Ok(())
}

fn nic_link(appliance: &Appliance, (purpose, network): &Plug) -> Result<LinkName, Error> {
    let used = appliance.nics.iter().map(|nic| &nic.link);
    match purpose {
        NicPurpose::Control => link("ctl", None),
        NicPurpose::Trunk => free_link("trunk", used),
        NicPurpose::Storage => free_link("stor", used),
        NicPurpose::Public => {
            let own = |up: &&Uplink| up.vlan.is_none() && &up.physical_network == network;
            let up = appliance.uplinks.iter().find(own);
            up.map_or_else(|| free_link("pub", used), |up| Ok(up.link.clone()))
        }
    }
}
