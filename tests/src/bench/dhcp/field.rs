//! Two namespaces, a wire, and the files that the servers and the load need.

use std::fmt::Write;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use anyhow::Result;
use serde_json::json;
use sluice_api::config::GuestDhcp;
use sluice_api::types::MacAddr;
use sluice_lab::netns::{Namespace, Topology, VethEnd};
use sluice_router::dhcp::{DhcpSlice, NetworkSlice, Reservation};

/// Guests that every server knows.
pub(super) const GUESTS: u16 = 10_000;
/// The server's address.
pub(super) const SERVER: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 1);
/// The load's address: it acts as a relay, as perfdhcp always does for DHCPv4.
pub(super) const RELAY: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 2);
/// Device in the servers' namespace.
pub(super) const SERVER_LINK: &str = "srv";
/// Device in the load's namespace.
pub(super) const LOAD_LINK: &str = "cli";
const FIRST: u32 = 0x0a01_1000;

/// The field of the competition.
pub(super) struct Field {
    pub(super) servers: Namespace,
    pub(super) load: Namespace,
    folder: tempfile::TempDir,
    _topology: Topology,
}

/// The address of guest `number`.
pub(super) fn address(number: u16) -> Ipv4Addr {
    Ipv4Addr::from(FIRST + u32::from(number))
}

/// The MAC of guest `number`.
pub(super) fn mac(number: u16) -> [u8; 6] {
    let [high, low] = number.to_be_bytes();
    [2, 0, 0, 0, high, low]
}

fn mac_text(number: u16) -> String {
    mac(number).map(|byte| format!("{byte:02x}")).join(":")
}

impl Field {
    pub(super) fn new() -> Result<Self> {
        let mut topology = Topology::new()?;
        let servers = topology.namespace("bench-s")?;
        let load = topology.namespace("bench-l")?;
        let [near, far] = [SERVER_LINK.parse()?, LOAD_LINK.parse()?];
        topology.veth(
            &VethEnd::new(&servers, SERVER_LINK.parse()?),
            &VethEnd::new(&load, LOAD_LINK.parse()?),
        )?;
        servers.address(&near, format!("{SERVER}/16").parse()?)?;
        load.address(&far, format!("{RELAY}/16").parse()?)?;
        let this = Self { servers, load, folder: tempfile::tempdir()?, _topology: topology };
        this.write_files()?;
        Ok(this)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write_files(&self) -> Result<()> {
        std::fs::write(self.path("slice.json"), serde_json::to_vec(&slice()?)?)?;
        std::fs::write(self.path("kea.json"), serde_json::to_vec(&kea())?)?;
        let (mut hosts, mut macs) = (String::new(), String::new());
        for number in 0..GUESTS {
            let mac = mac_text(number);
            writeln!(hosts, "{mac},{},vm{number}", address(number))?;
            writeln!(macs, "{mac}")?;
        }
        std::fs::write(self.path("hosts"), hosts)?;
        std::fs::write(self.path("macs"), macs)?;
        Ok(())
    }
}

fn slice() -> Result<DhcpSlice> {
    let guests = (0..GUESTS).map(reservation).collect::<Result<_>>()?;
    let network = NetworkSlice {
        link: SERVER_LINK.parse()?,
        cidr: "10.1.0.0/16".parse()?,
        gateway: SERVER,
        resolvers: vec![SERVER],
        domain: "cs1.cloud.internal".parse()?,
        mtu: 1500.try_into()?,
        lease_seconds: 3600.try_into()?,
        routes: Vec::new(),
        options: Vec::new(),
        boot: None,
        pools: Vec::new(),
        kept: Vec::new(),
        guests,
    };
    Ok(DhcpSlice { networks: vec![network] })
}

fn reservation(number: u16) -> Result<Reservation> {
    let mac: MacAddr = mac_text(number).parse()?;
    let hostname = format!("vm{number}").parse()?;
    Ok(Reservation {
        mac,
        address: address(number),
        hostname,
        default_nic: true,
        dhcp: GuestDhcp::default(),
    })
}

/// Kea at its fastest for this job: leases in memory only, one thread for one core, errors alone logged.
fn kea() -> serde_json::Value {
    let reservations: Vec<_> = (0..GUESTS)
        .map(|number| {
            json!({
                "hw-address": mac_text(number),
                "ip-address": address(number),
                "hostname": format!("vm{number}"),
            })
        })
        .collect();
    json!({ "Dhcp4": {
        "interfaces-config": { "interfaces": [SERVER_LINK], "dhcp-socket-type": "udp" },
        "lease-database": { "type": "memfile", "persist": false },
        "multi-threading": { "enable-multi-threading": false },
        "host-reservation-identifiers": ["hw-address"],
        "reservations-global": false,
        "reservations-in-subnet": true,
        "reservations-out-of-pool": true,
        "valid-lifetime": 3600,
        "subnet4": [{
            "id": 1,
            "subnet": "10.1.0.0/16",
            "option-data": [
                { "name": "routers", "data": SERVER },
                { "name": "domain-name-servers", "data": SERVER },
                { "name": "domain-name", "data": "cs1.cloud.internal" },
            ],
            "reservations": reservations,
        }],
        "loggers": [{
            "name": "kea-dhcp4",
            "output_options": [{ "output": "stderr" }],
            "severity": "ERROR",
        }],
    }})
}
