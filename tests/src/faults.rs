//! A router in memory for fault tests: real engine, real plan and rules, a kernel that fails or kills on command.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use sluice_agent::engine::{Handle, Parts, ServiceError, Services};
use sluice_agent::ledger::Files;
use sluice_agent::{Appliance, ServiceName, ServiceSlice};
use sluice_api::RouterDocument;
use sluice_api::boot::BootDocument;
use sluice_api::config::{Attachment, Link};
use sluice_api::report::{ServiceState, ServiceStatus};
use sluice_api::types::Generation;
use sluice_router::Router;
use sluice_sys::kernel::{FakeKernel, Fault, FaultyKernel};
use sluice_sys::model::Observed;

/// The configuration of examples/router.json.
///
/// # Panics
/// When the example is not sound, which its own test shows.
pub fn example() -> RouterDocument {
    let bytes = include_bytes!("../../examples/router.json");
    match RouterDocument::decode(bytes) {
        Ok((config, _)) => config,
        Err(findings) => panic!("examples/router.json: {findings:?}"),
    }
}

/// The example, changed in every kind of object: a VLAN moved, an address, a route, an MTU, a policy, guests.
///
/// # Panics
/// Never: the values are valid.
pub fn changed() -> RouterDocument {
    let mut config = example();
    config.generation = config.generation.next().expect("not the last generation");
    for link in &mut config.links {
        if let Attachment::Vlan { id, .. } = &mut link.attach
            && link.name.as_str() == "guest1"
        {
            *id = 205.try_into().expect("a VLAN id");
            link.mtu = 1500.try_into().expect("an MTU");
        }
        if link.name.as_str() == "pub0" {
            link.addresses = vec!["198.51.100.11/24".parse().expect("an address")];
            link.mtu = 1400.try_into().expect("an MTU");
        }
    }
    let [first, second, ..] = config.role.networks.as_mut_slice() else {
        unreachable!("the example has two networks")
    };
    if let Some(nat) = &mut first.source_nat {
        nat.address = [198, 51, 100, 11].into();
    }
    first.guests.pop();
    second.egress = sluice_api::config::EgressPolicy::Allow;
    for route in config.routes.iter_mut().take(1) {
        route.via = Some("198.51.100.2".parse().expect("an address"));
    }
    config
}

/// The boot document of the example's router.
///
/// # Panics
/// Never: the document is valid.
pub fn boot() -> BootDocument {
    let bytes = include_bytes!("../../fuzz/corpus/boot/example.json");
    BootDocument::decode(bytes).expect("the corpus has a sound boot document")
}

/// What of the fault tests' world survives a killed process: the kernel and the ledger.
pub struct World {
    dir: PathBuf,
}

