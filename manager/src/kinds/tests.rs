//! The list of kinds holds together.

use std::collections::BTreeSet;

use super::*;

#[test]
fn every_name_and_prefix_is_used_once() {
    let words: BTreeSet<_> = KINDS.iter().map(|kind| kind.names().word).collect();
    let prefixes: BTreeSet<_> = KINDS.iter().map(|kind| kind.names().prefix).collect();
    assert_eq!((words.len(), prefixes.len()), (KINDS.len(), KINDS.len()));
}

#[test]
fn references_lead_to_kinds_that_there_are() {
    for kind in KINDS {
        for key in kind.keys() {
            let Some(word) = key.refers else { continue };
            assert!(by_word(word).is_some(), "{}: {word}", kind.names().word);
        }
        if let Some(scope) = kind.scope() {
            let known = kind.keys().iter().any(|key| key.field == scope && key.column.is_some());
            assert!(known, "{}: {scope}", kind.names().word);
        }
    }
}

#[test]
fn a_key_is_a_field_of_the_object() {
    for kind in KINDS {
        let schemas = kind.schemas();
        let object = schemas.all.iter().rev().find(|(name, _)| *name == schemas.object).unwrap();
        for key in kind.keys().iter().filter(|key| key.column.is_some()) {
            let has = object.1["properties"].get(key.field).is_some();
            assert!(has, "{}: {}", kind.names().word, key.field);
        }
    }
}
