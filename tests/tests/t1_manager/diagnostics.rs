//! Diagnostics from the command line through the manager to an appliance.

use serde_json::{Value, json};

use super::process::Cloud;

#[tokio::test(flavor = "multi_thread")]
async fn questions_reach_the_appliance_and_answers_come_back_as_table_and_json() {
    let cloud = Cloud::start().await;
    let _agent = cloud.first_network_in_sync().await;
    let ping = ["appliance", "ping", "r-1", "192.0.2.80", "--count", "4", "--link", "pub0"];
    let told = cloud.sluice(ping);
    let expected = "PROBE  OUTCOME  FROM        MS     DETAIL\n\
                    4      reply    192.0.2.80  1.500  -\n";
    assert_eq!((told.code, told.out.as_str()), (0, expected), "{told:?}");
    let told = cloud.sluice(["--json", "appliance", "traceroute", "r-1", "192.0.2.80"]);
    let output: Value = serde_json::from_str(&told.out).unwrap();
    assert_eq!(output["probes"][0]["rtt_us"], json!(1500), "{told:?}");
    let told = cloud.sluice(["appliance", "arping", "r-1", "192.0.2.9", "--link", "pub0"]);
    assert_eq!(told.code, 1, "nobody answered: {told:?}");
    let file = cloud.folder.path().join("a.pcap");
    let name = file.to_str().unwrap();
    let told = cloud.sluice(["appliance", "capture", "r-1", "--link", "pub0", "-o", name]);
    assert_eq!(told.code, 0, "{told:?}");
    assert_eq!(std::fs::read(&file).unwrap(), b"\xd4\xc3\xb2\xa1 and so on");
    cloud.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_appliance_or_the_manager_refuses_names_the_field() {
    let cloud = Cloud::start().await;
    let _agent = cloud.first_network_in_sync().await;
    let told = cloud.sluice(["appliance", "arping", "r-1", "192.0.2.80", "--link", "no0"]);
    assert_eq!(told.code, 3, "{told:?}");
    assert!(told.err.contains("link: there is no such link, but pub0"), "{told:?}");
    let path = "/v1/appliances/r-1/diagnostics/capture";
    for (field, value) in [("seconds", json!(61)), ("colour", json!(1)), ("link", json!("a;b"))] {
        let mut body = json!({ "link": "pub0" });
        body[field] = value;
        let (status, problem) = cloud.post(path, body).await;
        assert_eq!((status, &problem["field"]), (422, &json!(field)), "{problem}");
    }
    let told = cloud.sluice(["appliance", "ping", "r-9", "192.0.2.80"]);
    assert_eq!(told.code, 4, "{told:?}");
    cloud.stop();
}
