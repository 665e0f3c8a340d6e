//! What is the same for every kind: rows, names, references, what is in use.
//!
//! Guarantees: an object that another refers to by a [`Key`] is not deleted; a name that has the form of an id is
//! refused; a name that fits several objects is `ambiguous`.

use serde::Serialize;
use serde_json::{Map, Value};
use sluice_api::types::ObjectId;

pub use super::compare::common_fields;
use super::{Context, Holds, KINDS, Key, Kind, columns, table};
use crate::error::Error;
use crate::store::objects::{self, ALL, Cell, Line, Page, Table};
use crate::store::{Conn, Owner, Scope, from_json, to_json};

/// Objects by columns in the whole cloud, in the order in which they were made: for what the manager itself follows.
pub async fn load<K: Kind>(
    conn: &mut Conn,
    filter: objects::Where<'_>,
    page: Page<'_>,
) -> Result<Vec<K>, Error> {
    load_in(conn, Scope::Cloud, filter, page).await
}

/// The same within a scope: for what somebody asks for.
pub async fn load_in<K: Kind>(
    conn: &mut Conn,
    scope: Scope<'_>,
    filter: objects::Where<'_>,
    page: Page<'_>,
) -> Result<Vec<K>, Error> {
    let lines = objects::list(conn, &table::<K>(), scope, filter, page).await?;
    lines.iter().map(|line| from_json(&line.body, K::NAMES.word)).collect()
}

/// The object with this id, which another refers to, whoever owns it.
pub async fn by_id<K: Kind>(conn: &mut Conn, id: &ObjectId) -> Result<K, Error> {
    let found = load(conn, &[("id", id.as_str())], ALL).await?.pop();
    found.ok_or_else(|| Error::Corrupt { what: K::NAMES.word, reason: format!("there is no {id}") })
}

/// Objects of all owners with these contents, by an index.
pub(super) async fn matching<K: Kind>(
    conn: &mut Conn,
    equal: objects::Cells<'_>,
) -> Result<Vec<K>, Error> {
    let lines = objects::matching(conn, &table::<K>(), equal).await?;
    lines.iter().map(|line| from_json(&line.body, K::NAMES.word)).collect()
}

/// Whose the object with this id is.
pub async fn owner_of<K: Kind>(conn: &mut Conn, id: &ObjectId) -> Result<Owner, Error> {
    let filter = [("id", id.as_str())];
    let found = objects::list(conn, &table::<K>(), Scope::Cloud, &filter, ALL).await?.pop();
    let gone = || Error::Corrupt { what: K::NAMES.word, reason: format!("there is no {id}") };
    found.map(|line| line.owner).ok_or_else(gone)
}

/// Objects with this name or id, inside `within` if that is known.
pub async fn called<K: Kind>(
    conn: &mut Conn,
    scope: Scope<'_>,
    within: Option<&ObjectId>,
    name: &ObjectId,
) -> Result<Vec<K>, Error> {
    let lines = called_lines(conn, scope, &table::<K>(), (K::SCOPE, within), name).await?;
    lines.iter().map(|line| from_json(&line.body, K::NAMES.word)).collect()
}

async fn called_lines(
    conn: &mut Conn,
    scope: Scope<'_>,
    table: &Table,
    (parent, within): (Option<&'static str>, Option<&ObjectId>),
    name: &ObjectId,
) -> Result<Vec<Line>, Error> {
    let within = parent.zip(within).map(|(column, id)| (column, id.as_str()));
    // no object has another's id as its name
    let columns: &[&str] = if looks_like_id(name.as_str()) { &["id", "name"] } else { &["name"] };
    for column in columns.iter().copied() {
        let filter: Vec<_> = [(column, name.as_str())].into_iter().chain(within).collect();
        let found = objects::list(conn, table, scope, &filter, ALL).await?;
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

/// The object called `name`, in whichever zone it is.
pub async fn find<K: Kind>(conn: &mut Conn, scope: Scope<'_>, name: &ObjectId) -> Result<K, Error> {
    let found = called::<K>(conn, scope, None, name).await?;
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
    let line = line(&object, context.owner)?;
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

fn line<K: Kind>(object: &K, owner: &Owner) -> Result<Line, Error> {
    Ok(Line {
        id: object.id().to_string(),
        owner: owner.clone(),
        name: object.name(),
        version: 1,
        body: to_json(object, K::NAMES.word)?,
    })
}

pub(super) fn body<K: Serialize>(
    object: &K,
    word: &'static str,
) -> Result<Map<String, Value>, Error> {
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
    Ok(columns::<K>().map(cell).chain(K::DERIVED.iter().map(|(_, of)| of(object))).collect())
}

/// How many objects' columns are filled in at a time.
const PORTION: i64 = 500;

/// Writes the columns that follow from some objects; see [`Kind::DERIVED`].
pub(super) async fn derive<K: Kind>(
    conn: &mut Conn,
    after: Option<String>,
) -> Result<Option<String>, Error> {
    if K::DERIVED.is_empty() {
        return Ok(None);
    }
    let (table, page) = (table::<K>(), Page { after: after.as_deref(), limit: Some(PORTION) });
    let lines = objects::list(conn, &table, Scope::Cloud, &[], page).await?;
    for line in &lines {
        let object: K = from_json(&line.body, K::NAMES.word)?;
        let cells: Vec<_> = K::DERIVED.iter().map(|(column, of)| (*column, of(&object))).collect();
        objects::set_columns(conn, &table, &line.id, &cells).await?;
    }
    Ok(lines.into_iter().next_back().map(|line| line.id))
}

async fn write<K: Kind>(context: &mut Context<'_>, object: &K) -> Result<(), Error> {
    let (line, cells) = (line(object, context.owner)?, cells(object)?);
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

pub(super) async fn update<K: Kind>(
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
    object.deleted(context).await?;
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
