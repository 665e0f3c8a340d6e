//! A router in a namespace with the real agent, the manager's client, and a segment to ask for names from.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use sluice_api::boot::BootDocument;
use sluice_api::config::Attachment;
use sluice_api::report::{Answer, StatusReport};
use sluice_api::types::{ApplianceId, Generation, LinkName};
use sluice_api::{AGENT_PORT, RouterDocument};
use sluice_lab::Wait;
use sluice_lab::netns::{Namespace, Process, Topology, VethEnd};
use sluice_manager::ca::Authority;
use sluice_manager::push::PushError;
use sluice_manager::{ClientIdentity, PushClient};

use super::guests::Guests;

const SOON: Duration = Duration::from_secs(20);
/// Where the agent keeps its ledger, so that no other user of the disk is measured.
const RAM: &str = "/dev/shm";
/// The router's address in the guest network, ours and the rival's.
pub(super) const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 1);
const GUEST_MAC: &str = "02:00:0a:01:01:01";

/// How long one change took.
pub(super) struct Took {
    /// From the manager's call until the router answers from the change.
    pub(super) whole: Duration,
    /// Of that, what the agent says: from the body received to the configuration committed.
    pub(super) agent: Duration,
}

/// One router that has no configuration yet, and room for a rival.
pub(in crate::bench) struct Field {
    manager: Namespace,
    segment: Namespace,
    pub(in crate::bench) rival: Namespace,
    agent: Process,
    client: PushClient,
    config: RouterDocument,
    folder: tempfile::TempDir,
    _topology: Topology,
}

/// examples/router.json with NICs in place of VLANs, since this kernel may have none, and one network of 65,534.
fn config() -> Result<RouterDocument> {
    let mut config = crate::faults::example();
    config.links.retain(|link| !matches!(link.name.as_str(), "trunk0" | "guest1"));
    config.role.networks.truncate(1);
    for link in config.links.iter_mut().filter(|link| link.name.as_str() == "guest0") {
        link.attach = Attachment::Nic { mac: GUEST_MAC.parse()? };
        link.addresses = vec![format!("{GATEWAY}/16").parse()?];
    }
    let network = config.role.networks.first_mut().context("the example has a network")?;
    network.cidr = "10.1.0.0/16".parse()?;
    network.gateway = GATEWAY;
    network.domain = super::guests::DOMAIN.parse()?;
    network.dhcp.routes.clear();
    config.generation = Generation::MIN;
    Ok(config)
}

fn link(name: &str) -> Result<LinkName> {
    Ok(name.parse()?)
}

impl Field {
    pub(in crate::bench) fn new() -> Result<Self> {
        let mut topology = Topology::new()?;
        let [router, manager, outside, segment, rival] =
            ["router", "manager", "inet", "lan", "rival"].map(|name| topology.namespace(name));
        let (router, manager, outside, segment, rival) =
            (router?, manager?, outside?, segment?, rival?);
        let wire = |name: &str, mac: &str, other: &Namespace, far: &str| -> Result<()> {
            let near = VethEnd::new(&router, link(name)?).mac(mac.parse()?);
            topology.veth(&near, &VethEnd::new(other, link(far)?))?;
            Ok(())
        };
        wire("eth7", "02:00:a9:fe:00:0a", &manager, "eth0")?;
        wire("eth8", "02:00:c6:33:64:0a", &outside, "eth0")?;
        wire("eth9", GUEST_MAC, &segment, "eth0")?;
        topology
            .veth(&VethEnd::new(&rival, link("guest0")?), &VethEnd::new(&segment, link("eth1")?))?;
        manager.address(&link("eth0")?, "169.254.0.1/16".parse()?)?;
        segment.address(&link("eth0")?, "10.1.255.250/16".parse()?)?;
        rival.address(&link("guest0")?, format!("{GATEWAY}/16").parse()?)?;
        let folder = tempfile::tempdir_in(RAM).context("cannot make a folder for the agent")?;
        let client = identity(&folder)?;
        let agent = start(&router, &folder)?;
        let config = config()?;
        let this =
            Self { manager, segment, rival, agent, client, config, folder, _topology: topology };
        let up = Wait::until(SOON, "the agent's API", || this.status().is_ok());
        up.with_context(|| this.agent.output())?;
        let client = this.client.packing_for(&this.status()?);
        Ok(Self { client, ..this })
    }

