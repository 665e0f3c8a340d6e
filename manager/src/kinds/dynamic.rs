//! What is the same for every kind: rows, names, references, what is in use; and a kind as a value.
//!
//! Guarantees: an object that another refers to by a [`Key`] is not deleted; a name that has the form of an id is
//! refused; a name that fits several objects is `ambiguous`.

use std::marker::PhantomData;

use futures_util::future::BoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use sluice_api::Finding;
use sluice_api::config::vpn::secret_of_blob;
use sluice_api::types::{BlobDigest, ObjectId};
use utoipa::ToSchema;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;

use super::context::ACCOUNT;
use super::fields::{self, Fields};
use super::{Action, Column, Context, Holds, KINDS, Key, Kind, Names, columns, table};
use crate::error::Error;
use crate::store::objects::{self, ALL, Cell, Line, Page, Table};
use crate::store::{Conn, blobs, from_json, to_json};

/// Objects by columns, in the order in which they were made.
pub async fn load<K: Kind>(
    conn: &mut Conn,
    filter: objects::Where<'_>,
    page: Page<'_>,
) -> Result<Vec<K>, Error> {
    let lines = objects::list(conn, &table::<K>(), filter, page).await?;
    lines.iter().map(|line| from_json(&line.body, K::NAMES.word)).collect()
}

/// The object with this id, which another refers to.
pub async fn by_id<K: Kind>(conn: &mut Conn, id: &ObjectId) -> Result<K, Error> {
    let found = load(conn, &[("id", id.as_str())], ALL).await?.pop();
    found.ok_or_else(|| Error::Corrupt { what: K::NAMES.word, reason: format!("there is no {id}") })
}

/// Objects with this name or id, inside `within` if that is known.
pub async fn called<K: Kind>(
    conn: &mut Conn,
    within: Option<&ObjectId>,
    name: &ObjectId,
) -> Result<Vec<K>, Error> {
    let lines = called_lines(conn, &table::<K>(), K::SCOPE, within, name).await?;
    lines.iter().map(|line| from_json(&line.body, K::NAMES.word)).collect()
}

async fn called_lines(
    conn: &mut Conn,
    table: &Table,
    scope: Option<&'static str>,
    within: Option<&ObjectId>,
    name: &ObjectId,
) -> Result<Vec<Line>, Error> {
    let within = scope.zip(within).map(|(column, id)| (column, id.as_str()));
    // no object has another's id as its name
    let columns: &[&str] = if looks_like_id(name.as_str()) { &["id", "name"] } else { &["name"] };
    for column in columns.iter().copied() {
        let filter: Vec<_> = [(column, name.as_str())].into_iter().chain(within).collect();
        let found = objects::list(conn, table, &filter, ALL).await?;
        if !found.is_empty() {
            return Ok(found);
        }
    }
    Ok(Vec::new())
}

/// True for a word, a hyphen and a number, which is the form of all ids.
fn looks_like_id(text: &str) -> bool {
    let number = text.rsplit_once('-').map(|(_, number)| number);
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
}

/// Leaves of several objects those of the zones that a description is about.
pub(super) fn only_of_zones<K: Kind>(found: &mut Vec<K>, zones: &[ObjectId]) {
    if zones.is_empty() || !K::KEYS.iter().any(|key| key.field == "zone") {
        return;
    }
    found.retain(|object| {
        let zone = serde_json::to_value(object).ok().and_then(|body| body.get("zone").cloned());
        zones.iter().any(|id| zone.as_ref().and_then(Value::as_str) == Some(id.as_str()))
    });
}

/// The only one of `found`, or why there is none.
pub fn only<T>(
    kind: &'static str,
    name: &ObjectId,
    mut found: Vec<T>,
    id: impl Fn(&T) -> String,
) -> Result<T, Error> {
    if found.len() > 1 {
        let candidates = found.iter().map(id).collect::<Vec<_>>().join(", ");
        return Err(Error::Ambiguous { kind, name: name.to_string(), candidates });
    }
    found.pop().ok_or_else(|| Error::NotFound { kind, name: name.to_string() })
}

/// The object called `name`, wherever it is.
pub async fn find<K: Kind>(conn: &mut Conn, name: &ObjectId) -> Result<K, Error> {
    let found = called::<K>(conn, None, name).await?;
    only(K::NAMES.word, name, found, |object| object.id().to_string())
}

