//! The manager's REST API, on a socket of this machine by default.
//!
//! Guarantees: bodies are decoded strictly and all faults named at once; an error changes nothing; a request id in the
//! header `Idempotency-Key` makes a change happen once however often it is sent; every caller is known ([`access`]). A
//! web page cannot call it in a visitor's name: it has no token, bodies must be JSON by their own word, and on loopback the
//! host must be one.

pub mod access;
mod administration;
mod appliances;
mod cloud;
pub(crate) mod consoles;
mod diagnostics;
mod explain;
mod generations;
pub mod listen;
mod objects;
mod openapi;
mod reply;
mod request;

use axum::Router;
use axum::extract::{DefaultBodyLimit, FromRequestParts};
use axum::http::request::Parts;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{delete, get, post, put};

use crate::access::Caller;
use crate::error::Error;
use crate::ops::{Change, execute};
use crate::push::Watch;
use crate::store::{Owner, Store};

pub use openapi::document;

use self::reply::{Reply, stored};
use self::request::RequestId;

/// What every handler needs.
#[derive(Clone, Debug)]
pub struct App {
    /// The store.
    pub store: Store,
    /// The watch over the appliances.
    pub watch: Watch,
    /// The certificate authority.
    pub authority: crate::ca::Authority,
    /// Who is let in without a token of the store.
    pub admission: access::Admission,
    /// Among whose objects a call looks: its caller's.
    pub owner: Owner,
}

/// The same for a call: what is looked for is looked for among its caller's.
pub(super) struct For(pub(super) App);

impl FromRequestParts<App> for For {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Self::Rejection> {
        let mut app = app.clone();
        // a call that needs no caller finds what is everybody's
        if let Some(caller) = parts.extensions.get::<Caller>() {
            app.owner.clone_from(&caller.owner);
        }
        Ok(Self(app))
    }
}

impl App {
    /// Makes a change and has the appliances looked at.
    async fn change(&self, caller: &Caller, request: RequestId, change: Change) -> Reply {
        let outcome = execute(&self.store, caller, request.0.as_deref(), &change).await?;
        self.watch.wake(outcome.touched.iter().map(String::as_str));
        Ok(stored(outcome))
    }

    async fn read(&self) -> Result<sqlx::pool::PoolConnection<sqlx::Any>, Error> {
        Ok(self.store.read().await?)
    }
}

/// The whole API. `local`: it listens on loopback or a socket, so only local host names are served.
pub fn router(app: App, local: bool) -> Router {
    let routes = Router::new()
        .merge(objects::routes())
        .merge(appliance_routes())
        .route("/v1/cloud", post(cloud::apply).get(cloud::export))
        .route("/v1/screens/{id}/console", post(consoles::link))
        .route("/v1/consoles/sessions", get(consoles::sessions))
        .route("/v1/consoles/loads", get(consoles::loads))
        .route("/v1/consoles/revoke", post(consoles::revoke))
        .route("/v1/explain", post(explain::explain))
        .merge(administration_routes())
        .route("/v1/allocations", get(cloud::allocations))
        .route("/v1/status", get(appliances::statuses))
        .route("/v1/health", get(cloud::health))
        .route("/v1/openapi.json", get(openapi::serve))
        .fallback(reply::no_route)
        .method_not_allowed_fallback(reply::no_method)
        .layer(DefaultBodyLimit::max(sluice_api::MAX_BODY))
        .layer(from_fn_with_state(app.clone(), access::guard));
    let routes = if local { routes.layer(from_fn(request::guard_host)) } else { routes };
    routes.with_state(app)
}

fn administration_routes() -> Router<App> {
    let tokens = get(administration::list_tokens).post(administration::create_token);
    Router::new()
        .route("/v1/tokens", tokens)
        .route("/v1/tokens/{id}", delete(administration::delete_token))
        .route("/v1/audit", get(administration::list_changes))
        .route("/v1/backup", get(administration::back_up))
        .route("/v1/resume", post(administration::resume))
        .route("/v1/authority", get(administration::authority))
        .route("/v1/authority/rotate", post(administration::rotate))
        .route("/v1/authority/retire", post(administration::retire))
}

fn appliance_routes() -> Router<App> {
    Router::new()
        .route("/v1/appliances/{id}/config", get(appliances::config))
        .route("/v1/appliances/{id}/boot-document", post(appliances::boot_document))
        .route("/v1/appliances/{id}/endpoint", put(appliances::endpoint))
        .route("/v1/appliances/{id}/status", get(appliances::status))
        .route("/v1/appliances/{id}/usage", get(appliances::usage))
        .route("/v1/appliances/{id}/findings", get(appliances::findings))
        .route("/v1/appliances/{id}/reports", get(appliances::reports))
        .route("/v1/appliances/{id}/reports/{service}", get(appliances::report))
        .route("/v1/appliances/{id}/reports/lb/csv", get(appliances::csv))
        .route("/v1/appliances/{id}/reports/lb/page", get(appliances::page))
        .route("/v1/appliances/{id}/generations", get(generations::history))
        .route("/v1/appliances/{id}/generations/{generation}", get(generations::show))
        .route("/v1/appliances/{id}/diff", get(generations::diff))
        .route("/v1/appliances/{id}/rollback", post(generations::rollback))
        .route("/v1/appliances/{id}/overwrite", post(generations::overwrite))
        .route("/v1/appliances/{id}/adopt", post(generations::adopt))
        .route("/v1/appliances/{id}/push", post(generations::push))
        .route("/v1/appliances/{id}/plan", post(appliances::plan))
        .route("/v1/appliances/{id}/logs", get(appliances::logs))
        .route("/v1/appliances/{id}/diagnostics/ping", post(diagnostics::ping))
        .route("/v1/appliances/{id}/diagnostics/traceroute", post(diagnostics::traceroute))
        .route("/v1/appliances/{id}/diagnostics/arping", post(diagnostics::arping))
        .route("/v1/appliances/{id}/diagnostics/capture", post(diagnostics::capture))
}