    /// Where files of this router may be put.
    pub(in crate::bench) fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    /// The configuration that was pushed last.
    pub(in crate::bench) fn config(&self) -> &RouterDocument {
        &self.config
    }

    fn call<T: Send, F: Future<Output = Result<T, PushError>>>(
        &self,
        make: impl FnOnce(PushClient) -> F + Send,
    ) -> Result<T> {
        let client = self.client.clone();
        Ok(self.manager.enter_async(move || make(client))??)
    }

    fn status(&self) -> Result<StatusReport> {
        self.call(|client| async move {
            match tokio::time::timeout(Duration::from_secs(2), client.status()).await {
                Ok(status) => status,
                Err(_) => Err(PushError::Identity("no answer in time".to_owned())),
            }
        })
    }

    /// Processes of the services; the same again means that none was restarted.
    pub(super) fn services(&self) -> Result<Vec<Option<u32>>> {
        Ok(self.status()?.services.iter().map(|service| service.pid).collect())
    }

    /// Pushes the next configuration, with `change` made to it: how long the agent took from the body received to the
    /// configuration committed.
    pub(super) fn change(&mut self, change: impl FnOnce(&mut RouterDocument)) -> Result<Duration> {
        change(&mut self.config);
        self.config.generation = self.config.generation.next().context("no generation is left")?;
        let config = &self.config;
        // 0: committed at once
        let answer = self
            .call(|client| async move { client.push_confirming(config, 0).await })
            .with_context(|| self.agent.output())?;
        let Answer::Applied { timing, .. } = answer else {
            bail!("not applied: {answer:?}\n{}", self.agent.output())
        };
        if std::env::var_os("SLUICE_BENCH_DETAIL").is_some() {
            eprintln!("{timing:?}");
        }
        Ok(Duration::from_micros(timing.total_us))
    }

    /// The most memory that the agent had, and the largest program that it ran, such as nft, in MiB.
    pub(super) fn peaks(&self) -> Result<(f64, f64)> {
        let text = self.call(|client| async move { client.metrics().await })?;
        let peak = |process: &str| {
            let name = format!("sluice_peak_memory_bytes{{process=\"{process}\"}} ");
            let line = text.lines().find_map(|line| line.strip_prefix(&name));
            let bytes: f64 = line.context("the agent does not say its peak")?.parse()?;
            Ok::<_, anyhow::Error>(bytes / 1_048_576.0)
        };
        Ok((peak("agent")?, peak("programs")?))
    }

    /// Processor time that the agent and the programs that it ran have used, in seconds.
    pub(super) fn processor(&self) -> Result<f64> {
        let line = std::fs::read_to_string(format!("/proc/{}/stat", self.agent.pid()))?;
        let (_, words) = line.rsplit_once(')').context("no account of the agent")?;
        // fields 14 to 17, of which the state is field 3, in hundredths of a second (proc_pid_stat(5))
        let ticks: Vec<f64> =
            words.split_whitespace().skip(11).take(4).map(str::parse).collect::<Result<_, _>>()?;
        Ok(ticks.iter().sum::<f64>() / 100.0)
    }

    /// Pushes another configuration under the next number; how long the agent says that it took.
    pub(in crate::bench) fn replace(&mut self, config: RouterDocument) -> Result<Duration> {
        let next = self.config.generation.next().context("no generation is left")?;
        self.config = RouterDocument { generation: next, ..config };
        let config = &self.config;
        let answer = self
            .call(|client| async move { client.push_confirming(config, 0).await })
            .with_context(|| self.agent.output())?;
        let Answer::Applied { timing, .. } = answer else { bail!("not applied: {answer:?}") };
        Ok(Duration::from_micros(timing.total_us))
    }

