//! Records of the operator's own in the name service of a network.

use serde::{Deserialize, Serialize};
use sluice_api::config::{self, RecordData};
use sluice_api::types::{ApplianceId, ObjectId, RecordName, RecordSeconds};
use utoipa::ToSchema;

use super::network::Network;
use super::{Column, Context, Key, Kind, Names, named};
use crate::error::Error;

/// A record; fields as in [`DnsRecordSpec`], references as ids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = NetworkDnsRecord)]
pub struct DnsRecord {
    /// Never used again once deleted.
    pub id: ObjectId,
    /// Unique in the network.
    pub name: ObjectId,
    /// Id of its zone.
    pub zone: ObjectId,
    /// Id of its network.
    pub network: ObjectId,
    /// The name that it is about.
    pub record: RecordName,
    /// Seconds that clients may keep it.
    pub ttl: RecordSeconds,
    /// What it says.
    pub data: RecordData,
}

/// A record to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DnsRecordSpec {
    /// What it is called here, unique in the network.
    pub name: ObjectId,
    /// Network whose guests see it, with those of the router's other networks of the same domain; by name or id.
    pub network: ObjectId,
    /// The name that it is about, in full: `www.net1.zone1.internal`, `intranet.example`.
    pub record: RecordName,
    /// Seconds that clients may keep it, 0 to 86400. Default 300.
    #[serde(default)]
    pub ttl: RecordSeconds,
    /// What it says, such as `{"a": "10.1.1.23"}`, `{"cname": "vm1.net1.zone1.internal"}`, `{"txt": "hello"}`.
    pub data: RecordData,
}

/// Changes to a record; what is left out stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DnsRecordPatch {
    /// New time to live.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<RecordSeconds>,
    /// What it says from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<RecordData>,
}

impl Kind for DnsRecord {
    const NAMES: Names = Names {
        word: "dns record",
        plural: "dns records",
        prefix: "dr",
        about: "Records of the name service besides guests' names",
    };
    const KEYS: &'static [Key] = &[Key::to("zone", "zone"), Key::to("network", "network")];
    const SCOPE: Option<&'static str> = Some("network");
    const COLUMNS: &'static [Column] = &[
        ("ID", "/id"),
        ("NAME", "/name"),
        ("NETWORK", "/network"),
        ("RECORD", "/record"),
        ("TTL", "/ttl"),
        ("DATA", "/data"),
    ];

    type Spec = DnsRecordSpec;
    type Patch = DnsRecordPatch;

    named!();

    async fn create(
        context: &mut Context<'_>,
        id: ObjectId,
        spec: DnsRecordSpec,
    ) -> Result<Self, Error> {
        let network: Network = context.find(None, &spec.network).await?;
        let DnsRecordSpec { name, record, ttl, data, .. } = spec;
        Ok(Self { id, name, zone: network.zone, network: network.id, record, ttl, data })
    }

    async fn update(&mut self, _: &mut Context<'_>, patch: DnsRecordPatch) -> Result<(), Error> {
        self.ttl = patch.ttl.unwrap_or(self.ttl);
        self.data = patch.data.unwrap_or_else(|| self.data.clone());
        Ok(())
    }

    async fn touches(&self, context: &mut Context<'_>) -> Result<Vec<ApplianceId>, Error> {
        Ok(context.get::<Network>(&self.network).await?.router.into_iter().collect())
    }
}

impl DnsRecord {
    /// The record as its router is to answer it.
    pub(crate) fn served(self) -> config::DnsRecord {
        config::DnsRecord { name: self.record, ttl: self.ttl, data: self.data }
    }
}
