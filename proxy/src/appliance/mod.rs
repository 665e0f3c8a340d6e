//! The console proxy as the agent sees it.
//!
//! Guarantees: the console service has a user of its own, sees no file of the machine, and is let in at its ports alone.

mod compile;
mod slice;

use std::collections::BTreeMap;

use sluice_agent::{Appliance, Blobs, ServiceName, ServiceSlice, ServiceSpec};
use sluice_api::boot::Role;
use sluice_api::config::{CONSOLE_QUESTIONS, ProxyDocument};
use sluice_sys::model::Desired;
use sluice_sys::process::{Capability, Limits};

pub use compile::desired;
pub use slice::slice;

/// The console service.
pub const CONSOLE: ServiceName = ServiceName("console");
/// Its user; nothing else on the machine has it.
pub const USER: u32 = 64_011;
/// Two for each of some 6000 sessions, and those of browsers that only look at the page.
const OPEN_FILES: u64 = 16_384;

/// The console proxy.
#[derive(Clone, Copy, Debug, Default)]
pub struct Proxy;

impl Appliance for Proxy {
    type Config = ProxyDocument;

    const ROLE: Role = Role::Proxy;

    fn desired(&self, config: &ProxyDocument) -> Desired {
        desired(config)
    }

    fn services(
        &self,
        config: &ProxyDocument,
        blobs: &Blobs,
    ) -> BTreeMap<ServiceName, ServiceSlice> {
        BTreeMap::from([(CONSOLE, ServiceSlice::of(&slice(config, blobs)))])
    }

    fn service(&self, _: ServiceName) -> ServiceSpec {
        let limits = Limits { open_files: OPEN_FILES, ..Limits::default() };
        // a folder of its own, where by whom grants are used is written down
        ServiceSpec { limits, state: true, ..ServiceSpec::own(USER) }
            .with_capabilities([Capability::NetBindService])
    }

    fn capabilities(&self) -> Vec<&'static str> {
        vec![CONSOLE_QUESTIONS, "console-vnc"]
    }
}
