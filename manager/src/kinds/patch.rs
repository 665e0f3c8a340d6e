//! What a change takes away: null where a value can be taken away, and a refusal by the field's name where it cannot.
//!
//! Guarantees: no null is ignored. Whether one is understood is asked of the patch's type itself, so that nothing is
//! stated twice: of a field that can be taken away the type is `Option<Option<T>>`, read by [`stated`].

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value, json};
use sluice_api::Finding;

use super::fields::{Field, Fields};
use super::strict::strict;
use crate::model::Until;

/// Null is a value that was stated.
pub(super) fn stated<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// An end that is taken away is none.
pub(super) fn end<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Until>, D::Error> {
    Ok(Some(Option::deserialize(deserializer)?.unwrap_or(Until::Never)))
}

/// The fields of the patch `T`, with what can be taken away.
pub(super) fn fields<T: DeserializeOwned + Serialize + utoipa::ToSchema>() -> Fields {
    let mut fields = Fields::of::<T>();
    for field in &mut fields.0 {
        field.removable = is_understood::<T>(&[&field.name]);
    }
    fields
}

/// The fields that a spec has and its patch has not.
pub(super) fn fixed<S: utoipa::ToSchema, P: utoipa::ToSchema>() -> Fields {
    let (mut fields, changeable) = (Fields::of::<S>(), Fields::of::<P>());
    fields.0.retain(|field| !changeable.has(&field.name));
    for field in &mut fields.0 {
        field.required = false;
    }
    fields
}

/// Findings about a change of a `word`, in which a field that stays what it is says so, and the shortest way.
pub(super) fn with_the_way(findings: Vec<Finding>, word: &str, fixed: &Fields) -> Vec<Finding> {
    let told = |finding: Finding| {
        if finding.code != "unknown-field" || !fixed.has(&finding.path) {
            return finding;
        }
        let reason = format!("cannot be changed in place; delete the {word} and create it again");
        refused(&finding.path, &reason)
    };
    findings.into_iter().map(told).collect()
}

/// A patch of the type `T` as it is understood, or all that is wrong with it.
pub(super) fn read<T: DeserializeOwned + Serialize + utoipa::ToSchema>(
    patch: &Value,
) -> Result<Value, Vec<Finding>> {
    let mut rest = patch.clone();
    let mut findings = Vec::new();
    if let Value::Object(stated) = &mut rest {
        let fields = Fields::of::<T>();
        let mut gone = Vec::new();
        for (name, value) in stated.iter_mut() {
            // what is unknown is told by the type
            let Some(field) = fields.0.iter().find(|field| field.name == *name) else { continue };
            if value.is_null() && !is_understood::<T>(&[name]) {
                findings.push(kept(name, field));
                gone.push(name.clone());
            } else if let Value::Object(part) = value
                && field.part
            {
                take_nulls::<T>(name, part, &mut findings);
            }
        }
        stated.retain(|name, _| !gone.contains(name));
    }
    match strict::<T>(&rest) {
        Ok(understood) if findings.is_empty() => Ok(understood),
        Ok(_) => Err(findings),
        Err(more) => {
            findings.extend(more);
            Err(findings)
        }
    }
}

/// Takes out of a part the nulls that nobody understands, and tells each.
fn take_nulls<T: DeserializeOwned + Serialize>(
    name: &str,
    part: &mut Map<String, Value>,
    findings: &mut Vec<Finding>,
) {
    part.retain(|inner, value| {
        let known = !value.is_null() || !is_known::<T>(name, inner);
        let fine = known || is_understood::<T>(&[name, inner]);
        if !fine {
            findings.push(refused(&format!("{name}.{inner}"), STAYS));
        }
        fine
    });
}

/// True when null at that place is read and kept.
fn is_understood<T: DeserializeOwned + Serialize>(place: &[&str]) -> bool {
    let stated = place.iter().rev().fold(Value::Null, |inner, name| json!({ *name: inner }));
    let Ok(understood) = strict::<T>(&stated) else { return false };
    let way: String = place.iter().map(|name| format!("/{name}")).collect();
    understood.pointer(&way).is_some()
}

/// True when the part called `name` has such a field.
fn is_known<T: DeserializeOwned + Serialize>(name: &str, inner: &str) -> bool {
    let stated = json!({ name: { inner: null } });
    let unknown = |findings: Vec<Finding>| findings.iter().any(|it| it.code == "unknown-field");
    strict::<T>(&stated).map_or_else(|findings| !unknown(findings), |_| true)
}

const STAYS: &str = "cannot be taken away; leave it out, and it stays as it is";
const EMPTY: &str = "cannot be null; an empty list takes away all of it";

fn kept(name: &str, field: &Field) -> Finding {
    refused(name, if field.list { EMPTY } else { STAYS })
}

fn refused(path: &str, reason: &str) -> Finding {
    Finding::error(path, "invalid-value", reason)
}

