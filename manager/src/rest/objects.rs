//! Routes of every kind of object, made from the list of kinds.

use std::collections::BTreeMap;

use axum::Router;
use axum::routing::{MethodRouter, get, post};
use serde_json::Value;
use sluice_api::types::ObjectId;

use super::appliances;
use super::reply::{Reply, shown, versioned};
use super::request::{Body, Named, OptionalBody, Query, RequestId, Version};
use super::{App, For};
use crate::access::Caller;
use crate::error::Error;
use crate::kinds::{Action, AnyKind, Context, KINDS, State};
use crate::ops::Change;
use crate::store::{Conn, Scope};

type Kind = &'static dyn AnyKind;

/// Most objects of one answer.
pub(super) const MOST: i64 = 100_000;

/// The routes of all kinds.
pub(super) fn routes() -> Router<App> {
    KINDS.iter().fold(Router::new(), |routes, kind| routes.merge(of_kind(*kind)))
}

fn of_kind(kind: Kind) -> Router<App> {
    let path = kind.names().path();
    let one = format!("{path}/{{id}}");
    let mut routes = Router::new().route(&path, all(kind)).route(&one, single(kind));
    if let Some(state) = kind.state() {
        routes = routes.route(&format!("{one}/state"), stating(kind, state));
    }
    for action in kind.actions() {
        routes = routes.route(&format!("{one}/{}", action.name), acting(kind, action));
    }
    routes
}

/// The methods of the list.
fn all(kind: Kind) -> MethodRouter<App> {
    let list = move |For(app): For,
                     caller: Caller,
                     Query(query): Query<BTreeMap<String, String>>| async move {
        let (mut conn, own) = (app.read().await?, Scope::Of(&caller.owner));
        let which = which(kind, &mut conn, &caller, query).await?;
        let found = kind.list(&mut conn, own, which.columns, which.after, which.limit).await?;
        Reply::Ok(shown(&found))
    };
    let create = move |For(app): For,
                       caller: Caller,
                       request: RequestId,
                       Body(spec): Body<Value>| async move {
        let spec = kind.read_spec(&spec).map_err(Error::Malformed)?;
        app.change(&caller, request, Change::Create { kind: kind.names().word, spec }).await
    };
    get(list).post(create)
}

/// The methods of one object.
fn single(kind: Kind) -> MethodRouter<App> {
    let show = move |For(app): For, Named(name): Named| async move {
        let (mut conn, own) = (app.read().await?, Scope::Of(&app.owner));
        let version = kind.version(&mut conn, own, name.clone()).await?;
        Reply::Ok(versioned(shown(&kind.show(&mut conn, own, name).await?), version))
    };
    let delete = move |For(app): For,
                       caller: Caller,
                       Named(object): Named,
                       Version(version): Version,
                       request: RequestId| async move {
        let kind = kind.names().word;
        app.change(&caller, request, Change::Delete { kind, object, version }).await
    };
    let update = move |For(app): For,
                       caller: Caller,
                       Named(object): Named,
                       Version(version): Version,
                       request: RequestId,
                       Body(patch): Body<Value>| async move {
        let patch = kind.read_patch(&patch).map_err(Error::Malformed)?;
        let kind = kind.names().word;
        app.change(&caller, request, Change::Update { kind, object, patch, version }).await
    };
    let methods = get(show).delete(delete);
    if kind.patch_fields().0.is_empty() { methods } else { methods.patch(update) }
}

/// What an object's appliance says of it now.
fn stating(kind: Kind, state: State) -> MethodRouter<App> {
    get(move |For(app): For, caller: Caller, Named(name): Named| async move {
        let own = Scope::Of(&caller.owner);
        let object = kind.show(&mut *app.read().await?, own, name.clone()).await?;
        let router = object.get("router").and_then(Value::as_str).and_then(|id| id.parse().ok());
        let not_found = || Error::NotFound { kind: "router of", name: name.to_string() };
        let router: ObjectId = router.ok_or_else(not_found)?;
        let report = appliances::report_of(&app, &router, state.service).await?;
        let mut conn = app.read().await?;
        let mut context = Context::new(&mut conn, &caller, None);
        Reply::Ok(shown(&kind.state_rows(&mut context, name, &report).await?))
    })
}

/// An action on one object.
fn acting(kind: Kind, action: &'static Action) -> MethodRouter<App> {
    post(
        move |For(app): For,
              caller: Caller,
              Named(object): Named,
              Version(version): Version,
              request: RequestId,
              OptionalBody(body): OptionalBody| async move {
            let (kind, action) = (kind.names().word, action.name);
            let change = Change::Act { kind, object, action, body, version };
            app.change(&caller, request, change).await
        },
    )
}

/// Which objects of a list.
struct Which {
    columns: Vec<(&'static str, String)>,
    after: Option<String>,
    limit: Option<i64>,
}

/// Reads a list's query: any key of the kind by name or id, `name`, `after` and `limit`.
async fn which(
    kind: Kind,
    conn: &mut Conn,
    caller: &Caller,
    query: BTreeMap<String, String>,
) -> Result<Which, Error> {
    let mut which = Which { columns: Vec::new(), after: None, limit: None };
    for (name, value) in query {
        match name.as_str() {
            "after" => which.after = Some(value),
            "limit" => which.limit = Some(limit(&value)?),
            "name" => which.columns.push(("name", value)),
            _ => which.columns.push(column(kind, conn, caller, (&name, value)).await?),
        }
    }
    Ok(which)
}

fn limit(text: &str) -> Result<i64, Error> {
    let invalid = || Error::Invalid { field: "limit", reason: format!("must be 1 to {MOST}") };
    text.parse().ok().filter(|limit| (1..=MOST).contains(limit)).ok_or_else(invalid)
}

async fn column(
    kind: Kind,
    conn: &mut Conn,
    caller: &Caller,
    (name, value): (&str, String),
) -> Result<(&'static str, String), Error> {
    let known: Vec<_> = kind.keys().iter().filter(|key| key.column.is_some()).collect();
    let Some(key) = known.iter().find(|key| key.field == name) else {
        let known: Vec<_> = known.iter().map(|key| key.field).collect();
        let name: String = name.chars().take(64).collect();
        let reason =
            format!("{name} is unknown; there are name, after, limit, {}", known.join(", "));
        return Err(Error::Invalid { field: "query", reason });
    };
    let Some(other) = key.refers.and_then(crate::kinds::by_word) else {
        return Ok((key.field, value));
    };
    let not_found =
        |_| Error::NotFound { kind: other.names().word, name: value.chars().take(64).collect() };
    let object: ObjectId = value.parse().map_err(not_found)?;
    let mut context = Context::new(conn, caller, None);
    Ok((key.field, other.resolve(&mut context, None, object).await?.to_string()))
}
