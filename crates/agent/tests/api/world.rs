//! An appliance in this process: authority, engine on a fake kernel, API on an address of loopback that is its own.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use serde_json::{Value, json};
use sluice_agent::engine::{Handle, Listen, Parts, ServiceError, Services};
use sluice_agent::ledger::Files;
use sluice_agent::logs::LogRing;
use sluice_agent::questions::Questions;
use sluice_agent::{
    Appliance, Blobs, Configuration, ServiceName, ServiceSlice, ServiceSpec, server,
};
use sluice_api::boot::{BootDocument, Identity, Role};
use sluice_api::report::{PowerAction, ServiceStatus};
use sluice_api::types::{ApplianceId, BlobDigest, Generation, LinkName, Secret};
use sluice_api::{Finding, RouterDocument};
use sluice_sys::kernel::FakeKernel;
use sluice_sys::model::{Desired, DesiredLink};
use tokio::sync::{mpsc, watch};

use crate::client::Client;

/// Links and addresses are enough of an appliance to see what the API does.
struct Small;

/// A router's configuration, and beside it the blobs that it names.
#[derive(Clone)]
pub struct Config {
    router: RouterDocument,
    blobs: BTreeSet<BlobDigest>,
}

impl Configuration for Config {
    fn parse(bytes: &[u8]) -> Result<(Self, Vec<Finding>), Vec<Finding>> {
        let Ok(mut document) = serde_json::from_slice::<Value>(bytes) else {
            return RouterDocument::decode(bytes).map(|_| unreachable!("it is no JSON"));
        };
        let named = document.as_object_mut().and_then(|fields| fields.remove("blobs"));
        let blobs = named.clone().map(|named| serde_json::from_value(named).unwrap());
        let blobs = blobs.unwrap_or_default();
        let rest = serde_json::to_vec(&document).unwrap();
        // without blobs the bytes are decoded as they are
        let bytes = if named.is_some() { &rest } else { bytes };
        let (router, findings) = RouterDocument::decode(bytes)?;
        Ok((Self { router, blobs }, findings))
    }

    fn generation(&self) -> Generation {
        self.router.generation
    }

    fn appliance(&self) -> &ApplianceId {
        &self.router.appliance
    }

    fn control_link(&self) -> &LinkName {
        Configuration::control_link(&self.router)
    }

    fn control_addresses(&self) -> Vec<IpAddr> {
        Configuration::control_addresses(&self.router)
    }

    fn blobs(&self) -> BTreeSet<BlobDigest> {
        self.blobs.clone()
    }
}

impl Appliance for Small {
    type Config = Config;
    const ROLE: Role = Role::Router;

    fn desired(&self, config: &Config) -> Desired {
        let config = &config.router;
        let link = |link: &sluice_api::config::Link| {
            (link.name.clone(), DesiredLink { attach: link.attach.clone(), mtu: link.mtu })
        };
        let address = |link: &sluice_api::config::Link| {
            let addresses = link.addresses.clone().into_iter();
            let name = link.name.clone();
            addresses.map(move |address| (name.clone(), address)).collect::<Vec<_>>()
        };
        Desired {
            links: config.links.iter().map(link).collect(),
            addresses: config.links.iter().flat_map(address).collect(),
            ..Desired::default()
        }
    }

    /// One that keeps what it is given, if there is anything.
    fn services(&self, config: &Config, blobs: &Blobs) -> BTreeMap<ServiceName, ServiceSlice> {
        let given: Vec<_> = config.blobs.iter().filter_map(|digest| blobs.get(digest)).collect();
        let keeper =
            (!config.blobs.is_empty()).then(|| (ServiceName("keeper"), ServiceSlice::of(&given)));
        keeper.into_iter().collect()
    }

    fn service(&self, service: ServiceName) -> ServiceSpec {
        panic!("nothing is started, {service} neither")
    }
}

/// The last slice that any service was given.
#[derive(Default)]
pub struct Given(Mutex<Option<ServiceSlice>>);

impl Given {
    pub fn text(&self) -> Option<String> {
        self.0.lock().unwrap().as_ref().map(|slice| slice.json().get().to_owned())
    }
}

#[async_trait]
impl Services for Given {
    async fn configure(
        &self,
        _: ServiceName,
        _: Generation,
        slice: ServiceSlice,
    ) -> Result<(), ServiceError> {
        *self.0.lock().unwrap() = Some(slice);
        Ok(())
    }

    async fn stop(&self, _: ServiceName) {}

    fn status(&self) -> Vec<ServiceStatus> {
        Vec::new()
    }
}

#[derive(Default)]
pub struct InMemory(Mutex<BTreeMap<String, Vec<u8>>>);

impl InMemory {
    /// Everything on this disk, one after the other.
    pub fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().values().flatten().copied().collect()
    }
}

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

/// An authority and what it issues.
pub struct Authority {
    pub pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// A certificate for `name`, good for `usage`.
    pub fn issue(&self, name: &str, usage: &[ExtendedKeyUsagePurpose]) -> Identity {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.extended_key_usages = usage.to_vec();
        self.sign(&params)
    }

