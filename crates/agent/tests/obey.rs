//! Live connections obey a commit: a real engine, a kernel in memory, and connections that a test says are tracked.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // a test may fail loudly anywhere, its helpers included

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use sluice_agent::engine::{Handle, Parts, ServiceError, Services};
use sluice_agent::ledger::Files;
use sluice_agent::{Appliance, Blobs, ServiceName, ServiceSlice, ServiceSpec};
use sluice_api::RouterDocument;
use sluice_api::boot::{BootDocument, Role};
use sluice_api::config::{Attachment, EgressPolicy};
use sluice_api::report::{Answer, ConfirmAnswer, Phase, ServiceStatus};
use sluice_api::types::Generation;
use sluice_sys::kernel::{FakeKernel, Kernel};
use sluice_sys::model::{Desired, DesiredLink};
use sluice_sys::nft::eval::{Flow, Parts as FlowParts, Tuple};
use sluice_sys::nft::{
    Chain, ChainKind, Expr, Hook, HookPoint, Ident, Net, Policy, Protocol, Rule, RuleId, Table,
    TableId, Verdict,
};

/// Lets nothing through but connections to one host, those of its first network's guests only while that one's policy is
/// to allow it.
struct Small;

const HOST: &str = "192.0.2.1";

impl Appliance for Small {
    type Config = RouterDocument;
    const ROLE: Role = Role::Router;

    fn desired(&self, config: &RouterDocument) -> Desired {
        let links =
            config.links.iter().filter(|link| matches!(link.attach, Attachment::Nic { .. }));
        let mut desired = Desired::default();
        for link in links {
            let wanted = DesiredLink { attach: link.attach.clone(), mtu: link.mtu };
            desired.links.insert(link.name.clone(), wanted);
            for address in &link.addresses {
                desired.addresses.insert((link.name.clone(), *address));
            }
        }
        let to_host = || Expr::Destination(Net::Host(HOST.parse().unwrap()));
        let from = |host: &str| Expr::Source(Net::Host(host.parse().unwrap()));
        let rule = |id, exprs| Rule::verdict(RuleId::fixed(id), exprs, Verdict::Accept);
        let mut rules = vec![rule("forward/always", vec![from("198.51.100.2"), to_host()])];
        if config.role.networks[0].egress == EgressPolicy::Allow {
            rules.push(rule("forward/egress", vec![from("198.51.100.3"), to_host()]));
        }
        let (kind, point) = (ChainKind::Filter, HookPoint::Forward);
        let hook = Hook { kind, point, priority: 0, policy: Policy::Drop };
        let chain = Chain { hook: Some(hook), rules };
        let chains = BTreeMap::from([(Ident::fixed("filter-forward"), chain)]);
        let table = Table { chains, ..Table::default() };
        desired.tables.insert(TableId::inet("sluice"), table);
        // to the host
        desired.addresses.insert(("pub0".parse().unwrap(), "192.0.2.9/24".parse().unwrap()));
        desired
    }

    fn services(&self, _: &RouterDocument, _: &Blobs) -> BTreeMap<ServiceName, ServiceSlice> {
        BTreeMap::new()
    }

    fn service(&self, service: ServiceName) -> ServiceSpec {
        panic!("nothing is started, {service} neither")
    }
}

struct NoServices;

#[async_trait]
impl Services for NoServices {
    async fn configure(
        &self,
        _: ServiceName,
        _: Generation,
        _: ServiceSlice,
    ) -> Result<(), ServiceError> {
        Ok(())
    }

    async fn stop(&self, _: ServiceName) {}

    fn status(&self) -> Vec<ServiceStatus> {
        Vec::new()
    }
}

#[derive(Default)]
struct InMemory(Mutex<BTreeMap<String, Vec<u8>>>);

impl Files for InMemory {
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        Ok(self.0.lock().unwrap().get(name).cloned())
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.0.lock().unwrap().insert(name.to_owned(), bytes.to_owned());
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.lock().unwrap().remove(name);
        Ok(())
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.0.lock().unwrap().keys().cloned().collect())
    }
}

fn config(generation: u64, egress: EgressPolicy) -> RouterDocument {
    let bytes = include_bytes!("../../../examples/router.json");
    let mut config = RouterDocument::decode(bytes).unwrap().0;
    config.generation = generation.try_into().unwrap();
    config.role.networks[0].egress = egress;
    config
}

