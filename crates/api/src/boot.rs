//! The boot document: how an appliance learns who it is (design section 3).
//!
//! Looked for in this order: QEMU fw_cfg `opt/sluice/boot`, a config-drive ISO labelled `SLUICE` holding `boot.json`,
//! and, in the debug flavour alone, the kernel command line `sluice.boot=` in base64. It carries the appliance's private
//! key, so it is kept in RAM and never logged.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::types::{ApplianceId, FormatVersion, InterfaceAddress, MacAddr, Mtu, Secret};

/// The version of the boot document's format.
pub type BootVersion = FormatVersion<1>;

/// Fewest characters of a seal key.
const SEAL_KEY_LENGTH: usize = 32;

/// Identity and first control address of an appliance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BootDocument {
    /// Version of this format: 1.
    pub version: BootVersion,
    /// Which appliance this is to be.
    pub role: Role,
    /// Its id, also the name in its certificate.
    pub appliance: ApplianceId,
    /// The control NIC, until a configuration says otherwise.
    pub control: BootControl,
    /// Who it is and whom it trusts.
    pub identity: Identity,
    /// What secrets on the appliance's disk are sealed with: at least 32 random characters, the same for the appliance's
    /// whole life. Default: made of the identity's key, so that a new key makes the manager send the secrets again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seal_key: Option<Secret>,
    /// Counts the boot documents of this appliance: of two machines that are told to be the same appliance, the one with the
    /// higher number is. Default 0: not counted.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub incarnation: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's form
pub(crate) fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// The three appliances of one template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Virtual router.
    Router,
    /// Console proxy.
    Proxy,
    /// Secondary storage VM.
    Ssvm,
}

impl Role {
    /// The role as written in documents.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Router => "router",
            Self::Proxy => "proxy",
            Self::Ssvm => "ssvm",
        }
    }
}

/// The NIC that the manager reaches first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BootControl {
    /// NICs are found by their address.
    pub mac: MacAddr,
    /// The API listens on it.
    pub address: InterfaceAddress,
    /// Next hop towards managers in other networks. Default: managers are on the link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub gateway: Option<IpAddr>,
    /// Default 1500.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<Mtu>,
}

/// Certificates in PEM, issued by the manager's own authority.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// Certificate of the authority, or those of several one after the other; clients must be issued by one of them.
    pub authority: String,
    /// The appliance's own certificate, for server use only.
    pub certificate: String,
    /// Its private key (PKCS #8).
    pub key: Secret,
}

impl BootDocument {
    /// Decodes a boot document; the error lists every finding.
    pub fn decode(bytes: &[u8]) -> Result<Self, Vec<crate::Finding>> {
        let document: Self = crate::decode::decode(bytes)?;
        let too_short = |key: &Secret| key.reveal().len() < SEAL_KEY_LENGTH;
        if document.seal_key.as_ref().is_some_and(too_short) {
            let reason = format!("must have at least {SEAL_KEY_LENGTH} characters");
            return Err(vec![crate::Finding::error("seal_key", "invalid-value", reason)]);
        }
        Ok(document)
    }
}