    /// The most memory that the agent had, in KiB (proc(5), `VmHWM`).
    pub(in crate::bench) fn peak_kib(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.agent.pid()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let text = line.context("the agent has no VmHWM")?.trim().trim_end_matches(" kB");
        Ok(text.trim().parse()?)
    }

    /// Pushes the next configuration, with these guests, and waits until the router answers for the one at `at`.
    pub(super) fn push(&mut self, guests: &Guests, at: usize) -> Result<Took> {
        let network = self.config.role.networks.first_mut().context("the example has a network")?;
        network.guests = guests.configured()?;
        self.config.generation = self.config.generation.next().context("no generation is left")?;
        let config = &self.config;
        let start = Instant::now();
        // 0: committed at once
        let answer = self
            .call(|client| async move { client.push_confirming(config, 0).await })
            .with_context(|| self.agent.output())?;
        let Answer::Applied { timing, .. } = answer else {
            bail!("not applied: {answer:?}\n{}", self.agent.output())
        };
        let (name, address) = guests.name(at);
        let asked = self.segment.enter(|| ask(GATEWAY, &name, address, SOON))?;
        asked.with_context(|| format!("{name} should be {address}"))?;
        if std::env::var_os("SLUICE_BENCH_DETAIL").is_some() {
            eprintln!("{timing:?}");
        }
        Ok(Took { whole: start.elapsed(), agent: Duration::from_micros(timing.total_us) })
    }
}

fn start(router: &Namespace, folder: &tempfile::TempDir) -> Result<Process> {
    let data = folder.path().join("data");
    std::fs::create_dir_all(&data)?;
    let words = [
        crate::bin("sluice-router").into_os_string(),
        "agent".into(),
        "--boot".into(),
        folder.path().join("boot.json").into_os_string(),
        "--data".into(),
        data.into_os_string(),
        "--nft".into(),
        sluice_lab::netns::nft().into(),
    ];
    Ok(router.spawn(words)?)
}

/// The appliance's boot document, and the manager's client for it.
fn identity(folder: &tempfile::TempDir) -> Result<PushClient> {
    let id: ApplianceId = "r-1".parse()?;
    let authority = Authority::open(&folder.path().join("manager.db"), Duration::from_hours(24))?;
    let boot =
        BootDocument { identity: authority.appliance(&id)?.identity, ..crate::faults::boot() };
    std::fs::write(folder.path().join("boot.json"), serde_json::to_vec(&boot)?)?;
    let identity = ClientIdentity::new(&authority.client()?.identity)?;
    let address = SocketAddr::new(boot.control.address.ip(), AGENT_PORT.get());
    Ok(PushClient::new(&id, address, &identity)?)
}

/// Asks `server` for `name` until it answers `address`, a thousand times a second.
pub(super) fn ask(server: Ipv4Addr, name: &str, address: Ipv4Addr, bound: Duration) -> Result<()> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.connect((server, 53))?;
    socket.set_read_timeout(Some(Duration::from_millis(20)))?;
    let query = query(name)?;
    let end = Instant::now() + bound;
    let mut answer = [0; 512];
    while Instant::now() < end {
        // a server that is not up yet refuses; that and silence are both "not yet"
        if socket.send(&query).is_ok()
            && let Ok(length) = socket.recv(&mut answer)
            && answer.get(..length).is_some_and(|bytes| bytes.ends_with(&address.octets()))
        {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    bail!("{server} does not answer within {bound:?}")
}

/// A question for the A record of `name`.
fn query(name: &str) -> Result<Vec<u8>> {
    let mut bytes = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0".to_vec();
    for label in name.split('.') {
        let length = u8::try_from(label.len())?;
        ensure!((1..64).contains(&length), "{name} is not a domain name");
        bytes.push(length);
        bytes.extend(label.as_bytes());
    }
    bytes.extend(b"\0\0\x01\0\x01");
    Ok(bytes)
}
