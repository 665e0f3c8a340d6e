//! What the password process is told: who is who, and the passwords that are to be handed out.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sluice_api::RouterDocument;
use sluice_api::config::{Guest, GuestNetwork, GuestPassword};
use sluice_api::types::{BlobDigest, LinkName, MacAddr, ObjectId, Secret, SecretBytes};

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
    pub digest: BlobDigest,
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

/// The password process's part of `config`, with the bytes that `blob` gives; the same configuration gives the same slice.
///
/// A password that `blob` does not have, or not in the form that it must have, is left out.
pub fn slice(
    config: &RouterDocument,
    blob: impl Fn(&BlobDigest) -> Option<SecretBytes>,
) -> PasswordSlice {
    let of_guest = |guest: &Guest| PasswordGuest {
        id: guest.id.clone(),
        mac: guest.mac,
        addresses: std::iter::once(guest.address)
            .chain(guest.secondary_addresses.clone())
            .collect(),
        password: guest.metadata.password.as_ref().and_then(|password| {
            Some(Password {
                digest: password.blob,
                secret: secret(&blob(&password.blob)?)?,
                valid_seconds: password.valid_seconds.get(),
            })
        }),
    };
    let of_network = |network: &GuestNetwork| PasswordNetwork {
        link: network.link.clone(),
        listen: network.spans().map(|(_, gateway)| gateway).collect(),
        guests: network.guests.iter().map(of_guest).collect(),
    };
    PasswordSlice { networks: config.role.networks.iter().map(of_network).collect(), port: PORT }
}

/// The password behind the first line, which is there to make the digest of no use to whoever guesses.
fn secret(blob: &SecretBytes) -> Option<Secret> {
    let (_, password) = blob.reveal_text()?.split_once('\n')?;
    let password = password.strip_suffix('\n').unwrap_or(password);
    GuestPassword::usable(password).ok().map(|()| Secret::new(password))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_the_line_behind_the_random_one() {
        let of = |text: &str| secret(&SecretBytes::new(text)).map(|it| it.reveal().to_owned());
        assert_eq!(of("4f1d\nhunter2").as_deref(), Some("hunter2"));
        assert_eq!(of("4f1d\nhunter2\n").as_deref(), Some("hunter2"));
        for bad in ["hunter2", "4f1d\n", "4f1d\na\nb", "4f1d\na\u{7}b", &format!("x\n{:300}", "")] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }
}
