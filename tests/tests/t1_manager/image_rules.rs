//! Images: whose a number is, what holds what, what is told of an address, and what is taken away.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};
use sluice_api::types::BlobDigest;
use sluice_manager::ops::settle_images;
use sluice_manager::store::blobs;

use super::images::{asked, cloud, reported, secret, ssvm};
use super::kinds::{config, done, example, refused};
use super::process::Cloud;

pub(crate) fn id(cloud: &Cloud, image: &str) -> String {
    asked(cloud, &format!("image show {image}"))["id"].as_str().unwrap().to_owned()
}

pub(crate) fn state(cloud: &Cloud, image: &str) -> Value {
    asked(cloud, &format!("image show {image}"))["observed"]["state"].clone()
}

pub(crate) fn object() -> Value {
    json!({ "size": 7, "sha256": "5".repeat(64), "image": { "format": "qcow2" } })
}

pub(crate) async fn settled(cloud: &Cloud) -> bool {
    settle_images(&cloud.store().await, &"s-1".parse().unwrap()).await.unwrap()
}

/// `template.properties` of a folder is of one image: two templates of an account have no number in common on a store.
#[tokio::test(flavor = "multi_thread")]
async fn two_images_never_share_a_folder() {
    let cloud = cloud().await;
    done(&cloud, "image-store create disk --zone zone1");
    done(&cloud, "image create one --image-store nfs1 --number 201");
    let taken = "number: 201 is the number of image one of account 1 on image store nfs1";
    refused(&cloud, "image create two --image-store nfs1 --number 201", 5, taken);
    done(&cloud, "image create volume --image-store nfs1 --number 201 --kind volume");
    refused(
        &cloud,
        "image create x --image-store nfs1 --number 201 --kind volume",
        5,
        "image volume",
    );
    done(&cloud, "image create theirs --image-store nfs1 --number 201 --account 2");
    done(&cloud, "image create copy --image-store disk --number 201 --copy-of one");
    // a number of Sluice's own gives way to one that was asked for
    done(&cloud, "image create own1 --image-store nfs1");
    let own = asked(&cloud, "image show own1")["number"].as_u64().unwrap();
    done(&cloud, &format!("image create asked --image-store nfs1 --number {}", own + 2));
    done(&cloud, "image create own2 --image-store nfs1");
    assert_eq!(asked(&cloud, "image show own2")["number"], own + 3);
    let places = ssvm(&cloud).await["jobs"].clone();
    let places = places.as_array().unwrap().iter().map(|job| {
        let import = &job["what"]["import"];
        let place = import["place"].as_object().unwrap().iter().next().unwrap();
        format!("{} {} {} {}", import["store"], place.0, place.1["account"], place.1["id"])
    });
    let places: Vec<_> = places.collect();
    assert_eq!(places.iter().collect::<BTreeSet<_>>().len(), places.len(), "{places:?}");
    // once it is gone from the store, its number is another's
    done(&cloud, "image delete copy");
    let one = id(&cloud, "one");
    done(&cloud, "image erase one");
    refused(&cloud, "image create two --image-store nfs1 --number 201", 5, taken);
    reported(&cloud, "s-1", json!([{ "id": one, "state": "done" }])).await;
    assert!(settled(&cloud).await);
    done(&cloud, "image create two --image-store nfs1 --number 201");
    cloud.stop();
}

/// A snapshot's number is its volume's.
#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_has_the_number_of_its_volume() {
    let cloud = cloud().await;
    let create = "image create";
    let snapshot = "--image-store nfs1 --kind snapshot";
    refused(&cloud, &format!("{create} base {snapshot}"), 3, "number: must be given");
    done(&cloud, &format!("{create} base {snapshot} --number 7"));
    done(&cloud, &format!("{create} next {snapshot} --parent base"));
    done(&cloud, &format!("{create} of-volume {snapshot} --account 2 --copy-of own"));
    let number = |image: &str| asked(&cloud, &format!("image show {image}"))["number"].clone();
    assert_eq!(number("next"), 7);
    assert_eq!(number("of-volume"), number("own"));
    done(&cloud, "image create gold --image-store nfs1 --copy-of next");
    assert_ne!(number("gold"), 7, "a template has one of its own");
    cloud.stop();
}

