//! Golden texts of the command line, and that its definition holds together.

use std::fs;
use std::path::Path;

use clap::{Command, CommandFactory as _, FromArgMatches as _, Parser as _, Subcommand as _};
use serde_json::{Value, json};

use super::Cli;
use super::kinds::{Kinds, Verb};

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

/// The body that a line of `sluice` sends.
fn body(words: &[&str]) -> Result<Value, String> {
    let command = Kinds::augment_subcommands(Command::new("sluice"));
    let matches = command.try_get_matches_from(["sluice"].iter().chain(words));
    let matches = matches.map_err(|error| error.to_string())?;
    let Kinds(command) = Kinds::from_arg_matches(&matches).map_err(|error| error.to_string())?;
    match command.verb {
        Verb::Create(spec) | Verb::Update(_, spec) => Ok(spec),
        other => Err(format!("{other:?}")),
    }
}

#[test]
fn an_empty_text_empties_a_list() {
    let zone = ["zone", "update", "zone1"];
    let line = |more: &[&'static str]| body(&[&zone[..], more].concat());
    assert_eq!(line(&["--managers", ""]).unwrap(), json!({ "managers": [] }));
    assert_eq!(line(&["--forward-zones", ""]).unwrap(), json!({ "forward_zones": [] }));
}

#[test]
fn a_json_array_is_a_list_as_words_between_commas_are() {
    let update = |flag, value| body(&["network", "update", "n", flag, value]).unwrap();
    let both = json!({ "resolvers": ["192.0.2.1", "192.0.2.2"] });
    assert_eq!(update("--resolvers", r#"["192.0.2.1", "192.0.2.2"]"#), both);
    assert_eq!(update("--resolvers", "192.0.2.1,192.0.2.2"), both);
    let zone = |value| body(&["zone", "update", "z", "--forward-zones", value]).unwrap();
    let zones =
        json!({ "forward_zones": [{ "zone": "corp.example", "upstreams": ["192.0.2.1"] }] });
    assert_eq!(zone(r#"[{"zone":"corp.example","upstreams":["192.0.2.1"]}]"#), zones);
    assert_eq!(zone(r#"{"zone":"corp.example","upstreams":["192.0.2.1"]}"#), zones);
}

#[test]
fn a_value_is_taken_away_by_its_name() {
    let words = ["screen", "update", "vm1", "--unset", "tls-name,tls-pin", "--unset", "password"];
    let gone = json!({ "tls_name": null, "tls_pin": null, "password": null });
    assert_eq!(body(&words).unwrap(), gone);
    let ports = ["firewall-rule", "update", "fw-1", "--unset", "ports"];
    assert_eq!(body(&ports).unwrap(), json!({ "ports": null }));
    // what cannot be taken away is no word of the flag, and nothing is given and taken away at once
    let error = body(&["screen", "update", "vm1", "--unset", "port"]).unwrap_err();
    assert!(error.contains("invalid value 'port'"), "{error}");
    let both = ["screen", "update", "vm1", "--user", "u", "--unset", "user"];
    assert!(body(&both).unwrap_err().contains("taken away"));
}
