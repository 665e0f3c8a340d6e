//! The published document beside the manager that runs: answers are what it says, and whatever is asked by it ends in an
//! answer that it knows, never in a failure of the manager, and never in half a change.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, TestRunner};
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::process::{Cloud, first_network};

/// How far references are followed in a schema, which may be its own part.
const DEEPEST: usize = 8;

/// The document, to look schemas up in.
struct Document(Value);

impl Document {
    fn resolved<'a>(&'a self, schema: &'a Value) -> &'a Value {
        match schema["$ref"].as_str() {
            Some(path) => {
                let place = path.trim_start_matches('#');
                let found = self.0.pointer(place).unwrap_or_else(|| panic!("{path} is missing"));
                self.resolved(found)
            }
            None => schema,
        }
    }

    /// What is wrong with `value` by `schema`; the keywords that the document has are known here, and no others.
    fn faults(&self, schema: &Value, value: &Value, place: &str) -> Vec<String> {
        let schema = self.resolved(schema);
        let mut faults = Vec::new();
        for key in ["allOf", "oneOf", "anyOf"] {
            let Some(parts) = schema[key].as_array() else { continue };
            let all: Vec<_> = parts.iter().map(|part| self.faults(part, value, place)).collect();
            let good = all.iter().filter(|faults| faults.is_empty()).count();
            let holds = if key == "allOf" { good == all.len() } else { good > 0 };
            if !holds {
                faults.extend(all.into_iter().flatten());
            }
        }
        if !fits(&schema["type"], value) {
            faults.push(format!("{place}: {value} is no {}", schema["type"]));
        }
        if let Some(words) = schema["enum"].as_array()
            && !words.contains(value)
        {
            faults.push(format!("{place}: {value} is none of {}", schema["enum"]));
        }
        if let Some(fields) = value.as_object() {
            faults.extend(self.field_faults(schema, fields, place));
        }
        for (number, item) in value.as_array().into_iter().flatten().enumerate() {
            if !schema["items"].is_null() {
                faults.extend(self.faults(&schema["items"], item, &format!("{place}[{number}]")));
            }
        }
        faults
    }

    fn field_faults(
        &self,
        schema: &Value,
        fields: &Map<String, Value>,
        place: &str,
    ) -> Vec<String> {
        let mut faults = Vec::new();
        for name in schema["required"].as_array().into_iter().flatten() {
            if !fields.contains_key(name.as_str().unwrap()) {
                faults.push(format!("{place}: {name} is missing"));
            }
        }
        let Some(known) = schema["properties"].as_object() else { return faults };
        for (name, value) in fields {
            match known.get(name) {
                Some(schema) => {
                    faults.extend(self.faults(schema, value, &format!("{place}.{name}")));
                }
                None if schema["additionalProperties"] == false => {
                    faults.push(format!("{place}: {name} is unknown"));
                }
                None => {}
            }
        }
        faults
    }

    /// Values of a schema, and now and then of something else.
    fn values(&self, schema: &Value, depth: usize) -> BoxedStrategy<Value> {
        let schema = self.resolved(schema);
        let good = self.good(schema, depth);
        prop_oneof![12 => good, 1 => strange()].boxed()
    }

    fn good(&self, schema: &Value, depth: usize) -> BoxedStrategy<Value> {
        if let Some(words) = schema["enum"].as_array() {
            return proptest::sample::select(words.clone()).boxed();
        }
        for key in ["oneOf", "anyOf", "allOf"] {
            if let Some(parts) = schema[key].as_array() {
                let parts: Vec<_> = parts.iter().map(|part| self.values(part, depth + 1)).collect();
                return proptest::strategy::Union::new(parts).boxed();
            }
        }
        let kinds: Vec<&str> = match &schema["type"] {
            Value::String(one) => vec![one.as_str()],
            Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
            _ => vec!["object"],
        };
        let kinds = kinds.into_iter().map(|kind| self.of_kind(kind, schema, depth));
        proptest::strategy::Union::new(kinds).boxed()
    }

    fn of_kind(&self, kind: &str, schema: &Value, depth: usize) -> BoxedStrategy<Value> {
        match kind {
            "object" => self.objects(schema, depth),
            "array" if depth < DEEPEST => {
                let items = self.values(&schema["items"], depth + 1);
                proptest::collection::vec(items, 0..3).prop_map(Value::Array).boxed()
            }
            "integer" => integers(schema),
            "boolean" => any::<bool>().prop_map(Value::Bool).boxed(),
            "string" => texts(schema),
            _ => Just(Value::Null).boxed(),
        }
    }

