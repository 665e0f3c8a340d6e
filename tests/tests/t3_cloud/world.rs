//! A cloud whose machines run, with everything that a failing test must print.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use sluice_lab::Lab;
use sluice_lab::spec::{Firmware, MachineKind};
use sluice_manager::model::view::ApplianceStatus;
use sluice_tests::cloud::guest::{self, Lease};
use sluice_tests::cloud::{Cloud, INTERNET, Shell as _, View, internet};

/// Emulated machines on a busy host boot within this.
pub(crate) const BOOT: Duration = Duration::from_mins(3);
const IN_SYNC_S: u32 = 180;

pub(crate) struct World {
    pub(crate) cloud: Cloud,
    pub(crate) view: View,
    pub(crate) lab: Lab,
    _folder: tempfile::TempDir,
}

impl World {
    /// Everything booted, every router in sync, the Internet set up.
    pub(crate) async fn start(name: &str, description: &Path, firmware: Firmware) -> Self {
        Self::start_at(name, description, firmware, None).await
    }

    /// The same, with appliances whose clock begins at `clock`.
    pub(crate) async fn start_at(
        name: &str,
        description: &Path,
        firmware: Firmware,
        clock: Option<&str>,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let free = "127.0.0.1:0".parse().unwrap();
        let cloud = Cloud::start(folder.path(), description, free).await.unwrap();
        let mut spec = cloud.lab(name, firmware).unwrap();
        for machine in spec.machines.values_mut().filter(|it| it.kind == MachineKind::Template) {
            machine.clock = clock.map(str::to_owned);
        }
        let lab = Lab::start(spec).await.unwrap();
        let view = cloud.view().unwrap();
        let world = Self { cloud, view, lab, _folder: folder };
        world.routers_in_sync().await;
        for guest in &world.view.guests {
            world.lab.ready(guest.name.as_str(), BOOT).await.unwrap();
        }
        world.lab.ready(INTERNET, BOOT).await.unwrap();
        internet::set_up(&world.lab).await.unwrap();
        world
    }

    async fn routers_in_sync(&self) {
        for appliance in &self.view.appliances {
            let id = appliance.id.as_str();
            self.cloud.endpoint(id, self.lab.endpoint(id).unwrap()).unwrap();
        }
        if let Err(error) = self.in_sync() {
            panic!("{error:#}\n{}\n{}", self.cloud.log(), self.lab.state().await);
        }
    }

    pub(crate) fn in_sync(&self) -> anyhow::Result<Vec<ApplianceStatus>> {
        tokio::task::block_in_place(|| self.cloud.in_sync(IN_SYNC_S))
    }

    /// A change through the command line, in force on every router.
    pub(crate) fn change(&self, command: &[&str]) {
        let before = self.in_sync().unwrap();
        self.cloud.manager.done(command.iter().copied()).unwrap();
        let after = self.in_sync().unwrap();
        assert!(after[0].reported > before[0].reported, "{after:#?}\n{}", self.cloud.log());
    }

    /// A description, in force on every router.
    pub(crate) fn apply(&self, description: &str) {
        let before = self.in_sync().unwrap();
        let file = self.cloud.file("description.toml", description).unwrap();
        self.cloud.apply(&file).unwrap();
        let after = self.in_sync().unwrap();
        assert!(after[0].reported > before[0].reported, "{after:#?}\n{}", self.cloud.log());
    }

    pub(crate) fn public(&self, network: &str) -> Ipv4Addr {
        self.view.source_nat(network).unwrap()
    }

    /// Each guest takes the lease that the manager gave it.
    pub(crate) async fn leases(&self) {
        for guest in &self.view.guests {
            let network = &self.view.networks.iter().find(|n| n.id == guest.nics[0].network);
            let network = network.expect("a network");
            let lease = match guest::take_lease(&self.lab, guest.name.as_str()).await {
                Ok(lease) => lease,
                Err(error) => panic!("{error:#}\n{}", self.lab.state().await),
            };
            let gateway = network.gateway.to_string();
            let wanted = Lease {
                address: format!("{}/{}", guest.nics[0].address, network.cidr.prefix()),
                router: gateway.clone(),
                resolver: gateway.clone(),
                domain: lease.domain.clone(),
                server: gateway,
            };
            assert_eq!(lease, wanted);
            assert!(lease.domain.contains(network.domain.as_str()), "{lease:?}");
        }
    }

    /// The guest fetches a page by name, and the far side sees its network's public address.
    pub(crate) async fn visits(&self, guest: &str, network: &str) {
        match guest::visit(&self.lab, guest).await {
            Ok(seen) => assert_eq!(seen, self.public(network).to_string()),
            Err(error) => panic!("{error:#}\n{}", self.lab.state().await),
        }
    }

    pub(crate) async fn down(self) {
        self.lab.down().await.unwrap();
    }
}
