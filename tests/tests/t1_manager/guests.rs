//! What guests are told, from the manager: NICs, addresses, keys, passwords, options, records.

use std::path::Path;
use std::process::Stdio;

use reqwest::Method;
use serde_json::{Value, json};
use sluice_api::config::vpn::secret_of_blob;
use sluice_api::types::BlobDigest;

use super::kinds::{applied, config, done, example, refused};
use super::process::{Cloud, first_network};

/// The guest with this address.
fn guest<'a>(config: &'a Value, network: usize, address: &str) -> &'a Value {
    let guests = config["role"]["router"]["networks"][network]["guests"].as_array().unwrap();
    guests.iter().find(|guest| guest["address"] == address).unwrap()
}

/// Whether the address of `guest` is in the pools of `guests.toml`.
fn lent(guest: &Value) -> bool {
    let address: std::net::Ipv4Addr = guest["address"].as_str().unwrap().parse().unwrap();
    let [.., last] = address.octets();
    (100..=149).contains(&last) || (200..=219).contains(&last)
}

fn networks_have_their_settings(front: &Value, back: &Value) {
    let dhcp = &front["dhcp"];
    assert_eq!(dhcp["options"][0]["code"], 42);
    assert_eq!(
        (&dhcp["lease_seconds"], &dhcp["boot"]["file"]),
        (&json!(3600), &json!("pxelinux.0"))
    );
    assert_eq!(back["dhcp"]["pools"], json!(["10.1.2.100-10.1.2.149", "10.1.2.200-10.1.2.219"]));
    assert_eq!(back["dns"]["upstreams"], json!(["192.0.2.60"]));
    let records = front["dns"]["records"].as_array().unwrap();
    assert_eq!(records.len(), 3);
    assert!(records.iter().any(|record| record["name"] == "*.apps.zone1.internal"), "{records:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nics_addresses_options_pools_and_records_reach_the_router() {
    let cloud = Cloud::start().await;
    let shown = cloud.sluice(["diff", &example("guests.toml")]).out;
    for field in ["dhcp_options …", "boot …", "routes …", "ranges …", "lease_seconds 3600"]
    {
        assert!(shown.contains(field), "{field} of what is new: {shown}");
    }
    let config = applied(&cloud, "guests.toml", "r-1").await;
    let router = &config["role"]["router"];
    let networks = router["networks"].as_array().unwrap();
    // in the order of their VLANs, which are as the pool gives them
    let of = |cidr: &str| networks.iter().position(|network| network["cidr"] == cidr).unwrap();
    let (front, back) = (of("10.1.1.0/24"), of("10.1.2.0/24"));
    networks_have_their_settings(&networks[front], &networks[back]);
    assert_eq!(router["dns"]["forward_zones"][0]["zone"], "corp.example");

    let first = guest(&config, front, "10.1.1.11");
    assert_eq!(first["secondary_addresses"], json!(["10.1.1.12", "10.1.1.13"]));
    assert_eq!(first["dhcp"]["options"][0]["value"]["text"], "app-one");
    assert!(first.get("default_nic").is_none(), "the default: {first}");
    assert_eq!(first["metadata"]["public_keys"].as_array().unwrap().len(), 1);
    assert_eq!(first["metadata"]["availability_zone"], "zone1");
    let second = guest(&config, back, "10.1.2.11");
    assert_eq!(second["default_nic"], false);
    assert_eq!(second["metadata"]["instance_id"], first["metadata"]["instance_id"], "one machine");

    // one NIC is the way out, and the other then is not
    let nics = cloud.get("/v1/guest-nics").await;
    let nic = nics[0]["id"].as_str().unwrap();
    done(&cloud, &format!("guest-nic update {nic} --default --secondary-addresses 10.1.2.12"));
    let changed = self::config(&cloud, "r-1").await;
    assert_eq!(guest(&changed, front, "10.1.1.11")["default_nic"], false);
    assert_eq!(guest(&changed, back, "10.1.2.11")["secondary_addresses"], json!(["10.1.2.12"]));
    for (line, code, words) in [
        ("guest-nic create --guest app1 --network back".to_owned(), 5, "network: there is a guest app1"),
        ("guest create x --network back --address 10.1.2.12".into(), 5, "10.1.2.12 is taken"),
        (format!("guest-nic update {nic} --secondary-addresses 10.1.2.11"), 3, "already"),
        (format!("guest-nic update {nic} --secondary-addresses 10.1.9.1"), 3, "10.1.9.1"),
        ("network update back --pools 10.1.1.5".into(), 3, "network back: 10.1.1.5"),
        ("guest create data-server --network back".into(), 3, "network back, guest data-server: "),
        ("dns-record create y --network front --record y.zone1.internal --data {\"cname\":\"away.example\"}".into(), 3, "network front, record y.zone1.internal: away.example"),
        ("keypair delete anna".into(), 5, "guest app1"),
        ("guest update app1 --keypairs nobody".into(), 4, "nobody"),
    ] {
        refused(&cloud, &line, code, words);
    }
    // a list is no object, at any depth
    let body = json!({ "network": "front", "name": "x", "dhcp": [[]] });
    let (status, problem) = cloud.call(Method::POST, "/v1/guests", None, &body).await.unwrap();
    assert_eq!((status, &problem["field"]), (422, &json!("dhcp")), "{problem}");
    // an address that may be lent is given to nobody unless somebody says so
    for number in 0..5 {
        done(&cloud, &format!("guest create t{number} --network back"));
    }
    let guests =
        self::config(&cloud, "r-1").await["role"]["router"]["networks"][back]["guests"].clone();
    assert!(!guests.as_array().unwrap().iter().any(lent), "{guests}");
    done(&cloud, &format!("guest-nic delete {nic}"));
    let left = self::config(&cloud, "r-1").await;
    assert!(guest(&left, front, "10.1.1.11").get("default_nic").is_none(), "the first again");
    done(&cloud, "dns-record delete www");
    done(&cloud, "guest delete app1");
    cloud.stop();
}

/// What `ssh-keygen -y` makes of a private key: the public one.
fn public_of(folder: &Path, private: &str) -> String {
    use std::os::unix::fs::PermissionsExt as _;
    let file = folder.join("key");
    std::fs::write(&file, private).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let mut command = sluice_programs::command("ssh-keygen").unwrap();
    let output = command.arg("-y").arg("-f").arg(&file).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

async fn a_full_range_is_followed_by_the_next(cloud: &Cloud) {
    // when the first range is full the next is given out of: of a /29 five, and the rest of the first two is lent or kept
    let own = "network create tiny --zone zone1 --domain tiny.internal --cidr 10.1.30.0/29 --egress deny --router router1";
    done(cloud, own);
    let body = json!({ "ranges": [{ "cidr": "10.1.31.0/29", "gateway": "10.1.31.1" }] });
    let (status, answer) =
        cloud.call(Method::PATCH, "/v1/networks/tiny", None, &body).await.unwrap();
    assert_eq!(status, 200, "{answer}");
    for number in 0..10 {
        done(cloud, &format!("guest create g{number} --network tiny"));
    }
    refused(cloud, "guest create g10 --network tiny", 6, "the addresses of network tiny");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_of_several_ranges_has_them_on_one_link_and_gives_out_of_all() {
    let cloud = Cloud::start().await;
    let first = applied(&cloud, "guests.toml", "r-1").await;
    let back = |config: &Value| {
        let networks = config["role"]["router"]["networks"].as_array().unwrap();
        networks.iter().find(|network| network["cidr"] == "10.1.2.0/24").unwrap().clone()
    };
    let network = back(&first);
    assert_eq!(network["ranges"], json!([{ "cidr": "10.1.9.0/24", "gateway": "10.1.9.1" }]));
    let links = first["links"].as_array().unwrap();
    let link = links.iter().find(|link| link["name"] == network["link"]).unwrap();
    assert_eq!(link["addresses"], json!(["10.1.2.1/24", "10.1.9.1/24"]));
    done(&cloud, "guest create far --network back --address 10.1.9.50");
    for (line, code, words) in [
        ("guest create x --network back --address 10.1.9.1", 3, "gateway"),
        ("guest create x --network back --address 10.1.8.1", 3, "10.1.2.0/24, 10.1.9.0/24"),
        (
            "network create other --zone zone1 --domain x.internal --cidr 10.1.9.128/25 --egress deny --router router1",
            3,
            "10.1.9.0/24",
        ),
    ] {
        refused(&cloud, line, code, words);
    }
    // ranges are replaced as a whole; one in which somebody has an address stays
    let ranges = async |ranges: Value| {
        let body = json!({ "ranges": ranges });
        cloud.call(Method::PATCH, "/v1/networks/back", None, &body).await.unwrap()
    };
    let (ninth, small) = (
        json!({ "cidr": "10.1.9.0/24", "gateway": "10.1.9.1" }),
        json!({ "cidr": "10.1.7.0/29", "gateway": "10.1.7.1" }),
    );
    for (bad, code, words) in [
        (json!([]), 409, "10.1.9.50"),
        (json!([ninth, { "cidr": "10.1.9.0/25", "gateway": "10.1.9.1" }]), 422, "overlaps"),
        (json!([ninth, { "cidr": "10.1.1.0/25", "gateway": "10.1.1.1" }]), 422, "front"),
        (json!([ninth, { "cidr": "10.1.7.0/24", "gateway": "10.1.8.1" }]), 422, "10.1.8.1"),
        (
            json!([ninth, { "cidr": "169.254.0.0/24", "gateway": "169.254.0.1" }]),
            422,
            "control_cidr",
        ),
    ] {
        let (status, answer) = ranges(bad).await;
        assert_eq!((status, answer.to_string().contains(words)), (code, true), "{answer}");
    }
    let (status, answer) = ranges(json!([ninth, small])).await;
    assert_eq!(status, 200, "{answer}");
    a_full_range_is_followed_by_the_next(&cloud).await;
    // resolvers of its own over TLS
    let authorities = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
    let body = json!({ "upstream_tls": { "authorities": authorities } });
    let (status, answer) =
        cloud.call(Method::PATCH, "/v1/networks/back", None, &body).await.unwrap();
    assert_eq!(status, 200, "{answer}");
    let last = back(&config(&cloud, "r-1").await);
    assert_eq!(last["dns"]["tls"], json!({ "authorities": authorities }));
    let far = last["guests"].as_array().unwrap().iter().find(|guest| guest["hostname"] == "far");
    assert_eq!(far.unwrap()["address"], "10.1.9.50");
    assert_eq!(last["ranges"].as_array().unwrap().len(), 2);
    cloud.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_made_is_shown_once_and_opens_its_guests() {
    let cloud = Cloud::start().await;
    done(&cloud, &format!("apply {} --yes", first_network()));
    let body = json!({ "name": "made" });
    let create = || cloud.call(Method::POST, "/v1/keypairs", Some("key-1"), &body);
    let (status, made) = create().await.unwrap();
    assert_eq!(status, 201, "{made}");
    let private = made["once"]["kp-1"]["private_key"].as_str().unwrap().to_owned();
    assert_eq!(public_of(cloud.folder.path(), &private), made["public_key"].as_str().unwrap());
    // whoever asks again, or for the pair, or reads the store, does not get it
    let (_, again) = create().await.unwrap();
    assert_eq!((&again["id"], again.get("once")), (&json!("kp-1"), None));
    assert!(cloud.get("/v1/keypairs/made").await.get("once").is_none());
    let line = private.lines().nth(1).unwrap();
    for file in ["sluice.db", "sluice.db-wal"] {
        let bytes = std::fs::read(cloud.folder.path().join(file)).unwrap_or_default();
        let found = bytes.windows(line.len()).any(|window| window == line.as_bytes());
        assert!(!found, "the private key is in {file}");
    }
    let told = cloud.sluice(["keypair", "create", "shown"]);
    let from = told.out.find("-----BEGIN OPENSSH PRIVATE KEY-----").expect("it is printed");
    public_of(cloud.folder.path(), &told.out[from..]);

    done(&cloud, "guest update vm1 --keypairs made,shown");
    let config = config(&cloud, "r-1").await;
    let guests = config["role"]["router"]["networks"][0]["guests"].as_array().unwrap();
    let keys = |guest: &Value| guest["metadata"]["public_keys"].as_array().map_or(0, Vec::len);
    let mut counts: Vec<_> = guests.iter().map(keys).collect();
    counts.sort_unstable();
    assert_eq!(counts, [0, 2]);
    done(&cloud, "guest update vm1 --keypairs made");
    done(&cloud, "keypair delete shown");
    cloud.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_is_reset_is_shown_once_and_pushed_beside_the_configuration() {
    let cloud = Cloud::start().await;
    let agent = cloud.first_network_in_sync().await;
    let (status, reset) = cloud.post("/v1/guests/vm1/reset-password", json!({})).await;
    assert_eq!(status, 200, "{reset}");
    let id = reset["id"].as_str().unwrap();
    let password = reset["once"][id]["password"].as_str().unwrap();
    assert_eq!(password.len(), 16);
    let waited = cloud.sluice(["status", "--wait", "30"]);
    assert_eq!(waited.code, 0, "{waited:?}\n{}", cloud.log());
    let config = config(&cloud, "r-1").await;
    assert!(!config.to_string().contains(password));
    let guests = config["role"]["router"]["networks"][0]["guests"].as_array().unwrap();
    let digests: Vec<BlobDigest> = guests
        .iter()
        .filter_map(|guest| guest["metadata"]["password"]["blob"].as_str())
        .map(|digest| digest.parse().unwrap())
        .collect();
    assert_eq!(digests.len(), 1);
    let blob = agent.blob(&digests[0]).expect("it was sent");
    assert_eq!(secret_of_blob(&blob), Some(password));
    cloud.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mebibyte_of_user_data_is_pushed_beside_the_configuration_and_no_more_is_taken() {
    let cloud = Cloud::start().await;
    let agent = cloud.first_network_in_sync().await;
    let file = cloud.folder.path().join("user-data");
    let update = format!("guest update vm1 --user-data-file {}", file.display());
    // quotes and line ends take twice as many bytes on the way
    let text: String = "#\"\n".chars().cycle().take((1 << 20) + 1).collect();
    std::fs::write(&file, &text).unwrap();
    refused(&cloud, &update, 3, "1048577 bytes");
    let most = &text[..1 << 20];
    std::fs::write(&file, most).unwrap();
    done(&cloud, &update);
    let waited = cloud.sluice(["status", "--wait", "30"]);
    assert_eq!(waited.code, 0, "{waited:?}\n{}", cloud.log());
    let digest = BlobDigest::of(most.as_bytes());
    let config = config(&cloud, "r-1").await;
    let guests = config["role"]["router"]["networks"][0]["guests"].as_array().unwrap();
    let named: Vec<_> =
        guests.iter().filter_map(|guest| guest["metadata"]["user_data"].as_str()).collect();
    assert_eq!(named, [digest.to_string()]);
    assert!(agent.blob(&digest).expect("it was sent") == most.as_bytes());
    cloud.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn user_data_are_bytes_and_arrive_as_they_were_given() {
    let cloud = Cloud::start().await;
    let agent = cloud.first_network_in_sync().await;
    let file = cloud.folder.path().join("user-data");
    let update = format!("--wait 30 guest update vm1 --user-data-file {}", file.display());
    // the magic of gzip, which is no text, and a script with the line end that its last line needs
    for given in [&b"\x1f\x8b\x08\0\xff\xfe\n"[..], b"#!/bin/sh\ntouch /here\n", b"base64:no"] {
        std::fs::write(&file, given).unwrap();
        done(&cloud, &update);
        let config = config(&cloud, "r-1").await;
        let guests = config["role"]["router"]["networks"][0]["guests"].as_array().unwrap();
        let named = guests.iter().find_map(|guest| guest["metadata"]["user_data"].as_str());
        let digest: BlobDigest = named.expect("it is named").parse().unwrap();
        assert_eq!(agent.blob(&digest).as_deref(), Some(given));
    }
    // the same once more is no change, in a description too
    let described = std::fs::read_to_string(first_network()).unwrap();
    let same =
        described.replacen("[[guests]]\n", "[[guests]]\nuser_data = \"base64:YmFzZTY0Om5v\"\n", 1);
    std::fs::write(&file, same).unwrap();
    let told = cloud.sluice(["diff", file.to_str().unwrap()]);
    assert!(told.code == 0 && !told.out.contains("user_data"), "{told:?}");

    let unset = cloud.sluice(["guest", "update", "vm1", "--unset", "user-data"]);
    assert_eq!(unset.code, 0, "{unset:?}");
    let config = config(&cloud, "r-1").await;
    assert!(!config.to_string().contains("user_data"), "{config}");
    cloud.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_router_would_not_hand_out_is_refused_where_it_is_given() {
    let cloud = Cloud::start().await;
    let _agent = cloud.first_network_in_sync().await;
    let file = cloud.folder.path().join("secret");
    let update = format!("guest update vm1 --password-file {}", file.display());
    for (bad, words) in [
        ("two\nlines", "control characters"),
        ("a bell\u{7}", "control characters"),
        ("", "must not be empty"),
        (&"x".repeat(257), "257 bytes are more than 256"),
    ] {
        std::fs::write(&file, bad).unwrap();
        refused(&cloud, &update, 3, words);
    }
    let update = format!("guest update vm1 --user-data-file {}", file.display());
    std::fs::write(&file, "base64:").unwrap();
    done(&cloud, &update);
    let body = json!({ "user_data": "base64:%%" });
    let (status, answer) = cloud.call(Method::PATCH, "/v1/guests/vm1", None, &body).await.unwrap();
    assert_eq!((status, answer["field"].as_str()), (422, Some("user_data")), "{answer}");
    for (line, words) in [
        ("zone update zone1 --resolvers 127.0.0.53", "127.0.0.53 cannot be a resolver"),
        ("zone update zone1 --resolvers 255.255.255.255", "cannot be a resolver"),
        ("network update net1 --upstreams 127.0.0.1", "127.0.0.1 cannot be a resolver"),
        ("network update net1 --upstreams ::ffff:127.0.0.1", "cannot be a resolver"),
        ("network update net1 --upstreams 224.0.0.251,0.0.0.0", "cannot be a resolver"),
        // the router itself
        ("network update net1 --upstreams 10.1.1.1", "upstreams[0]: network net1: 10.1.1.1 is"),
        ("zone update zone1 --resolvers 10.1.1.1", "dns.upstreams[0]: 10.1.1.1 is the router"),
    ] {
        refused(&cloud, line, 3, words);
    }
    cloud.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn how_metadata_passwords_and_names_are_served_is_settled_in_the_manager() {
    let cloud = Cloud::start().await;
    let _agent = cloud.first_network_in_sync().await;
    let file = cloud.folder.path().join("password");
    std::fs::write(&file, "hunter2").unwrap();
    done(
        &cloud,
        &format!(
            "guest update vm1 --service-offering small --metadata-tokens required \
             --password-seconds 600 --password-file {}",
            file.display()
        ),
    );
    done(&cloud, "zone update zone1 --dns-client-rate 500");
    let config = config(&cloud, "r-1").await;
    let router = &config["role"]["router"];
    let guests = router["networks"][0]["guests"].as_array().unwrap();
    let vm1 = guests.iter().find(|guest| guest["hostname"] == "vm1").unwrap();
    assert_eq!(vm1["metadata"]["service_offering"], "small");
    assert_eq!(vm1["metadata"]["tokens"], "required");
    assert_eq!(vm1["metadata"]["password"]["valid_seconds"], 600);
    assert_eq!(router["dns"]["client_rate"], 500);
    refused(&cloud, "zone update zone1 --dns-client-rate 99", 2, "100 to 1000000");
    refused(&cloud, "guest update vm1 --password-seconds 59", 2, "60 to 2592000");
    let unset = cloud.sluice(["guest", "update", "vm1", "--unset", "service-offering"]);
    assert_eq!(unset.code, 0, "{unset:?}");
    cloud.stop();
}
