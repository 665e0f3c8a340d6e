//! Golden texts of the command line, and that its definition holds together.

use std::fs;
use std::path::Path;

use clap::{CommandFactory as _, Parser as _};

use super::Cli;

fn compare(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/cli").join(name);
    if std::env::var_os("BLESS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        text == expected,
        "{} differs; rewrite with `cargo xtask bless`\n{text}",
        path.display()
    );
}

#[test]
fn the_definition_holds_together() {
    Cli::command().debug_assert();
}

#[test]
fn help_texts_are_the_golden_ones() {
    let kinds = ["zone", "physical-network", "public-range", "network", "guest"];
    for kind in kinds {
        compare(&format!("{kind}-create.txt"), &help(&[kind, "create"]));
    }
    compare("sluice.txt", &help(&[]));
    compare("apply.txt", &help(&["apply"]));
    compare("appliance.txt", &help(&["appliance"]));
    compare("console.txt", &help(&["console"]));
    compare("token-create.txt", &help(&["token", "create"]));
    compare("ca.txt", &help(&["ca"]));
}

fn help(words: &[&str]) -> String {
    let args = ["sluice"].iter().chain(words).chain(&["--help"]);
    Cli::try_parse_from(args).unwrap_err().to_string()
}

#[test]
fn wrong_values_are_refused_at_the_prompt() {
    for args in [
        &["network", "create", "net1", "--zone", "z", "--domain", "d", "--egress", "maybe"][..],
        &["guest", "create", "vm_1", "--network", "n"],
        &["physical-network", "create", "p", "--zone", "z", "--vlans", "200-100"],
        &["network", "update", "net1"],
    ] {
        let error = Cli::try_parse_from(["sluice"].iter().chain(args)).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{args:?}: {error}");
        assert!(!error.to_string().contains("error: error:"), "{args:?}: {error}");
    }
}
