//! What the password process is told: who is who, and the passwords that are to be handed out.

use std::collections::{BTreeMap, BTreeSet};
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
    /// Why the password that it was to be given cannot be handed out. None: it can be, or there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unusable: Option<String>,
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

    /// The guests whose password cannot be handed out, and why.
    pub(super) fn unusable(&self) -> BTreeMap<ObjectId, String> {
        let guests = self.networks.iter().flat_map(|network| &network.guests);
        guests.filter_map(|guest| Some((guest.id.clone(), guest.unusable.clone()?))).collect()
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
/// A password that `blob` does not have is left out; of one that cannot be handed out it is said why.
pub fn slice(
    config: &RouterDocument,
    blob: impl Fn(&BlobDigest) -> Option<SecretBytes>,
) -> PasswordSlice {
    let of_guest = |guest: &Guest| {
        let given = guest.metadata.password.as_ref();
        let read = given.and_then(|given| Some((given, secret(&blob(&given.blob)?))));
        let (password, unusable) = match read {
            Some((given, Ok(secret))) => (Some(password(given, secret)), None),
            Some((_, Err(reason))) => (None, Some(reason)),
            None => (None, None),
        };
        PasswordGuest {
            id: guest.id.clone(),
            mac: guest.mac,
            addresses: std::iter::once(guest.address)
                .chain(guest.secondary_addresses.clone())
                .collect(),
            password,
            unusable,
        }
    };
    let of_network = |network: &GuestNetwork| PasswordNetwork {
        link: network.link.clone(),
        listen: network.spans().map(|(_, gateway)| gateway).collect(),
        guests: network.guests.iter().map(of_guest).collect(),
    };
    PasswordSlice { networks: config.role.networks.iter().map(of_network).collect(), port: PORT }
}

fn password(given: &GuestPassword, secret: Secret) -> Password {
    Password { digest: given.blob, secret, valid_seconds: given.valid_seconds.get() }
}

/// The password behind the first line, which is there to make the digest of no use to whoever guesses.
///
/// Errors: there is none, or none that can be handed out; the reason tells nothing of it.
fn secret(blob: &SecretBytes) -> Result<Secret, String> {
    let text = blob.reveal_text().ok_or("must be text (UTF-8)")?;
    let (_, password) = text.split_once('\n').ok_or("must stand behind a line of random text")?;
    let password = password.strip_suffix('\n').unwrap_or(password);
    GuestPassword::usable(password)?;
    Ok(Secret::new(password))
}

#[cfg(test)]
mod tests {
    use sluice_api::types::PasswordSeconds;

    use super::*;

    #[test]
    fn a_password_is_the_line_behind_the_random_one() {
        let of = |bytes: &[u8]| secret(&SecretBytes::new(bytes)).map(|it| it.reveal().to_owned());
        assert_eq!(of(b"4f1d\nhunter2").as_deref(), Ok("hunter2"));
        assert_eq!(of(b"4f1d\nhunter2\n").as_deref(), Ok("hunter2"));
        let long = format!("4f1d\n{}", "x".repeat(257));
        for (bad, reason) in [
            (&b"hunter2"[..], "must stand behind a line of random text"),
            (b"4f1d\n", "must not be empty"),
            (b"4f1d\na\nb", "must have no control characters, such as a line end"),
            (b"4f1d\na\x07b", "must have no control characters, such as a line end"),
            (b"4f1d\n\xff", "must be text (UTF-8)"),
            (long.as_bytes(), "257 bytes are more than 256"),
        ] {
            assert_eq!(of(bad), Err(reason.to_owned()));
        }
    }

    #[test]
    fn a_password_that_cannot_be_handed_out_is_told_of_with_its_guest() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/router.json");
        let mut config = crate::desk::load_sound(&path).unwrap();
        let of = |bytes: &[u8]| GuestPassword {
            blob: BlobDigest::of(bytes),
            valid_seconds: PasswordSeconds::default(),
        };
        let blobs = [&b"4f1d\nhunter2"[..], b"4f1d\ntwo\nlines"];
        let guests = &mut config.role.networks[0].guests;
        for (guest, blob) in guests.iter_mut().zip(blobs) {
            guest.metadata.password = Some(of(blob));
        }
        let bad = guests[1].id.clone();
        let kept = |digest: &BlobDigest| {
            let of_digest = blobs.iter().find(|blob| BlobDigest::of(blob) == *digest);
            of_digest.map(|blob| SecretBytes::new(*blob))
        };
        let made = slice(&config, kept);
        assert_eq!(made.passwords().count(), 1);
        let reason = "must have no control characters, such as a line end".to_owned();
        assert_eq!(made.unusable(), BTreeMap::from([(bad, reason)]));
        assert!(
            slice(&config, |_| None).unusable().is_empty(),
            "a blob that is missing is told of elsewhere"
        );
    }
}
