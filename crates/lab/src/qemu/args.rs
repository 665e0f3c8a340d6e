//! QEMU's command line, from a machine's description. Pure: the same machine, the same line.

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use sluice_api::AGENT_PORT;
use sluice_api::types::{Cidr, MacAddr, Port};

use crate::spec::{BootVia, ControlSpec, DeskSpec, Firmware, MachineKind, MachineSpec};

use super::accel::Accelerator;
use super::disk::Images;
use super::guest::GUEST_PORT;
use super::layout::Layout;
use super::nic::{Nic, NicId};

/// All that decides the command line.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    pub(super) name: &'a str,
    pub(super) spec: &'a MachineSpec,
    pub(super) images: &'a Images,
    pub(super) layout: &'a Layout,
    pub(super) accelerator: Accelerator,
    pub(super) nics: Vec<(NicId, MacAddr)>,
    pub(super) control_port: Option<Port>,
}

/// The arguments after `qemu-system-x86_64`.
pub(super) fn arguments(plan: &Plan<'_>) -> Vec<OsString> {
    let mut line = Line(Vec::new());
    line.add(&["-name", plan.name, "-nodefaults", "-no-user-config", "-display", "none"]);
    // i440FX: the machine the guide's hypervisors give, and PCI hot-plug needs no bridges laid out
    line.add(&["-machine", "pc"]);
    line.add(&plan.accelerator.arguments());
    line.add(&["-m", &plan.spec.ram_mib.to_string(), "-smp", &plan.spec.cpus.to_string()]);
    line.add(&["-device", "virtio-rng-pci"]);
    if let Some(clock) = &plan.spec.clock {
        line.add(&["-rtc", &format!("base={clock}")]);
    }
    console_and_monitor(&mut line, plan.layout);
    firmware(&mut line, plan);
    drives(&mut line, plan);
    for (id, mac) in &plan.nics {
        nic(&mut line, plan.layout, *id, *mac);
    }
    if let Some((control, port)) = plan.spec.control.as_ref().zip(plan.control_port) {
        control_link(&mut line, control, port);
    }
    if let Some(desk) = &plan.spec.desk {
        desk_link(&mut line, desk);
    }
    if let Some(port) = plan.spec.vnc {
        screen(&mut line, port);
    }
    match plan.spec.kind {
        MachineKind::Host => command_channel(&mut line, plan.layout),
        MachineKind::Template => {}
    }
    line.0
}

struct Line(Vec<OsString>);

impl Line {
    fn add(&mut self, words: &[&str]) {
        self.0.extend(words.iter().map(OsString::from));
    }
}

/// A path inside an option list, where a comma ends a value unless it is doubled.
fn value(path: &Path) -> String {
    path.to_string_lossy().replace(',', ",,")
}

fn console_and_monitor(line: &mut Line, layout: &Layout) {
    let (socket, log) = (value(&layout.console()), value(&layout.console_log()));
    let console =
        format!("socket,id=console,path={socket},server=on,wait=off,logfile={log},logappend=on");
    line.add(&["-chardev", &console, "-serial", "chardev:console"]);
    let monitor = format!("socket,id=monitor,path={},server=on,wait=off", value(&layout.qmp()));
    line.add(&["-chardev", &monitor, "-mon", "chardev=monitor,mode=control"]);
}

fn firmware(line: &mut Line, plan: &Plan<'_>) {
    if let Some(code) = &plan.images.uefi_code {
        let code = format!("if=pflash,format=raw,unit=0,readonly=on,file={}", value(code));
        let variables = value(&plan.layout.uefi_variables());
        let variables = format!("if=pflash,format=raw,unit=1,file={variables}");
        line.add(&["-drive", &code, "-drive", &variables]);
    }
    if plan.spec.firmware == Firmware::Direct {
        for (option, path) in [("-kernel", &plan.images.kernel), ("-initrd", &plan.images.initrd)] {
            if let Some(path) = path {
                line.0.extend([OsString::from(option), path.clone().into_os_string()]);
            }
        }
        line.add(&["-append", &kernel_words(plan)]);
    }
}

/// What the test host's image needs on its kernel's command line.
const HOST_WORDS: &str = "sluice.root=sluice-host sluice.overlay sluice.data=none";

/// A busy host can starve the kernel's trial of its timer, which then stops with "IO-APIC + timer doesn't work"; images of
/// clouds leave the trial out for that.
const TIMER_WORD: &str = "no_timer_check";

fn kernel_words(plan: &Plan<'_>) -> String {
    // the last one is where programs write
    let screen = plan.spec.vnc.map(|_| "console=tty0".to_owned());
    let mut words: Vec<_> =
        screen.into_iter().chain(["console=ttyS0".to_owned(), TIMER_WORD.to_owned()]).collect();
    if plan.spec.kind == MachineKind::Host && plan.spec.has_root() {
        words.extend([HOST_WORDS.to_owned(), format!("sluice.hostname={}", plan.name)]);
    }
    words.push(plan.spec.append.trim().to_owned());
    words.retain(|word| !word.is_empty());
    words.join(" ")
}

