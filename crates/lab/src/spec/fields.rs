//! Reading a TOML table field by field, keeping every finding instead of the first.

use serde::de::DeserializeOwned;
use sluice_api::Finding;
use toml::{Table, Value};

/// One table being read. Fields are taken out; what is left at the end is unknown.
pub(super) struct Fields<'a> {
    path: String,
    table: Table,
    known: Vec<&'static str>,
    findings: &'a mut Vec<Finding>,
}

impl<'a> Fields<'a> {
    /// Starts on `value`, which ought to be a table.
    pub(super) fn new(path: &str, value: Value, findings: &'a mut Vec<Finding>) -> Self {
        let table = match value {
            Value::Table(table) => table,
            other => {
                let reason = format!("expected a table, found {}", other.type_str());
                findings.push(Finding::error(path, "type", reason));
                Table::new()
            }
        };
        Self { path: path.to_owned(), table, known: Vec::new(), findings }
    }

    /// The path of a field of this table.
    pub(super) fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// A field that may be left out. A value of the wrong kind is a finding, and `None`.
    pub(super) fn optional<T: DeserializeOwned>(&mut self, key: &'static str) -> Option<T> {
        let value = self.raw(key)?;
        let error = match value.try_into::<T>() {
            Ok(decoded) => return Some(decoded),
            Err(error) => error,
        };
        let reason = error.message().trim().to_owned();
        self.findings.push(Finding::error(self.path_of(key), "value", reason));
        None
    }

    /// A field with a default.
    pub(super) fn or<T: DeserializeOwned>(&mut self, key: &'static str, default: T) -> T {
        self.optional(key).unwrap_or(default)
    }

    /// A field that must be there.
    pub(super) fn required<T: DeserializeOwned>(&mut self, key: &'static str) -> Option<T> {
        if !self.table.contains_key(key) {
            self.known.push(key);
            self.findings.push(Finding::error(self.path_of(key), "missing", "must be given"));
            return None;
        }
        self.optional(key)
    }

    /// A field as it is.
    pub(super) fn raw(&mut self, key: &'static str) -> Option<Value> {
        self.known.push(key);
        self.table.remove(key)
    }

    /// The entries of a table of tables, as (path, name, value).
    pub(super) fn entries(&mut self, key: &'static str) -> Vec<(String, String, Value)> {
        let path = self.path_of(key);
        match self.raw(key) {
            None => Vec::new(),
            Some(Value::Table(table)) => table
                .into_iter()
                .map(|(name, value)| (format!("{path}.{name}"), name, value))
                .collect(),
            Some(other) => {
                let reason = format!("expected tables by name, found {}", other.type_str());
                self.findings.push(Finding::error(path, "type", reason));
                Vec::new()
            }
        }
    }

    /// The items of an array of tables, as (path, value).
    pub(super) fn items(&mut self, key: &'static str) -> Vec<(String, Value)> {
        let path = self.path_of(key);
        match self.raw(key) {
            None => Vec::new(),
            Some(Value::Array(items)) => (0..)
                .zip(items)
                .map(|(index, value): (usize, Value)| (format!("{path}[{index}]"), value))
                .collect(),
            Some(other) => {
                let reason = format!("expected an array of tables, found {}", other.type_str());
                self.findings.push(Finding::error(path, "type", reason));
                Vec::new()
            }
        }
    }

    /// For what is read in between.
    pub(super) fn findings(&mut self) -> &mut Vec<Finding> {
        self.findings
    }

    /// Reports what nobody asked for.
    pub(super) fn finish(self) {
        let known = self.known.join(", ");
        for key in self.table.keys() {
            let path =
                if self.path.is_empty() { key.clone() } else { format!("{}.{key}", self.path) };
            let reason = format!("unknown field; known here: {known}");
            self.findings.push(Finding::error(path, "unknown-field", reason));
        }
    }
}