/// Makes the object that `spec` asks for.
pub(super) async fn create<K: Kind>(context: &mut Context<'_>, spec: K::Spec) -> Result<K, Error> {
    let spec = K::canonical(spec)?;
    let id = objects::next_id(context.conn, K::prefix(&spec)).await?;
    let id: ObjectId = id
        .parse()
        .map_err(|error| Error::Corrupt { what: "id", reason: format!("{id}: {error}") })?;
    let mut object = K::create(context, id.clone(), spec).await?;
    refuse_id_form(&object)?;
    let line = line(&object)?;
    if !objects::insert(context.conn, &table::<K>(), &line, &cells(&object)?).await? {
        let reason = format!("there is a {} {} already", K::NAMES.word, object.name());
        return Err(Error::Conflict { field: "name", reason });
    }
    object.created(context).await?;
    if to_json(&object, K::NAMES.word)? != line.body {
        write(context, &object).await?;
    }
    touch(context, &object).await?;
    Ok(object)
}

fn refuse_id_form<K: Kind>(object: &K) -> Result<(), Error> {
    let (name, prefix) = (object.name(), K::NAMES.prefix);
    let own = name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('-'));
    if own && looks_like_id(&name) && name != object.id().as_str() {
        let reason = format!("{name} has the form of an id; choose another name");
        return Err(Error::Invalid { field: "name", reason });
    }
    Ok(())
}

fn line<K: Kind>(object: &K) -> Result<Line, Error> {
    Ok(Line {
        id: object.id().to_string(),
        account: ACCOUNT.to_owned(),
        name: object.name(),
        version: 1,
        body: to_json(object, K::NAMES.word)?,
    })
}

fn body<K: Serialize>(object: &K, word: &'static str) -> Result<Map<String, Value>, Error> {
    match serde_json::to_value(object) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(_) => Err(Error::Corrupt { what: word, reason: "it has no fields".to_owned() }),
        Err(error) => Err(Error::Corrupt { what: word, reason: error.to_string() }),
    }
}

fn cells<K: Kind>(object: &K) -> Result<Vec<Cell>, Error> {
    let body = body(object, K::NAMES.word)?;
    let cell = |key: &Key| {
        let value = body.get(key.field);
        match key.column {
            Some(Holds::Number) => Cell::Number(value.and_then(Value::as_i64)),
            _ => Cell::Text(value.and_then(Value::as_str).map(str::to_owned)),
        }
    };
    Ok(columns::<K>().map(cell).collect())
}

async fn write<K: Kind>(context: &mut Context<'_>, object: &K) -> Result<(), Error> {
    let (line, cells) = (line(object)?, cells(object)?);
    if objects::update(context.conn, &table::<K>(), &line, &cells).await? {
        return Ok(());
    }
    Err(Error::NotFound { kind: K::NAMES.word, name: line.name })
}

pub(super) async fn save<K: Kind>(context: &mut Context<'_>, object: &K) -> Result<(), Error> {
    write(context, object).await?;
    touch(context, object).await
}

async fn touch<K: Kind>(context: &mut Context<'_>, object: &K) -> Result<(), Error> {
    for appliance in object.touches(context).await? {
        context.touch(&appliance);
    }
    Ok(())
}

async fn update<K: Kind>(
    context: &mut Context<'_>,
    mut object: K,
    patch: K::Patch,
) -> Result<K, Error> {
    let before = to_json(&object, K::NAMES.word)?;
    touch(context, &object).await?;
    object.update(context, patch).await?;
    refuse_id_form(&object)?;
    if to_json(&object, K::NAMES.word)? != before {
        save(context, &object).await?;
    }
    Ok(object)
}

/// Deletes an object that nothing refers to.
pub(super) async fn delete<K: Kind>(context: &mut Context<'_>, mut object: K) -> Result<K, Error> {
    touch(context, &object).await?;
    object.deleting(context).await?;
    if let Some(by) = user(context, K::NAMES.word, object.id().as_str()).await? {
        return Err(Error::InUse { kind: K::NAMES.word, name: object.name(), by });
    }
    objects::delete(context.conn, &table::<K>(), object.id().as_str()).await?;
    Ok(object)
}