fn drives(line: &mut Line, plan: &Plan<'_>) {
    if plan.images.disk.is_some() {
        let disk = value(&plan.layout.disk());
        line.add(&["-drive", &format!("if=virtio,format=qcow2,discard=unmap,file={disk}")]);
    }
    if let Some(root) = &plan.images.root {
        let root = format!("if=virtio,format=raw,readonly=on,file={}", value(root));
        line.add(&["-drive", &root]);
    }
    for file in &plan.spec.attached {
        let disk = format!("if=virtio,format=raw,readonly=on,file={}", value(file));
        line.add(&["-drive", &disk]);
    }
    if let Some(boot) = &plan.spec.boot {
        match plan.spec.boot_via {
            BootVia::FwCfg => {
                let entry = format!("name=opt/sluice/boot,file={}", value(boot));
                line.add(&["-fw_cfg", &entry]);
            }
            BootVia::ConfigDrive => {
                let drive = value(&plan.layout.config_drive());
                line.add(&["-drive", &format!("media=cdrom,format=raw,readonly=on,file={drive}")]);
            }
        }
    }
}

fn nic(line: &mut Line, layout: &Layout, id: NicId, mac: MacAddr) {
    let (ours, theirs) = (layout.nic_machine_end(id.0), layout.nic_wire_end(id.0));
    let backend = Nic::backend(id);
    let netdev = format!(
        "dgram,id={backend},local.type=unix,local.path={},remote.type=unix,remote.path={}",
        value(&ours),
        value(&theirs)
    );
    // no option ROM: nothing boots from the network here, and loading it costs start-up time
    let device =
        format!("virtio-net-pci,netdev={backend},id={},mac={mac},romfile=", Nic::device(id));
    line.add(&["-netdev", &netdev, "-device", &device]);
}

fn control_link(line: &mut Line, control: &ControlSpec, port: Port) {
    let network = control.address.network();
    let [host, dns, dhcp] = places_for_host(&network, &[control.address.ip()]);
    let address = control.address.ip();
    let forward = format!("hostfwd=tcp:127.0.0.1:{port}-{address}:{AGENT_PORT}");
    let netdev = format!(
        "user,id=control,ipv6=off,restrict=on,net={network},host={host},dns={dns},dhcpstart={dhcp},{forward}"
    );
    let device =
        format!("virtio-net-pci,netdev=control,id=control-nic,mac={},romfile=", control.mac);
    line.add(&["-netdev", &netdev, "-device", &device]);
}

/// A network of the machine and this host alone.
fn desk_link(line: &mut Line, desk: &DeskSpec) {
    let (network, address) = (desk.address.network(), desk.address.ip());
    let [first, ..] = places_for_host(&network, &[address]);
    let host = desk.host.unwrap_or(first);
    let [dns, dhcp, _] = places_for_host(&network, &[address, IpAddr::V4(host)]);
    let forward: String = desk
        .forward
        .iter()
        .map(|it| format!(",hostfwd=tcp:127.0.0.1:{}-{address}:{}", it.host_port, it.port))
        .collect();
    let netdev = format!(
        "user,id=desk,ipv6=off,net={network},host={host},dns={dns},dhcpstart={dhcp}{forward}"
    );
    let device = format!("virtio-net-pci,netdev=desk,id=desk-nic,mac={},romfile=", desk.mac);
    line.add(&["-netdev", &netdev, "-device", &device]);
}

/// What QEMU counts its VNC servers from.
const FIRST_VNC: u16 = 5900;

/// Several may look at the screen, and none of them ends another.
fn screen(line: &mut Line, port: Port) {
    let number = port.get().saturating_sub(FIRST_VNC);
    let server = format!("127.0.0.1:{number},share=force-shared");
    line.add(&["-device", "VGA", "-vnc", &server]);
}

/// Three addresses of the network that the machine does not have: QEMU's user network wants a host,
/// a name server and a first lease, though nobody uses them here.
fn places_for_host(network: &Cidr, taken: &[IpAddr]) -> [Ipv4Addr; 3] {
    let first = match network.network() {
        IpAddr::V4(first) => u32::from(first),
        IpAddr::V6(_) => 0, // refused when the lab was checked
    };
    let mut free = (1..).map(|step| Ipv4Addr::from(first.wrapping_add(step)));
    let mut next =
        || free.find(|place| !taken.contains(&IpAddr::V4(*place))).unwrap_or(Ipv4Addr::LOCALHOST);
    [next(), next(), next()]
}

fn command_channel(line: &mut Line, layout: &Layout) {
    let socket = format!("socket,id=guest,path={},server=on,wait=off", value(&layout.guest()));
    let port = format!("virtserialport,chardev=guest,name={GUEST_PORT}");
    line.add(&["-device", "virtio-serial-pci", "-chardev", &socket, "-device", &port]);
}
