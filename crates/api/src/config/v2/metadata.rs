//! What a guest is told about itself: metadata, user data, keys and its password.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::types::{BlobDigest, MetadataKey, MetadataValue, PasswordSeconds, PublicKey};

/// Metadata of one guest NIC, served on the gateway's address and on 169.254.169.254.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GuestMetadata {
    /// `instance-id`. Default: the guest's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_id: Option<MetadataValue>,
    /// `vm-id`. Default: the instance id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vm_id: Option<MetadataValue>,
    /// `availability-zone`. Default: `default`, since cloud-init does not do without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub availability_zone: Option<MetadataValue>,
    /// `service-offering`, which is also EC2's `instance-type`. Default: there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_offering: Option<MetadataValue>,
    /// `cloud-identifier`. Default: there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cloud_identifier: Option<MetadataValue>,
    /// `public-keys`: who may log in. Default: nobody by key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub public_keys: Vec<PublicKey>,
    /// User data, at most 1 MiB, by digest. Default: there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_data: Option<BlobDigest>,
    /// A password that waits to be fetched, once. Default: there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<GuestPassword>,
    /// Values under names of the operator's own, at most 32. Default: none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = BTreeMap<String, MetadataValue>)]
    pub extra: BTreeMap<MetadataKey, MetadataValue>,
    /// Whether requests need a session token ("IMDSv2"). Default: they do not, because CloudStack's clients send none.
    #[serde(default, skip_serializing_if = "TokenPolicy::is_optional")]
    pub tokens: TokenPolicy,
}

impl GuestMetadata {
    /// Nothing is said besides what follows from the guest.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Whether metadata requests need a session token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TokenPolicy {
    /// A request without one is answered; one with a wrong one is not.
    #[default]
    Optional,
    /// Only requests with a good one are answered.
    Required,
}

impl TokenPolicy {
    fn is_optional(&self) -> bool {
        *self == Self::Optional
    }
}

/// A password to be handed to a guest once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GuestPassword {
    /// The blob: a line of random text, so that the digest does not tell when a guess is right, and the password on the
    /// next.
    pub blob: BlobDigest,
    /// How long it waits from when the appliance has it, in seconds. Default 86400.
    #[serde(default)]
    pub valid_seconds: PasswordSeconds,
}

impl GuestPassword {
    /// Most bytes of a password.
    pub const LONGEST: usize = 256;

    /// Whether `password` can be handed out: the guest's scripts read it as one line.
    ///
    /// Errors: it is empty, longer than [`Self::LONGEST`] bytes, or has control characters.
    pub fn usable(password: &str) -> Result<(), String> {
        if password.is_empty() {
            return Err("must not be empty".to_owned());
        }
        if password.len() > Self::LONGEST {
            return Err(format!("{} bytes are more than {}", password.len(), Self::LONGEST));
        }
        if password.contains(char::is_control) {
            return Err("must have no control characters, such as a line end".to_owned());
        }
        Ok(())
    }
}