/// What refers to the object `id` of the kind called `word`, the last kinds first.
async fn user(
    context: &mut Context<'_>,
    word: &'static str,
    id: &str,
) -> Result<Option<String>, Error> {
    for kind in KINDS.iter().rev() {
        let refers = |key: &&Key| key.refers == Some(word) && key.column.is_some();
        for key in kind.keys().iter().filter(refers) {
            let using = objects::using(context.conn, &kind.table(), key.field, id).await?;
            if let Some((name, count)) = using {
                let more =
                    if count > 1 { format!(" and {} more", count - 1) } else { String::new() };
                return Ok(Some(format!("{} {name}{more}", kind.names().word)));
            }
        }
    }
    Ok(None)
}

/// See [`Kind::locate`].
pub async fn locate<K: Kind>(
    context: &mut Context<'_>,
    spec: &Map<String, Value>,
) -> Result<Option<K>, Error> {
    let Some(name) = spec.get("name").and_then(Value::as_str).and_then(|text| text.parse().ok())
    else {
        return Ok(None);
    };
    let mut within = None;
    if let Some(scope) = K::SCOPE {
        within = match reference(context, K::KEYS, scope, spec).await {
            // its parent is yet to be made, so it is itself
            Err(Error::NotFound { .. }) => return Ok(None),
            found => found?,
        };
    }
    match context.find(within.as_ref(), &name).await {
        Err(Error::NotFound { .. }) => Ok(None),
        found => found.map(Some),
    }
}

/// The id of the object that the field `field` of `spec` refers to; none when the field is not stated.
///
/// A reference whose own kind has names within the same object, such as a network in a zone, is looked for there.
pub async fn reference(
    context: &mut Context<'_>,
    keys: &'static [Key],
    field: &str,
    spec: &Map<String, Value>,
) -> Result<Option<ObjectId>, Error> {
    let Some(text) = spec.get(field).and_then(Value::as_str) else { return Ok(None) };
    let Some(kind) = keys.iter().find(|key| key.field == field).and_then(|key| key.refers) else {
        return Ok(None);
    };
    let kind = super::by_word(kind)
        .ok_or_else(|| Error::Corrupt { what: "kind", reason: format!("there is no {kind}") })?;
    let name: ObjectId = text.parse().map_err(|_| Error::NotFound {
        kind: kind.names().word,
        name: text.chars().take(64).collect(),
    })?;
    let mut within = None;
    if let Some(scope) = kind.scope().filter(|scope| *scope != field) {
        within = Box::pin(reference(context, keys, scope, spec)).await?;
    }
    kind.resolve(context, within, name).await.map(Some)
}

/// See [`Kind::as_spec`].
pub fn common_fields<K: Kind>(object: &K) -> Result<Map<String, Value>, Error> {
    let fields = Fields::of::<K::Spec>();
    let mut body = body(object, K::NAMES.word)?;
    body.retain(|name, value| fields.has(name) && !value.is_null());
    Ok(body)
}

/// The difference between an object and what a description states of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// Each changed field as `name: old -> new`.
    pub notes: Vec<String>,
    /// The patch that makes it go away.
    pub patch: Map<String, Value>,
}

/// Compares `object` with the stated fields of a spec; what is not stated is whatever it is.
pub(super) async fn compare<K: Kind>(
    context: &mut Context<'_>,
    object: &K,
    stated: &Map<String, Value>,
) -> Result<Difference, Error> {
    let current = object.as_spec()?;
    let (changeable, spec) = (Fields::of::<K::Patch>(), Fields::of::<K::Spec>());
    let (mut notes, mut patch) = (Vec::new(), Map::new());
    for (field, value) in stated {
        let id = reference(context, K::KEYS, field, stated).await?;
        let new = id.map_or_else(|| value.clone(), |id| Value::from(id.as_str()));
        let old = current.get(field).cloned().unwrap_or(Value::Null);
        if old == new || spec.is_secret(field) && holds(context, &old, value).await? {
            continue;
        }
        if !changeable.has(field) {
            return Err(fixed::<K>(object, field, &old));
        }
        if spec.is_secret(field) {
            notes.push(format!("{field}: another"));
            patch.insert(field.clone(), value.clone());
            continue;
        }
        notes.push(format!("{field}: {} -> {}", told(&old), told(value)));
        patch.insert(field.clone(), value.clone());
    }
    Ok(Difference { notes, patch })
}

