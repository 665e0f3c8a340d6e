//! A store of the first shape goes on: its objects are there, its router is known, and what the router needs to be (NICs,
//! addresses, names of links) is what it is, so that nothing has to be booted anew.

#![allow(clippy::unwrap_used)] // tests

use sluice_api::Digest;
use sluice_api::types::Generation;
use sluice_manager::access::Caller;
use sluice_manager::kinds::appliance::Appliance;
use sluice_manager::kinds::dynamic;
use sluice_manager::model::CloudSpec;
use sluice_manager::ops::{Change, execute, export, refresh};
use sluice_manager::store::{Scope, Store, outcomes, wanted};
use sqlx::AssertSqlSafe;

/// The last migration of the first shape.
const FIRST_SHAPE: i64 = 2;

async fn migrated(folder: &std::path::Path) -> (Store, String) {
    let location = folder.join("m.db").as_path().into();
    let config = include_str!("old-store/config.json").trim();
    let digest = Digest::of_bytes(config.as_bytes());
    let rows = include_str!("old-store/rows.sql")
        .replace("CONFIG_DIGEST", digest.as_str())
        .replace("CONFIG", config);
    let old = Store::open_at(&location, FIRST_SHAPE).await.unwrap();
    let mut transaction = old.begin().await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(rows)).execute(&mut *transaction).await.unwrap();
    transaction.commit().await.unwrap();
    old.close().await;
    let store = Store::open(&location).await.unwrap();
    refresh(&store).await.unwrap();
    (store, config.to_owned())
}

#[tokio::test]
async fn a_store_of_the_first_shape_goes_on_with_its_router_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let (store, config) = migrated(folder.path()).await;
    let mut conn = store.read().await.unwrap();
    // what the router has in force is known as one of ours, so that the next one is sent over it
    let reported = Digest::of_bytes(config.as_bytes());
    assert!(outcomes::known(&mut conn, "r-1", Generation::MIN, &reported).await.unwrap());
    let next = wanted::wanted(&mut conn, "r-1").await.unwrap().unwrap();
    assert_eq!(next.generation, 2, "this build writes another form of it");
    // in which the machine, its links and all that guests see are the same
    let (old, new): (serde_json::Value, serde_json::Value) =
        (serde_json::from_str(&config).unwrap(), serde_json::from_str(&next.config).unwrap());
    let links = |config: &serde_json::Value| {
        let mut all = config["links"].as_array().unwrap().clone();
        all.sort_by_key(|link| link["name"].to_string());
        all.into_iter()
            .map(|link| {
                [&link["name"], &link["role"], &link["attach"], &link["addresses"]]
                    .map(Clone::clone)
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(links(&new), links(&old));
    let mut network = new["role"]["router"]["networks"][0].clone();
    for guest in network["guests"].as_array_mut().unwrap() {
        // what guests are told about themselves came later
        guest.as_object_mut().unwrap().remove("metadata");
    }
    for field in ["id", "link", "cidr", "gateway", "domain", "egress", "source_nat", "guests"] {
        assert_eq!(network[field], old["networks"][0][field], "{field}");
    }
    assert_eq!(new["role"]["router"]["dns"]["upstreams"], old["dns"]["upstreams"]);
    assert_eq!(new["routes"][0]["via"], old["routes"][0]["via"]);
    let appliance: Appliance =
        dynamic::find(&mut conn, Scope::Cloud, &"r-1".parse().unwrap()).await.unwrap();
    assert_eq!(appliance.endpoint, Some("127.0.0.1:43922".parse().unwrap()));
    assert_eq!(appliance.control.to_string(), "169.254.0.10/20");
}

#[tokio::test]
async fn what_was_taken_then_is_taken_now() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = migrated(folder.path()).await;
    let exported: CloudSpec = export(&mut store.read().await.unwrap(), Scope::Cloud).await.unwrap();
    let change = Change::Apply { cloud: exported, prune: true, dry_run: true, expect: None };
    let again = execute(&store, &Caller::manager(), None, &change).await.unwrap();
    assert!(again.body.contains("\"changes\":[]"), "{}", again.body);
    let network = serde_json::json!({ "zone": "zone1", "name": "net1", "domain": "d.example",
        "egress": "deny" });
    let change = Change::Create { kind: "network", spec: network };
    let taken = execute(&store, &Caller::manager(), None, &change).await.unwrap_err();
    assert!(taken.to_string().contains("there is a network net1 already"), "{taken}");
    let network = serde_json::json!({ "zone": "zone1", "name": "net2", "domain": "d.example",
        "egress": "deny", "source_nat": "198.51.100.11" });
    let change = Change::Create { kind: "network", spec: network };
    let taken = execute(&store, &Caller::manager(), None, &change).await.unwrap_err();
    assert!(taken.to_string().contains("198.51.100.11"), "{taken}");
    let network = serde_json::json!({ "zone": "zone1", "name": "net2", "domain": "d.example",
        "egress": "deny", "vlan": 100 });
    let change = Change::Create { kind: "network", spec: network };
    let taken = execute(&store, &Caller::manager(), None, &change).await.unwrap_err();
    assert!(taken.to_string().contains("100"), "{taken}");
}
