//! What an appliance's machine is started with: a QEMU command, or a lab with its guests. Pure but for the questions.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;

use super::appliance::path;
use super::client::{Client, Failure};
use super::output;
use crate::model::view::{Appliance, ApplianceNic, Guest, Network, NicPurpose};

/// Arguments of `appliance qemu`.
#[derive(Debug, Args)]
pub(super) struct QemuArgs {
    /// Id of the appliance.
    appliance: String,
    /// Its boot document, from `sluice appliance boot-document`.
    #[arg(long, default_value = "boot.json")]
    boot: PathBuf,
    /// Its disk. Default: ID.qcow2.
    #[arg(long)]
    disk: Option<PathBuf>,
    /// Port of 127.0.0.1 that is forwarded to its API.
    #[arg(long, default_value_t = 3922)]
    port: u16,
    /// Socket of QEMU's own protocol (QMP). Default: none.
    #[arg(long)]
    qmp: Option<PathBuf>,
}

/// Arguments of `appliance lab-file`.
#[derive(Debug, Args)]
pub(super) struct LabArgs {
    /// Id of the appliance.
    appliance: String,
    /// Its boot document, from `sluice appliance boot-document`.
    #[arg(long, default_value = "boot.json")]
    boot: PathBuf,
}

/// Prints the command that starts the machine.
pub(super) async fn qemu(client: &Client, args: &QemuArgs) -> Result<(), Failure> {
    let appliance: Appliance = client.get(&path(&args.appliance, "")).await?;
    output::print(&command(&appliance, args));
    Ok(())
}

/// Prints a lab of the appliance, the guests of its networks and a neighbour on the public wire.
pub(super) async fn lab_file(client: &Client, args: &LabArgs) -> Result<(), Failure> {
    let appliance: Appliance = client.get(&path(&args.appliance, "")).await?;
    let networks = client.get(&format!("/v1/networks?router={}", appliance.id)).await?;
    let guests: Vec<Guest> = client.get(&format!("/v1/guests?zone={}", appliance.zone)).await?;
    output::print(&lab(&appliance, networks, &guests, args));
    Ok(())
}

fn control(appliance: &Appliance) -> String {
    let nic = appliance.nics.iter().find(|nic| nic.purpose == NicPurpose::Control);
    nic.map(|nic| nic.mac.to_string()).unwrap_or_default()
}

fn others(appliance: &Appliance) -> impl Iterator<Item = &ApplianceNic> {
    appliance.nics.iter().filter(|nic| nic.purpose != NicPurpose::Control)
}

/// A word that a shell takes as it is.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,".contains(c);
    if text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

fn command(appliance: &Appliance, args: &QemuArgs) -> String {
    let id = &appliance.id;
    let disk = args.disk.clone().unwrap_or_else(|| format!("{id}.qcow2").into());
    let (address, port) = (appliance.control.ip(), args.port);
    let network = appliance.control.network();
    let mut lines = vec![
        "qemu-system-x86_64 -m 128 -nographic".to_owned(),
        format!("-drive {}", quoted(&format!("file={},if=virtio", disk.display()))),
        format!(
            "-fw_cfg {}",
            quoted(&format!("name=opt/sluice/boot,file={}", args.boot.display()))
        ),
        format!(
            "-netdev user,id=control,net={network},hostfwd=tcp:127.0.0.1:{port}-{address}:{}",
            sluice_api::AGENT_PORT.get()
        ),
        format!("-device virtio-net-pci,netdev=control,mac={}", control(appliance)),
    ];
    for (number, nic) in (1..).zip(others(appliance)) {
        let ApplianceNic { link, mac, .. } = nic;
        lines.push(format!("-netdev hubport,id={link},hubid={number}"));
        lines.push(format!("-device virtio-net-pci,netdev={link},mac={mac}"));
    }
    if let Some(socket) = &args.qmp {
        let socket = format!("unix:{},server=on,wait=off", socket.display());
        lines.push(format!("-qmp {}", quoted(&socket)));
    }
    lines.join(" \\\n  ") + "\n"
}

/// A wire for each purpose and physical network.
fn wire(nic: &ApplianceNic) -> String {
    let purpose = match nic.purpose {
        NicPurpose::Control => "control",
        NicPurpose::Public => "public",
        NicPurpose::Trunk => "trunk",
        NicPurpose::Storage => "storage",
    };
    let within = nic.physical_network.as_ref().map(|id| format!("-{id}")).unwrap_or_default();
    format!("{purpose}{within}")
}

fn lab(appliance: &Appliance, networks: Vec<Network>, guests: &[Guest], args: &LabArgs) -> String {
    let mut text = format!("name = \"{}\"\n\n", appliance.id);
    let wires: Vec<_> = others(appliance).map(wire).collect();
    for wire in &wires {
        text.push_str(&format!("[wires.{wire}]\n"));
    }
    text.push_str(&machine(appliance, args));
    let networks: BTreeMap<_, _> =
        networks.into_iter().map(|network| (network.id.clone(), network)).collect();
    for guest in guests {
        text.push_str(&host(guest, &networks));
    }
    if let Some(public) = wires.iter().find(|wire| wire.starts_with("public")) {
        text.push_str(&format!(
            "\n[machines.inet]\nkind = \"host\"\nnics = [{{ wire = \"{public}\" }}]\n"
        ));
    }
    text
}

fn machine(appliance: &Appliance, args: &LabArgs) -> String {
    let nics: Vec<_> = others(appliance)
        .map(|nic| format!("    {{ wire = \"{}\", mac = \"{}\" }},\n", wire(nic), nic.mac))
        .collect();
    format!(
        "\n[machines.{}]\nboot = {:?}\ncontrol = {{ address = \"{}\", mac = \"{}\" }}\nnics = [\n{}]\n",
        appliance.id,
        args.boot.display().to_string(),
        appliance.control,
        control(appliance),
        nics.concat()
    )
}

/// A guest sits behind an access port: it sees no tags, as on a hypervisor's bridge.
fn host(guest: &Guest, networks: &BTreeMap<sluice_api::types::ObjectId, Network>) -> String {
    let nics: Vec<_> = guest
        .nics
        .iter()
        .filter_map(|nic| {
            let network = networks.get(&nic.network)?;
            Some(format!(
                "{{ wire = \"trunk-{}\", vlan = {}, mac = \"{}\" }}",
                network.physical_network, network.vlan, nic.mac
            ))
        })
        .collect();
    if nics.is_empty() {
        return String::new();
    }
    format!("\n[machines.{}]\nkind = \"host\"\nnics = [{}]\n", guest.name, nics.join(", "))
}