/// True when the blob with this digest is that secret.
async fn holds(context: &mut Context<'_>, digest: &Value, secret: &Value) -> Result<bool, Error> {
    let (Some(digest), Some(secret)) = (digest.as_str(), secret.as_str()) else {
        return Ok(false);
    };
    let Ok(digest) = digest.parse::<BlobDigest>() else { return Ok(false) };
    if digest == BlobDigest::of(secret.as_bytes()) {
        return Ok(true);
    }
    let kept = blobs::get(context.conn, &digest).await?.unwrap_or_default();
    Ok(secret_of_blob(&kept) == Some(secret))
}

fn fixed<K: Kind>(object: &K, field: &str, old: &Value) -> Error {
    let what = format!("{} {}", K::NAMES.word, object.name());
    let reason = format!(
        "of {what} is {} and cannot be changed in place; delete {what} and create it again",
        told(old)
    );
    Error::Fixed { field: field.to_owned(), reason }
}

/// A value as people read it in a difference.
fn told(value: &Value) -> String {
    match value {
        Value::Null => "none".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(list) if list.is_empty() => "none".to_owned(),
        Value::Array(list) => list.iter().map(told).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    }
}

/// The schemas of a kind, by name; and all that they refer to.
#[derive(Clone, Debug)]
pub struct Schemas {
    /// Name of the object's schema.
    pub object: String,
    /// Name of the spec's schema.
    pub spec: String,
    /// Name of the patch's schema.
    pub patch: String,
    /// Schemas by name.
    pub all: Vec<(String, Value)>,
}

fn schemas_of<T: ToSchema>(all: &mut Vec<(String, RefOr<Schema>)>) -> String {
    let name = T::name().into_owned();
    T::schemas(all);
    all.push((name.clone(), T::schema()));
    name
}

/// A strictly decoded value in its written form.
fn strict<T: DeserializeOwned + Serialize>(value: &Value) -> Result<Value, Vec<Finding>> {
    if !value.is_object() {
        // serde would take a list's values for the fields in their order
        return Err(vec![Finding::error("", "invalid-value", "must be an object")]);
    }
    let bytes = serde_json::to_vec(value).unwrap_or_default();
    let decoded: T = sluice_api::decode::decode(&bytes)?;
    serde_json::to_value(&decoded)
        .map_err(|error| vec![Finding::error("", "invalid-value", error.to_string())])
}

fn typed<T: DeserializeOwned>(value: Value, what: &'static str) -> Result<T, Error> {
    serde_json::from_value(value)
        .map_err(|error| Error::Corrupt { what, reason: error.to_string() })
}

fn shown<T: Serialize>(object: &T) -> Result<Value, Error> {
    serde_json::to_value(object)
        .map_err(|error| Error::Corrupt { what: "answer", reason: error.to_string() })
}

/// What comes of an asynchronous call.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, Error>>;

