//! Consoles: links to screens, who is on which, and taking links away.

#![allow(unused_qualifications)] // what utoipa expands `params(Type)` to

use std::collections::BTreeMap;

use axum::http::header;
use axum::response::IntoResponse as _;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sluice_api::types::{ApplianceId, Cidr, ObjectId};
use utoipa::ToSchema;

use super::For;
use super::reply::{Reply, shown};
use super::request::{Body, Named, Query, RequestId};
use crate::access::Caller;
use crate::error::{Error, Problem};
use crate::kinds::appliance::Appliance;
use crate::kinds::console_grant::{ConsoleGrant, RevokeSpec, Revoked};
use crate::kinds::console_home;
use crate::kinds::dynamic;
use crate::kinds::screen::Screen;
use crate::ops::{Change, Effect, execute};
use crate::store::consoles::{self, ConsoleLoad, ConsoleSession, Which};
use crate::store::objects::ALL;
use crate::store::observations::now;
use crate::store::{Conn, Scope, from_json, to_json};

/// Random bytes of a token.
const TOKEN: usize = 32;
/// How long a link is good that does not say so, in minutes.
const HOUR: u32 = 60;

/// A link to be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ConsoleLinkSpec {
    /// For whom it is made, for the log. Default: not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<String>,
    /// Can nothing be typed, clicked or pasted? Default false.
    pub(crate) view_only: bool,
    /// How long it and its sessions last, in minutes, 1 or more. Default 60.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) minutes: Option<u32>,
    /// Is it for whichever browser has it? Default: for the first that opens it.
    pub(crate) any_browser: bool,
    /// From where it may be used, in place of the first browser. Default: anywhere.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) sources: Vec<Cidr>,
    /// Seconds without input after which a session ends, 1 or more. Default: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) idle_seconds: Option<u32>,
}

/// A link: told once, and kept nowhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct ConsoleLink {
    /// Where a browser shows the console.
    pub(crate) url: String,
    /// Id of its grant.
    pub(crate) grant: ObjectId,
    /// Id of the proxy that it leads to.
    pub(crate) proxy: String,
    /// When it ends, in seconds since 1970-01-01 UTC.
    pub(crate) expires: u64,
    /// When it can be used: once these are in force.
    pub(crate) effects: Vec<Effect>,
}

/// Makes a link to the screen of a VM. Each call makes another, whose token is in this answer alone.
#[utoipa::path(post, path = "/v1/screens/{id}/console", tag = "consoles", request_body = ConsoleLinkSpec,
    params(("id" = String, Path, description = "screen, by name or id")),
    responses((status = 201, body = ConsoleLink), (status = "4XX", body = Problem)))]
pub(super) async fn link(
    For(app): For,
    caller: Caller,
    Named(id): Named,
    Body(spec): Body<ConsoleLinkSpec>,
) -> Reply {
    let screen: Screen = dynamic::find(&mut *app.read().await?, Scope::Of(&app.owner), &id).await?;
    let token = URL_SAFE_NO_PAD.encode(rand::random::<[u8; TOKEN]>());
    // what is wrong with the wish is said before what is wrong with the cloud
    let spec = grant(&screen.id, &token, spec)?;
    let places = places(&mut *app.read().await?, &screen.zone).await?;
    // no request id: the answer would be kept to be repeated, and the token with it
    let change = Change::Create { kind: "console grant", spec };
    let outcome = execute(&app.store, &caller, None, &change).await?;
    app.watch.wake(outcome.touched.iter().map(String::as_str));
    let grant: ConsoleGrant = from_json(&outcome.body, "answer")?;
    let Effects { effects } = from_json(&outcome.body, "answer")?;
    let missing = || Error::Corrupt { what: "console grant", reason: "it has no proxy".to_owned() };
    let place = places.get(&grant.router).ok_or_else(missing)?;
    let link = ConsoleLink {
        url: format!("{place}#{token}"),
        grant: grant.id,
        proxy: grant.router.to_string(),
        expires: grant.expires,
        effects,
    };
    let headers = [(header::CACHE_CONTROL, "no-store")];
    Ok((axum::http::StatusCode::CREATED, headers, axum::Json(link)).into_response())
}

