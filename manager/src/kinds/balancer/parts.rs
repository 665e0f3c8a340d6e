//! The parts of a rule that people state in another form than a router gets them: with a word for "none", and such that
//! a part of them can be changed alone.

use serde::{Deserialize, Deserializer, Serialize};
use sluice_api::config::balancer::{
    AppCookie, Check, Health, LbCookie, ProxyProtocol, SourceBased, Stickiness, Timeouts,
    TlsVersion,
};
use sluice_api::types::{
    BlobDigest, ConnectSeconds, DrainSeconds, IntervalMilliseconds, KeepAliveSeconds, Port,
    RequestSeconds, Times,
};
use utoipa::ToSchema;

use crate::kinds::patch::stated;

/// The header that tells members who the client is (PROXY protocol).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ProxyHeader {
    /// No header.
    #[default]
    None,
    /// Text.
    V1,
    /// Binary.
    V2,
}

impl From<ProxyHeader> for Option<ProxyProtocol> {
    fn from(header: ProxyHeader) -> Self {
        match header {
            ProxyHeader::None => None,
            ProxyHeader::V1 => Some(ProxyProtocol::V1),
            ProxyHeader::V2 => Some(ProxyProtocol::V2),
        }
    }
}

/// What binds a client to a member (guide 11.15).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StickinessPolicy {
    /// Nothing: each connection, or in HTTP each request, is chosen anew.
    #[default]
    None,
    /// A cookie that the balancer makes; HTTP only.
    LbCookie(LbCookie),
    /// A cookie that the members' application makes; HTTP only.
    AppCookie(AppCookie),
    /// The client's address.
    SourceBased(SourceBased),
}

impl From<StickinessPolicy> for Option<Stickiness> {
    fn from(policy: StickinessPolicy) -> Self {
        match policy {
            StickinessPolicy::None => None,
            StickinessPolicy::LbCookie(cookie) => Some(Stickiness::LbCookie(cookie)),
            StickinessPolicy::AppCookie(cookie) => Some(Stickiness::AppCookie(cookie)),
            StickinessPolicy::SourceBased(source) => Some(Stickiness::SourceBased(source)),
        }
    }
}

/// How members are checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HealthPolicy {
    /// What is asked. Default: a TCP connection; in udp rules a datagram.
    pub check: Option<Check>,
    /// Time from check to check in milliseconds. Default 2000.
    pub interval_milliseconds: IntervalMilliseconds,
    /// How long one check may take, in milliseconds. Default 2000.
    pub timeout_milliseconds: IntervalMilliseconds,
    /// Good checks in a row after which a member that was down serves again. Default 2.
    pub rise: Times,
    /// Bad checks in a row after which a member is down. Default 3.
    pub fall: Times,
    /// The port that is checked. Default: the member's own.
    pub port: Option<Port>,
}

impl Default for HealthPolicy {
    fn default() -> Self {
        let Health { check, interval_milliseconds, timeout_milliseconds, rise, fall, port } =
            Health::default();
        Self { check, interval_milliseconds, timeout_milliseconds, rise, fall, port }
    }
}

impl From<HealthPolicy> for Health {
    fn from(policy: HealthPolicy) -> Self {
        let HealthPolicy { check, interval_milliseconds, timeout_milliseconds, rise, fall, port } =
            policy;
        Self { check, interval_milliseconds, timeout_milliseconds, rise, fall, port }
    }
}

/// Changes to checks; what is left out stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HealthPatch {
    /// What is asked; null: what is usual in the rule's mode.
    #[serde(deserialize_with = "stated", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Check>)]
    pub check: Option<Option<Check>>,
    /// Time from check to check in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval_milliseconds: Option<IntervalMilliseconds>,
    /// How long one check may take, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_milliseconds: Option<IntervalMilliseconds>,
    /// Good checks in a row after which a member that was down serves again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rise: Option<Times>,
    /// Bad checks in a row after which a member is down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fall: Option<Times>,
    /// The port that is checked; null: the member's own.
    #[serde(deserialize_with = "stated", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Port>)]
    pub port: Option<Option<Port>>,
}

