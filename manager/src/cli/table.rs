//! Tables out of JSON: pure, so that golden texts can hold them.

use comfy_table::{ContentArrangement, Table, presets};
use serde_json::Value;

pub(super) use crate::kinds::Column;

/// Rows as a table, or a line that says that there are none.
pub(super) fn render(rows: &[Value], columns: &[Column]) -> String {
    if rows.is_empty() {
        return "none\n".to_owned();
    }
    let mut table = plain();
    table.set_header(columns.iter().map(|(heading, _)| *heading));
    for row in rows {
        table.add_row(
            columns.iter().map(|(_, pointer)| row.pointer(pointer).map_or_else(dash, cell)),
        );
    }
    lines(&table)
}

/// One object, a field a line.
pub(super) fn record(object: &Value) -> String {
    let mut table = plain();
    for (field, value) in object.as_object().into_iter().flatten() {
        let name = field.replace('_', " ");
        match value {
            // a line for each, for they have fields of their own
            Value::Array(list) if list.iter().any(Value::is_object) => {
                for part in list {
                    table.add_row([name.clone(), cell(part)]);
                }
            }
            _ => {
                table.add_row([name, cell(value)]);
            }
        }
    }
    lines(&table)
}

fn plain() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table
}

/// The table without the blanks that pad its last column.
fn lines(table: &Table) -> String {
    let text = table.to_string();
    text.lines().flat_map(|line| [line.trim(), "\n"]).collect()
}

fn dash() -> String {
    "-".to_owned()
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => dash(),
        Value::String(text) => text.clone(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Array(list) if list.is_empty() => dash(),
        Value::Array(list) => list.iter().map(cell).collect::<Vec<_>>().join(" "),
        Value::Object(fields) => {
            let stated = fields.iter().filter(|(_, value)| !value.is_null());
            stated
                .map(|(name, value)| format!("{name}={}", cell(value)))
                .collect::<Vec<_>>()
                .join(" ")
        }
        Value::Number(number) => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tables_line_up() {
        let rows = [
            json!({ "id": "n-1", "vlan": 100, "in_sync": true, "list": ["a", "b"] }),
            json!({ "id": "n-12", "vlan": null, "in_sync": false, "list": [] }),
        ];
        let columns: &[Column] =
            &[("ID", "/id"), ("VLAN", "/vlan"), ("OK", "/in_sync"), ("LIST", "/list"), ("X", "/x")];
        let expected = "ID    VLAN  OK   LIST  X\n\
                        n-1   100   yes  a b   -\n\
                        n-12  -     no   -     -\n";
        assert_eq!(render(&rows, columns), expected);
    }

    #[test]
    fn no_rows_are_said_to_be_none() {
        assert_eq!(render(&[], &[("ID", "/id")]), "none\n");
    }

    #[test]
    fn records_have_a_field_a_line() {
        let text =
            record(&json!({ "guest_cidr": "10.1.1.0/24", "nics": [{"mac": "m", "x": null}] }));
        assert_eq!(text, "guest cidr  10.1.1.0/24\nnics        mac=m\n");
    }
}
