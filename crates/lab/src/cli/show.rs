//! `status`: tables for people, JSON for programs.

use anyhow::Result;
use comfy_table::{Table, presets};
use sluice_api::types::MacAddr;
use sluice_sys::stdout;

use crate::daemon::Client;
use crate::lab::LabStatus;
use crate::qemu::MachineStatus;
use crate::wire::{Counters, WireStatus};

pub(super) async fn status(client: &Client, json: bool) -> Result<()> {
    let status = client.status().await?;
    if json {
        stdout::line(serde_json::to_string(&status)?)?;
    } else {
        stdout::line(tables(&status))?;
    }
    Ok(())
}

/// The whole status as text.
pub(super) fn tables(status: &LabStatus) -> String {
    let mut parts = vec![format!("lab {}", status.name)];
    if !status.machines.is_empty() {
        parts.push(machines(&status.machines).to_string());
    }
    if !status.wires.is_empty() {
        parts.push(wires(&status.wires).to_string());
    }
    parts.extend(status.namespaces.iter().map(|(name, full)| {
        format!("namespace {name}: `ip netns exec {full} ...`, or `lab exec {name} -- ...`")
    }));
    parts.join("\n")
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header.iter().copied());
    table
}

fn machines(machines: &[MachineStatus]) -> Table {
    let mut table = table(&["machine", "kind", "power", "by", "API", "MACs"]);
    for machine in machines {
        let kind = format!("{:?}", machine.kind).to_lowercase();
        // as `sluice appliance endpoint` takes it
        let endpoint = machine.endpoint.map(|endpoint| endpoint.to_string());
        let macs: Vec<String> = machine.macs.iter().map(|mac| nic(machine, mac)).collect();
        table.add_row([
            machine.name.clone(),
            kind,
            power(machine).to_owned(),
            machine.accelerator.clone(),
            endpoint.unwrap_or_default(),
            macs.join("\n"),
        ]);
    }
    table
}

fn power(machine: &MachineStatus) -> &'static str {
    match (machine.on, machine.paused) {
        (false, _) => "off",
        (true, true) => "on, halted",
        (true, false) => "on",
    }
}

fn nic(machine: &MachineStatus, mac: &MacAddr) -> String {
    let missing = machine.without_carrier.contains(mac);
    if missing { format!("{mac} no carrier") } else { mac.to_string() }
}

fn wires(wires: &[WireStatus]) -> Table {
    let mut table = table(&["wire", "station", "VLAN", "in", "out", "lost", "state"]);
    for wire in wires {
        let impairment = &wire.impairment;
        let mut state = vec![if wire.cut { "cut".to_owned() } else { "whole".to_owned() }];
        if impairment.loss_percent.get() > 0.0 {
            state.push(format!("loses {} %", impairment.loss_percent.get()));
        }
        if impairment.delay_ms + impairment.jitter_ms > 0 {
            state.push(format!("{} ms + 0..{} ms", impairment.delay_ms, impairment.jitter_ms));
        }
        table.add_row(row(&wire.name, "", "", &wire.counters, &state.join(", ")));
        for port in &wire.ports {
            let vlan = port.vlan.map_or_else(|| "trunk".to_owned(), |vlan| vlan.to_string());
            let cut = if port.cut { "cut" } else { "" };
            table.add_row(row("", &port.station, &vlan, &port.counters, cut));
        }
    }
    table
}

fn row(wire: &str, station: &str, vlan: &str, counters: &Counters, state: &str) -> [String; 7] {
    let dropped = counters.lost + counters.cut + counters.refused + counters.overflow;
    [
        wire.to_owned(),
        station.to_owned(),
        vlan.to_owned(),
        counters.in_frames.to_string(),
        counters.out_frames.to_string(),
        dropped.to_string(),
        state.to_owned(),
    ]
}
