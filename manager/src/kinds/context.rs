//! The transaction of a change, as kinds see it.

use std::collections::{BTreeMap, BTreeSet};

use sluice_api::types::{ApplianceId, BlobDigest, ObjectId, Secret};

use super::{Kind, dynamic, table};
use crate::access::Caller;
use crate::error::Error;
use crate::store::objects::{self, ALL};
use crate::store::{Conn, Owner, Scope, Taken, blobs, from_json};

/// The transaction that a change is made in.
pub struct Context<'c> {
    /// The transaction.
    pub conn: &'c mut Conn,
    /// The request's id.
    pub(crate) request: Option<&'c str>,
    /// Who asked.
    pub(crate) actor: &'c str,
    /// Whose objects are made, and among whose those are looked for that are named.
    pub(crate) owner: &'c Owner,
    /// Appliances to compile before the transaction ends.
    pub(crate) touched: BTreeSet<ApplianceId>,
    /// The zones that a description is about: what it names without a zone is looked for there alone. Empty: anywhere.
    pub(crate) zones: Vec<ObjectId>,
    /// A description is applied: nobody looks at what comes of a single object.
    pub(crate) describing: bool,
    /// Secrets by object, for this answer alone.
    pub(crate) once: BTreeMap<ObjectId, BTreeMap<&'static str, String>>,
}

impl<'c> Context<'c> {
    /// A change that nothing is known of yet.
    pub(crate) fn new(conn: &'c mut Conn, caller: &'c Caller, request: Option<&'c str>) -> Self {
        Self {
            conn,
            request,
            actor: &caller.name,
            owner: &caller.owner,
            touched: BTreeSet::new(),
            zones: Vec::new(),
            describing: false,
            once: BTreeMap::new(),
        }
    }

    /// Has the configuration of `appliance` compiled before the transaction ends.
    pub fn touch(&mut self, appliance: &ApplianceId) {
        self.touched.insert(appliance.clone());
    }

    /// Tells the caller a secret of an object, under `once` of the answer: it is kept nowhere, and a repeated request does
    /// not get it again.
    pub fn tell_once(&mut self, object: &ObjectId, field: &'static str, secret: &str) {
        self.once.entry(object.clone()).or_default().insert(field, secret.to_owned());
    }

    /// For whom an item of a pool is taken: `owner` is the id of an object; `appliance` has to confirm its release.
    pub fn taken<'t>(
        &self,
        owner: &'t str,
        purpose: &'t str,
        appliance: Option<&'t ApplianceId>,
    ) -> Taken<'t>
    where
        'c: 't,
    {
        let appliance = appliance.map(ApplianceId::as_str);
        Taken { owner, purpose, appliance, request: self.request }
    }

    /// The object of kind `K` with this name or id, inside the object `within` of [`Kind::SCOPE`] if that is known.
    pub async fn find<K: Kind>(
        &mut self,
        within: Option<&ObjectId>,
        name: &ObjectId,
    ) -> Result<K, Error> {
        let mut found =
            dynamic::called::<K>(self.conn, Scope::Of(self.owner), within, name).await?;
        dynamic::only_of_zones(&mut found, &self.zones);
        dynamic::only(K::NAMES.word, name, found, |object: &K| object.id().to_string())
    }

    /// The object with this id, which another refers to.
    pub async fn get<K: Kind>(&mut self, id: &ObjectId) -> Result<K, Error> {
        dynamic::by_id(self.conn, id).await
    }

    /// All objects of kind `K` with these texts in these columns, whoever owns them: rules between objects hold for all.
    pub async fn all<K: Kind>(&mut self, filter: objects::Where<'_>) -> Result<Vec<K>, Error> {
        dynamic::load(self.conn, filter, ALL).await
    }

    /// The same for contents of any sort: what is there is found by an index, however many others there are.
    pub(super) async fn matching<K: Kind>(
        &mut self,
        equal: objects::Cells<'_>,
    ) -> Result<Vec<K>, Error> {
        dynamic::matching(self.conn, equal).await
    }

    /// Of those with these contents, the one with the largest number in `below.0` that is `below.1` or less.
    pub(super) async fn nearest<K: Kind>(
        &mut self,
        equal: objects::Cells<'_>,
        below: (&'static str, i64),
    ) -> Result<Option<K>, Error> {
        let line = objects::nearest(self.conn, &table::<K>(), equal, below).await?;
        line.map(|line| from_json(&line.body, K::NAMES.word)).transpose()
    }

    /// Some of those that have `of.1` in the column `of.0`, and something else than `not.1` in `not.0`.
    pub(super) async fn others<K: Kind>(
        &mut self,
        of: (&'static str, &str),
        not: (&'static str, &str),
    ) -> Result<Vec<K>, Error> {
        let lines = objects::others(self.conn, &table::<K>(), of, not).await?;
        lines.iter().map(|line| from_json(&line.body, K::NAMES.word)).collect()
    }

    /// How many objects of kind `K` have `of.1` in the column `of.0`, `most` at most.
    pub(super) async fn count<K: Kind>(
        &mut self,
        of: (&'static str, &str),
        most: i64,
    ) -> Result<i64, Error> {
        objects::count(self.conn, &table::<K>(), of, most).await
    }

    /// The same of the caller's own.
    pub async fn own<K: Kind>(&mut self, filter: objects::Where<'_>) -> Result<Vec<K>, Error> {
        dynamic::load_in(self.conn, Scope::Of(self.owner), filter, ALL).await
    }

    /// Makes an object of another kind within this change.
    pub async fn make<K: Kind>(&mut self, spec: K::Spec) -> Result<K, Error> {
        Box::pin(dynamic::create(self, spec)).await
    }

    /// Writes an object that was changed, and has its appliances compiled.
    pub async fn save<K: Kind>(&mut self, object: &K) -> Result<(), Error> {
        Box::pin(dynamic::save(self, object)).await
    }

    /// Deletes an object of another kind within this change.
    pub async fn remove<K: Kind>(&mut self, object: K) -> Result<(), Error> {
        Box::pin(dynamic::delete(self, object)).await.map(drop)
    }

    /// Keeps a secret that could be guessed, and returns the digest that a configuration names: a line of random text comes first, so that the digest does not tell
    /// when a guess is right.
    pub async fn keep_secret(
        &mut self,
        field: &'static str,
        secret: &Secret,
    ) -> Result<BlobDigest, Error> {
        if secret.reveal().is_empty() {
            return Err(Error::Invalid { field, reason: "must not be empty".to_owned() });
        }
        let salt: [u8; 16] = rand::random();
        let mut bytes: String = salt.iter().map(|byte| format!("{byte:02x}")).collect();
        bytes.push('\n');
        bytes.push_str(secret.reveal());
        self.keep(bytes.as_bytes()).await
    }

    /// The same for a secret that a new object needs.
    pub async fn keep_required(
        &mut self,
        field: &'static str,
        secret: Option<&Secret>,
    ) -> Result<BlobDigest, Error> {
        match secret {
            Some(secret) => self.keep_secret(field, secret).await,
            None => Err(Error::Invalid { field, reason: "must be given".to_owned() }),
        }
    }

    /// Keeps bytes that are too large or too secret for a configuration, which names them by this digest.
    pub async fn keep(&mut self, bytes: &[u8]) -> Result<BlobDigest, Error> {
        blobs::put(self.conn, bytes).await
    }
}
