//! The list of kinds holds together.

use std::collections::BTreeSet;

use sqlx::{AssertSqlSafe, Row as _};

use super::*;
use crate::store::objects::{self, Behind};
use crate::store::{Conn, Store};

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

/// Deleting one of many objects must not read all of another kind.
#[tokio::test]
async fn every_reference_has_an_index() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("m.db").into()).await.unwrap();
    let mut conn = store.read().await.unwrap();
    let mut searched = Vec::new();
    for kind in KINDS {
        let table = kind.table().name;
        let refers = |key: &&Key| key.refers.is_some() && key.column.is_some();
        let keys = kind.keys().iter().filter(refers).map(|key| key.field.to_owned());
        let ask = format!("SELECT \"from\" AS field FROM pragma_foreign_key_list('{table}')");
        let rows = sqlx::query(AssertSqlSafe(ask)).fetch_all(&mut *conn).await.unwrap();
        let foreign = rows.iter().map(|row| row.get::<String, _>("field"));
        for field in keys.chain(foreign).collect::<BTreeSet<_>>() {
            searched.push((table.clone(), field));
        }
    }
    assert!(searched.len() > KINDS.len(), "{searched:?}");
    for (table, field) in searched {
        let ask = format!("EXPLAIN QUERY PLAN SELECT 1 FROM {table} WHERE {field} = 'x'");
        let rows = sqlx::query(AssertSqlSafe(ask)).fetch_all(&mut *conn).await.unwrap();
        let plan: String = rows[0].get("detail");
        assert!(plan.starts_with("SEARCH"), "{table}.{field}: {plan}");
    }
}

/// What SQLite makes of a statement.
async fn plan(conn: &mut Conn, statement: &str) -> String {
    let ask = format!("EXPLAIN QUERY PLAN {statement}");
    let rows = sqlx::query(AssertSqlSafe(ask)).fetch_all(conn).await.unwrap();
    rows.iter().map(|row| row.get::<String, _>("detail")).collect::<Vec<_>>().join("; ")
}

/// A page costs what is on it, wherever it is: the list is neither read from its beginning nor sorted.
#[tokio::test]
async fn every_kind_is_listed_in_the_order_of_an_index() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("m.db").into()).await.unwrap();
    let mut conn = store.read().await.unwrap();
    for kind in KINDS {
        let table = kind.table();
        let index = format!("{0} USING INDEX {0}_in_order", table.name);
        for (behind, how) in
            [(Behind::Nothing, "SCAN"), (Behind::AsLong, "SEARCH"), (Behind::Longer, "SEARCH")]
        {
            let statement = objects::in_order(&table, &["domain", "account"], behind, true);
            let made = plan(&mut conn, &statement).await;
            let wanted = format!("{how} {index}");
            assert!(made.starts_with(&wanted) && !made.contains("TEMP"), "{behind:?}: {made}");
        }
    }
}

/// A new object is compared with those that it can be in conflict with, not with all of its sort.
#[tokio::test]
async fn what_a_new_object_is_compared_with_is_found_by_an_index() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("m.db").into()).await.unwrap();
    let mut conn = store.read().await.unwrap();
    for (statement, index) in [
        (
            "SELECT * FROM port_forwards WHERE public_ip = 'x' AND protocol = 'tcp' AND first_port <= 1
             ORDER BY first_port DESC LIMIT 1",
            "port_forwards_by_port (public_ip=? AND protocol=? AND first_port<?)",
        ),
        (
            "SELECT * FROM port_forwards WHERE public_ip = 'x' AND network < 'y' LIMIT 2",
            "port_forwards_by_address_and_network (public_ip=? AND network<?)",
        ),
        (
            "SELECT * FROM acl_rules WHERE acl_list = 'x' AND number = 1",
            "acl_rules_by_number (acl_list=? AND number=?)",
        ),
        (
            "SELECT * FROM networks WHERE zone = 'x' AND ipv6_cidr = 'y'",
            "networks_by_ipv6 (zone=? AND ipv6_cidr=?)",
        ),
        (
            "SELECT guest FROM guest_keypairs WHERE keypair = 'x'",
            "sqlite_autoindex_guest_keypairs_1 (keypair=?)",
        ),
    ] {
        let made = plan(&mut conn, statement).await;
        assert!(made.contains(index) && !made.contains("TEMP"), "{statement}: {made}");
    }
}
