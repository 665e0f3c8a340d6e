//! Decoding that reports everything that is wrong, not only the first thing.
//!
//! serde stops at the first error. To go on, the value at fault is replaced by a sample of a plausible kind and decoding
//! starts again; what is decoded after a replacement is thrown away and only its findings are kept. The rejected way,
//! a second set of lenient wire types, would state every field twice.
//!
//! Memory and time are bounded whatever the bytes are: a parsed document takes up to 24 times its text, so one that is
//! large is told its first fault alone; a smaller one is decoded again only as often as its size allows.

use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use serde_path_to_error::{Path, Segment};

use crate::Finding;
use crate::objects::Objects;

/// Findings after which decoding gives up: more help nobody.
const MAX_FINDINGS: usize = 50;
/// Decoding attempts in all, which bounds the time spent on a hostile document.
const MAX_ATTEMPTS: usize = 400;
/// Bytes that all attempts together may read: about a second of work for an appliance.
const MAX_WORK: usize = 32 * 1024 * 1024;
/// Largest document, in bytes, that is parsed to look for more than its first fault.
const MAX_PARSED: usize = 1024 * 1024;
/// Longest path and longest reason, in characters: serde quotes what it refuses, however long that is.
const MAX_TEXT: usize = 400;

/// Decodes JSON strictly: unknown and doubled fields are errors, and lists where objects are meant. Errors carry the path of
/// each fault.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Vec<Finding>> {
    // keeping track of the path costs more than decoding, and is needed for what is wrong alone
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    if let Ok(value) = T::deserialize(Objects(&mut reader))
        && reader.end().is_ok()
    {
        return Ok(value);
    }
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let error = match serde_path_to_error::deserialize(Objects(&mut reader)) {
        Ok(value) => return reader.end().map(|()| value).map_err(|e| vec![syntax(&e)]),
        Err(error) => error,
    };
    if bytes.len() > MAX_PARSED {
        let finding =
            if error.inner().is_data() { fault(&error).finding } else { syntax(error.inner()) };
        return Err(vec![finding]);
    }
    let document: Value = serde_json::from_slice(bytes).map_err(|e| vec![syntax(&e)])?;
    // a parsed document has its fields in another order than the text, so its first fault may be another
    match serde_path_to_error::deserialize::<_, T>(Objects(&document)) {
        Err(first) => Err(collect::<T>(document, fault(&first), attempts(bytes.len()))),
        Ok(_) => Err(vec![fault(&error).finding]),
    }
}

/// How often a document of `size` bytes may be decoded.
fn attempts(size: usize) -> usize {
    MAX_WORK.checked_div(size).map_or(MAX_ATTEMPTS, |affordable| affordable.min(MAX_ATTEMPTS))
}

fn syntax(error: &serde_json::Error) -> Finding {
    Finding::error("", "syntax", format!("not valid JSON: {error}"))
}

/// One fault: the finding, and the way to the value for the repair.
struct Fault {
    finding: Finding,
    steps: Vec<Step>,
}

#[derive(Clone, PartialEq, Eq)]
enum Step {
    Index(usize),
    Key(String),
}

fn fault(error: &serde_path_to_error::Error<serde_json::Error>) -> Fault {
    let message = without_position(&error.inner().to_string());
    let mut steps = steps(error.path());
    let mut path = error.path().to_string();
    if path == "." {
        path.clear();
    }
    let code = code(&message);
    // for a field that is absent, serde names the object; the field itself is the more useful place
    if let Some(field) = quoted(&message, "missing field `") {
        steps.push(Step::Key(field.to_owned()));
        path = if path.is_empty() { field.to_owned() } else { format!("{path}.{field}") };
    }
    Fault { finding: Finding::error(shortened(path), code, shortened(message)), steps }
}

fn shortened(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(MAX_TEXT) {
        text.truncate(end);
        text.push_str("...");
    }
    text
}

fn without_position(message: &str) -> String {
    // the path says where; line and column of a document nobody typed do not help
    message.split(" at line ").next().unwrap_or(message).to_owned()
}

fn quoted<'a>(message: &'a str, before: &str) -> Option<&'a str> {
    message.strip_prefix(before)?.split('`').next()
}

fn code(message: &str) -> &'static str {
    if message.starts_with("unknown field") {
        "unknown-field"
    } else if message.starts_with("missing field") {
        "missing-field"
    } else if message.starts_with("duplicate field") {
        "duplicate-field"
    } else {
        "invalid-value"
    }
}

fn steps(path: &Path) -> Vec<Step> {
    path.iter()
        .filter_map(|segment| match segment {
            Segment::Seq { index } => Some(Step::Index(*index)),
            Segment::Map { key } => Some(Step::Key(key.clone())),
            Segment::Enum { variant } => Some(Step::Key(variant.clone())),
            Segment::Unknown => None,
        })
        .collect()
}

fn collect<T: DeserializeOwned>(
    mut document: Value,
    first: Fault,
    mut attempts: usize,
) -> Vec<Finding> {
    let mut findings = vec![first.finding.clone()];
    let mut next = Some(first);
    while let Some(current) = next {
        next = repair::<T>(&mut document, &current, &mut attempts);
        match &next {
            Some(found) if findings.len() < MAX_FINDINGS => findings.push(found.finding.clone()),
            _ => break,
        }
    }
    findings
}

/// Replaces the value at fault and returns the next fault, or `None` when there is none or no replacement helps.
fn repair<T: DeserializeOwned>(
    document: &mut Value,
    current: &Fault,
    attempts: &mut usize,
) -> Option<Fault> {
    for sample in samples(&current.finding) {
        *attempts = attempts.checked_sub(1)?;
        if !place(document, &current.steps, sample) {
            return None;
        }
        let error = serde_path_to_error::deserialize::<_, T>(Objects(&*document)).err()?;
        let found = fault(&error);
        if found.steps != current.steps {
            return Some(found);
        }
    }
    None
}

/// Candidates for a replacement; `None` removes the value.
fn samples(finding: &Finding) -> Vec<Option<Value>> {
    if finding.code == "unknown-field" {
        return vec![None];
    }
    [
        json!([]),
        json!("a"),
        json!("https://a"),
        json!("/a"),
        json!("192.0.2.1"),
        json!("192.0.2.0/24"),
        json!("02:00:00:00:00:01"),
        json!("192.0.2.1/24"),
        json!(1),
        json!(1500),
        json!(true),
        json!({}),
        // before the words, which would be taken for the parts' names
        json!({"router": {"hostname": "a"}}),
        json!({"proxy": {}}),
        json!({"ssvm": {}}),
        json!({"all": {}}),
        json!("router"),
        json!("guest"),
        json!("allow"),
        json!({"nic": {"mac": "02:00:00:00:00:01"}}),
    ]
    .into_iter()
    .map(Some)
    .collect()
}

fn place(document: &mut Value, steps: &[Step], sample: Option<Value>) -> bool {
    let Some((last, way)) = steps.split_last() else { return false };
    let parent = way.iter().try_fold(document, |value, step| match step {
        Step::Index(index) => value.get_mut(*index),
        Step::Key(key) => value.get_mut(key),
    });
    match (parent, last, sample) {
        (Some(Value::Object(map)), Step::Key(key), Some(sample)) => {
            map.insert(key.clone(), sample);
            true
        }
        (Some(Value::Object(map)), Step::Key(key), None) => map.remove(key).is_some(),
        (Some(Value::Array(list)), Step::Index(index), Some(sample)) => {
            list.get_mut(*index).map(|slot| *slot = sample).is_some()
        }
        _ => false,
    }
}
