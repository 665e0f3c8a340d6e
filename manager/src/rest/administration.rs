//! What administrators do: tokens, the list of changes, back-ups, the authority.

#![allow(unused_qualifications)] // what utoipa expands `params(Type)` to

use axum::body::{Body as Bytes, Bytes as Chunk};
use axum::http::header;
use axum::response::IntoResponse as _;
use futures_util::stream;
use serde::{Deserialize, Serialize};
use sluice_api::types::ObjectId;
use tokio::sync::mpsc;
use utoipa::{IntoParams, ToSchema};

use super::For;
use super::reply::{Reply, nothing, shown};
use super::request::{Body, Named, Query, RequestId, at_most};
use crate::access::{Caller, Role};
use crate::error::{Error, Problem};
use crate::ops::{self, AuthorityStatus};
use crate::store::audit::{self, AuditLine};
use crate::store::backup::{self, Line};
use crate::store::tokens::{self, Token};

/// Lines of a back-up on their way at a time.
const LINES: usize = 256;
/// Longest life of a token in days.
const LONGEST: i64 = 3650;

/// A token to be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TokenSpec {
    /// Who gets it; unique.
    name: ObjectId,
    /// What it may do.
    role: Role,
    /// Its life in days, 1 to 3650. Default: it does not end.
    #[schema(minimum = 1, maximum = 3650)]
    days: Option<i64>,
}

/// A token that was made, the only time that it is shown.
#[derive(Serialize, ToSchema)]
pub(super) struct NewToken {
    /// The token; whoever has it is let in.
    token: String,
    /// What is known of it from now on.
    about: Token,
}

/// Makes a token for a caller over TCP.
#[utoipa::path(post, path = "/v1/tokens", tag = "administration", request_body = TokenSpec,
    responses((status = 200, body = NewToken), (status = "4XX", body = Problem)))]
pub(super) async fn create_token(
    For(app): For,
    caller: Caller,
    Body(TokenSpec { name, role, days }): Body<TokenSpec>,
) -> Reply {
    if days.is_some_and(|days| !(1..=LONGEST).contains(&days)) {
        let reason = format!("must be 1 to {LONGEST}");
        return Err(Error::Invalid { field: "days", reason }.into());
    }
    let token = tokens::fresh();
    let mut transaction = app.store.begin().await?;
    let seconds = days.map(|days| days.saturating_mul(24 * 3600));
    let about =
        tokens::insert(&mut transaction, &caller.owner, &name, role, (&token, seconds)).await?;
    audit::note(&mut transaction, &caller, &format!("token {name} made"), &[], None).await?;
    transaction.commit().await?;
    Ok(([(header::CACHE_CONTROL, "no-store")], shown(&NewToken { token, about })).into_response())
}

/// All tokens; what they are themselves is not kept.
#[utoipa::path(get, path = "/v1/tokens", tag = "administration",
    responses((status = 200, body = Vec<Token>), (status = "4XX", body = Problem)))]
pub(super) async fn list_tokens(For(app): For) -> Reply {
    Ok(shown(&tokens::list(&mut *app.read().await?).await?))
}

/// Ends a token.
#[utoipa::path(delete, path = "/v1/tokens/{id}", tag = "administration",
    params(("id" = String, Path, description = "name or id")),
    responses((status = 200, body = Token), (status = "4XX", body = Problem)))]
pub(super) async fn delete_token(For(app): For, caller: Caller, Named(name): Named) -> Reply {
    let mut transaction = app.store.begin().await?;
    let token = tokens::delete(&mut transaction, &name).await?;
    let what = format!("token {} ended", token.name);
    audit::note(&mut transaction, &caller, &what, &[], None).await?;
    transaction.commit().await?;
    Ok(shown(&token))
}

/// How much of the list of changes.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Depth {
    /// Only changes before this number.
    before: Option<i64>,
    /// At most so many. Default 100.
    #[param(minimum = 1, maximum = 10000)]
    limit: Option<u32>,
}

/// Who changed what, from where; the newest first.
#[utoipa::path(get, path = "/v1/audit", tag = "administration", params(Depth),
    responses((status = 200, body = Vec<AuditLine>), (status = "4XX", body = Problem)))]
pub(super) async fn list_changes(For(app): For, Query(depth): Query<Depth>) -> Reply {
    let limit = i64::from(at_most(depth.limit, 100, 10_000)?);
    Ok(shown(&audit::list(&mut *app.read().await?, depth.before, limit).await?))
}

/// A back-up of this moment, a line for each row; the authority's key is in it.
#[utoipa::path(get, path = "/v1/backup", tag = "administration",
    responses((status = 200, description = "lines of JSON"), (status = "4XX", body = Problem)))]
pub(super) async fn back_up(For(app): For, caller: Caller) -> Reply {
    let mut transaction = app.store.begin().await?;
    audit::note(&mut transaction, &caller, "back-up taken", &[], None).await?;
    transaction.commit().await?;
    let (to, lines) = mpsc::channel(LINES);
    tokio::spawn(async move {
        let authority = app.authority.text();
        if let Err(error) = backup::write(&app.store, authority, to).await {
            // the file that is being written has no end, which whoever reads it sees
            tracing::error!(error = crate::push::chain(&error), "the back-up broke off");
        }
    });
    let chunks = stream::unfold(lines, |mut lines| async move {
        let line = lines.recv().await?;
        Some((text(&line), lines))
    });
    let head = [(header::CONTENT_TYPE, "application/jsonl"), (header::CACHE_CONTROL, "no-store")];
    Ok((head, Bytes::from_stream(chunks)).into_response())
}

fn text(line: &Line) -> Result<Chunk, serde_json::Error> {
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    Ok(text.into())
}

/// The authority, and whether the older ones can be given up.
#[utoipa::path(get, path = "/v1/authority", tag = "administration",
    responses((status = 200, body = AuthorityStatus), (status = "4XX", body = Problem)))]
pub(super) async fn authority(For(app): For) -> Reply {
    Ok(shown(&ops::authority_status(&app.store, &app.authority).await?))
}

/// Begins a new authority; every appliance gets a certificate of it at its next look.
#[utoipa::path(post, path = "/v1/authority/rotate", tag = "administration",
    params(("Idempotency-Key" = Option<String>, Header, description = "request id")),
    responses((status = 200, body = AuthorityStatus), (status = "4XX", body = Problem)))]
pub(super) async fn rotate(For(app): For, caller: Caller, request: RequestId) -> Reply {
    ops::rotate(&app.store, &app.authority, &caller, request.0.as_deref()).await?;
    app.watch.wake_all();
    authority(For(app)).await
}

/// Whether an appliance may be lost.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Force {
    /// Also give up appliances that know no newer authority.
    #[serde(default)]
    force: bool,
}

/// Gives the older authorities up; refused while an appliance may know no newer one.
#[utoipa::path(post, path = "/v1/authority/retire", tag = "administration", params(Force),
    responses((status = 200, body = AuthorityStatus), (status = "4XX", body = Problem)))]
pub(super) async fn retire(
    For(app): For,
    caller: Caller,
    Query(Force { force }): Query<Force>,
) -> Reply {
    ops::retire(&app.store, &app.authority, &caller, force).await?;
    app.watch.wake_all();
    authority(For(app)).await
}

/// Lets a store that was put back push again.
#[utoipa::path(post, path = "/v1/resume", tag = "administration",
    responses((status = 204), (status = "4XX", body = Problem)))]
pub(super) async fn resume(For(app): For, caller: Caller) -> Reply {
    ops::resume(&app.store, &caller).await?;
    app.watch.wake_all();
    Ok(nothing())
}
