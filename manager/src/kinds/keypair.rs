//! Pairs of keys for SSH (guide 5.2): the public one is put into guests, the private one is its owner's alone.
//!
//! Guarantees: a private key that is made here is in the answer to its making and nowhere else, the store and repeated
//! answers included.

use serde::{Deserialize, Serialize};
use sluice_api::types::{ObjectId, PublicKey};
use utoipa::ToSchema;

use super::guest::Guest;
use super::{Column, Context, Kind, Names, NoPatch, named};
use crate::error::Error;
use crate::ssh::Pair;

/// A pair of keys, as far as it is known here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = SshKeypair)]
pub struct Keypair {
    /// Never used again once deleted.
    pub id: ObjectId,
    /// Unique.
    pub name: ObjectId,
    /// The public key.
    pub public_key: PublicKey,
}

/// A pair of keys to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KeypairSpec {
    /// Unique.
    pub name: ObjectId,
    /// A public key that its owner has: a line of `authorized_keys` without options. Default: a pair is made (Ed25519), and
    /// the answer has the private key under `once`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key: Option<PublicKey>,
}

impl Kind for Keypair {
    const NAMES: Names = Names {
        word: "keypair",
        plural: "keypairs",
        prefix: "kp",
        about: "Keys by which guests let their owners in",
    };
    const COLUMNS: &'static [Column] =
        &[("ID", "/id"), ("NAME", "/name"), ("PUBLIC KEY", "/public_key")];

    type Spec = KeypairSpec;
    type Patch = NoPatch;

    named!();

    async fn create(
        context: &mut Context<'_>,
        id: ObjectId,
        spec: KeypairSpec,
    ) -> Result<Self, Error> {
        let public_key = match spec.public_key {
            Some(public_key) => public_key,
            None if context.describing => {
                let reason = "must be given in a description: a key that is made is shown once";
                return Err(Error::Invalid { field: "public_key", reason: reason.to_owned() });
            }
            None => {
                let pair = Pair::generate(spec.name.as_str());
                context.tell_once(&id, "private_key", pair.private());
                pair.public().parse::<PublicKey>().map_err(|error| Error::Corrupt {
                    what: "public key",
                    reason: format!("{error}"),
                })?
            }
        };
        Ok(Self { id, name: spec.name, public_key })
    }

    /// Guests have it by name, so they are asked.
    async fn deleting(&mut self, context: &mut Context<'_>) -> Result<(), Error> {
        match Guest::with_keypair(context, self).await? {
            Some(guest) => Err(Error::InUse {
                kind: Self::NAMES.word,
                name: self.name(),
                by: format!("guest {}", guest.name),
            }),
            None => Ok(()),
        }
    }
}
