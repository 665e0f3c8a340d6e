//! A lab with a console proxy that the manager configures and another machine whose screen it shows, all reached from this
//! computer without rights: the proxy's public link is its desk link.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use sluice_api::types::{ObjectId, Port};
use sluice_lab::spec::{DeskSpec, Firmware, ForwardSpec, LabSpec, MachineSpec};
use sluice_manager::model::view::{Appliance, NicPurpose};

use super::certificates::Authority;
use super::qemu::boot_sector;
use crate::cloud::{Cloud, INTERNET};

/// The cloud's description, from the top of the tree.
pub const DESCRIPTION: &str = "examples/consoles.toml";
/// Id of the console proxy.
pub const PROXY: &str = "p-1";
/// The machine with the screen, and the screen.
pub const VM: &str = "vm1";
/// This computer on the proxy's public network: the gateway of the description.
const HOST: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
/// First number of QEMU's VNC servers.
const FIRST_VNC: u16 = 5900;

/// Describes the lab, and tells the manager what it needs to know of it: the proxy's names and certificate, and the screen.
/// Files are in `folder`.
pub fn machines(cloud: &Cloud, name: &str, firmware: Firmware, folder: &Path) -> Result<LabSpec> {
    let [browsers, vnc] = free_ports()?;
    let certificate = certificate(folder)?;
    let origin = format!("https://localhost:{browsers}");
    let file = text(&certificate)?;
    let update = ["appliance", "update", PROXY, "--certificate-file", file, "--hosts", "localhost"];
    cloud.manager.done(update.into_iter().chain(["--origin", &origin]))?;
    let (address, port) = (HOST.to_string(), vnc.to_string());
    let desktop = format!("QEMU ({VM})");
    let screen =
        ["screen", "create", VM, "--zone", "zone1", "--address", &address, "--port", &port];
    let more = ["--unencrypted", "anything", "--desktop-name", &desktop];
    cloud.manager.done(screen.into_iter().chain(more))?;

    let mut spec = cloud.lab(name, firmware)?;
    spec.machines.remove(&id(INTERNET)?);
    let view = cloud.view()?;
    let proxy = view.appliances.iter().find(|it| it.id.as_str() == PROXY);
    let proxy = proxy.context("the manager has no console proxy")?;
    let machine = spec.machines.get_mut(&id(PROXY)?).context("the lab has no console proxy")?;
    machine.nics.clear();
    machine.desk = Some(desk(cloud, proxy, browsers)?);
    let vm = MachineSpec { disk: Some(guest(folder)?), vnc: Some(vnc), ..MachineSpec::template() };
    spec.machines.insert(id(VM)?, MachineSpec { firmware: Firmware::Bios, ..vm }.ram_mib(64));
    Ok(spec)
}

/// What the certificate of the proxy is to be judged by.
pub fn authority(folder: &Path) -> Result<String> {
    let path = folder.join("authority.pem");
    fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
}

fn certificate(folder: &Path) -> Result<PathBuf> {
    let authority = Authority::new();
    let signed = authority.server("localhost");
    fs::write(folder.join("authority.pem"), &authority.pem)?;
    let path = folder.join("proxy.pem");
    fs::write(&path, format!("{}{}", signed.chain, signed.key))?;
    Ok(path)
}

/// The public NIC of the proxy as a link to this computer.
fn desk(cloud: &Cloud, proxy: &Appliance, browsers: Port) -> Result<DeskSpec> {
    let nic = proxy.nics.iter().find(|nic| nic.purpose == NicPurpose::Public);
    let mac = nic.context("the proxy has no public NIC")?.mac;
    let config: serde_json::Value = cloud.manager.ask(["appliance", "config", PROXY])?;
    let links = config["links"].as_array().context("no links")?;
    let public = links.iter().find(|link| link["role"] == "public").context("no public link")?;
    let address = public["addresses"][0].as_str().context("no public address")?.parse()?;
    let forward = vec![ForwardSpec { host_port: browsers, port: Port::fixed(443) }];
    Ok(DeskSpec { address, mac, host: Some(HOST), forward })
}

/// The disk of a guest that greets and then prints what is typed.
fn guest(folder: &Path) -> Result<PathBuf> {
    let (raw, disk) = (folder.join("guest.img"), folder.join("guest.qcow2"));
    fs::write(&raw, boot_sector())?;
    let mut convert = sluice_programs::command("qemu-img")?;
    convert.args(["convert", "-q", "-f", "raw", "-O", "qcow2"]).arg(&raw).arg(&disk);
    ensure!(convert.status()?.success(), "qemu-img made no disk");
    Ok(disk)
}

/// Two ports of 127.0.0.1 that are free now, and that a VNC server can have.
fn free_ports() -> Result<[Port; 2]> {
    let mut held = Vec::new();
    let mut ports = Vec::new();
    for _try in 0..64 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        held.push(listener);
        if port >= FIRST_VNC {
            ports.push(Port::try_from(u64::from(port))?);
        }
        if let [first, second] = ports[..] {
            return Ok([first, second]);
        }
    }
    bail!("no free ports")
}

fn id(name: &str) -> Result<ObjectId> {
    name.parse().context("a machine's name")
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("the folder's path is not UTF-8")
}
