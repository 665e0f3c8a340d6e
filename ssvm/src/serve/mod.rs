//! Uploads and downloads over HTTP, for whoever holds a grant.
//!
//! Guarantees: without the token of a running grant there is nothing here, and nothing tells whether there could be; tokens
//! are compared as hashes and never logged; what a grant is not for it does not do. Changes of the configuration take effect
//! for the next request, and no open transfer is cut for them unless its listener goes.

mod answer;
mod download;
mod grants;
mod listen;
mod meter;
mod page;
mod peers;
mod range;
mod tus;

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, options};

use crate::jobs::Engine;
use grants::Grants;

pub use listen::Server;

/// What requests are answered from.
#[derive(Clone)]
struct Desk {
    engine: Arc<Engine>,
    grants: Arc<Grants>,
}

fn router(desk: Desk) -> Router {
    Router::new()
        .route("/upload", get(page::page).post(tus::create).options(tus::options))
        .route("/upload/page.js", get(page::script))
        .route("/upload/page.css", get(page::style))
        .route("/upload/{job}", options(tus::options).head(tus::position).patch(tus::piece))
        .route("/upload/{job}/state", get(tus::state))
        .route("/download/{token}", get(download::get))
        .route("/download/{token}/{name}", get(download::get_named))
        .layer(axum::middleware::map_response(answer::harden))
        .with_state(desk)
}
