//! What stands around the cloud of examples/vpn.toml: an office and somebody on the road.
//!
//! The machine behind the public gateway is the office's gateway too, so that one machine less is needed.

use std::net::Ipv4Addr;

use anyhow::Result;
use sluice_lab::spec::{LabSpec, MachineSpec, NicSpec};

use super::strongswan::{self, Site};
use super::warrior::{MS_CHAP, Warrior};
use crate::cloud::{INTERNET, PUBLIC, Shell, internet};

/// The address that tunnels end at.
pub const VPN: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 11);
/// The office's gateway, and a machine behind it.
pub const OFFICE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 30);
/// A machine of the office.
pub const DESK: &str = "172.16.1.1";
/// The machine of who is on the road.
pub const ROAD: &str = "road";
/// Its address there.
pub const ABROAD: &str = "198.51.100.40";
/// The router's end of clients' links.
pub const SERVER: Ipv4Addr = Ipv4Addr::new(10, 9, 9, 1);
/// The first address that a client is given.
pub const CLIENT: &str = "10.9.9.2";

/// Adds the machine on the road to the cloud's.
pub fn with_road(mut spec: LabSpec) -> Result<LabSpec> {
    let road = MachineSpec::host().nic(NicSpec::on(PUBLIC.parse()?));
    spec.machines.insert(ROAD.parse()?, road);
    Ok(spec)
}

/// Addresses and daemons, and no tunnel yet.
pub async fn set_up(shell: &dyn Shell) -> Result<()> {
    internet::set_up(shell).await?;
    let office = format!("ip addr add {OFFICE}/24 dev eth0; ip addr add {DESK}/24 dev lo");
    shell.done(INTERNET, &office).await?;
    let road = format!(
        "ip link set lo up; ip addr add {ABROAD}/24 dev eth0; ip link set eth0 up; \
         ip route add default via 198.51.100.1"
    );
    shell.done(ROAD, &road).await.map(drop)
}

/// The office's gateway gets its side of the tunnel, which the router has been trying to begin.
pub async fn office_opens(shell: &dyn Shell) -> Result<()> {
    let site = Site {
        address: OFFICE,
        router: VPN,
        network: "172.16.1.0/24".to_owned(),
        remote: "10.0.0.0/16".to_owned(),
        version: 2,
        ike: "aes256-sha256-modp2048".to_owned(),
        esp: "aes256-sha256-modp2048".to_owned(),
        key: "the key of the office, in this example".to_owned(),
    };
    strongswan::start(shell, INTERNET).await?;
    strongswan::load(shell, INTERNET, &site.swanctl()).await
}

/// One of the users.
pub fn anna() -> Warrior {
    Warrior {
        router: VPN,
        key: "the key of all clients, in this example".to_owned(),
        user: "anna".to_owned(),
        password: "correct horse battery staple".to_owned(),
        method: MS_CHAP,
    }
}
