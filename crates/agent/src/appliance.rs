//! What the agent needs to know of the appliance that it runs on.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use serde_json::value::RawValue;
use sluice_api::boot::Role;
use sluice_api::config::{LinkRole, Part};
use sluice_api::report::ServiceStatus;
use sluice_api::types::{ApplianceId, BlobDigest, Generation, LinkName, UtcTime};
use sluice_api::{ApplianceConfig, Finding};
use sluice_sys::model::Desired;

use crate::blobs::Blobs;
use crate::service::ServiceSpec;

/// What services found out that the kernel's state follows, such as servers that do not answer: words of the appliance's
/// own.
pub type Seen = BTreeSet<String>;

/// An appliance: its configuration type and what that means for kernel and services. All of it is pure.
pub trait Appliance: Send + Sync + 'static {
    /// The configuration.
    type Config: Configuration;

    /// Which of the three it is.
    const ROLE: Role;

    /// The state that the kernel is to be in.
    fn desired(&self, config: &Self::Config) -> Desired;

    /// What `services` found out that [`Appliance::desired_seeing`] goes by; `None` when nobody can say, and what was seen
    /// last holds on. Default: nothing.
    fn seen(&self, _services: &[ServiceStatus]) -> Option<Seen> {
        Some(Seen::new())
    }

    /// The state that the kernel is to be in when services have `seen` this. Default: what they see changes nothing.
    fn desired_seeing(&self, config: &Self::Config, _seen: &Seen) -> Desired {
        self.desired(config)
    }

    /// The state that live connections are judged by, then and after. Default: that of [`Appliance::desired_seeing`]; what new
    /// connections only take another way for, while something is down, is left out here, so that open ones keep theirs.
    fn judged_seeing(&self, config: &Self::Config, seen: &Seen) -> Desired {
        self.desired_seeing(config, seen)
    }

    /// What `services` found out that a person must look at, in lines that stay the same while it lasts. Default: nothing.
    fn alarms(&self, _services: &[ServiceStatus]) -> Vec<String> {
        Vec::new()
    }

    /// The slice of the configuration for each service, with the bytes of the blobs that it names; a service without one
    /// is told that it has nothing to do.
    fn services(&self, config: &Self::Config, blobs: &Blobs)
    -> BTreeMap<ServiceName, ServiceSlice>;

    /// Told whenever a configuration is about to be served (none: that of boot), before its services get their slices. For
    /// what is neither kernel state nor a service, such as mounts of file servers that may not answer: it must return at
    /// once and cannot fail. Default: nothing.
    fn entering(&self, _config: Option<&Self::Config>) {}

    /// What a service is: its program, its rights, its files.
    fn service(&self, name: ServiceName) -> ServiceSpec;

    /// Users of services that talk to guests and the Internet and have no business in the control network: no frame of theirs
    /// goes there. Default: none.
    fn kept_from_control(&self) -> BTreeSet<u32> {
        BTreeSet::new()
    }

    /// Names of the features that a configuration may use, for `GET /v1/status`; each a word that never changes its
    /// meaning. Default: none beside what every appliance has.
    fn capabilities(&self) -> Vec<&'static str> {
        Vec::new()
    }
}

/// What every configuration has.
pub trait Configuration: Clone + Send + Sync + 'static {
    /// The versions of its format that are read, the newest last.
    const VERSIONS: &[u32] = &[2];

    /// Decodes and checks; the findings that come with a configuration are warnings.
    fn parse(bytes: &[u8]) -> Result<(Self, Vec<Finding>), Vec<Finding>>;

    /// Its number.
    fn generation(&self) -> Generation;

    /// Whom it is for.
    fn appliance(&self) -> &ApplianceId;

    /// The link that the API listens on.
    fn control_link(&self) -> &LinkName;

    /// The addresses of that link.
    fn control_addresses(&self) -> Vec<std::net::IpAddr>;

    /// The links that lead to the outside: without a carrier they are worth an alarm. Default: none.
    fn outside_links(&self) -> BTreeSet<LinkName> {
        BTreeSet::new()
    }

    /// The blobs that it names. Default: none.
    fn blobs(&self) -> BTreeSet<BlobDigest> {
        BTreeSet::new()
    }

    /// The configuration as it is at `now`: without what has ended by itself. Default: nothing ends.
    fn at(&self, _now: UtcTime) -> Cow<'_, Self> {
        Cow::Borrowed(self)
    }

    /// The next time after `now` at which something ends. Default: never.
    fn next_end(&self, _now: UtcTime) -> Option<UtcTime> {
        None
    }
}

impl<P: Part> Configuration for ApplianceConfig<P> {
    fn parse(bytes: &[u8]) -> Result<(Self, Vec<Finding>), Vec<Finding>> {
        Self::decode(bytes)
    }

    fn generation(&self) -> Generation {
        self.generation
    }

    fn appliance(&self) -> &ApplianceId {
        &self.appliance
    }

    fn control_link(&self) -> &LinkName {
        &self.control.link
    }

    fn control_addresses(&self) -> Vec<std::net::IpAddr> {
        let link = self.links.iter().find(|link| link.name == self.control.link);
        link.map_or_else(Vec::new, |link| {
            link.addresses.iter().map(sluice_api::types::InterfaceAddress::ip).collect()
        })
    }

    fn outside_links(&self) -> BTreeSet<LinkName> {
        let outside = self.links.iter().filter(|link| link.role == LinkRole::Public);
        outside.map(|link| link.name.clone()).collect()
    }

    fn blobs(&self) -> BTreeSet<BlobDigest> {
        self.blobs()
    }

    fn at(&self, now: UtcTime) -> Cow<'_, Self> {
        self.at(now)
    }

    fn next_end(&self, now: UtcTime) -> Option<UtcTime> {
        self.next_end(now)
    }
}

/// Name of a service, such as `dhcp`; also the argument of `sluice-ROLE service`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceName(pub &'static str);

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl fmt::Debug for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// What one service is given of a configuration, as JSON text: it is written once, passed on, and compared with the one
/// before. Cheap to clone.
#[derive(Clone)]
pub struct ServiceSlice(Arc<RawValue>);

impl ServiceSlice {
    /// The slice that is written like `value`. One that cannot be written becomes `null`, which its service refuses.
    pub fn of(value: &impl Serialize) -> Self {
        let text = serde_json::value::to_raw_value(value);
        Self(text.unwrap_or_else(|_| RawValue::NULL.to_owned()).into())
    }

    /// The slice as JSON.
    pub fn json(&self) -> &RawValue {
        &self.0
    }
}

impl PartialEq for ServiceSlice {
    fn eq(&self, other: &Self) -> bool {
        self.0.get() == other.0.get()
    }
}

impl fmt::Debug for ServiceSlice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // it may hold secrets; what it is can still be compared
        write!(f, "slice {:?}", sluice_api::Digest::of_bytes(self.0.get().as_bytes()))
    }
}