/// A kind as a value: specs, patches and objects are JSON.
pub trait AnyKind: Send + Sync {
    /// How it is called.
    fn names(&self) -> Names;
    /// Its columns.
    fn keys(&self) -> &'static [Key];
    /// The key within which its names are unique.
    fn scope(&self) -> Option<&'static str>;
    /// Columns of its list.
    fn columns(&self) -> &'static [Column];
    /// What else can be done with it.
    fn actions(&self) -> &'static [Action];
    /// Its table.
    fn table(&self) -> Table;
    /// Fields of its spec.
    fn spec_fields(&self) -> Fields;
    /// Fields of its patch; none: it cannot be changed.
    fn patch_fields(&self) -> Fields;
    /// Its schemas.
    fn schemas(&self) -> Schemas;
    /// A spec as it is understood, or all that is wrong with it.
    fn read_spec(&self, spec: &Value) -> Result<Value, Vec<Finding>>;
    /// A patch as it is understood, or all that is wrong with it.
    fn read_patch(&self, patch: &Value) -> Result<Value, Vec<Finding>>;
    /// The fields that `spec` states, as they are understood.
    fn stated(&self, spec: &Map<String, Value>) -> Result<Map<String, Value>, Error>;
    /// Makes one.
    fn create<'a>(&self, context: &'a mut Context<'_>, spec: Value) -> Answer<'a, Value>;
    /// Changes one.
    fn update<'a>(
        &self,
        context: &'a mut Context<'_>,
        name: ObjectId,
        patch: Value,
    ) -> Answer<'a, Value>;
    /// Deletes one; answers with what it was.
    fn delete<'a>(&self, context: &'a mut Context<'_>, name: ObjectId) -> Answer<'a, Value>;
    /// Carries out an action.
    fn act<'a>(
        &self,
        context: &'a mut Context<'_>,
        name: ObjectId,
        action: &'static str,
        body: Value,
    ) -> Answer<'a, Value>;
    /// Its id from a name or an id.
    fn resolve<'a>(
        &self,
        context: &'a mut Context<'_>,
        within: Option<ObjectId>,
        name: ObjectId,
    ) -> Answer<'a, ObjectId>;
    /// The one called `name`.
    fn show<'a>(&self, conn: &'a mut Conn, name: ObjectId) -> Answer<'a, Value>;
    /// Those with these contents in these columns.
    fn list<'a>(
        &self,
        conn: &'a mut Conn,
        filter: Vec<(&'static str, String)>,
        after: Option<String>,
        limit: Option<i64>,
    ) -> Answer<'a, Vec<Value>>;
    /// Id of the object that the stated fields are about, if there is one.
    fn locate<'a>(
        &self,
        context: &'a mut Context<'_>,
        stated: &'a Map<String, Value>,
    ) -> Answer<'a, Option<ObjectId>>;
    /// The difference between the object `id` and the stated fields.
    fn compare<'a>(
        &self,
        context: &'a mut Context<'_>,
        id: ObjectId,
        stated: &'a Map<String, Value>,
    ) -> Answer<'a, Difference>;
    /// Lets go of what a description gives to others.
    fn yields<'a>(
        &self,
        context: &'a mut Context<'_>,
        stated: &'a Map<String, Value>,
    ) -> Answer<'a, ()>;
    /// True when a description that does not have `object` means that it is to go.
    fn prunes(&self, object: &Value) -> bool;
    /// What the deletion of `id` waits for.
    fn waits<'a>(&self, context: &'a mut Context<'_>, id: ObjectId) -> Answer<'a, Option<String>>;
    /// The object `id` in the form of its spec, references as ids.
    fn as_spec<'a>(&self, conn: &'a mut Conn, id: ObjectId) -> Answer<'a, Map<String, Value>>;
}

/// `K` as a value.
pub struct Of<K>(PhantomData<fn() -> K>);

impl<K> Of<K> {
    /// The value.
    pub const NEW: Self = Self(PhantomData);
}

impl<K: Kind> AnyKind for Of<K> {
    fn names(&self) -> Names {
        K::NAMES
    }