fn connection(from: &str, id: u32) -> Flow {
    let ip = |text: &str| text.parse().unwrap();
    let tuple = |source, destination, parts| Tuple {
        source: ip(source),
        destination: ip(destination),
        protocol: Protocol::TCP,
        parts,
    };
    Flow {
        original: tuple(from, HOST, FlowParts::Ports(40_000, 443)),
        reply: tuple(HOST, from, FlowParts::Ports(443, 40_000)),
        mark: 0,
        master: None,
        id: Some(id),
    }
}

async fn started() -> (Handle, Arc<FakeKernel>) {
    let macs =
        config(1, EgressPolicy::Allow).links.into_iter().filter_map(|link| match link.attach {
            Attachment::Nic { mac } => Some(mac),
            Attachment::Vlan { .. } => None,
        });
    let kernel = Arc::new(FakeKernel::with_nics(macs));
    let boot = include_bytes!("../../../fuzz/corpus/boot/example.json");
    let handle = Handle::start(Parts {
        appliance: Arc::new(Small),
        boot: BootDocument::decode(boot).unwrap(),
        kernel: Arc::clone(&kernel) as _,
        services: Arc::new(NoServices),
        files: Arc::new(InMemory::default()),
    })
    .await;
    (handle, kernel)
}

async fn push(handle: &Handle, config: &RouterDocument, confirm: Option<Duration>) {
    let answer = handle.push(serde_json::to_vec(config).unwrap().into(), confirm).await;
    assert!(matches!(answer, Answer::Applied { .. }), "{answer:?}");
}

/// Waits until so many connections are tracked; the clock is paused, so the bound costs nothing.
async fn left(kernel: &FakeKernel, count: usize) -> Vec<Flow> {
    for _ in 0..1000 {
        if kernel.flows().await.unwrap().len() == count {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    kernel.flows().await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_connection_ends_with_the_commit_that_forbids_it_and_not_before() {
    let (handle, kernel) = started().await;
    push(&handle, &config(1, EgressPolicy::Allow), None).await;
    let (always, egress) = (connection("198.51.100.2", 1), connection("198.51.100.3", 2));
    kernel.track([always.clone(), egress.clone()]).unwrap();

    push(&handle, &config(2, EgressPolicy::Deny), Some(Duration::from_secs(5))).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(handle.status().phase, Phase::AwaitingConfirm);
    assert_eq!(left(&kernel, 2).await, [always.clone(), egress.clone()], "it may yet revert");
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(handle.status().phase, Phase::InForce);
    assert_eq!(left(&kernel, 2).await, [always.clone(), egress], "it reverted");
    let reverted = handle.status().reverted.unwrap();
    assert_eq!((reverted.generation, reverted.times), (2.try_into().unwrap(), 1), "it says so");
    assert_ne!(Some(reverted.digest), handle.status().current.map(|current| current.digest));

    push(&handle, &config(3, EgressPolicy::Deny), Some(Duration::from_secs(5))).await;
    let confirmed = handle.confirm(3.try_into().unwrap()).await;
    assert!(matches!(confirmed, ConfirmAnswer::Committed { .. }), "{confirmed:?}");
    assert_eq!(left(&kernel, 1).await, [always]);
}

#[tokio::test(start_paused = true)]
async fn what_a_configuration_let_in_ends_when_it_reverts() {
    let (handle, kernel) = started().await;
    push(&handle, &config(1, EgressPolicy::Deny), None).await;
    push(&handle, &config(2, EgressPolicy::Allow), Some(Duration::from_secs(5))).await;
    let (always, egress) = (connection("198.51.100.2", 1), connection("198.51.100.3", 2));
    kernel.track([always.clone(), egress]).unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(handle.status().phase, Phase::InForce);
    assert_eq!(left(&kernel, 1).await, [always]);
}

#[tokio::test(start_paused = true)]
async fn what_nobody_confirms_is_counted_until_something_else_is_undone() {
    let (handle, _) = started().await;
    push(&handle, &config(1, EgressPolicy::Allow), None).await;
    assert_eq!(handle.status().reverted, None);
    let mut seen = Vec::new();
    for generation in [2, 2, 3, 2] {
        let within = Some(Duration::from_secs(5));
        push(&handle, &config(generation, EgressPolicy::Deny), within).await;
        tokio::time::sleep(Duration::from_secs(10)).await;
        let reverted = handle.status().reverted.unwrap();
        seen.push((reverted.generation.get(), reverted.times));
    }
    assert_eq!(seen, [(2, 1), (2, 2), (3, 1), (2, 1)]);
}