    /// A certificate for `name` whose time is over.
    pub fn expired(&self, name: &str) -> Identity {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(2001, 1, 1);
        self.sign(&params)
    }

    fn sign(&self, params: &CertificateParams) -> Identity {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        let key = Secret::new(key.serialize_pem());
        Identity { authority: self.pem.clone(), certificate, key }
    }

    pub fn server(&self, name: &str) -> Identity {
        self.issue(name, &[ExtendedKeyUsagePurpose::ServerAuth])
    }

    pub fn manager(&self) -> Identity {
        self.issue("manager", &[ExtendedKeyUsagePurpose::ClientAuth])
    }
}

/// The appliance and its surroundings.
pub struct World {
    pub authority: Authority,
    pub kernel: Arc<FakeKernel>,
    pub address: IpAddr,
    pub listen: watch::Sender<Listen>,
    pub power: mpsc::Receiver<PowerAction>,
    pub boot_file: PathBuf,
    pub files: Arc<InMemory>,
    pub given: Arc<Given>,
    pub questions: Arc<Questions>,
    _dir: tempfile::TempDir,
}

/// An address of loopback that no other test has, in this process or another.
pub fn own_address() -> IpAddr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, 1 + high % 250, low, NEXT.fetch_add(1, Ordering::SeqCst)).into()
}

pub fn at(address: IpAddr) -> Listen {
    Listen { link: "ctl".parse().unwrap(), addresses: BTreeSet::from([address]) }
}

impl World {
    pub async fn new() -> Self {
        Self::with_handshakes_of(server::HANDSHAKE).await
    }

    /// One whose clients have so long for their handshakes.
    pub async fn with_handshakes_of(handshake: Duration) -> Self {
        let authority = Authority::new();
        let config = config(1);
        let link = config.links.iter().find(|link| link.name.as_str() == "ctl").unwrap();
        let boot: BootDocument = serde_json::from_value(json!({
            "version": 1, "role": "router", "appliance": "r-1",
            "control": { "mac": "02:00:a9:fe:00:0a", "address": link.addresses[0] },
            "identity": authority.server("r-1"),
        }))
        .unwrap();
        let dir = tempfile::tempdir().unwrap();
        let boot_file = dir.path().join("boot.json");
        std::fs::write(&boot_file, serde_json::to_vec(&boot).unwrap()).unwrap();
        let macs = ["02:00:a9:fe:00:0a", "02:00:c6:33:64:0a"];
        let kernel = Arc::new(FakeKernel::with_nics(macs.map(|mac| mac.parse().unwrap())));
        let (files, given) = (Arc::new(InMemory::default()), Arc::new(Given::default()));
        let handle = Handle::start(Parts {
            appliance: Arc::new(Small),
            boot: boot.clone(),
            kernel: Arc::clone(&kernel) as Arc<_>,
            services: Arc::clone(&given) as Arc<_>,
            files: Arc::clone(&files) as Arc<_>,
        })
        .await;
        let address = own_address();
        let (listen, listening) = watch::channel(at(address));
        let (wishes, power) = mpsc::channel(1);
        let logs = Arc::new(LogRing::default());
        let questions = Arc::new(Questions::default());
        logs.push(sluice_api::report::LogLevel::Info, "test", "the first entry");
        tokio::spawn(server::serve(server::Parts {
            handle,
            listen: listening,
            on_loopback: true,
            identity: boot.identity,
            appliance: boot.appliance,
            boot_file: Some(boot_file.clone()),
            logs,
            questions: Arc::clone(&questions),
            power: wishes,
            handshake,
        }));
        Self {
            authority,
            kernel,
            address,
            listen,
            power,
            boot_file,
            files,
            given,
            questions,
            _dir: dir,
        }
    }

    /// The manager.
    pub fn manager(&self) -> Client {
        Client::new(self.address, &self.authority.pem, Some(&self.authority.manager()))
    }

    /// Someone who shows `identity`, or nothing.
    pub fn client(&self, identity: Option<&Identity>) -> Client {
        Client::new(self.address, &self.authority.pem, identity)
    }
}

/// A small good configuration.
pub fn document(generation: u64) -> Value {
    json!({
        "version": 2, "generation": generation, "appliance": "r-1",
        "control": { "link": "ctl" },
        "links": [
            { "name": "ctl", "role": "control", "attach": { "nic": { "mac": "02:00:a9:fe:00:0a" } },
              "addresses": ["169.254.0.10/16"] },
            { "name": "pub0", "role": "public", "attach": { "nic": { "mac": "02:00:c6:33:64:0a" } },
              "addresses": [format!("198.51.100.{}/24", 10 + generation % 200)] },
        ],
        "role": { "router": { "hostname": "r-1" } },
    })
}

pub fn config(generation: u64) -> RouterDocument {
    serde_json::from_value(document(generation)).unwrap()
}
