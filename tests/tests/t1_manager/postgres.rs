//! The manager on PostgreSQL: the same statements, the same answers. What reaches the store is tested here once more in
//! each run; `sluice-on-postgres cargo nextest run …` runs the whole suite on it.

use serde_json::{Value, json};
use sluice_manager::alloc::{PoolClass, PoolName};
use sluice_manager::store::Taken;
use sluice_manager::store::allocations::take;
use sluice_tests::postgres::Database;

use super::backup::{back_up, put_back};
use super::process::{Cloud, Place, first_network};
use super::{crash, model, two};

#[test]
fn the_store_allocates_as_the_naive_model_does() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let server = runtime.block_on(Database::new()).unwrap();
    model::cases(&server.url().parse().unwrap(), 24);
}

#[tokio::test(flavor = "multi_thread")]
async fn parallel_requests_of_64_clients_get_an_address_each() {
    two::race(Cloud::on_postgres().await, 150, 64).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_managers_lose_and_double_nothing() {
    crash::killed(Cloud::on_postgres().await, 5).await;
}

/// A short lease of a writer's turn, as a store's URL says it.
pub(crate) const SHORT_LEASE: &str = "&options[idle_in_transaction_session_timeout]=3000";

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_is_halted_past_its_lease_loses_its_turn_and_changes_nothing() {
    let cloud = Cloud::on_postgres().await;
    assert_eq!(cloud.sluice(["apply", &first_network(), "--yes"]).code, 0);
    // another manager that took its turn, wrote something, and was halted then
    let halted = cloud.store_with(SHORT_LEASE).await;
    let mut turn = halted.begin().await.unwrap();
    let name = PoolName::of_cloud(PoolClass::Mac);
    let taken = Taken { owner: "halted", purpose: "test", appliance: None, request: None };
    assert!(take(&mut turn, &name, 7, taken).await.unwrap());
    // the turn is not waited for any longer than that
    let told = cloud.sluice(["guest", "create", "vm3", "--network", "net1"]);
    assert_eq!(told.code, 0, "{told:?}\n{}", cloud.log());
    // it goes on, and thinks that it still has its turn
    let later = take(&mut turn, &name, 8, taken).await;
    assert!(later.is_err() && turn.commit().await.is_err(), "its turn was over: {later:?}");
    let taken = cloud.get("/v1/allocations?pool=mac").await;
    let owners: Vec<_> = taken.as_array().unwrap().iter().map(|item| &item["owner"]).collect();
    assert!(!owners.is_empty() && !owners.contains(&&json!("halted")), "{taken}");
    // and is none the worse for it
    let mut turn = halted.begin().await.unwrap();
    let taken = Taken { owner: "halted", purpose: "test", appliance: None, request: None };
    assert!(take(&mut turn, &name, 9, taken).await.unwrap());
    turn.commit().await.unwrap();
    halted.close().await;
    cloud.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_managers_share_it() {
    two::one_key(Cloud::on_postgres().await).await;
    two::either_goes(Cloud::on_postgres().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_example_is_stored_as_in_a_file() {
    for name in ["first-network", "rules", "vpc"] {
        let path = first_network().replace("first-network", name);
        let mut told = Vec::new();
        for place in [Place::in_a_file(), Place::in_a_database().await] {
            let cloud = Cloud::on(place).await;
            let applied = cloud.sluice(["apply", &path, "--yes"]);
            assert_eq!(applied.code, 0, "{name}: {applied:?}\n{}", cloud.log());
            let again = cloud.sluice(["apply", &path, "--yes", "--prune"]);
            assert_eq!((again.code, again.out.as_str()), (0, "nothing to do\n"), "{name}");
            let mut shown: Vec<Value> = Vec::new();
            for list in ["networks", "public-ips", "port-forwards", "acl-rules", "appliances"] {
                let all = cloud.get(&format!("/v1/{list}")).await;
                let named = |one: &Value| json!([one["id"], one["name"]]);
                shown.push(all.as_array().unwrap().iter().map(named).collect());
            }
            // addresses of guests on the wire are drawn by lot
            let exported = cloud.sluice(["export"]).out;
            let lines = exported.lines().filter(|line| !line.starts_with("mac = "));
            told.push((lines.collect::<Vec<_>>().join("\n"), shown));
            cloud.stop();
        }
        assert_eq!(told[0].0, told[1].0, "{name}");
        assert_eq!(told[0].1, told[1].1, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cloud_moves_from_a_file_to_a_database() {
    let cloud = Cloud::on(Place::in_a_file()).await;
    let agent = cloud.first_network_in_sync().await;
    let told = cloud.sluice(["--wait", "30", "network", "update", "net1", "--egress", "deny"]);
    assert_eq!(told.code, 0, "{told:?}");
    let (exported, file) = (cloud.sluice(["export"]).out, back_up(&cloud));
    let place = Place::in_a_database().await;
    let put = put_back(place.path(), &file);
    assert!(put.status.success(), "{put:?}");
    cloud.stop();
    let cloud = Cloud::on(place).await;
    assert_eq!(cloud.sluice(["export"]).out, exported);
    assert_eq!(cloud.sluice(["resume"]).code, 0);
    let told = cloud.sluice(["--wait", "30", "appliance", "rollback", "r-1", "--to", "1"]);
    assert_eq!(told.code, 0, "{told:?}\n{}", cloud.log());
    assert_eq!(agent.committed(), Some(3), "the same router, and its history");
    let told = cloud.sluice(["apply", &first_network(), "--yes"]);
    assert_eq!(told.code, 0, "{told:?}");
    cloud.stop();
}
