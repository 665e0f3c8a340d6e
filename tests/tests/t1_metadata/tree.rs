//! What guests are told about themselves, and how they ask.

use serde_json::json;
use sluice_api::types::{BlobDigest, SecretBytes};

use crate::bench::{Bench, KEY, USER_DATA, curl, get, metadata};

fn ok(text: &str) -> (u32, String) {
    (200, text.to_owned())
}

#[test]
fn a_guest_reads_its_own_data_at_both_addresses() {
    let bench = Bench::new("md-own");
    for base in ["http://10.1.1.1", "http://169.254.169.254"] {
        let at = |path: &str| curl(&bench.first, &[&format!("{base}{path}")]);
        assert_eq!(at("/latest/meta-data/local-hostname"), ok("vm1"));
        assert_eq!(at("/latest/local-ipv4"), ok("10.1.1.23"));
        assert_eq!(at("/latest/user-data"), ok(USER_DATA));
        assert_eq!(at("/latest/meta-data/public-keys"), ok(&format!("{KEY} ann\n{KEY}")));
        assert_eq!(at("/2009-04-04/meta-data/hostname"), ok("vm1.cs1.cloud.internal"));
        assert_eq!(
            at("/2009-04-04/meta-data/public-keys/0/openssh-key"),
            ok(&format!("{KEY} ann"))
        );
        assert_eq!(at("/latest/meta-data/nothing").0, 404);
    }
    let listing = get(&bench.first, "/latest/meta-data/").1;
    for key in listing.lines() {
        assert_eq!(get(&bench.first, &format!("/latest/meta-data/{key}")).0, 200, "{key}");
    }
    assert!(listing.lines().any(|key| key == "cloud-domain"), "{listing}");
}

#[test]
fn the_service_address_is_found_on_the_segment_too() {
    let bench = Bench::new("md-arp");
    // a guest that thinks 169.254.0.0/16 is on its own link asks by ARP
    bench.first.route(["169.254.0.0/16", "dev", "eth0"]).unwrap();
    let (status, body) = curl(&bench.first, &["http://169.254.169.254/latest/instance-id"]);
    assert_eq!((status, body.as_str()), (200, "i-2-7-VM"));
}

#[test]
fn sessions_with_tokens_work_and_may_be_required() {
    let bench = Bench::new("md-token");
    let token = |guest, ttl: &str, more: &[&str]| {
        let ttl = format!("X-aws-ec2-metadata-token-ttl-seconds: {ttl}");
        let url = "http://169.254.169.254/latest/api/token";
        curl(guest, &[&["-X", "PUT", "-H", &ttl, url], more].concat())
    };
    let ask = |guest, token: &str| {
        let header = format!("X-aws-ec2-metadata-token: {token}");
        curl(guest, &["-H", &header, "http://169.254.169.254/latest/meta-data/instance-id"])
    };
    let (status, first) = token(&bench.first, "60", &[]);
    assert_eq!((status, ask(&bench.first, &first)), (200, ok("i-2-7-VM")));
    assert_eq!(ask(&bench.first, "forged").0, 401);
    assert_eq!(get(&bench.second, "/latest/meta-data/instance-id").0, 401, "vm2 needs one");
    assert_eq!(ask(&bench.second, &first).0, 401, "but not another guest's");
    let (_, second) = token(&bench.second, "21600", &[]);
    assert_eq!(ask(&bench.second, &second), ok("vm2-0"));
    for ttl in ["0", "21601", "x"] {
        assert_eq!(token(&bench.first, ttl, &[]).0, 400, "{ttl}");
    }
    assert_eq!(token(&bench.first, "60", &["-H", "X-Forwarded-For: 10.1.1.24"]).0, 403);
    assert_eq!(get(&bench.first, "/latest/api/token").0, 405);
}

#[test]
fn a_change_of_one_guest_is_in_force_at_once_and_closes_no_connection() {
    let mut bench = Bench::new("md-change");
    // one connection for two requests, with the change between them
    let script = bench.path("held");
    std::fs::write(
        &script,
        "exec 3<>/dev/tcp/10.1.1.1/80\n\
         printf 'GET /latest/instance-id HTTP/1.1\\r\\nHost: r\\r\\n\\r\\n' >&3\n\
         read -r -t 5 line <&3; echo \"first $line\"\n\
         for try in $(seq 60); do [ -e $0.changed ] && break; sleep 0.05; done\n\
         printf 'GET /latest/local-hostname HTTP/1.1\\r\\nHost: r\\r\\nConnection: close\\r\\n\\r\\n' >&3\n\
         timeout 5 cat <&3; echo done\n",
    )
    .unwrap();
    let file = script.display().to_string();
    let mut held = bench.first.spawn(["bash", &file]).unwrap();
    held.says("first HTTP/1.1 200", crate::bench::BOUND).unwrap();
    let mut slice = metadata();
    slice["networks"][0]["guests"][0]["hostname"] = "renamed".into();
    bench.change("metadata", &slice);
    std::fs::write(format!("{file}.changed"), "").unwrap();
    held.says("done", crate::bench::BOUND).unwrap();
    assert!(held.output().contains("\nrenamed"), "{}", held.output());
    slice["networks"][0]["guests"].as_array_mut().unwrap().remove(0);
    bench.change("metadata", &slice);
    assert_eq!(get(&bench.first, "/latest/instance-id").0, 0, "no guest any more");
}

#[test]
fn a_mebibyte_of_user_data_of_any_content_arrives_whole() {
    let mut bench = Bench::wired("md-large");
    let data: Vec<u8> =
        (0..1_u32 << 18).flat_map(|n| n.wrapping_mul(0x9e37_79b9).to_be_bytes()).collect();
    assert_eq!(data.len(), 1 << 20);
    let digest = BlobDigest::of(&data).to_string();
    let mut slice = metadata();
    slice["networks"][0]["guests"][0]["user_data"] = json!(digest);
    slice["user_data"] = json!({ digest: SecretBytes::new(data.as_slice()) });
    bench.serve("metadata", &slice);
    let file = bench.path("told");
    for path in ["/latest/user-data", "/2009-04-04/user-data"] {
        let url = format!("http://10.1.1.1{path}");
        let (status, _) = curl(&bench.first, &["-o", file.to_str().unwrap(), &url]);
        assert_eq!(status, 200, "{path}");
        assert!(std::fs::read(&file).unwrap() == data, "{path}: other bytes");
    }
}
