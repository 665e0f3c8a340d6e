//! One machine from the lab's point of view: power, console, commands, NICs, endpoint.
//!
//! Guarantees: its NICs stay plugged in while it is off, and keep their addresses; a power cut
//! leaves its disk as it was, and the next start boots from it. Clones are handles on one machine.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::{Arc, Mutex as SyncMutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;
use sluice_api::types::{MacAddr, Port};
use tokio::sync::RwLock;

use crate::spec::{ControlSpec, MachineKind, MachineSpec, NicSpec};
use crate::wait::Wait;
use crate::wire::{PortId, Wire};

use super::accel::Accelerator;
use super::args::{Plan, arguments};
use super::disk::{Images, prepare};
use super::error::{MachineError, OfMachine};
use super::guest::GuestOutput;
use super::layout::Layout;
use super::nic::{Nic, NicId};
use super::qmp::QmpError;
use super::running::Running;

const COMMAND_BOUND: Duration = Duration::from_secs(30);
/// An emulated guest takes its time to let a device go.
const UNPLUG_BOUND: Duration = Duration::from_secs(30);

/// A machine of a lab.
#[derive(Debug, Clone)]
pub struct Machine {
    inner: Arc<Inner>,
}

/// What a machine is made of.
#[derive(Debug)]
pub(crate) struct MachineParts {
    pub(crate) name: String,
    pub(crate) spec: MachineSpec,
    pub(crate) images: PathBuf,
    pub(crate) layout: Layout,
    pub(crate) accelerator: Accelerator,
    /// One for each NIC of the description.
    pub(crate) nics: Vec<(MacAddr, Wire)>,
}

#[derive(Debug)]
struct Inner {
    name: String,
    spec: MachineSpec,
    images: Images,
    layout: Layout,
    accelerator: Accelerator,
    control_port: Option<Port>,
    nics: SyncMutex<Nics>,
    running: RwLock<Option<Arc<Running>>>,
}

#[derive(Debug, Default)]
struct Nics {
    plugged: Vec<Nic>,
    next: usize,
}

/// A machine as `status` shows it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MachineStatus {
    /// Its name.
    pub name: String,
    /// Template or host.
    pub kind: MachineKind,
    /// Whether it is on.
    pub on: bool,
    /// Whether it is halted between two instructions, with its power on.
    #[serde(default)]
    pub paused: bool,
    /// QEMU's process id while on.
    pub pid: Option<u32>,
    /// `kvm` or `tcg`.
    pub accelerator: String,
    /// Where its API can be reached from this host.
    pub endpoint: Option<SocketAddr>,
    /// Hardware addresses of its NICs on wires.
    pub macs: Vec<MacAddr>,
    /// Those of them that have no carrier.
    #[serde(default)]
    pub without_carrier: Vec<MacAddr>,
    /// The console's socket.
    pub console: PathBuf,
    /// The console's log.
    pub console_log: PathBuf,
}

