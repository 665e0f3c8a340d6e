//! The part of a configuration that only one kind of appliance has: `{"router": {…}}`, `{"proxy": {…}}`, `{"ssvm": {…}}`.
//!
//! Guarantees: an appliance that decodes a configuration with its own part refuses every other role by its name.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::ops::{Deref, DerefMut};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{ApplianceConfig, Ending, ProxyConfig, RouterConfig, SsvmConfig};
use crate::boot::Role;
use crate::check::Scope;
use crate::types::{BlobDigest, UtcTime};

/// A role's part of a configuration.
pub trait Part:
    Clone + Debug + PartialEq + Eq + Serialize + DeserializeOwned + Send + Sync + 'static
{
    /// Whose part it is.
    fn role(&self) -> Role;

    /// Reports what is wrong or doubtful in it.
    fn check(&self, scope: &mut Scope<'_>);

    /// The blobs that it names.
    fn blobs(&self) -> BTreeSet<BlobDigest>;

    /// Every time at which something in it ends by itself.
    fn ends(&self) -> Vec<UtcTime>;

    /// Takes away what has ended at `now`.
    fn end(&mut self, now: UtcTime);
}

/// The part of any role, for whoever handles configurations of all of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AnyPart {
    /// A virtual router.
    Router(RouterConfig),
    /// A console proxy.
    Proxy(ProxyConfig),
    /// A secondary storage VM.
    Ssvm(SsvmConfig),
}

macro_rules! part {
    ($(#[$meta:meta])* $part:ident, $document:ident, $variant:ident($config:ident)) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
        #[serde(rename_all = "kebab-case")]
        pub enum $part {
            /// The only role that is understood here.
            $variant($config),
        }

        /// A whole configuration of such an appliance.
        pub type $document = ApplianceConfig<$part>;

        impl Deref for $part {
            type Target = $config;

            fn deref(&self) -> &$config {
                let Self::$variant(config) = self;
                config
            }
        }

        impl DerefMut for $part {
            fn deref_mut(&mut self) -> &mut $config {
                let Self::$variant(config) = self;
                config
            }
        }

        impl Part for $part {
            fn role(&self) -> Role {
                Role::$variant
            }

            fn check(&self, scope: &mut Scope<'_>) {
                (**self).check(scope);
            }

            fn blobs(&self) -> BTreeSet<BlobDigest> {
                (**self).blobs()
            }

            fn ends(&self) -> Vec<UtcTime> {
                Ending::ends(&**self)
            }

            fn end(&mut self, now: UtcTime) {
                Ending::end(&mut **self, now);
            }
        }

        impl From<$part> for AnyPart {
            fn from(part: $part) -> Self {
                let $part::$variant(config) = part;
                Self::$variant(config)
            }
        }
    };
}

part!(
    /// The part of a router.
    RouterPart, RouterDocument, Router(RouterConfig)
);
part!(
    /// The part of a console proxy.
    ProxyPart, ProxyDocument, Proxy(ProxyConfig)
);
part!(
    /// The part of a secondary storage VM.
    SsvmPart, SsvmDocument, Ssvm(SsvmConfig)
);

impl Part for AnyPart {
    fn role(&self) -> Role {
        match self {
            Self::Router(_) => Role::Router,
            Self::Proxy(_) => Role::Proxy,
            Self::Ssvm(_) => Role::Ssvm,
        }
    }

    fn check(&self, scope: &mut Scope<'_>) {
        match self {
            Self::Router(config) => config.check(scope),
            Self::Proxy(config) => config.check(scope),
            Self::Ssvm(config) => config.check(scope),
        }
    }

    fn blobs(&self) -> BTreeSet<BlobDigest> {
        match self {
            Self::Router(config) => config.blobs(),
            Self::Proxy(config) => config.blobs(),
            Self::Ssvm(config) => config.blobs(),
        }
    }

    fn ends(&self) -> Vec<UtcTime> {
        match self {
            Self::Router(config) => config.ends(),
            Self::Proxy(config) => config.ends(),
            Self::Ssvm(config) => config.ends(),
        }
    }

    fn end(&mut self, now: UtcTime) {
        match self {
            Self::Router(config) => config.end(now),
            Self::Proxy(config) => config.end(now),
            Self::Ssvm(config) => config.end(now),
        }
    }
}

impl<P> ApplianceConfig<P> {
    /// The same configuration, its part in the form that fits every role.
    pub fn into_any(self) -> ApplianceConfig
    where
        AnyPart: From<P>,
    {
        ApplianceConfig {
            version: self.version,
            generation: self.generation,
            appliance: self.appliance,
            control: self.control,
            links: self.links,
            routes: self.routes,
            policy_rules: self.policy_rules,
            role: self.role.into(),
        }
    }
}
