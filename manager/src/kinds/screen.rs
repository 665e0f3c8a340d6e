//! Screens: where the console proxies of a zone find the VNC server of a VM.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use sluice_api::config::{ScreenState, ScreenTls, Unencrypted};
use sluice_api::types::{
    ApplianceId, BlobDigest, Fingerprint, InterfaceAddress, ObjectId, Port, Secret, ServerName,
};
use utoipa::ToSchema;

use super::patch::stated;
use super::zone::Zone;
use super::{Column, Context, Key, Kind, Names, named, role, rule};
use crate::error::Error;

/// A screen; fields as in [`ScreenSpec`], references as ids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = VmScreen)]
pub struct Screen {
    /// Never used again once deleted.
    pub id: ObjectId,
    /// Unique in the zone; what its VM is called in the proxies' configurations.
    pub name: ObjectId,
    /// Id of its zone.
    pub zone: ObjectId,
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
    /// Whether the VM has a screen now.
    pub state: ScreenState,
}

/// A screen to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ScreenSpec {
    /// Zone, by name or id.
    pub zone: ObjectId,
    /// Unique in the zone, such as the VM's own id.
    pub name: ObjectId,
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
    /// What the server must call its screen, such as `QEMU (i-2-7-VM)`: asked of the port at each connection, so that a
    /// port which another VM has by then shows nothing. Default: not asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desktop_name: Option<String>,
    /// Whether the VM has a screen now; if not, the page says why and tries again. Default: it has.
    #[serde(default)]
    pub state: ScreenState,
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
    /// New name or address of the certificate; null, with those of what proves it: no TLS.
    #[serde(default, deserialize_with = "stated", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<ServerName>)]
    pub tls_name: Option<Option<ServerName>>,
    /// New pin; null: none.
    #[serde(default, deserialize_with = "stated", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Fingerprint>)]
    pub tls_pin: Option<Option<Fingerprint>>,
    /// New certificates of the authorities, PEM; null: none.
    #[serde(default, deserialize_with = "stated", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Secret>)]
    pub tls_authorities: Option<Option<Secret>>,
    /// What may be done without TLS from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unencrypted: Option<Unencrypted>,
    /// New user name; null: none.
    #[serde(default, deserialize_with = "stated", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub user: Option<Option<String>>,
    /// New password; null: none.
    #[serde(default, deserialize_with = "stated", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Secret>)]
    pub password: Option<Option<Secret>>,
    /// New name that the server must call its screen; null: any.
    #[serde(default, deserialize_with = "stated", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub desktop_name: Option<Option<String>>,
    /// Whether the VM has a screen now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<ScreenState>,
}

