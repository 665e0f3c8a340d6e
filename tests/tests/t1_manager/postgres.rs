//! The manager on PostgreSQL: the same statements, the same answers. What reaches the store is tested here once more;
//! `SLUICE_TEST_POSTGRES=1` runs the whole suite on it.

use std::fs;

use serde_json::{Value, json};
use sluice_tests::postgres::Postgres;

use super::backup::{back_up, put_back};
use super::process::{Cloud, first_network};
use super::{crash, model, two};

#[test]
fn the_store_allocates_as_the_naive_model_does() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let server = runtime.block_on(Postgres::start()).unwrap();
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
        for cloud in [Cloud::start().await, Cloud::on_postgres().await] {
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
    let cloud = Cloud::start().await;
    let agent = cloud.first_network_in_sync().await;
    let told = cloud.sluice(["--wait", "30", "network", "update", "net1", "--egress", "deny"]);
    assert_eq!(told.code, 0, "{told:?}");
    let (exported, file) = (cloud.sluice(["export"]).out, back_up(&cloud));
    let folder = tempfile::tempdir().unwrap();
    let server = Postgres::start().await.unwrap();
    fs::write(folder.path().join(sluice_tests::manager::STORE), server.url()).unwrap();
    let put = put_back(folder.path(), &file);
    assert!(put.status.success(), "{put:?}");
    cloud.stop();
    let cloud = Cloud::on(folder, Some(server)).await;
    assert_eq!(cloud.sluice(["export"]).out, exported);
    assert_eq!(cloud.sluice(["resume"]).code, 0);
    let told = cloud.sluice(["--wait", "30", "appliance", "rollback", "r-1", "--to", "1"]);
    assert_eq!(told.code, 0, "{told:?}\n{}", cloud.log());
    assert_eq!(agent.committed(), Some(3), "the same router, and its history");
    let told = cloud.sluice(["apply", &first_network(), "--yes"]);
    assert_eq!(told.code, 0, "{told:?}");
    cloud.stop();
}
