//! The OpenAPI document; checked in under `docs/openapi/` and compared by a test.

use utoipa::OpenApi;

use super::{blobs, diagnostics, flows, questions, routes};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Sluice agent",
        description = "API of every appliance: HTTPS with mutual TLS on the control link, port 3922"
    ),
    paths(
        routes::push,
        routes::confirm,
        routes::config,
        blobs::put_blob,
        blobs::has_blob,
        routes::status,
        routes::health,
        routes::metrics_text,
        routes::usage,
        routes::logs,
        routes::power,
        routes::identity,
        diagnostics::ping,
        diagnostics::traceroute,
        diagnostics::arping,
        diagnostics::capture,
        flows::flows,
        questions::questions,
        questions::answers,
    ),
    components(schemas(sluice_api::report::DryRun, sluice_api::report::ScreenQuestion))
)]
struct Document;

/// The document.
pub fn document() -> utoipa::openapi::OpenApi {
    let mut document = Document::openapi();
    env!("CARGO_PKG_VERSION").clone_into(&mut document.info.version);
    document
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    #[test]
    fn the_document_is_checked_in() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi/agent.json");
        let text = serde_json::to_string_pretty(&super::document()).unwrap() + "\n";
        if std::env::var_os("BLESS").is_some() {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, &text).unwrap();
        }
        let expected = fs::read_to_string(&path).unwrap_or_default();
        assert!(text == expected, "{} differs; rewrite with `cargo xtask bless`", path.display());
    }
}