impl World {
    /// A world kept in `dir`.
    pub fn in_dir(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    fn kernel(&self, links: &[Link]) -> FakeKernel {
        let macs = links.iter().filter_map(|link| match link.attach {
            Attachment::Nic { mac } => Some(mac),
            Attachment::Vlan { .. } => None,
        });
        FakeKernel::with_nics(macs)
            .kept_in(&self.dir.join("kernel.json"))
            .expect("the kernel's file can be read and written")
    }

    /// Starts a router in this world with one fault among its kernel operations and one among its file operations.
    ///
    /// # Panics
    /// When the world's files cannot be read or written.
    pub async fn start(&self, kernel: Fault, files: FileFault) -> Running {
        self.start_as(Router, boot(), &example().links, (kernel, files)).await
    }

    /// Starts any appliance in this world, on a machine with the NICs of `links`.
    ///
    /// # Panics
    /// As [`Self::start`].
    pub async fn start_as(
        &self,
        appliance: impl Appliance,
        boot: BootDocument,
        links: &[Link],
        (kernel, files): (Fault, FileFault),
    ) -> Running {
        let kernel = Arc::new(FaultyKernel::new(self.kernel(links), kernel));
        let files = Arc::new(FaultyFiles::new(self.dir.clone(), files));
        let services = Arc::new(FakeServices::default());
        let handle = Handle::start(Parts {
            appliance: Arc::new(appliance),
            boot,
            kernel: Arc::clone(&kernel) as _,
            services: Arc::clone(&services) as _,
            files: Arc::clone(&files) as _,
        })
        .await;
        Running { handle, kernel, services, files }
    }
}

/// A router that runs in a world.
pub struct Running {
    /// The way to its engine.
    pub handle: Handle,
    /// Its kernel.
    pub kernel: Arc<FaultyKernel<FakeKernel>>,
    /// Its services.
    pub services: Arc<FakeServices>,
    /// Its files.
    pub files: Arc<FaultyFiles>,
}

/// How long judging connections may take.
const JUDGED: std::time::Duration = std::time::Duration::from_secs(20);

impl Running {
    /// Waits until connections were judged by the last commit, 20 s at most.
    pub async fn connections_judged(&self) {
        let late = tokio::time::Instant::now() + JUDGED;
        while self.handle.judges_connections() && tokio::time::Instant::now() < late {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    }

    /// All of the state that a configuration decides, as text: kernel objects without the kernel's own numbers, and what
    /// each service serves. A NIC that is down carries nothing and keeps whatever name it got, so it does not count.
    pub fn state(&self) -> String {
        let mut seen: Observed = self.kernel.inner().state();
        seen.nft_generation = 0;
        seen.links.retain(|_, link| link.up);
        for link in seen.links.values_mut() {
            link.index = 0;
        }
        // nor are the kernel's numbers of rules that were put back the ones they had
        for table in seen.tables.values_mut() {
            for chain in Arc::make_mut(table).chains.values_mut() {
                chain.rules.iter_mut().for_each(|rule| rule.handle = None);
            }
        }
        // settings of one link go with it
        seen.sysctls.retain(|key, _| {
            match key.as_str().split('.').collect::<Vec<_>>().as_slice() {
                [_, _, "conf", link, _] => *link == "all" || seen.links.contains_key(*link),
                _ => true,
            }
        });
        format!("{seen:#?}\n{:#?}", self.services.serving())
    }
}

/// Services that do as they are told, and remember it.
#[derive(Default)]
pub struct FakeServices {
    serving: Mutex<BTreeMap<ServiceName, (Generation, ServiceSlice)>>,
    trouble: Mutex<Option<(ServiceName, Trouble)>>,
    ill: Mutex<BTreeSet<ServiceName>>,
}

/// What a service does once instead of taking its next slice and saying so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It refuses and goes on with the former.
    Refuses,
    /// It serves the new one and does not answer.
    TakesAndStaysSilent,
}

impl FakeServices {
    /// What each of them serves.
    pub fn serving(&self) -> BTreeMap<ServiceName, (Generation, ServiceSlice)> {
        self.serving.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From now on this service does not run, whatever it is given, until it is `well`.
    pub fn fall_ill(&self, name: ServiceName, well: bool) {
        let mut ill = self.ill.lock().unwrap_or_else(PoisonError::into_inner);
        if well {
            ill.remove(&name)
        } else {
            ill.insert(name)
        };
    }

    fn is_ill(&self, name: ServiceName) -> bool {
        self.ill.lock().unwrap_or_else(PoisonError::into_inner).contains(&name)
    }

    /// Makes `trouble` with the next slice of `name`, once.
    pub fn make(&self, trouble: Trouble, name: ServiceName) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some((name, trouble));
    }

