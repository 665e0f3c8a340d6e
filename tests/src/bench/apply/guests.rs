//! Guests of one network, in the form of a configuration and in that of dnsmasq's files.

use std::fmt::Write;
use std::net::Ipv4Addr;

use anyhow::Result;
use sluice_api::config::{Guest, GuestDhcp, GuestMetadata};
use sluice_api::types::MacAddr;

/// Domain of the names.
pub(super) const DOMAIN: &str = "cs1.cloud.internal";
/// Where addresses start; even and odd rounds of changes of all guests have ranges of their own.
const FIRST: u32 = 0x0a01_1000;
const SECOND: u32 = 0x0a01_4000;
/// Where addresses of single changes are from.
const SINGLE: u32 = 0x0a01_8000;

/// Guests, each with a name that tells how often it was changed.
pub(super) struct Guests {
    rounds: u32,
    list: Vec<One>,
}

#[derive(Clone)]
struct One {
    mac: [u8; 6],
    address: Ipv4Addr,
    name: String,
}

impl Guests {
    pub(super) fn new(count: usize) -> Self {
        let mut this = Self { rounds: 0, list: Vec::new() };
        for number in 0..u32::try_from(count).unwrap_or(0) {
            let [_, high, middle, low] = number.to_be_bytes();
            let mac = [2, 0, 1, high, middle, low];
            let address = Ipv4Addr::from(FIRST + number);
            this.list.push(One { mac, address, name: format!("vm{number}") });
        }
        this
    }

    /// Another name and address for one guest: which one, is the answer.
    pub(super) fn change_one(&mut self, change: usize) -> usize {
        let at = change * 7919 % self.list.len().max(1);
        let number = u32::try_from(change).unwrap_or(0);
        if let Some(guest) = self.list.get_mut(at) {
            guest.address = Ipv4Addr::from(SINGLE + number);
            guest.name = format!("vm{at}-c{change}");
        }
        at
    }

    /// Another name and address for all of them.
    pub(super) fn change_all(&mut self) {
        self.rounds += 1;
        let base = if self.rounds.is_multiple_of(2) { FIRST } else { SECOND };
        for (guest, number) in self.list.iter_mut().zip(0..) {
            guest.address = Ipv4Addr::from(base + number);
            guest.name = format!("vm{number}-r{}", self.rounds);
        }
    }

    /// Whole name and address of a guest.
    pub(super) fn name(&self, at: usize) -> (String, Ipv4Addr) {
        let guest = self.list.get(at % self.list.len().max(1));
        guest.map_or((String::new(), Ipv4Addr::UNSPECIFIED), |guest| {
            (format!("{}.{DOMAIN}", guest.name), guest.address)
        })
    }

    /// As a configuration has them.
    pub(super) fn configured(&self) -> Result<Vec<Guest>> {
        let one = |(number, guest): (usize, &One)| {
            let mac: MacAddr = colons(guest.mac).parse()?;
            let (address, hostname) = (guest.address, guest.name.parse()?);
            Ok(Guest {
                id: format!("vm{number}-0").parse()?,
                mac,
                address,
                secondary_addresses: Vec::new(),
                hostname,
                default_nic: true,
                dhcp: GuestDhcp::default(),
                metadata: GuestMetadata::default(),
            })
        };
        self.list.iter().enumerate().map(one).collect()
    }

    /// As `dnsmasq --addn-hosts` and `--dhcp-hostsfile` read them.
    pub(super) fn files(&self) -> (String, String) {
        let (mut hosts, mut reservations) = (String::new(), String::new());
        for guest in &self.list {
            let One { mac, address, name } = guest;
            // writing to a String cannot fail
            let _ = writeln!(hosts, "{address} {name}.{DOMAIN}");
            let _ = writeln!(reservations, "{},{address},{name},1h", colons(*mac));
        }
        (hosts, reservations)
    }
}

fn colons(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}
