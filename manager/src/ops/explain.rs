//! Why a connection passes or does not: asked from the configurations that appliances have, should have, or had.
//!
//! Guarantees: pure work on stored documents, so the answer is there before a change is pushed and while the appliance
//! cannot be reached; rules are named as their owners called them. Not here: what a packet meets in an appliance whose
//! build makes other rules of the same configuration.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sluice_api::RouterDocument;
use sluice_api::boot::Role;
use sluice_api::config::{Link, LinkRole};
use sluice_api::report::{
    ExplainQuestion, Explanation, FlowsReport, RuleOwner, TUNNEL, TUNNEL_CLIENTS, uplinks,
};
use sluice_api::types::{ApplianceId, Generation, LinkName, ObjectId, UtcTime};
use sluice_router::explain::explain_seen as work_out;
use sluice_router::uplinks::seen::{self, Seen};
use sluice_router::vpn::explain::down_key;
use utoipa::ToSchema;

use crate::error::Error;
use crate::kinds::appliance::Appliance;
use crate::kinds::{self, dynamic, vpn_connection};
use crate::store::objects::ALL;
use crate::store::{Conn, Scope, reports, wanted};

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExplainRequest {
    /// The connection.
    pub question: ExplainQuestion,
    /// Router, by name or id. Default: the one that has the sender's network, else the destination.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub appliance: Option<ObjectId>,
    /// Which of its configurations: a number, `wanted`, or `found` for what it has now. Default: `wanted`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<String>,
    /// Another of them to compare with, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub against: Option<String>,
    /// Ask the appliance too which such connections it tracks now. Default: false.
    #[serde(default)]
    pub live: bool,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Explained {
    /// Which router.
    pub appliance: ApplianceId,
    /// The configuration that was asked.
    pub generation: Generation,
    /// Its uplinks that are down, as the router said last: the answer is that of a router that takes others for them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub down: Vec<LinkName>,
    /// What becomes of the connection under it.
    pub answer: Explanation,
    /// The same of the other configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub against: Option<Under>,
    /// Whether the two answers differ; none without another configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub differs: Option<bool>,
    /// The connections between these two that the router tracks now; none when that was not asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live: Option<FlowsReport>,
}

/// An answer of one configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Under {
    /// Which.
    pub generation: Generation,
    /// Its uplinks that are down, as the router said last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub down: Vec<LinkName>,
    /// What becomes of the connection under it.
    pub answer: Explanation,
}

/// The router that a question is about: the one that was named, else the only one that knows the addresses.
pub async fn router_of(
    conn: &mut Conn,
    scope: Scope<'_>,
    request: &ExplainRequest,
) -> Result<Appliance, Error> {
    if let Some(name) = &request.appliance {
        let appliance: Appliance = dynamic::find(conn, scope, name).await?;
        if appliance.role != Role::Router {
            let reason = format!("{} is no router, and has no rules", appliance.id);
            return Err(Error::Invalid { field: "appliance", reason });
        }
        return Ok(appliance);
    }
    let mut sending = Vec::new();
    let mut asked = Vec::new();
    for appliance in dynamic::load_in::<Appliance>(conn, scope, &[], ALL).await? {
        if appliance.role != Role::Router {
            continue;
        }
        let Some(row) = wanted::wanted(conn, appliance.id.as_str()).await? else { continue };
        let config = read(&row.config)?;
        if has_inside(&config, &request.question) {
            sending.push(appliance);
        } else if has_destination(&config, &request.question) {
            asked.push(appliance);
        }
    }
    let found = if sending.is_empty() { asked } else { sending };
    let ExplainQuestion { from, to, .. } = &request.question;
    if found.is_empty() {
        let name = format!("that knows {from} or {to}; name one with `appliance`");
        return Err(Error::NotFound { kind: "router", name });
    }
    if found.len() > 1 {
        let candidates: Vec<String> = found.iter().map(|it| it.id.to_string()).collect();
        let (name, candidates) = (from.to_string(), candidates.join(", "));
        return Err(Error::Ambiguous { kind: "the router of", name, candidates });
    }
    found
        .into_iter()
        .next()
        .ok_or_else(|| Error::NotFound { kind: "router", name: from.to_string() })
}

/// True when the sender is in a network behind the router.
fn has_inside(config: &RouterDocument, question: &ExplainQuestion) -> bool {
    let inside = |link: &&Link| matches!(link.role, LinkRole::Guest | LinkRole::Private);
    let mut addresses = config.links.iter().filter(inside).flat_map(|link| &link.addresses);
    addresses.any(|address| address.network().contains(question.from))
}