/// What is on its way is named; what is there or failed holds nothing.
#[tokio::test(flavor = "multi_thread")]
async fn an_original_is_held_by_copies_on_their_way_alone() {
    let cloud = cloud().await;
    for name in ["one", "two", "three"] {
        done(&cloud, &format!("image create {name} --image-store nfs1 --copy-of debian-13"));
    }
    let ids = ["one", "two", "three"].map(|name| id(&cloud, name));
    let said = |states: [&str; 3]| {
        let jobs = ids.iter().zip(states).map(|(id, state)| {
            let object = if state == "done" { object() } else { Value::Null };
            let failure = json!({ "code": "store-io", "reason": "it broke" });
            json!({ "id": id, "state": state, "object": object, "failure": failure })
        });
        jobs.collect::<Value>()
    };
    reported(&cloud, "s-1", said(["done", "failed", "fetching"])).await;
    for action in ["delete", "erase"] {
        let told = cloud.sluice(["image", action, "debian-13"]);
        assert_eq!(told.code, 5, "{told:?}");
        assert!(told.err.contains("image three"), "{told:?}");
        assert!(!told.err.contains("image one") && !told.err.contains("image two"), "{told:?}");
    }
    reported(&cloud, "s-1", said(["done", "failed", "failed"])).await;
    done(&cloud, "image delete debian-13");
    let jobs = ssvm(&cloud).await["jobs"].to_string();
    assert!(!jobs.contains("debian-13"), "nothing is read from what nobody keeps: {jobs}");
    assert_eq!([state(&cloud, "one"), state(&cloud, "two")], ["done", "failed"]);
    refused(&cloud, "image retry two", 5, "copy_of: what it was to be a copy of is gone");
    // of a snapshot likewise: a difference that failed is none
    done(&cloud, "image create base --image-store nfs1 --kind snapshot --number 7");
    done(&cloud, "image create next --image-store nfs1 --kind snapshot --parent base");
    refused(&cloud, "image delete base", 5, "image next");
    reported(&cloud, "s-1", json!([{ "id": id(&cloud, "next"), "state": "failed" }])).await;
    done(&cloud, "image delete base");
    cloud.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erased_image_is_shown_erased() {
    let cloud = cloud().await;
    let image = id(&cloud, "debian-13");
    reported(&cloud, "s-1", json!([{ "id": image, "state": "done", "object": object() }])).await;
    assert!(settled(&cloud).await);
    assert_eq!(state(&cloud, "debian-13"), "done");
    done(&cloud, "image erase debian-13");
    assert_eq!(state(&cloud, "debian-13"), "waiting", "what was said before is of another job");
    reported(&cloud, "s-1", json!([{ "id": image, "state": "deleting" }])).await;
    assert_eq!(state(&cloud, "debian-13"), "deleting");
    reported(&cloud, "s-1", json!([{ "id": image, "state": "done" }])).await;
    assert_eq!(state(&cloud, "debian-13"), "erased");
    assert!(settled(&cloud).await);
    reported(&cloud, "s-1", json!([])).await;
    let list = cloud.sluice(["image", "list"]).out;
    let line = list.lines().find(|line| line.contains("debian-13")).unwrap();
    assert!(line.contains("erased") && !line.contains("done"), "{list}");
    cloud.stop();
}

/// A password, a signature: neither a list nor a configuration, an answer, the history or a log has it.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_secret_in_an_address_is_shown_nowhere() {
    let cloud = cloud().await;
    let addresses = [
        ("user", "https://bob:hush@images.example.com/a.qcow2"),
        ("signed", "https://images.example.com/a.qcow2?signature=hush"),
    ];
    let mut described = std::fs::read_to_string(example("storage.toml")).unwrap();
    let mut told = String::new();
    for (name, url) in addresses {
        told += &asked(&cloud, &format!("image create {name} --image-store nfs1 --url {url}"))
            .to_string();
        described +=
            &format!("\n[[images]]\nimage_store = \"nfs1\"\nname = \"{name}\"\nurl = \"{url}\"\n");
    }
    for line in ["image list", "image show user", "image show signed", "audit", "export"] {
        told += &cloud.sluice(["--json"].into_iter().chain(line.split(' '))).out;
        told += &cloud.sluice(line.split(' ')).out;
    }
    assert_eq!(asked(&cloud, "image show user")["from"], "https://images.example.com/a.qcow2");
    told += &config(&cloud, "s-1").await.to_string();
    // said again in a description they are the same images; another secret is another address
    let file = cloud.folder.path().join("described.toml");
    std::fs::write(&file, &described).unwrap();
    let apply = ["apply", file.to_str().unwrap(), "--yes"];
    let again = cloud.sluice(apply);
    assert_eq!((again.code, again.out.as_str()), (0, "nothing to do\n"), "{again:?}");
    std::fs::write(&file, described.replace("hush", "hush2")).unwrap();
    let other = cloud.sluice(apply);
    assert!(other.code != 0 && other.err.contains("cannot be changed in place"), "{other:?}");
    told += &format!("{other:?}{}", cloud.log());
    assert!(!told.contains("hush"), "{told}");
    let key = secret(&cloud, "key");
    let store = "image-store create x --zone zone1 --bucket b --user u --staging nfs1";
    let endpoint = format!("{store} --secret-file {key} --endpoint https://u:hush@s3.example.com");
    let told = cloud.sluice(endpoint.split(' '));
    assert!(told.code == 3 && told.err.contains("endpoint: must have no user"), "{told:?}");
    assert!(!told.err.contains("hush"), "{told:?}");
    cloud.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_ends_after_it_begins() {
    let cloud = cloud().await;
    let token = secret(&cloud, "a token of sixteen letters");
    for permission in ["upload --image own", "download --image debian-13"] {
        let line = format!("image-grant create g --permission {permission} --token-file {token}");
        refused(&cloud, &format!("{line} --expires 1"), 3, "expires: is over");
        refused(&cloud, &format!("{line} --expires 0"), 3, "expires: is over");
    }
    for link in ["image download-link debian-13", "image upload-link own"] {
        refused(&cloud, &format!("{link} --seconds 0"), 3, "seconds: must be 1 or more");
    }
    cloud.stop();
}

/// By which proxy, believing whom, from which ports, how large: said, and taken away again.
#[tokio::test(flavor = "multi_thread")]
async fn how_images_are_brought_in_is_said_of_the_appliance() {
    let cloud = cloud().await;
    let usual = ssvm(&cloud).await;
    let set = |flag: &str, text: &str| {
        let file = secret(&cloud, text);
        done(&cloud, &format!("appliance update storage1 --{flag}-file {file}"));
    };
    set("source-proxy", "http://bob:hush@192.0.2.20:3128");
    let pem = super::kinds::pem();
    let chain = &pem[..pem.find("-----BEGIN PRIVATE").unwrap()];
    set("source-authorities", chain);
    done(
        &cloud,
        "appliance update storage1 --source-ports 80 --source-ports 8080 --most-disk-bytes 1099511627776 --unpack-bytes 33554432 --image-jobs 2",
    );
    let now = ssvm(&cloud).await;
    assert_eq!(now["fetch"]["ports"], json!([80, 8080]));
    let limits = &now["limits"];
    assert_eq!(limits["virtual_bytes"], 1_u64 << 40);
    assert_eq!((&limits["unpack_bytes"], &limits["jobs"]), (&json!(32 << 20), &json!(2)));
    assert!(now["fetch"]["proxy"].is_string() && now["fetch"]["authorities"].is_string(), "{now}");
    let told = format!("{}{now}{}", asked(&cloud, "appliance show storage1"), cloud.log());
    assert!(!told.contains("hush"), "{told}");
    done(
        &cloud,
        "appliance update storage1 --unset source-proxy,source-authorities,most-disk-bytes,unpack-bytes,image-jobs",
    );
    cloud.sluice(["appliance", "update", "storage1", "--source-ports", ""]);
    let after = ssvm(&cloud).await;
    assert_eq!((&after["fetch"], &after["limits"]), (&usual["fetch"], &usual["limits"]));

    let bad = secret(&cloud, "socks5://192.0.2.20");
    for (what, words) in [
        (format!("--source-proxy-file {bad}"), "source_proxy: must be http://"),
        (format!("--source-authorities-file {bad}"), "source_authorities: must be one or more"),
        ("--source-ports 80 --source-ports 80".to_owned(), "source_ports: must be at most 32"),
        ("--most-disk-bytes 1000".to_owned(), "most_disk_bytes: must be 1048576 to"),
        ("--unpack-bytes 1000".to_owned(), "unpack_bytes: must be 1048576 to"),
        ("--image-jobs 0".to_owned(), "image_jobs: must be 1 to 64"),
    ] {
        refused(&cloud, &format!("appliance update storage1 {what}"), 3, words);
    }
    refused(
        &cloud,
        "appliance create r --zone zone1 --role router --source-ports 80",
        3,
        "source_ports: is of an ssvm alone",
    );
    cloud.stop();
}

/// Bounds of a store are what they are by default again; what no store is without stays, and says so.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_said_of_a_store_is_taken_away_again() {
    let cloud = cloud().await;
    let bounds = |store: &Value| {
        ["full_percent", "cache_bytes", "most_bytes", "account_bytes"].map(|it| store[it].clone())
    };
    let usual = bounds(&asked(&cloud, "image-store show nfs1"));
    assert_eq!(usual, [json!(90), json!(20_u64 << 30), json!(50_u64 << 30), Value::Null]);
    let line = "image-store update nfs1 --full-percent 50 --cache-bytes 5 --most-bytes 1000";
    done(&cloud, &format!("{line} --account-bytes 2000"));
    let said = asked(&cloud, "image-store show nfs1");
    assert_eq!(bounds(&said), [50, 5, 1000, 2000].map(Value::from));
    assert_eq!(ssvm(&cloud).await["stores"][0]["full_percent"], 50);
    let all = "full-percent,cache-bytes,most-bytes,account-bytes";
    done(&cloud, &format!("image-store update nfs1 --unset {all}"));
    assert_eq!(bounds(&asked(&cloud, "image-store show nfs1")), usual);
    assert_eq!(ssvm(&cloud).await["stores"][0]["full_percent"], 90);

    let key = secret(&cloud, "hush");
    let own = format!("--user u:t --secret-file {key} --staging nfs1 --bucket images");
    for (name, protocol) in [("swift", "swift"), ("s3", "s3")] {
        let endpoint = format!("--endpoint https://{name}.example.com --protocol {protocol}");
        done(&cloud, &format!("image-store create {name} --zone zone1 {endpoint} {own}"));
    }
    let keyed = format!("--temp-url-key-file {key}");
    refused(&cloud, &format!("image-store update s3 {keyed}"), 3, "only a Swift account has one");
    done(&cloud, &format!("image-store update swift {keyed}"));
    done(&cloud, "image create far --image-store swift");
    let link = "image-grant create far --image far --permission download --redirect-seconds 60";
    let token = secret(&cloud, "a token of sixteen letters");
    done(&cloud, &format!("{link} --token-file {token}"));
    let given = |now: &Value| {
        let grants = now["grants"].as_array().unwrap();
        let mut given = grants.iter().map(|grant| &grant["permission"]["download"]);
        given.find_map(|grant| grant["redirect_seconds"].as_u64())
    };
    let keyed = |now: &Value| now["stores"][1]["kind"]["swift"]["temp_url_key"].is_string();
    let now = ssvm(&cloud).await;
    assert_eq!((keyed(&now), given(&now)), (true, Some(60)), "{now}");
    done(&cloud, "image-store update swift --unset temp-url-key");
    let now = ssvm(&cloud).await;
    assert_eq!((keyed(&now), given(&now)), (false, None), "links lead to the appliance: {now}");
    for field in ["secret", "read_only"] {
        let patch = json!({ field: null });
        let answer = cloud.call(Method::PATCH, "/v1/image-stores/s3", None, &patch).await;
        let (status, told) = answer.unwrap();
        assert_eq!(status, 422, "{told}");
        assert!(told.to_string().contains("cannot be taken away"), "{told}");
    }
    cloud.stop();
}

