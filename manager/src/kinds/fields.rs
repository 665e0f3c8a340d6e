//! The fields of a spec, read from its schema: what the command line, the comparison and the export go by.
//!
//! Guarantees: what a type says of itself to OpenAPI is what the command line offers; nothing is stated twice.

use serde_json::Value;
use utoipa::ToSchema;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;

use crate::model::UserData;

/// The fields of a type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields(pub Vec<Field>);

/// One field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name in JSON.
    pub name: String,
    /// What it is, for a person.
    pub about: String,
    /// It has to be given.
    pub required: bool,
    /// It may be given more than once.
    pub list: bool,
    /// What it holds.
    pub form: Form,
    /// It is changed field by field: its schema is that of a patch.
    pub part: bool,
    /// Name of its schema, if that has one.
    pub schema: Option<String>,
    /// Null takes it away; of a patch alone.
    pub removable: bool,
}

/// How schemas end that say changes to something.
const PATCH: &str = "Patch";

/// What a field holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Form {
    /// Text that the type itself checks.
    Text,
    /// One of these words.
    Word(Vec<String>),
    /// A number.
    Number,
    /// Yes or no.
    Switch,
    /// Text that is nobody else's business: read from a file.
    Secret,
    /// Bytes of any kind: read from a file, as they are.
    Bytes,
    /// Fields of its own, as JSON.
    Json,
}

impl Fields {
    /// The fields of `T`.
    pub fn of<T: ToSchema>() -> Self {
        let mut known = Vec::new();
        T::schemas(&mut known);
        let known: Vec<(String, Value)> =
            known.into_iter().map(|(name, schema)| (name, json(&schema))).collect();
        let schema = json(&T::schema());
        let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
            return Self::default();
        };
        let required: Vec<&str> = schema
            .get("required")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let field = |(name, property): (&String, &Value)| {
            field(name, property, &known, required.contains(&name.as_str()))
        };
        Self(properties.iter().map(field).collect())
    }

    /// True when the field called `name` is a secret: it is kept beside the object, which has its digest.
    pub fn is_secret(&self, name: &str) -> bool {
        let hidden = |form: &Form| matches!(form, Form::Secret | Form::Bytes);
        self.0.iter().any(|field| field.name == name && hidden(&field.form))
    }

    /// True when there is a field called `name`.
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|field| field.name == name)
    }
}

/// A schema as JSON; one that has no JSON form says nothing.
pub fn json(schema: &RefOr<Schema>) -> Value {
    serde_json::to_value(schema).unwrap_or_default()
}

fn field(name: &str, property: &Value, known: &[(String, Value)], required: bool) -> Field {
    let resolved = resolve(property, known);
    let list = is(&resolved, "array");
    let items = resolved.get("items").filter(|_| list);
    let about = described(property).or_else(|| described(&resolved));
    let form = items.map_or_else(|| form(&resolved), |items| form(&resolve(items, known)));
    let schema = reference(property);
    Field {
        name: name.to_owned(),
        about: about.and_then(Value::as_str).unwrap_or_default().replace('\n', " "),
        required,
        list,
        form,
        part: schema.is_some_and(|name| name.ends_with(PATCH)),
        schema: schema.map(str::to_owned),
        removable: false,
    }
}

/// What is said of the field itself; of an optional one it stands beside the reference.
fn described(property: &Value) -> Option<&Value> {
    let alternatives = ["oneOf", "anyOf", "allOf"].iter().find_map(|word| property.get(word));
    let among = alternatives.and_then(Value::as_array).into_iter().flatten();
    property
        .get("description")
        .or_else(|| among.into_iter().find_map(|part| part.get("description")))
}

/// The name of the schema that a property refers to.
fn reference(property: &Value) -> Option<&str> {
    let alternatives = ["oneOf", "anyOf", "allOf"].iter().find_map(|word| property.get(word));
    let among = alternatives.and_then(Value::as_array).into_iter().flatten();
    let path = [property].into_iter().chain(among).find_map(|part| part.get("$ref")?.as_str());
    path.and_then(|path| path.rsplit('/').next())
}

/// The schema itself: references and "or null" are looked through.
fn resolve(schema: &Value, known: &[(String, Value)]) -> Value {
    let alternatives = ["oneOf", "anyOf", "allOf"];
    let only = alternatives.iter().find_map(|word| schema.get(word)?.as_array()).and_then(|all| {
        let mut real = all.iter().filter(|part| !is(part, "null"));
        real.next().filter(|_| real.next().is_none())
    });
    if let Some(only) = only {
        return resolve(only, known);
    }
    let name = schema.get("$ref").and_then(Value::as_str).and_then(|path| path.rsplit('/').next());
    match name.and_then(|name| known.iter().find(|(other, _)| other == name)) {
        Some((_, found)) => resolve(found, known),
        None => schema.clone(),
    }
}

fn is(schema: &Value, kind: &str) -> bool {
    match schema.get("type") {
        Some(Value::String(text)) => text == kind,
        Some(Value::Array(all)) => all.iter().any(|one| one == kind),
        _ => false,
    }
}

fn form(schema: &Value) -> Form {
    let words = schema.get("enum").and_then(Value::as_array).into_iter().flatten();
    let words: Vec<_> = words.filter_map(Value::as_str).map(str::to_owned).collect();
    if !words.is_empty() {
        return Form::Word(words);
    }
    if schema.get("format").is_some_and(|format| format == "password") {
        return Form::Secret;
    }
    if schema.get("format").is_some_and(|format| format == UserData::FORMAT) {
        return Form::Bytes;
    }
    if is(schema, "integer") || is(schema, "number") {
        Form::Number
    } else if is(schema, "boolean") {
        Form::Switch
    } else if is(schema, "string") {
        Form::Text
    } else {
        Form::Json
    }
}