    fn keys(&self) -> &'static [Key] {
        K::KEYS
    }

    fn scope(&self) -> Option<&'static str> {
        K::SCOPE
    }

    fn columns(&self) -> &'static [Column] {
        K::COLUMNS
    }

    fn actions(&self) -> &'static [Action] {
        K::ACTIONS
    }

    fn table(&self) -> Table {
        table::<K>()
    }

    fn spec_fields(&self) -> Fields {
        Fields::of::<K::Spec>()
    }

    fn patch_fields(&self) -> Fields {
        Fields::of::<K::Patch>()
    }

    fn schemas(&self) -> Schemas {
        let mut all = Vec::new();
        let object = schemas_of::<K>(&mut all);
        let spec = schemas_of::<K::Spec>(&mut all);
        let patch = schemas_of::<K::Patch>(&mut all);
        let all = all.into_iter().map(|(name, schema)| (name, fields::json(&schema))).collect();
        Schemas { object, spec, patch, all }
    }

    fn read_spec(&self, spec: &Value) -> Result<Value, Vec<Finding>> {
        strict::<K::Spec>(spec)
    }

    fn read_patch(&self, patch: &Value) -> Result<Value, Vec<Finding>> {
        strict::<K::Patch>(patch)
    }

    fn stated(&self, spec: &Map<String, Value>) -> Result<Map<String, Value>, Error> {
        let typed: K::Spec = typed(Value::Object(spec.clone()), K::NAMES.word)?;
        let before = body(&typed, K::NAMES.word)?;
        let mut stated = body(&K::canonical(typed)?, K::NAMES.word)?;
        // what canonicalisation added follows from what was stated
        stated.retain(|name, value| {
            !value.is_null() && (spec.contains_key(name) || before.get(name) != Some(value))
        });
        Ok(stated)
    }

    fn create<'a>(&self, context: &'a mut Context<'_>, spec: Value) -> Answer<'a, Value> {
        Box::pin(async move { shown(&create::<K>(context, typed(spec, K::NAMES.word)?).await?) })
    }

    fn update<'a>(
        &self,
        context: &'a mut Context<'_>,
        name: ObjectId,
        patch: Value,
    ) -> Answer<'a, Value> {
        Box::pin(async move {
            let object = context.find::<K>(None, &name).await?;
            shown(&update(context, object, typed(patch, K::NAMES.word)?).await?)
        })
    }

    fn delete<'a>(&self, context: &'a mut Context<'_>, name: ObjectId) -> Answer<'a, Value> {
        Box::pin(async move {
            let object = context.find::<K>(None, &name).await?;
            shown(&delete(context, object).await?)
        })
    }

    fn act<'a>(
        &self,
        context: &'a mut Context<'_>,
        name: ObjectId,
        action: &'static str,
        body: Value,
    ) -> Answer<'a, Value> {
        Box::pin(async move {
            let mut object = context.find::<K>(None, &name).await?;
            let before = to_json(&object, K::NAMES.word)?;
            let answer = object.act(context, action, body).await?;
            if to_json(&object, K::NAMES.word)? != before {
                save(context, &object).await?;
            }
            Ok(answer)
        })
    }

    fn resolve<'a>(
        &self,
        context: &'a mut Context<'_>,
        within: Option<ObjectId>,
        name: ObjectId,
    ) -> Answer<'a, ObjectId> {
        Box::pin(async move { Ok(context.find::<K>(within.as_ref(), &name).await?.id()) })
    }

    fn show<'a>(&self, conn: &'a mut Conn, name: ObjectId) -> Answer<'a, Value> {
        Box::pin(async move { shown(&find::<K>(conn, &name).await?) })
    }

    fn list<'a>(
        &self,
        conn: &'a mut Conn,
        filter: Vec<(&'static str, String)>,
        after: Option<String>,
        limit: Option<i64>,
    ) -> Answer<'a, Vec<Value>> {
        Box::pin(async move {
            let filter: Vec<_> =
                filter.iter().map(|(column, value)| (*column, value.as_str())).collect();
            let page = Page { after: after.as_deref(), limit };
            load::<K>(conn, &filter, page).await?.iter().map(shown).collect()
        })
    }

    fn locate<'a>(
        &self,
        context: &'a mut Context<'_>,
        stated: &'a Map<String, Value>,
    ) -> Answer<'a, Option<ObjectId>> {
        Box::pin(async move { Ok(K::locate(context, stated).await?.map(|object| object.id())) })
    }

    fn compare<'a>(
        &self,
        context: &'a mut Context<'_>,
        id: ObjectId,
        stated: &'a Map<String, Value>,
    ) -> Answer<'a, Difference> {
        Box::pin(async move {
            let object = context.get::<K>(&id).await?;
            compare(context, &object, stated).await
        })
    }

    fn yields<'a>(
        &self,
        context: &'a mut Context<'_>,
        stated: &'a Map<String, Value>,
    ) -> Answer<'a, ()> {
        Box::pin(async move {
            // one that is ambiguous is told where it is compared
            let Ok(Some(mut object)) = K::locate(context, stated).await else { return Ok(()) };
            object.yields(context, stated).await
        })
    }

    fn prunes(&self, object: &Value) -> bool {
        serde_json::from_value::<K>(object.clone()).is_ok_and(|object| object.prunes())
    }

    fn waits<'a>(&self, context: &'a mut Context<'_>, id: ObjectId) -> Answer<'a, Option<String>> {
        Box::pin(async move { context.get::<K>(&id).await?.waits(context).await })
    }

    fn as_spec<'a>(&self, conn: &'a mut Conn, id: ObjectId) -> Answer<'a, Map<String, Value>> {
        Box::pin(async move { by_id::<K>(conn, &id).await?.as_spec() })
    }
}