impl HealthPolicy {
    /// Whether any answer can be good.
    pub(super) fn sound(&self) -> Result<(), String> {
        let Some(Check::Http(asked) | Check::Https(asked)) = &self.check else { return Ok(()) };
        let (from, to) = (asked.status_from.get(), asked.status_to.get());
        if from > to {
            return Err(format!("no answer is good: status_from {from} is above status_to {to}"));
        }
        Ok(())
    }

    /// Makes the changes of `patch`.
    pub(super) fn change(&mut self, patch: HealthPatch) {
        if let Some(check) = patch.check {
            self.check = check;
        }
        self.interval_milliseconds =
            patch.interval_milliseconds.unwrap_or(self.interval_milliseconds);
        self.timeout_milliseconds = patch.timeout_milliseconds.unwrap_or(self.timeout_milliseconds);
        self.rise = patch.rise.unwrap_or(self.rise);
        self.fall = patch.fall.unwrap_or(self.fall);
        self.port = patch.port.unwrap_or(self.port);
    }
}

/// Null, as earlier versions kept it, is the default.
pub(super) fn or_default<'de, T: Default + Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// One digest or none, as earlier versions kept it, or any number.
pub(super) fn one_or_many<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<BlobDigest>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Kept {
        Many(Vec<BlobDigest>),
        One(Option<BlobDigest>),
    }
    Ok(match Kept::deserialize(deserializer)? {
        Kept::Many(all) => all,
        Kept::One(one) => one.into_iter().collect(),
    })
}

pub(super) fn connect() -> ConnectSeconds {
    Timeouts::default().connect_seconds
}

pub(super) fn keep_alive() -> KeepAliveSeconds {
    Timeouts::default().keep_alive_seconds
}

pub(super) fn request() -> RequestSeconds {
    Timeouts::default().request_seconds
}

pub(super) fn drain() -> DrainSeconds {
    Timeouts::default().drain_seconds
}

pub(super) fn tls_minimum() -> TlsVersion {
    TlsVersion::default()
}

pub(super) const fn yes() -> bool {
    true
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_left_out_of_checks_stays() {
        let mut policy: HealthPolicy =
            serde_json::from_value(json!({ "port": 8081, "fall": 1, "check": "tcp" })).unwrap();
        policy.change(serde_json::from_value(json!({ "rise": 1 })).unwrap());
        assert_eq!(policy.port.map(Port::get), Some(8081));
        assert_eq!((policy.rise.get(), policy.fall.get()), (1, 1));
        policy.change(serde_json::from_value(json!({ "port": null, "check": null })).unwrap());
        assert_eq!((policy.port, policy.check), (None, None));
    }

    #[test]
    fn a_whole_policy_is_a_patch_that_leads_to_it() {
        let wanted: HealthPolicy = serde_json::from_value(json!({ "fall": 5 })).unwrap();
        let mut policy: HealthPolicy = serde_json::from_value(json!({ "port": 8081 })).unwrap();
        let patch = serde_json::to_value(&wanted).unwrap();
        policy.change(serde_json::from_value(patch).unwrap());
        assert_eq!(policy, wanted);
    }

    #[test]
    fn certificates_of_earlier_versions_are_read() {
        #[derive(Deserialize)]
        struct Kept {
            #[serde(default, alias = "certificate", deserialize_with = "one_or_many")]
            certificates: Vec<BlobDigest>,
        }
        let digest = BlobDigest::of(b"x");
        for (text, count) in [
            (json!({}), 0),
            (json!({ "certificate": null }), 0),
            (json!({ "certificate": digest }), 1),
            (json!({ "certificates": [digest, digest] }), 2),
        ] {
            let kept: Kept = serde_json::from_value(text.clone()).unwrap();
            assert_eq!(kept.certificates.len(), count, "{text}");
        }
    }
}