impl Machine {
    /// Makes its folder and disks and plugs its NICs in; it stays off.
    pub(crate) async fn create(parts: MachineParts) -> Result<Self, MachineError> {
        let MachineParts { name, spec, layout, accelerator, .. } = parts;
        let images = Images::find(&name, &spec, &parts.images)?;
        prepare(&name, &spec, &images, &layout).await?;
        let mut nics = Nics::default();
        for (nic, (mac, wire)) in spec.nics.iter().zip(parts.nics) {
            nics.plug(&name, &layout, mac, nic, &wire)?;
        }
        let control_port = spec.control.as_ref().map(|control| free_port(&name, control));
        let control_port = control_port.transpose()?;
        let nics = SyncMutex::new(nics);
        let running = RwLock::new(None);
        let inner = Inner { name, spec, images, layout, accelerator, control_port, nics, running };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Its name in the lab.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Its files and sockets.
    pub fn layout(&self) -> &Layout {
        &self.inner.layout
    }

    /// Where its API (port 3922 of its control address) is reached from this host.
    pub fn endpoint(&self) -> Option<SocketAddr> {
        self.inner.control_port.map(|port| (Ipv4Addr::LOCALHOST, port.get()).into())
    }

    /// Whether it is on.
    pub async fn is_on(&self) -> bool {
        self.inner.running.read().await.as_ref().is_some_and(|running| running.is_on())
    }

    /// Switches it on. Returns when QEMU runs; what boots in it takes its time.
    pub async fn power_on(&self) -> Result<(), MachineError> {
        let mut running = self.inner.running.write().await;
        if running.as_ref().is_some_and(|running| running.is_on()) {
            return Err(MachineError::On(self.inner.name.clone()));
        }
        let line = self.inner.command_line();
        let started = Running::start(&self.inner.name, &self.inner.layout, line).await?;
        for (id, _) in self.inner.without_carrier() {
            let mut qmp = started.qmp.lock().await;
            let done = qmp.execute("set_link", Nic::link(id, false)).await;
            done.map_err(|source| self.monitor_failed(source))?;
        }
        *running = Some(Arc::new(started));
        tracing::info!(machine = self.inner.name, "machine switched on");
        Ok(())
    }

    /// Cuts the power: the machine stops between two instructions.
    pub async fn power_cut(&self) -> Result<(), MachineError> {
        let running = self.inner.running.write().await.take().ok_or_else(|| self.off())?;
        running.kill().await
    }

    /// Presses the power button (ACPI) and waits until the machine has switched itself off.
    pub async fn power_down(&self, bound: Duration) -> Result<(), MachineError> {
        self.monitor("system_powerdown", json!({})).await?;
        self.wait_off(bound).await
    }

    /// Presses the reset button: the machine begins anew at once, with its power on.
    pub async fn reset(&self) -> Result<(), MachineError> {
        self.monitor("system_reset", json!({})).await.map(drop)
    }

    /// Halts the machine between two instructions; its clocks stand still. Nothing happens to one that is halted.
    pub async fn pause(&self) -> Result<(), MachineError> {
        self.monitor("stop", json!({})).await.map(drop)
    }

    /// Lets a halted machine go on.
    pub async fn resume(&self) -> Result<(), MachineError> {
        self.monitor("cont", json!({})).await.map(drop)
    }

    /// Drops or restores a NIC's carrier, as pulling its cable would. It stays so over the machine's power.
    pub async fn set_carrier(&self, id: NicId, carrier: bool) -> Result<(), MachineError> {
        self.port_of(id)?;
        if self.is_on().await {
            self.monitor("set_link", Nic::link(id, carrier)).await?;
        }
        for nic in self.inner.nics().plugged.iter_mut().filter(|nic| nic.id == id) {
            nic.carrier = carrier;
        }
        Ok(())
    }

    /// Waits until the machine has switched itself off.
    pub async fn wait_off(&self, bound: Duration) -> Result<(), MachineError> {
        match self.running().await {
            Ok(running) => running.wait_end(bound).await,
            Err(_off) => Ok(()),
        }
    }

    /// What the console said since the machine was last switched on.
    pub async fn console_text(&self) -> String {
        self.running().await.map(|running| running.console.text()).unwrap_or_default()
    }

    /// Waits until the console has said `text` since the machine was last switched on.
    pub async fn console_until(&self, text: &str, bound: Duration) -> Result<(), MachineError> {
        let running = self.running().await?;
        let waited = Wait::until_async(bound, text, || async {
            let on = running.is_on();
            // asked before the text is read, so that nothing said at the end is missed
            let said = running.console.text().contains(text);
            (said || !on).then_some(said)
        });
        if waited.await == Ok(true) { Ok(()) } else { Err(self.late(text, bound, &running)) }
    }

    /// Runs a shell line on a test host; any exit code is an answer. Bound 30 s.
    pub async fn sh(&self, line: &str) -> Result<GuestOutput, MachineError> {
        self.sh_within(line, COMMAND_BOUND).await
    }

    /// Like [`Machine::sh`] with another bound; the guest kills the command after it.
    pub async fn sh_within(
        &self,
        line: &str,
        bound: Duration,
    ) -> Result<GuestOutput, MachineError> {
        self.sh_reading(line, "", bound).await
    }

    /// Like [`Machine::sh_within`]; the line reads `input`, a few MiB at most.
    pub async fn sh_reading(
        &self,
        line: &str,
        input: &str,
        bound: Duration,
    ) -> Result<GuestOutput, MachineError> {
        if self.inner.spec.kind != MachineKind::Host {
            return Err(MachineError::NotAHost(self.inner.name.clone()));
        }
        let running = self.running().await?;
        let guest = running.guest(&self.inner.layout).await?;
        let answer = guest.sh(line, input, bound).await.of(&self.inner.name, "send a command")?;
        answer.ok_or_else(|| self.late(&format!("an answer to {line:?}"), bound, &running))
    }

    /// Like [`Machine::sh`]; an exit code other than 0 is an error. Returns standard output.
    pub async fn sh_ok(&self, line: &str) -> Result<String, MachineError> {
        let output = self.sh(line).await?;
        if output.ok() {
            return Ok(output.stdout);
        }
        Err(MachineError::Command {
            machine: self.inner.name.clone(),
            command: line.to_owned(),
            code: output.code,
            said: format!("{}{}", output.stderr, output.stdout).trim().to_owned(),
        })
    }

    /// Waits until a test host answers on its command channel.
    pub async fn ready(&self, bound: Duration) -> Result<(), MachineError> {
        self.sh_within("true", bound).await.map(drop)
    }

    /// Plugs a NIC in while the machine runs.
    pub async fn plug_nic(
        &self,
        mac: MacAddr,
        spec: &NicSpec,
        wire: &Wire,
    ) -> Result<NicId, MachineError> {
        let layout = &self.inner.layout;
        let (id, netdev, device) = {
            let mut nics = self.inner.nics();
            let nic = nics.plug(&self.inner.name, layout, mac, spec, wire)?;
            (nic.id, nic.netdev(layout), nic.device_arguments())
        };
        let added = async {
            self.monitor("netdev_add", netdev).await?;
            self.monitor("device_add", device).await
        };
        if let Err(error) = added.await {
            self.inner.nics().plugged.retain(|nic| nic.id != id);
            return Err(error);
        }
        Ok(id)
    }

    /// Unplugs a NIC while the machine runs; waits until the guest has let it go.
    pub async fn unplug_nic(&self, id: NicId) -> Result<(), MachineError> {
        self.port_of(id)?;
        let device = Nic::device(id);
        self.monitor("device_del", json!({ "id": device })).await?;
        {
            let running = self.running().await?;
            let mut qmp = running.qmp.lock().await;
            let gone = |event: &serde_json::Value| {
                event.pointer("/data/device").is_some_and(|gone| gone == device.as_str())
            };
            let event = qmp.event("DEVICE_DELETED", UNPLUG_BOUND, gone).await;
            event.map_err(|source| self.monitor_failed(source))?;
        }
        self.monitor("netdev_del", json!({ "id": Nic::backend(id) })).await?;
        self.inner.nics().plugged.retain(|nic| nic.id != id);
        Ok(())
    }

    /// The wire and the port a NIC is plugged into, to cut or impair it alone.
    pub fn port_of(&self, id: NicId) -> Result<(Wire, PortId), MachineError> {
        let nics = self.inner.nics();
        let found = nics.plugged.iter().find(|nic| nic.id == id).map(Nic::port);
        found
            .map(|(wire, port)| (wire.clone(), port))
            .ok_or_else(|| MachineError::NoSuchNic { machine: self.inner.name.clone(), nic: id.0 })
    }

    /// Runs a command of QEMU's monitor.
    pub async fn monitor(
        &self,
        command: &str,
        arguments: serde_json::Value,
    ) -> Result<serde_json::Value, MachineError> {
        let running = self.running().await?;
        let answer = running.qmp.lock().await.execute(command, arguments).await;
        answer.map_err(|source| self.monitor_failed(source))
    }

    /// What `status` shows.
    pub async fn status(&self) -> MachineStatus {
        let on = self.running().await.ok().filter(|running| running.is_on());
        let paused = on.is_some() && self.is_paused().await;
        // before the list below is locked, which is so until the whole is made
        let without_carrier = self.inner.without_carrier().map(|(_, mac)| mac).collect();
        MachineStatus {
            name: self.inner.name.clone(),
            kind: self.inner.spec.kind,
            on: on.is_some(),
            paused,
            pid: on.map(|running| running.pid),
            accelerator: self.inner.accelerator.as_str().to_owned(),
            endpoint: self.endpoint(),
            macs: self.inner.nics().plugged.iter().map(|nic| nic.mac).collect(),
            without_carrier,
            console: self.inner.layout.console(),
            console_log: self.inner.layout.console_log(),
        }
    }

    /// What the monitor says; one that cannot be asked is not known to be halted.
    async fn is_paused(&self) -> bool {
        let said = self.monitor("query-status", json!({})).await.ok();
        said.is_some_and(|said| said.get("status").is_some_and(|status| status == "paused"))
    }

    /// The process, without holding the lock: a power cut must not wait for who reads the console.
    async fn running(&self) -> Result<Arc<Running>, MachineError> {
        self.inner.running.read().await.clone().ok_or_else(|| self.off())
    }

    fn off(&self) -> MachineError {
        MachineError::Off(self.inner.name.clone())
    }

    fn monitor_failed(&self, source: QmpError) -> MachineError {
        MachineError::Monitor { machine: self.inner.name.clone(), source }
    }

    fn late(&self, what: &str, bound: Duration, running: &Running) -> MachineError {
        MachineError::TimedOut {
            machine: self.inner.name.clone(),
            what: what.to_owned(),
            bound,
            state: running.console.tail(),
        }
    }
}

impl Inner {
    fn nics(&self) -> MutexGuard<'_, Nics> {
        self.nics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn without_carrier(&self) -> impl Iterator<Item = (NicId, MacAddr)> + use<> {
        let nics = self.nics();
        let without = nics.plugged.iter().filter(|nic| !nic.carrier);
        without.map(|nic| (nic.id, nic.mac)).collect::<Vec<_>>().into_iter()
    }