    fn objects(&self, schema: &Value, depth: usize) -> BoxedStrategy<Value> {
        let mut whole = Just(Map::new()).boxed();
        let Some(known) = schema["properties"].as_object().filter(|_| depth < DEEPEST) else {
            return Just(json!({})).boxed();
        };
        let required = schema["required"].as_array().cloned().unwrap_or_default();
        for (name, part) in known {
            let (name, often) =
                (name.clone(), if required.contains(&json!(name)) { 0.97 } else { 0.4 });
            let value = proptest::option::weighted(often, self.values(part, depth + 1));
            whole = (whole, value)
                .prop_map(move |(mut fields, value)| {
                    fields.extend(value.map(|value| (name.clone(), value)));
                    fields
                })
                .boxed();
        }
        whole.prop_map(Value::Object).boxed()
    }
}

fn fits(kind: &Value, value: &Value) -> bool {
    let one = |kind: &str| match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        _ => false,
    };
    match kind {
        Value::String(kind) => one(kind),
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).any(one),
        _ => true,
    }
}

fn strange() -> BoxedStrategy<Value> {
    prop_oneof![
        Just(Value::Null),
        Just(json!([])),
        Just(json!({})),
        Just(json!(-1)),
        Just(json!(u64::MAX)),
        Just(json!(1.5)),
        Just(json!("")),
        Just(json!("\u{0}'\"; DROP TABLE zones")),
        Just(json!("x".repeat(5000))),
    ]
    .boxed()
}

fn integers(schema: &Value) -> BoxedStrategy<Value> {
    let low = schema["minimum"].as_i64().unwrap_or(0);
    let high = schema["maximum"].as_i64().unwrap_or(low + 100).max(low);
    prop_oneof![5 => low..=high, 1 => Just(low), 1 => Just(high)].prop_map(Value::from).boxed()
}

/// Names that there are, and what addresses and the like look like: a text of letters alone would end at the first check.
const TEXTS: &[&str] = &[
    "zone1",
    "net1",
    "vm1",
    "r-1",
    "n-1",
    "physnet1",
    "public1",
    "web",
    "none",
    "10.1.1.0/24",
    "10.1.1.9",
    "198.51.100.20",
    "192.0.2.0/24",
    "2001:db8::1",
    "02:00:00:00:00:01",
    "80",
    "8000-8010",
    "100-110",
    "example.internal",
    "tcp",
];

fn texts(schema: &Value) -> BoxedStrategy<Value> {
    let made = prop_oneof![
        4 => proptest::sample::select(TEXTS).prop_map(str::to_owned),
        1 => "[a-z][a-z0-9-]{0,12}",
        1 => ".{0,20}",
    ];
    let example = schema["example"].as_str().map(str::to_owned);
    match example {
        Some(example) => prop_oneof![2 => Just(example), 1 => made].prop_map(Value::from).boxed(),
        None => made.prop_map(Value::from).boxed(),
    }
}

async fn document(cloud: &Cloud) -> Document {
    Document(cloud.get("/v1/openapi.json").await)
}

fn schema_of(operation: &Value, status: u16) -> Option<&Value> {
    let responses = &operation["responses"];
    let class = format!("{}XX", status / 100);
    let found = responses.get(status.to_string()).or_else(|| responses.get(class))?;
    found.pointer("/content/application~1json/schema").or(Some(&Value::Null))
}

/// Calls by other methods than GET that change nothing, or whose answer holds a secret that is kept nowhere and so could not
/// be repeated, or that come to the same however often they are made.
const WITHOUT_KEY: &[&str] = &[
    "arping",
    "boot-document",
    "capture",
    "console",
    "explain",
    "ping",
    "plan",
    "resume",
    "retire",
    "tokens",
    "traceroute",
    "{id} of tokens",
];

#[test]
fn every_change_takes_a_request_id() {
    let document = sluice_manager::rest::document();
    let mut without = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            let named: Vec<_> = parameters.map(|it| &it["name"]).collect();
            if method == "get"
                || method == "parameters"
                || named.contains(&&json!("Idempotency-Key"))
            {
                continue;
            }
            let mut words = path.rsplit('/');
            let (last, before) = (words.next().unwrap(), words.next().unwrap_or_default());
            let of = if last == "{id}" { format!("{last} of {before}") } else { last.to_owned() };
            without.insert(of);
        }
    }
    assert_eq!(without.into_iter().collect::<Vec<_>>(), WITHOUT_KEY);
}

