//! A kind as a value: specs, patches and objects are JSON.

use std::marker::PhantomData;

use futures_util::future::BoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use sluice_api::Finding;
use sluice_api::types::ObjectId;
use utoipa::ToSchema;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;

use super::compare::{Difference, compare};
use super::dynamic::{body, by_id, create, delete, derive, find, load_in, save, update};
use super::fields::{self, Fields};
use super::strict::strict;
use super::{Action, Column, Context, Key, Kind, Names, State, patch, table};
use crate::error::Error;
use crate::store::objects::{self, Page, Table};
use crate::store::{Conn, Scope, reports, to_json};

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

fn typed<T: DeserializeOwned>(value: Value, what: &'static str) -> Result<T, Error> {
    serde_json::from_value(value)
        .map_err(|error| Error::Corrupt { what, reason: error.to_string() })
}

fn shown<T: Serialize>(object: &T) -> Result<Value, Error> {
    serde_json::to_value(object)
        .map_err(|error| Error::Corrupt { what: "answer", reason: error.to_string() })
}

/// The objects with what their appliances last said of them.
async fn observed<K: Kind>(conn: &mut Conn, mut objects: Vec<K>) -> Result<Vec<K>, Error> {
    if K::OBSERVED {
        let reports = reports::of_storage(conn).await?;
        for object in &mut objects {
            object.observe(&reports);
        }
    }
    Ok(objects)
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
    /// What its appliance says of it.
    fn state(&self) -> Option<State>;
    /// The rows of that, for the object called `name`.
    fn state_rows<'a>(
        &self,
        context: &'a mut Context<'_>,
        name: ObjectId,
        report: &'a Value,
    ) -> Answer<'a, Vec<Value>>;
    /// Its table.
    fn table(&self) -> Table;
    /// Its columns that follow from the object.
    fn derived(&self) -> Vec<&'static str>;
    /// Writes those of some objects behind `after`; the last one's id, if there may be more.
    fn derive<'a>(&self, conn: &'a mut Conn, after: Option<String>) -> Answer<'a, Option<String>>;
    /// Fields of its spec.
    fn spec_fields(&self) -> Fields;
    /// Fields of its patch; none: it cannot be changed.
    fn patch_fields(&self) -> Fields;
    /// Fields of its spec that stay what they are.
    fn fixed_fields(&self) -> Fields;
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
    /// How often the object was written; 1 when it is new.
    fn version<'a>(&self, conn: &'a mut Conn, scope: Scope<'a>, name: ObjectId) -> Answer<'a, i64>;
    /// Its id from a name or an id.
    fn resolve<'a>(
        &self,
        context: &'a mut Context<'_>,
        within: Option<ObjectId>,
        name: ObjectId,
    ) -> Answer<'a, ObjectId>;
    /// The one called `name`.
    fn show<'a>(&self, conn: &'a mut Conn, scope: Scope<'a>, name: ObjectId) -> Answer<'a, Value>;
    /// Those with these contents in these columns.
    fn list<'a>(
        &self,
        conn: &'a mut Conn,
        scope: Scope<'a>,
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

    fn state(&self) -> Option<State> {
        K::STATE
    }

    fn state_rows<'a>(
        &self,
        context: &'a mut Context<'_>,
        name: ObjectId,
        report: &'a Value,
    ) -> Answer<'a, Vec<Value>> {
        Box::pin(async move {
            let object = context.find::<K>(None, &name).await?;
            object.state(context, report).await
        })
    }

    fn table(&self) -> Table {
        table::<K>()
    }

    fn derived(&self) -> Vec<&'static str> {
        K::DERIVED.iter().map(|(column, _)| *column).collect()
    }

    fn derive<'a>(&self, conn: &'a mut Conn, after: Option<String>) -> Answer<'a, Option<String>> {
        Box::pin(derive::<K>(conn, after))
    }

    fn spec_fields(&self) -> Fields {
        Fields::of::<K::Spec>()
    }

    fn patch_fields(&self) -> Fields {
        patch::fields::<K::Patch>()
    }

    fn fixed_fields(&self) -> Fields {
        patch::fixed::<K::Spec, K::Patch>()
    }

    fn schemas(&self) -> Schemas {
        let mut all = Vec::new();
        let object = schemas_of::<K>(&mut all);
        let spec = schemas_of::<K::Spec>(&mut all);
        let patch = schemas_of::<K::Patch>(&mut all);
        let mut all: Vec<_> =
            all.into_iter().map(|(name, schema)| (name, fields::json(&schema))).collect();
        patch::schemas::<K::Patch>(&patch, &mut all);
        Schemas { object, spec, patch, all }
    }

    fn read_spec(&self, spec: &Value) -> Result<Value, Vec<Finding>> {
        strict::<K::Spec>(spec)
    }

    fn read_patch(&self, patch: &Value) -> Result<Value, Vec<Finding>> {
        let read = patch::read::<K::Patch>(patch);
        read.map_err(|found| patch::with_the_way(found, K::NAMES.word, &self.fixed_fields()))
    }

    fn stated(&self, spec: &Map<String, Value>) -> Result<Map<String, Value>, Error> {
        let typed: K::Spec = typed(Value::Object(spec.clone()), K::NAMES.word)?;
        let before = body(&typed, K::NAMES.word)?;
        let mut stated = body(&K::canonical(typed)?, K::NAMES.word)?;
        // what canonicalisation added follows from what was stated
        stated.retain(|name, value| {
            !value.is_null() && (spec.contains_key(name) || before.get(name) != Some(value))
        });
        // an empty list is not written, and takes away what is there all the same
        for (name, value) in
            spec.iter().filter(|(_, value)| value.as_array().is_some_and(Vec::is_empty))
        {
            stated.entry(name).or_insert_with(|| value.clone());
        }
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

    fn version<'a>(&self, conn: &'a mut Conn, scope: Scope<'a>, name: ObjectId) -> Answer<'a, i64> {
        Box::pin(async move {
            let id = find::<K>(conn, scope, &name).await?.id();
            let line = objects::get(conn, &table::<K>(), scope, id.as_str()).await?;
            let gone = || Error::NotFound { kind: K::NAMES.word, name: name.to_string() };
            Ok(line.ok_or_else(gone)?.version)
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

    fn show<'a>(&self, conn: &'a mut Conn, scope: Scope<'a>, name: ObjectId) -> Answer<'a, Value> {
        Box::pin(async move {
            let found = find::<K>(conn, scope, &name).await?;
            observed(conn, vec![found]).await?.pop().map_or(Ok(Value::Null), |one| shown(&one))
        })
    }

    fn list<'a>(
        &self,
        conn: &'a mut Conn,
        scope: Scope<'a>,
        filter: Vec<(&'static str, String)>,
        after: Option<String>,
        limit: Option<i64>,
    ) -> Answer<'a, Vec<Value>> {
        Box::pin(async move {
            let filter: Vec<_> =
                filter.iter().map(|(column, value)| (*column, value.as_str())).collect();
            let page = Page { after: after.as_deref(), limit };
            let found = load_in::<K>(conn, scope, &filter, page).await?;
            observed(conn, found).await?.iter().map(shown).collect()
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
