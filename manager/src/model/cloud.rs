//! A whole cloud as people describe it: a list of specs for each kind.
//!
//! Guarantees: what is decoded strictly is understood by its kind, each fault named by section, place and field.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sluice_api::Finding;

use crate::kinds::{self, KINDS};

/// What the zones that it names are to hold. Zones it does not name stay as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CloudSpec(pub BTreeMap<String, Vec<Map<String, Value>>>);

impl CloudSpec {
    /// The specs of a section, in the order of the description.
    pub fn section(&self, name: &str) -> &[Map<String, Value>] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    /// Everything that is wrong with it by itself: unknown sections, and what a kind does not understand.
    pub fn check(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        for (section, specs) in &self.0 {
            let Some(kind) = kinds::by_section(section) else {
                findings.push(Finding::error(section, "unknown-field", unknown(section)));
                continue;
            };
            for (number, spec) in specs.iter().enumerate() {
                let Err(faults) = kind.read_spec(&Value::Object(spec.clone())) else { continue };
                let named = |fault: Finding| {
                    let what = called(kind.names().word, spec);
                    let dot = if fault.path.is_empty() { "" } else { "." };
                    let path = format!("{section}[{number}]{dot}{}", fault.path);
                    Finding::error(path, &fault.code, format!("{what}: {}", fault.reason))
                };
                findings.extend(faults.into_iter().map(named));
            }
        }
        findings
    }

    /// Its schema: a list for each kind.
    pub fn schema() -> Value {
        let list = |kind: &&dyn kinds::AnyKind| {
            let items = json!({ "$ref": format!("#/components/schemas/{}", kind.schemas().spec) });
            (kind.names().section(), json!({ "type": "array", "items": items }))
        };
        let properties: Map<_, _> = KINDS.iter().map(list).collect();
        json!({
            "type": "object",
            "description": "What the zones that it names are to hold",
            "properties": properties,
            "additionalProperties": false,
        })
    }
}

/// An object of a description as people call it.
pub fn called(word: &str, spec: &Map<String, Value>) -> String {
    match spec.get("name").and_then(Value::as_str) {
        Some(name) => format!("{word} {}", name.chars().take(64).collect::<String>()),
        None => format!("a {word} without a name"),
    }
}

fn unknown(section: &str) -> String {
    let known: Vec<_> = KINDS.iter().map(|kind| kind.names().section()).collect();
    let section: String = section.chars().take(64).collect();
    format!("there is no section {section}; there are {}", known.join(", "))
}