    fn command_line(&self) -> Vec<std::ffi::OsString> {
        arguments(&Plan {
            name: &self.name,
            spec: &self.spec,
            images: &self.images,
            layout: &self.layout,
            accelerator: self.accelerator,
            nics: self.nics().plugged.iter().map(|nic| (nic.id, nic.mac)).collect(),
            control_port: self.control_port,
        })
    }
}

impl Nics {
    fn plug(
        &mut self,
        machine: &str,
        layout: &Layout,
        mac: MacAddr,
        spec: &NicSpec,
        wire: &Wire,
    ) -> Result<&Nic, MachineError> {
        let id = NicId(self.next);
        let nic = Nic::plug(machine, layout, id, mac, spec, wire)?;
        self.next += 1;
        self.plugged.push(nic);
        let added = self.plugged.last();
        added.ok_or(MachineError::NoSuchNic { machine: machine.to_owned(), nic: id.0 })
    }
}

/// The port asked for, or one that is free now. It may be taken before QEMU listens on it; QEMU
/// then ends with a message that says so.
fn free_port(machine: &str, control: &ControlSpec) -> Result<Port, MachineError> {
    if let Some(port) = control.host_port {
        return Ok(port);
    }
    let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|bound| bound.local_addr());
    let number = bound.map(|address| u64::from(address.port())).of(machine, "find a free port")?;
    Port::try_from(number).map_err(std::io::Error::other).of(machine, "find a free port")
}