    fn serve(&self, name: ServiceName, generation: Generation, slice: ServiceSlice) {
        let mut serving = self.serving.lock().unwrap_or_else(PoisonError::into_inner);
        serving.insert(name, (generation, slice));
    }
}

#[async_trait]
impl Services for FakeServices {
    async fn configure(
        &self,
        name: ServiceName,
        generation: Generation,
        slice: ServiceSlice,
    ) -> Result<(), ServiceError> {
        if self.is_ill(name) {
            // as one that crashes at each start: nobody answers
            tokio::time::sleep(std::time::Duration::from_secs(10)).await;
            let reason = "it is ill".to_owned();
            return Err(ServiceError::Silent { name, generation, reason });
        }
        let troubled = self
            .trouble
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take_if(|(troubled, _)| *troubled == name);
        match troubled.map(|(_, trouble)| trouble) {
            None => self.serve(name, generation, slice),
            Some(Trouble::Refuses) => {
                let reason = "told to refuse".to_owned();
                return Err(ServiceError::Refused { name, generation, reason });
            }
            Some(Trouble::TakesAndStaysSilent) => {
                self.serve(name, generation, slice);
                let reason = "told to stay silent".to_owned();
                return Err(ServiceError::Silent { name, generation, reason });
            }
        }
        Ok(())
    }

    async fn stop(&self, name: ServiceName) {
        self.serving.lock().unwrap_or_else(PoisonError::into_inner).remove(&name);
    }

    fn status(&self) -> Vec<ServiceStatus> {
        let ill = self.ill.lock().unwrap_or_else(PoisonError::into_inner);
        let one = |name: &ServiceName| ServiceStatus {
            name: name.to_string(),
            state: ServiceState::Restarting,
            pid: None,
            generation: None,
            restarts: 9,
            last_exit: Some("it crashed".to_owned()),
            counters: BTreeMap::new(),
            report: None,
        };
        ill.iter().map(one).collect()
    }
}

/// What goes wrong with files; writes and removals count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileFault {
    /// Nothing.
    None,
    /// This write fails and leaves the old file.
    Fail(u64),
    /// The process dies just before this write.
    KillBefore(u64),
    /// The process dies just after this write.
    KillAfter(u64),
    /// This write leaves half a file behind and the process dies: a disk without barriers.
    Torn(u64),
}

/// Files in a directory, with one fault.
pub struct FaultyFiles {
    dir: PathBuf,
    fault: FileFault,
    writes: AtomicU64,
}

impl FaultyFiles {
    fn new(dir: PathBuf, fault: FileFault) -> Self {
        Self { dir, fault, writes: AtomicU64::new(0) }
    }

    /// Writes so far.
    pub fn writes(&self) -> u64 {
        self.writes.load(Ordering::SeqCst)
    }
}

/// Dies as by a power cut: no destructor runs, nothing is flushed.
fn die() -> ! {
    let own = nix::unistd::getpid();
    // SIGKILL to oneself does not return
    let _ = nix::sys::signal::kill(own, nix::sys::signal::Signal::SIGKILL);
    std::process::abort()
}

impl Files for FaultyFiles {
    fn read(&self, name: &str) -> std::io::Result<Option<Vec<u8>>> {
        sluice_sys::files::read(&self.dir, name)
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> std::io::Result<()> {
        let number = self.writes.fetch_add(1, Ordering::SeqCst) + 1;
        match self.fault {
            FileFault::Fail(at) if at == number => {
                return Err(std::io::ErrorKind::StorageFull.into());
            }
            FileFault::KillBefore(at) if at == number => die(),
            FileFault::Torn(at) if at == number => {
                let half = bytes.get(..bytes.len() / 2).unwrap_or_default();
                std::fs::write(self.dir.join(name), half)?;
                die()
            }
            _ => {}
        }
        sluice_sys::files::replace(&self.dir, name, bytes)?;
        if self.fault == FileFault::KillAfter(number) {
            die();
        }
        Ok(())
    }

    fn remove(&self, name: &str) -> std::io::Result<()> {
        let number = self.writes.fetch_add(1, Ordering::SeqCst) + 1;
        match self.fault {
            FileFault::Fail(at) if at == number => return Err(std::io::ErrorKind::Other.into()),
            FileFault::KillBefore(at) | FileFault::Torn(at) if at == number => die(),
            _ => {}
        }
        sluice_sys::files::remove(&self.dir, name)?;
        if self.fault == FileFault::KillAfter(number) {
            die();
        }
        Ok(())
    }

    fn list(&self) -> std::io::Result<Vec<String>> {
        sluice_sys::files::list(&self.dir)
    }
}
