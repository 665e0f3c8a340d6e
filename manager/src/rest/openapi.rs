//! The OpenAPI document; checked in under `docs/openapi/` and compared by a test.

use axum::response::Response;
use utoipa::OpenApi;

use super::reply::shown;
use super::{appliances, cloud, diagnostics, guests, networks, physical, public, zones};
use crate::error::Problem;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Sluice manager",
        description = "Network model, allocation and system VMs of one cloud"
    ),
    paths(
        zones::list,
        zones::show,
        zones::create,
        zones::update,
        zones::delete,
        physical::list,
        physical::show,
        physical::create,
        physical::update,
        physical::delete,
        public::list,
        public::show,
        public::create,
        public::delete,
        networks::list,
        networks::show,
        networks::create,
        networks::update,
        networks::delete,
        guests::list,
        guests::show,
        guests::create,
        guests::update,
        guests::delete,
        appliances::list,
        appliances::show,
        appliances::delete,
        appliances::config,
        appliances::boot_document,
        appliances::endpoint,
        appliances::status,
        appliances::statuses,
        appliances::plan,
        appliances::logs,
        diagnostics::ping,
        diagnostics::traceroute,
        diagnostics::arping,
        diagnostics::capture,
        cloud::apply,
        cloud::allocations,
        cloud::health,
        serve,
    ),
    components(schemas(Problem))
)]
struct Document;

/// The document.
pub fn document() -> utoipa::openapi::OpenApi {
    let mut document = Document::openapi();
    env!("CARGO_PKG_VERSION").clone_into(&mut document.info.version);
    document
}

/// This document.
#[utoipa::path(get, path = "/v1/openapi.json", tag = "cloud",
    responses((status = 200, description = "OpenAPI document")))]
pub(super) async fn serve() -> Response {
    shown(&document())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    #[test]
    fn the_document_is_checked_in() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi/manager.json");
        let text = serde_json::to_string_pretty(&super::document()).unwrap() + "\n";
        if std::env::var_os("BLESS").is_some() {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, &text).unwrap();
        }
        let expected = fs::read_to_string(&path).unwrap_or_default();
        assert!(text == expected, "{} differs; rewrite with `cargo xtask bless`", path.display());
    }
}