#[tokio::test(flavor = "multi_thread")]
async fn live_answers_are_what_the_document_says() {
    let cloud = Cloud::start().await;
    let rules = first_network().replace("first-network", "rules");
    assert_eq!(cloud.sluice(["apply", &rules, "--yes"]).code, 0);
    let document = document(&cloud).await;
    let mut seen = 0;
    for (path, methods) in document.0["paths"].as_object().unwrap() {
        let operation = &methods["get"];
        let asked: Vec<String> = match path.split_once("/{id}") {
            None => vec![path.clone()],
            Some((list, "")) => {
                let (status, all) =
                    cloud.call(Method::GET, list, None, &Value::Null).await.unwrap();
                let ids = all.as_array().cloned().unwrap_or_default();
                let ids = ids.iter().filter_map(|one| one["id"].as_str()).take(2);
                if status == 200 { ids.map(|id| format!("{list}/{id}")).collect() } else { vec![] }
            }
            Some(("/v1/appliances", "/config" | "/status" | "/generations")) => {
                vec![path.replace("{id}", "r-1")]
            }
            Some(_) => Vec::new(),
        };
        if operation.is_null() || path == "/v1/openapi.json" || path == "/v1/backup" {
            continue;
        }
        for path in asked {
            let answer = cloud.get(&path).await;
            let schema = schema_of(operation, 200).unwrap_or_else(|| panic!("{path}: no 200"));
            let faults = document.faults(schema, &answer, "");
            assert!(faults.is_empty(), "{path}: {faults:#?}\n{answer:#}");
            seen += 1;
        }
    }
    assert!(seen > 30, "{seen} answers were looked at");
    cloud.stop();
}

/// A path that people could mean.
fn concrete(path: &str, lot: usize) -> String {
    let ids = ["r-1", "net1", "n-1", "zone1", "vm1", "nothing", "z-1", "%00", "ip-1"];
    path.replace("{id}", ids[lot % ids.len()])
        .replace("{generation}", ["1", "0", "99999999999999999999"][lot % 3])
        .replace("{service}", "dhcp")
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_asked_is_answered_and_changes_nothing_by_halves() {
    let cloud = Cloud::start().await;
    assert_eq!(cloud.sluice(["apply", &first_network(), "--yes"]).code, 0);
    // nobody is there, which is known at once
    assert_eq!(cloud.sluice(["appliance", "endpoint", "r-1", "127.0.0.1:1"]).code, 0);
    let document = document(&cloud).await;
    let mut runner = TestRunner::new_with_rng(
        Config::default(),
        proptest::test_runner::TestRng::deterministic_rng(
            proptest::test_runner::RngAlgorithm::ChaCha,
        ),
    );
    let (mut lot, mut statuses) = (0, BTreeSet::new());
    // what is drawn by lot may never fit together
    let guest = json!({ "network": "net1", "name": "asked" });
    let (status, made) = cloud.post("/v1/guests", guest).await;
    assert_eq!(status, 201, "{made}");
    let schema = schema_of(&document.0["paths"]["/v1/guests"]["post"], 201).unwrap();
    let faults = document.faults(schema, &made, "");
    assert!(faults.is_empty(), "{made}: {faults:#?}");
    let mut before = cloud.get("/v1/cloud").await;
    for (path, methods) in document.0["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            if path.ends_with("/backup") || path.contains("/authority/") {
                continue;
            }
            let schema = operation.pointer("/requestBody/content/application~1json/schema");
            let bodies =
                schema.map_or(Just(Value::Null).boxed(), |schema| document.values(schema, 0));
            for _ in 0..CASES {
                lot += 1;
                let body = bodies.new_tree(&mut runner).unwrap().current();
                let method: Method = method.to_uppercase().parse().unwrap();
                let path = concrete(path, lot);
                let call = cloud.call(method.clone(), &path, None, &body).await;
                let (status, answer) = call.unwrap_or_else(|| panic!("{method} {path} {body}"));
                statuses.insert(status);
                assert!(status != 500, "{method} {path} {body}: {answer}\n{}", cloud.log());
                let told = || format!("{method} {path} {body}: {status} {answer}");
                if let Some(schema) = schema_of(operation, status) {
                    let faults = document.faults(schema, &answer, "");
                    assert!(schema.is_null() || faults.is_empty(), "{}: {faults:#?}", told());
                } else {
                    panic!("{}: the document does not have that status", told());
                }
                let after = cloud.get("/v1/cloud").await;
                assert!(status < 400 || after == before, "{}", told());
                before = after;
            }
        }
    }
    assert!(statuses.contains(&200) && statuses.contains(&422), "{statuses:?}");
    cloud.stop();
}

/// How often each operation is asked.
const CASES: usize = 5;
