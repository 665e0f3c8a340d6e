//! Screens: where a console proxy finds the VNC server of a VM.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use sluice_api::boot::Role;
use sluice_api::config::{ScreenTls, Unencrypted};
use sluice_api::types::{ApplianceId, BlobDigest, Fingerprint, ObjectId, Port, Secret, ServerName};
use utoipa::ToSchema;

use super::appliance::of_role;
use super::zone::Zone;
use super::{Column, Context, Key, Kind, Names, named, of_router, rule};
use crate::error::Error;

/// A screen; fields as in [`ScreenSpec`], references as ids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = VmScreen)]
pub struct Screen {
    /// Never used again once deleted.
    pub id: ObjectId,
    /// Unique in the zone; what its VM is called in the proxy's configuration.
    pub name: ObjectId,
    /// Id of its zone.
    pub zone: ObjectId,
    /// Id of the console proxy.
    pub router: ApplianceId,
    /// What the page shows as the VM's name; none: `name`.
    pub title: Option<String>,
    /// Address of the host that runs the VM now.
    #[schema(value_type = String)]
    pub address: IpAddr,
    /// Port of its VNC server.
    pub port: Port,
    /// Name or address that the server's certificate must be for; none: TLS is not used.
    pub tls_name: Option<ServerName>,
    /// SHA-256 of the server's very certificate.
    pub tls_pin: Option<Fingerprint>,
    /// Digest of the authorities that may have signed it.
    pub tls_authorities: Option<BlobDigest>,
    /// What may be done without TLS.
    pub unencrypted: Unencrypted,
    /// User name towards the server.
    pub user: Option<String>,
    /// Digest of the password towards the server.
    pub password: Option<BlobDigest>,
    /// What the server must call its screen.
    pub desktop_name: Option<String>,
}

/// A screen to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ScreenSpec {
    /// Zone, by name or id.
    pub zone: ObjectId,
    /// Unique in the zone, such as the VM's own id.
    pub name: ObjectId,
    /// Console proxy, by name or id. Default: the zone's only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub router: Option<ObjectId>,
    /// What the page shows as the VM's name. Default: `name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Address of the host that runs the VM now.
    #[schema(value_type = String, example = "10.0.0.17")]
    pub address: IpAddr,
    /// Port of its VNC server.
    pub port: Port,
    /// Name or address that the server's certificate must be for; with `tls_pin` or `tls_authorities`. Default: no TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_name: Option<ServerName>,
    /// SHA-256 of the server's very certificate, 64 hexadecimal digits. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_pin: Option<Fingerprint>,
    /// Certificates of the authorities that may have signed it, PEM. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_authorities: Option<Secret>,
    /// What may be done without TLS. Default: nothing.
    #[serde(default)]
    pub unencrypted: Unencrypted,
    /// User name towards the server. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Password towards the server. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
    /// What the server must call its screen, such as `QEMU (i-2-7-VM)`. Default: not asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desktop_name: Option<String>,
}

/// Changes to a screen, such as a VM that moved; what is left out stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ScreenPatch {
    /// New host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "10.0.0.18")]
    pub address: Option<IpAddr>,
    /// New port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<Port>,
    /// New name or address of the certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_name: Option<ServerName>,
    /// New pin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_pin: Option<Fingerprint>,
    /// New password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
}

impl Kind for Screen {
    const NAMES: Names = Names {
        word: "screen",
        plural: "screens",
        prefix: "sc",
        about: "Where console proxies find the screens of VMs",
    };
    const KEYS: &'static [Key] = &[Key::to("zone", "zone"), Key::to("router", "appliance")];
    const SCOPE: Option<&'static str> = Some("zone");
    const COLUMNS: &'static [Column] = &[
        ("ID", "/id"),
        ("NAME", "/name"),
        ("PROXY", "/router"),
        ("ADDRESS", "/address"),
        ("PORT", "/port"),
    ];

    type Spec = ScreenSpec;
    type Patch = ScreenPatch;

    named!();
    of_router!();

    async fn create(
        context: &mut Context<'_>,
        id: ObjectId,
        spec: ScreenSpec,
    ) -> Result<Self, Error> {
        let zone: Zone = context.find(None, &spec.zone).await?;
        let router = of_role(context, &zone, Role::Proxy, spec.router.as_ref()).await?;
        let password = match &spec.password {
            Some(password) => Some(context.keep_secret("password", password).await?),
            None => None,
        };
        let tls_authorities = match &spec.tls_authorities {
            Some(pem) => Some(context.keep(pem.reveal().as_bytes()).await?),
            None => None,
        };
        let proved = spec.tls_pin.is_some() || tls_authorities.is_some();
        if proved && spec.tls_name.is_none() {
            return Err(rule::invalid("tls_name", "is given together with what proves it"));
        }
        Ok(Self {
            id,
            name: spec.name,
            zone: zone.id,
            router,
            title: spec.title,
            address: spec.address,
            port: spec.port,
            tls_name: spec.tls_name,
            tls_pin: spec.tls_pin,
            tls_authorities,
            unencrypted: spec.unencrypted,
            user: spec.user,
            password,
            desktop_name: spec.desktop_name,
        })
    }

    async fn update(&mut self, context: &mut Context<'_>, patch: ScreenPatch) -> Result<(), Error> {
        self.address = patch.address.unwrap_or(self.address);
        self.port = patch.port.unwrap_or(self.port);
        self.tls_name = patch.tls_name.or_else(|| self.tls_name.clone());
        self.tls_pin = patch.tls_pin.or(self.tls_pin);
        if let Some(password) = &patch.password {
            self.password = Some(context.keep_secret("password", password).await?);
        }
        Ok(())
    }
}

impl Screen {
    /// How the server's certificate is proved.
    pub(crate) fn tls(&self) -> Option<ScreenTls> {
        let name = self.tls_name.clone()?;
        Some(ScreenTls { authorities: self.tls_authorities, pin: self.tls_pin, name })
    }
}