/// True when the destination is an address of the router, or in a network behind it.
fn has_destination(config: &RouterDocument, question: &ExplainQuestion) -> bool {
    let mut links = config.links.iter().filter(|link| link.role != LinkRole::Control);
    links.any(|link| {
        let inside = link.role != LinkRole::Public;
        link.addresses.iter().any(|address| {
            address.ip() == question.to || inside && address.network().contains(question.to)
        })
    })
}

/// A stored configuration of a router.
fn read(document: &str) -> Result<RouterDocument, Error> {
    serde_json::from_str(document)
        .map_err(|error| Error::Corrupt { what: "configuration", reason: error.to_string() })
}

/// The uplinks that are down and the tunnels that do not stand, as the router said last; of one that never said anything
/// none are.
pub async fn down(conn: &mut Conn, appliance: &ApplianceId) -> Result<Seen, Error> {
    let mut services = reports::of(conn, appliance.as_str()).await?;
    let said = services.remove(uplinks::SERVICE);
    let said = said.and_then(|said| uplinks::Report::deserialize(said).ok());
    let mut down = said.and_then(seen::down_in).unwrap_or_default();
    if let Some(report) = services.remove(vpn_connection::SERVICE) {
        down.extend(vpn_connection::down(&report).iter().map(down_key));
    }
    Ok(down)
}

/// The answer of one configuration, with the rules as their owners named them, while the uplinks and tunnels in `seen` are down.
pub async fn under(
    conn: &mut Conn,
    document: &str,
    question: &ExplainQuestion,
    seen: &Seen,
) -> Result<Under, Error> {
    let config = read(document)?;
    let down: Vec<LinkName> = seen::down_of(&config, seen).into_iter().cloned().collect();
    let config = seen::without(&config, seen).unwrap_or(config);
    let now = u64::try_from(time::OffsetDateTime::now_utc().unix_timestamp()).unwrap_or(0);
    // what has ended by itself does nothing any more
    let answer = work_out(&config.at(UtcTime::from_unix(now)), question, seen)
        .map_err(|error| Error::Invalid { field: error.field(), reason: error.to_string() })?;
    let objects = owners(conn, answer.rules()).await?;
    Ok(Under { generation: config.generation, down, answer: Explanation { objects, ..answer } })
}

/// Beginnings of rule ids, and the kind of object that the last part is the id of.
pub(super) const OWNERS: &[(&str, &str)] = &[
    ("acl", "acl rule"),
    ("acl-list", "acl list"),
    ("balancer", "balancer"),
    ("balancer-sources", "balancer"),
    ("egress", "egress rule"),
    ("egress-policy", "network"),
    ("firewall", "firewall rule"),
    ("firewall-v6", "ipv6 firewall rule"),
    ("forward", "port forward"),
    ("forward-sources", "port forward"),
    ("hairpin", "network"),
    ("helper-acl", "acl rule"),
    ("helper-egress", "egress rule"),
    ("helper-firewall", "firewall rule"),
    ("private-gateway", "private gateway"),
    ("source-nat", "network"),
    ("static-nat", "static nat"),
    (TUNNEL, "vpn connection"),
    (TUNNEL_CLIENTS, "remote access"),
];

/// What each of these rules is to its owner, as far as it has one; of objects that are gone nothing is known any more.
pub async fn owners(conn: &mut Conn, rules: Vec<&str>) -> Result<Vec<RuleOwner>, Error> {
    let words: BTreeMap<&str, &str> = OWNERS.iter().copied().collect();
    let mut found = Vec::new();
    for rule in rules {
        let Some((beginning, id)) = beginning_and_id(rule) else { continue };
        let Some(kind) = words.get(beginning).and_then(|word| kinds::by_word(word)) else {
            continue;
        };
        let filter = vec![("id", id.to_owned())];
        let object = kind.list(conn, Scope::Cloud, filter, None, Some(1)).await?.pop();
        let name = object.as_ref().and_then(|object| object.get("name")?.as_str());
        if let Some(name) = name {
            let (rule, kind) = (rule.to_owned(), kind.names().word.to_owned());
            found.push(RuleOwner { rule, kind, id: id.to_owned(), name: name.to_owned() });
        }
    }
    Ok(found)
}

/// `acl` and `ar-1` of `acl/al-1/ar-1`.
pub(super) fn beginning_and_id(rule: &str) -> Option<(&str, &str)> {
    let (beginning, rest) = rule.split_once('/')?;
    Some((beginning, rest.rsplit('/').next().unwrap_or(rest)))
}

/// How ids of rules begin that are made of this kind of object.
pub(super) fn beginning_of(word: &str) -> Option<&'static str> {
    OWNERS.iter().find(|(_, kind)| *kind == word).map(|(beginning, _)| *beginning)
}
