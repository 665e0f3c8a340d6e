//! What the password process is told: who is who, and the passwords that are to be handed out.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sluice_api::RouterConfig;
use sluice_api::config::{Guest, GuestNetwork};
use sluice_api::types::{LinkName, MacAddr, ObjectId, Secret};

use super::book::Incoming;
use crate::endpoint::Endpoint;
use crate::web::{Directory, endpoints};

/// Port of the protocol.
const PORT: u16 = 8080;

/// Everything the password process needs of one configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PasswordSlice {
    /// Networks served, at most one per link.
    pub networks: Vec<PasswordNetwork>,
    /// Port to answer on. Default 8080.
    #[serde(default = "default_port")]
    pub port: u16,
}

fn default_port() -> u16 {
    PORT
}

/// One network on one link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PasswordNetwork {
    /// The link that is listened on.
    pub link: LinkName,
    /// The router's addresses on it that answer.
    pub listen: Vec<Ipv4Addr>,
    /// Who is answered.
    pub guests: Vec<PasswordGuest>,
}

/// One guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PasswordGuest {
    /// Its id in the configuration.
    pub id: ObjectId,
    /// Its Ethernet address.
    pub mac: MacAddr,
    /// Its addresses.
    pub addresses: Vec<Ipv4Addr>,
    /// The password that waits for it. None: it is told that there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Password>,
}

/// A password to be handed out once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Password {
    /// Tells it from the one before.
    pub digest: String,
    /// The password.
    pub secret: Secret,
    /// How long it waits, in seconds from when this process first hears of it.
    pub valid_seconds: u32,
}

impl PasswordSlice {
    /// Where it is to be listened.
    pub(super) fn endpoints(&self) -> BTreeSet<Endpoint> {
        let each = self.networks.iter().flat_map(|network| {
            let addresses = network.listen.iter().map(|address| (*address).into());
            endpoints(&network.link, self.port, addresses)
        });
        each.collect()
    }

    /// The guests as they are looked up.
    pub(super) fn directory(&self) -> Directory<ObjectId> {
        let mut directory = Directory::default();
        for network in &self.networks {
            for guest in &network.guests {
                let addresses = guest.addresses.iter().copied();
                directory.enter(&network.link, guest.mac, addresses, guest.id.clone());
            }
        }
        directory
    }

    /// Every password.
    pub(super) fn passwords(&self) -> impl Iterator<Item = Incoming<'_>> {
        let guests = self.networks.iter().flat_map(|network| &network.guests);
        guests.filter_map(|guest| {
            let password = guest.password.as_ref()?;
            Some(Incoming {
                guest: &guest.id,
                digest: &password.digest,
                secret: &password.secret,
                valid: Duration::from_secs(password.valid_seconds.into()),
            })
        })
    }
}

/// The password process's part of `config`; the same configuration gives the same slice.
pub fn slice(config: &RouterConfig) -> PasswordSlice {
    let networks = config.networks.iter().map(of_network).collect();
    PasswordSlice { networks, port: PORT }
}

fn of_network(network: &GuestNetwork) -> PasswordNetwork {
    let of_guest = |guest: &Guest| PasswordGuest {
        id: guest.id.clone(),
        mac: guest.mac,
        addresses: vec![guest.address],
        password: None,
    };
    PasswordNetwork {
        link: network.link.clone(),
        listen: vec![network.gateway],
        guests: network.guests.iter().map(of_guest).collect(),
    }
}
