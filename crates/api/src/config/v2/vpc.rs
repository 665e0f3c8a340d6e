//! Virtual private clouds: tiers behind one router, with access control lists and private gateways (guide 11.19).

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Helper, Traffic};
use crate::types::{AclNumber, Cidr, LinkName, ObjectId, UtcTime};

/// The router is that of a VPC: its networks are tiers, judged by access control lists on inside addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Vpc {
    /// Its id.
    pub id: ObjectId,
    /// The super CIDR: every tier is inside.
    pub cidr: Cidr,
    /// The access control lists. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub acls: Vec<Acl>,
    /// Gateways to private networks. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub private_gateways: Vec<PrivateGateway>,
}

/// An access control list (guide 11.19.4). Connections are judged by the first rule that fits, in the order of the numbers.
/// What comes in and fits none is dropped; what goes out and fits none may go while the list has no egress rule, and is dropped
/// when it has one. Replies need no rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Acl {
    /// Unique among the lists.
    pub id: ObjectId,
    /// The rules, in any order. Default: none.
    #[serde(default)]
    pub rules: Vec<AclRule>,
}

/// One rule of an access control list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AclRule {
    /// Unique in the list.
    pub id: ObjectId,
    /// Its place, unique in the list; smaller is asked first.
    pub number: AclNumber,
    /// Into the tier or out of it.
    pub direction: AclDirection,
    /// What becomes of it.
    pub action: AclAction,
    /// The other end: sources of ingress, destinations of egress. Default: anywhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<Cidr>,
    /// What.
    pub traffic: Traffic,
    /// Connections that this rule names get a helper, so that what they agree on passes too. Wants `tcp` (FTP, PPTP) or `udp`
    /// (TFTP) with ports, and the action `allow`. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub helper: Option<Helper>,
    /// When it ends, in UTC; from then on it is as if it were not there, and connections end that it allowed. Default: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<UtcTime>,
}

/// Seen from the tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AclDirection {
    /// Connections to its guests.
    Ingress,
    /// Connections of its guests.
    Egress,
}

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AclAction {
    /// The connection is let through.
    Allow,
    /// It is dropped.
    Deny,
}

/// A way to a private network (guide 11.19.5). Routes through it are routes of the appliance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PrivateGateway {
    /// Unique among the private gateways.
    pub id: ObjectId,
    /// A private link.
    pub link: LinkName,
    /// Judges what passes this link in either direction, as a tier's list does. Default: nothing passes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acl: Option<ObjectId>,
    /// Guests that leave by it have this address of the link as source. Default: they keep their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub source_nat: Option<Ipv4Addr>,
}
