//! cloud-init's own data sources, as they are in Debian.

use serde_json::{Value, json};

use crate::bench::{Bench, KEY, USER_DATA, passwords};

const PROGRAM: &str = r#"
import json, sys, tempfile
from cloudinit import helpers
from cloudinit.sources import DataSourceCloudStack, DataSourceEc2
folder = tempfile.mkdtemp()
paths = helpers.Paths({"cloud_dir": folder, "run_dir": folder})
if sys.argv[1] == "CloudStack":
    source = DataSourceCloudStack.DataSourceCloudStack({}, None, paths)
    assert source._get_data()
    found = {"router": source.vr_addr, "config": source.cfg, "user-data": source.userdata_raw.decode()}
else:
    source = DataSourceEc2.DataSourceEc2({}, None, paths)
    source._cloud_name = DataSourceEc2.CloudNames.AWS
    source.metadata_urls = ["http://169.254.169.254"]
    assert source._get_data()
    found = {"token": bool(source._api_token), "user-data": source.userdata_raw.decode()}
found["id"] = source.metadata["instance-id"]
found["name"] = source.metadata["local-hostname"]
found["zone"] = source.availability_zone
found["keys"] = sorted(source.get_public_ssh_keys())
print("FOUND " + json.dumps(found))
"#;

fn run(bench: &Bench, source: &str) -> Value {
    let file = bench.path("source.py");
    std::fs::write(&file, PROGRAM).unwrap();
    let file = file.display().to_string();
    let output = bench.first.command(["/usr/bin/python3", &file, source]).run().unwrap();
    let line = output.stdout.lines().find_map(|line| line.strip_prefix("FOUND "));
    serde_json::from_str(line.unwrap_or_else(|| panic!("{}{}", output.stdout, output.stderr)))
        .unwrap()
}

/// A bench with every service of the router, and a guest whose search domain is another one.
fn bench(test: &str) -> Bench {
    let mut bench = Bench::new(test);
    bench.serve("password", &passwords("s3cret-One"));
    let hosts = json!([{ "name": "vm1", "address": "10.1.1.23" }]);
    let listen = json!([{ "address": "10.1.1.1", "clients": "10.1.1.0/24" }]);
    let network = json!({
        "link": "guest0", "cidr": "10.1.1.0/24", "domain": "cs1.cloud.internal",
        "hosts": hosts, "listen": listen,
    });
    bench.serve("dns", &json!({ "router": "r-1", "networks": [network], "upstreams": [] }));
    bench.first.resolv_conf("nameserver 10.1.1.1\nsearch elsewhere.test\n").unwrap();
    bench
}

#[test]
fn the_cloudstack_source_finds_router_metadata_user_data_keys_and_password() {
    let mut bench = bench("ci-cs");
    let found = run(&bench, "CloudStack");
    // data-server is found without its domain
    assert_eq!(found["router"], "10.1.1.1");
    assert_eq!(found["config"]["password"], "s3cret-One");
    assert_eq!(found["user-data"], USER_DATA);
    assert_eq!((&found["id"], &found["name"]), (&json!("i-2-7-VM"), &json!("vm1")));
    assert_eq!(found["keys"], json!([KEY, format!("{KEY} ann")]));
    assert_eq!(bench.counters("password")["passwords_acknowledged"], 1);
    assert_eq!(run(&bench, "CloudStack")["config"], json!({}), "no second time");
}

#[test]
fn the_ec2_source_finds_them_with_a_session_token() {
    let bench = bench("ci-ec2");
    let found = run(&bench, "Ec2");
    let expected = json!({
        "token": true,
        "user-data": USER_DATA,
        "id": "i-2-7-VM",
        "name": "vm1.cs1.cloud.internal",
        "zone": "zone 1",
        "keys": [KEY, format!("{KEY} ann")],
    });
    assert_eq!(found, expected);
}