impl Kind for Screen {
    const NAMES: Names = Names {
        word: "screen",
        plural: "screens",
        prefix: "sc",
        about: "Where console proxies find the screens of VMs",
    };
    const KEYS: &'static [Key] = &[Key::to("zone", "zone")];
    const SCOPE: Option<&'static str> = Some("zone");
    const COLUMNS: &'static [Column] = &[
        ("ID", "/id"),
        ("NAME", "/name"),
        ("ADDRESS", "/address"),
        ("PORT", "/port"),
        ("STATE", "/state"),
    ];

    type Spec = ScreenSpec;
    type Patch = ScreenPatch;

    named!();

    async fn create(
        context: &mut Context<'_>,
        id: ObjectId,
        spec: ScreenSpec,
    ) -> Result<Self, Error> {
        rule::line("title", spec.title.as_deref())?;
        let zone: Zone = context.find(None, &spec.zone).await?;
        let password = match &spec.password {
            Some(password) => Some(context.keep_secret("password", password).await?),
            None => None,
        };
        let tls_authorities = authorities(context, spec.tls_authorities.as_ref()).await?;
        let screen = Self {
            id,
            name: spec.name,
            zone: zone.id.clone(),
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
            state: spec.state,
        };
        screen.sound()?;
        way(&zone, screen.address)?;
        Ok(screen)
    }

    async fn update(&mut self, context: &mut Context<'_>, patch: ScreenPatch) -> Result<(), Error> {
        self.address = patch.address.unwrap_or(self.address);
        self.port = patch.port.unwrap_or(self.port);
        self.tls_name = patch.tls_name.unwrap_or_else(|| self.tls_name.take());
        self.tls_pin = patch.tls_pin.unwrap_or(self.tls_pin);
        if let Some(pem) = &patch.tls_authorities {
            self.tls_authorities = authorities(context, pem.as_ref()).await?;
        }
        self.unencrypted = patch.unencrypted.unwrap_or(self.unencrypted);
        self.user = patch.user.unwrap_or_else(|| self.user.take());
        if let Some(password) = &patch.password {
            self.password = match password {
                Some(password) => Some(context.keep_secret("password", password).await?),
                None => None,
            };
        }
        self.desktop_name = patch.desktop_name.unwrap_or_else(|| self.desktop_name.take());
        self.state = patch.state.unwrap_or(self.state);
        self.sound()?;
        if patch.address.is_some() {
            way(&context.get(&self.zone).await?, self.address)?;
        }
        Ok(())
    }

    async fn touches(&self, context: &mut Context<'_>) -> Result<Vec<ApplianceId>, Error> {
        let proxies = role::proxies(context, &self.zone).await?;
        Ok(proxies.into_iter().map(|proxy| proxy.id).collect())
    }
}

/// Whether a zone's console proxies have a way to hosts of this family: with IPv4 they all have.
fn way(zone: &Zone, address: IpAddr) -> Result<(), Error> {
    if address.is_ipv4() || zone.control_gateway_ipv6.is_some() {
        return Ok(());
    }
    let name = &zone.name;
    let reason = format!("zone {name} has no control_gateway_ipv6, by which it would be reached");
    Err(rule::invalid("address", reason))
}

async fn authorities(
    context: &mut Context<'_>,
    pem: Option<&Secret>,
) -> Result<Option<BlobDigest>, Error> {
    match pem {
        Some(pem) if !role::has_certificate(pem.reveal()) => {
            Err(rule::invalid("tls_authorities", "must have a certificate in PEM"))
        }
        Some(pem) => Ok(Some(context.keep(pem.reveal().as_bytes()).await?)),
        None => Ok(None),
    }
}

impl Screen {
    /// How the server's certificate is proved.
    pub(crate) fn tls(&self) -> Option<ScreenTls> {
        let name = self.tls_name.clone()?;
        Some(ScreenTls { authorities: self.tls_authorities, pin: self.tls_pin, name })
    }

    /// Whether each value, and all together, can be used.
    fn sound(&self) -> Result<(), Error> {
        let bits = if self.address.is_ipv4() { 32 } else { 128 };
        if InterfaceAddress::new(self.address, bits).is_err() {
            let reason = format!("{} is not an address that a host can have", self.address);
            return Err(rule::invalid("address", reason));
        }
        rule::line("user", self.user.as_deref())?;
        rule::line("desktop_name", self.desktop_name.as_deref())?;
        self.reachable()
    }

    /// Whether there is a way to the screen that what is given allows.
    fn reachable(&self) -> Result<(), Error> {
        let proof = self.tls_pin.is_some() || self.tls_authorities.is_some();
        let (field, reason) = match (&self.tls_name, proof, self.unencrypted) {
            (None, true, _) => ("tls_name", "is given together with what proves it"),
            (Some(_), false, _) => ("tls_name", "needs tls_pin or tls_authorities to prove it"),
            (None, false, Unencrypted::Refuse) => {
                ("unencrypted", "must be password or anything where TLS is not used")
            }
            (None, false, Unencrypted::Password) if self.password.is_none() => {
                ("password", "must be given where unencrypted is password")
            }
            _ => return Ok(()),
        };
        Err(rule::invalid(field, reason))
    }
}