/// Builds before kept an address with a password in it as it was given, or by a digest that a guess could be compared with.
#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_a_build_before_kept_is_a_secret_once_a_manager_is_started() {
    let mut cloud = cloud().await;
    let address = |name: &str| format!("https://bob:hush@images.example.com/{name}.qcow2");
    let mut described = std::fs::read_to_string(example("storage.toml")).unwrap();
    for name in ["plain", "guessed"] {
        let url = address(name);
        done(&cloud, &format!("image create {name} --image-store nfs1 --url {url}"));
        described +=
            &format!("\n[[images]]\nimage_store = \"nfs1\"\nname = \"{name}\"\nurl = \"{url}\"\n");
    }
    let digest = BlobDigest::of(address("guessed").as_bytes());
    let store = cloud.store().await;
    let mut turn = store.begin().await.unwrap();
    blobs::put(&mut turn, address("guessed").as_bytes()).await.unwrap();
    for (name, url, secret_url) in
        [("plain", json!(address("plain")), Value::Null), ("guessed", Value::Null, json!(digest))]
    {
        let mut image = asked(&cloud, &format!("image show {name}"));
        (image["url"], image["secret_url"]) = (url, secret_url);
        let update = "UPDATE images SET body = $1 WHERE name = $2";
        sqlx::query(update).bind(image.to_string()).bind(name).execute(&mut *turn).await.unwrap();
    }
    turn.commit().await.unwrap();
    // the configuration that such a build made of them, which the history has
    done(&cloud, "image-store update nfs1 --full-percent 89");
    let before = ssvm(&cloud).await.to_string();
    assert!(before.contains(&digest.to_string()) && !before.contains("hush"), "{before}");
    let number = config(&cloud, "s-1").await["generation"].to_string();

    cloud.restart(&[]).await;
    let mut told = ssvm(&cloud).await.to_string();
    let diff = cloud.get(&format!("/v1/appliances/s-1/diff?from={number}")).await;
    assert!(diff != json!([]) && !diff.to_string().contains("hush"), "{diff}");
    for line in ["image list", "image show plain", "image show guessed", "audit", "export"] {
        told += &cloud.sluice(["--json"].into_iter().chain(line.split(' '))).out;
    }
    assert!(!told.contains("hush"), "{told}");
    assert!(!told.contains(&digest.hex()), "a guess can be compared with it: {told}");
    let plain = BlobDigest::of(address("plain").as_bytes());
    assert!(!told.contains(&plain.hex()), "a guess can be compared with it: {told}");
    let shown = asked(&cloud, "image show plain");
    assert_eq!(shown["from"], "https://images.example.com/plain.qcow2");
    // the same addresses all the same, and nothing more is done at the next start
    let file = cloud.folder.path().join("described.toml");
    std::fs::write(&file, &described).unwrap();
    let again = cloud.sluice(["apply", file.to_str().unwrap(), "--yes"]);
    assert_eq!((again.code, again.out.as_str()), (0, "nothing to do\n"));
    let now = ssvm(&cloud).await;
    cloud.restart(&[]).await;
    assert_eq!(ssvm(&cloud).await, now);
    cloud.stop();
}