/// Where browsers find each proxy of the zone that serves them and takes sessions: known before a grant is made, so that
/// none is made whose link could not be told, or would lead nowhere.
async fn places(conn: &mut Conn, zone: &ObjectId) -> Result<BTreeMap<ApplianceId, String>, Error> {
    let own = [("zone", zone.as_str()), ("role", "proxy")];
    let proxies = dynamic::load::<Appliance>(conn, &own, ALL).await?;
    let (mut places, mut shut) = (BTreeMap::new(), None);
    for proxy in proxies.into_iter().filter(|proxy| !proxy.draining) {
        let Some(origin) = proxy.browsed_at().filter(|_| console_home::serves(&proxy)) else {
            shut = Some(proxy);
            continue;
        };
        let prefix = proxy.prefix.to_string();
        places.insert(proxy.id, format!("{origin}{}/", prefix.trim_end_matches('/')));
    }
    match shut {
        Some(proxy) if places.is_empty() => Err(unserved(&proxy)),
        _ => Ok(places),
    }
}

/// What a proxy lacks for a link to lead to it.
fn unserved(proxy: &Appliance) -> Error {
    let name = &proxy.name;
    if proxy.hosts.is_empty() || proxy.browsed_at().is_none() {
        let reason = format!("proxy {name} has no name that a link could have");
        return Error::Invalid { field: "hosts", reason };
    }
    let reason = format!("proxy {name} serves no browser before it has one, or trusted_proxies");
    Error::Invalid { field: "certificate", reason }
}

/// When a change is in force.
#[derive(Deserialize)]
struct Effects {
    effects: Vec<Effect>,
}

/// The grant that a link is.
fn grant(screen: &ObjectId, token: &str, spec: ConsoleLinkSpec) -> Result<Value, Error> {
    let minutes = match spec.minutes.unwrap_or(HOUR) {
        0 => {
            let reason = "must be 1 or more".to_owned();
            return Err(Error::Invalid { field: "minutes", reason });
        }
        minutes => u64::from(minutes),
    };
    let begin = u64::try_from(now()).unwrap_or(0);
    let mut grant: Map<String, Value> = from_json(&to_json(&spec, "link")?, "link")?;
    grant.remove("minutes");
    grant.extend([
        ("screen".to_owned(), screen.as_str().into()),
        ("token".to_owned(), token.into()),
        ("expires".to_owned(), begin.saturating_add(minutes * 60).into()),
    ]);
    Ok(grant.into())
}

/// Takes links away by VM, by user, or by both, in one transaction. Their sessions end.
#[utoipa::path(post, path = "/v1/consoles/revoke", tag = "consoles", request_body = RevokeSpec,
    params(("Idempotency-Key" = Option<String>, Header, description = "request id")),
    responses((status = 200, body = Revoked), (status = "4XX", body = Problem)))]
pub(super) async fn revoke(
    For(app): For,
    caller: Caller,
    request: RequestId,
    Body(spec): Body<RevokeSpec>,
) -> Reply {
    app.change(&caller, request, Change::RevokeConsoles(spec)).await
}

/// How busy each console proxy is.
#[utoipa::path(get, path = "/v1/consoles/loads", tag = "consoles",
    responses((status = 200, body = Vec<ConsoleLoad>)))]
pub(super) async fn loads(For(app): For) -> Reply {
    Ok(shown(&consoles::loads(&mut *app.read().await?).await?))
}

/// Who is or was on which console, the latest first.
#[utoipa::path(get, path = "/v1/consoles/sessions", tag = "consoles", params(Which),
    responses((status = 200, body = Vec<ConsoleSession>), (status = "4XX", body = Problem)))]
pub(super) async fn sessions(For(app): For, Query(mut which): Query<Which>) -> Reply {
    let mut conn = app.read().await?;
    if let Some(asked) = which.screen.take() {
        which.screen = Some(noted_as(&mut conn, Scope::Of(&app.owner), asked).await?);
    }
    Ok(shown(&consoles::sessions(&mut conn, &which).await?))
}

/// The name by which the sessions of a screen are noted. They outlive it, so one that is gone is asked for by the name that
/// it had.
async fn noted_as(conn: &mut Conn, scope: Scope<'_>, asked: String) -> Result<String, Error> {
    if let Ok(id) = asked.parse::<ObjectId>()
        && let Some(screen) = dynamic::called::<Screen>(conn, scope, None, &id).await?.first()
    {
        return Ok(screen.name.to_string());
    }
    let gone = Which { screen: Some(asked.clone()), ..Which::default() };
    if consoles::sessions(conn, &gone).await?.is_empty() {
        return Err(Error::NotFound { kind: "screen", name: asked });
    }
    Ok(asked)
}
