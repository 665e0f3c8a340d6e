//! The checked-in schemas are the ones that the types give.

#![allow(clippy::unwrap_used)] // a test may fail loudly anywhere, its helpers included

use std::fs;
use std::path::Path;

fn compare(name: &str, schema: &serde_json::Value) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/schema").join(name);
    let text = serde_json::to_string_pretty(schema).unwrap() + "\n";
    if std::env::var_os("BLESS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &text).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        text == expected,
        "{} is out of date; rewrite with `cargo xtask bless`",
        path.display()
    );
}

#[test]
fn router_config_schema_is_checked_in() {
    compare("router-config.json", &sluice_api::schema::router_config());
}

#[test]
fn the_other_roles_schemas_are_checked_in() {
    compare("proxy-config.json", &sluice_api::schema::proxy_config());
    compare("ssvm-config.json", &sluice_api::schema::ssvm_config());
}

#[test]
fn boot_document_schema_is_checked_in() {
    compare("boot-document.json", &sluice_api::schema::boot_document());
}