/// Has the schemas of patches among `all` say where null may stand, and nowhere else.
pub(super) fn schemas<T: DeserializeOwned + Serialize + utoipa::ToSchema>(
    own: &str,
    all: &mut [(String, Value)],
) {
    let parts: Vec<(String, String)> = Fields::of::<T>()
        .0
        .into_iter()
        .filter(|field| field.part)
        .filter_map(|field| Some((field.schema?, field.name)))
        .collect();
    for (name, schema) in all {
        let part = parts.iter().find(|(schema, _)| schema == name).map(|(_, field)| field.as_str());
        let way: Vec<&str> = match part {
            Some(field) => vec![field],
            None if name == own => Vec::new(),
            None => continue,
        };
        let properties = schema.get_mut("properties").and_then(Value::as_object_mut);
        for (field, property) in properties.into_iter().flatten() {
            let place: Vec<&str> = way.iter().copied().chain([field.as_str()]).collect();
            if !is_understood::<T>(&place) {
                never_null(property);
            }
        }
    }
}

/// Takes the word null out of what a property may be.
fn never_null(property: &mut Value) {
    let Some(property) = property.as_object_mut() else { return };
    property.retain(|word, value| word != "default" || !value.is_null());
    if let Some(Value::Array(types)) = property.get_mut("type") {
        types.retain(|one| one != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            property.insert("type".to_owned(), only);
        }
    }
    let Some(Value::Array(alternatives)) = property.get_mut("oneOf") else { return };
    alternatives.retain(|one| one["type"] != "null");
    if let [Value::Object(only)] = alternatives.as_slice() {
        let only = only.clone();
        property.remove("oneOf");
        property.extend(only);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::{KINDS, by_word};

    fn refusals(kind: &str, patch: &Value) -> Vec<(String, String)> {
        let findings = by_word(kind).unwrap().read_patch(patch).unwrap_err();
        findings.into_iter().map(|it| (it.path, it.reason)).collect()
    }

    #[test]
    fn null_is_refused_where_a_value_cannot_be_taken_away() {
        let patch = json!({ "max_vpcs": null, "managers": null, "mixed_case": null, "nothing": 1 });
        let told = refusals("zone", &patch);
        let has =
            |path: &str, reason: &str| told.iter().any(|(p, r)| p == path && r.contains(reason));
        assert!(has("max_vpcs", "cannot be taken away"), "{told:?}");
        assert!(has("mixed_case", "cannot be taken away"), "{told:?}");
        assert!(has("managers", "an empty list"), "{told:?}");
        assert!(told.iter().any(|(_, reason)| reason.contains("nothing")), "{told:?}");
        let told = refusals("balancer", &json!({ "health": { "rise": null, "check": null } }));
        assert_eq!(told, [("health.rise".to_owned(), STAYS.to_owned())]);
    }

    #[test]
    fn what_stays_as_it_is_says_the_way() {
        let told = refusals("network", &json!({ "cidr": "10.9.0.0/24", "colour": "red" }));
        let way = "cannot be changed in place; delete the network and create it again".to_owned();
        assert!(told.contains(&("cidr".to_owned(), way)), "{told:?}");
        let unknown = told.iter().find(|(path, _)| path == "colour").unwrap();
        assert!(!unknown.1.contains("in place"), "{told:?}");
    }

    #[test]
    fn null_takes_away_what_can_be_taken_away() {
        for (kind, field, understood) in [
            ("zone", "resolver_tls", Value::Null),
            ("public range", "ipv6_cidr", Value::Null),
            ("screen", "password", Value::Null),
            ("acl rule", "ports", Value::Null),
            ("firewall rule", "until", json!("never")),
        ] {
            let read = by_word(kind).unwrap().read_patch(&json!({ field: null }));
            assert_eq!(read.unwrap(), json!({ field: understood }), "{kind} {field}");
        }
    }

    /// No kind has a field of which null says nothing: it is refused by its name, or it is understood.
    #[test]
    fn no_null_is_ignored() {
        for kind in KINDS {
            let word = kind.names().word;
            for field in kind.patch_fields().0 {
                let read = kind.read_patch(&json!({ &field.name: null }));
                match read {
                    Ok(understood) => {
                        assert!(field.removable, "{word} {}", field.name);
                        assert_eq!(
                            understood.as_object().unwrap().len(),
                            1,
                            "{word} {}",
                            field.name
                        );
                    }
                    Err(findings) => {
                        let paths: Vec<_> = findings.iter().map(|it| it.path.as_str()).collect();
                        assert_eq!(paths, [field.name.as_str()], "{word}: {findings:?}");
                        assert!(!field.removable, "{word} {}", field.name);
                    }
                }
            }
        }
    }

    #[test]
    fn schemas_say_where_null_may_stand() {
        let properties = |kind: &str, name: &str| {
            let schemas = by_word(kind).unwrap().schemas();
            let (_, schema) = schemas.all.into_iter().rev().find(|(it, _)| it == name).unwrap();
            schema["properties"].clone()
        };
        let zone = properties("zone", "ZonePatch");
        assert!(zone["resolver_tls"].to_string().contains("null"), "{zone}");
        assert!(!zone["max_vpcs"].to_string().contains("null"), "{zone}");
        assert_eq!(zone["managers"]["type"], "array");
        assert!(zone["guest_cidr"]["$ref"].is_string(), "{zone}");
        let health = properties("balancer", "HealthPatch");
        assert!(health["check"].to_string().contains("null"), "{health}");
        assert!(!health["rise"].to_string().contains("null"), "{health}");
    }
}
