//! Console proxies: screens and grants reach them, links are shared and taken away.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};
use sluice_api::types::BlobDigest;
use sluice_tests::console::certificates::Authority;

use super::backup::back_up;
use super::kinds::{self, applied, done, example, refused};
use super::process::Cloud;

/// Grants and screens that would show nobody anything.
fn what_nobody_could_use_is_refused(cloud: &Cloud) {
    let token = cloud.folder.path().join("two-peoples-token");
    std::fs::write(&token, "a token of two people").unwrap();
    let grant = format!("console-grant create two --screen vm-7 --token-file {}", token.display());
    for (flag, words) in [
        ("--expires 3600", "expires: is over"),
        ("--idle-seconds 0", "idle_seconds: must be 1 or more"),
        ("--sessions 0", "sessions: must be 1 or more"),
        ("--user ", "user: must not be empty"),
        (format!("--user {}", "a".repeat(256)).as_str(), "user: must have 255 characters or less"),
    ] {
        refused(cloud, &format!("{grant} {flag}"), 3, words);
    }
    let nobodys = token.display();
    let nobodys = format!("--address 10.8.0.1 --tls-name host-8 --tls-authorities-file {nobodys}");
    for (flags, words) in [
        ("--address 127.0.0.1 --unencrypted anything", "address: 127.0.0.1 is not an address"),
        ("--address 224.0.0.1 --unencrypted anything", "address: 224.0.0.1 is not an address"),
        ("--address fe80::1 --unencrypted anything", "address: fe80::1 is not an address"),
        ("--address 10.8.0.1 --unencrypted anything --title ", "title: must not be empty"),
        ("--address 10.8.0.1 --unencrypted anything --desktop-name ", "desktop_name: must not be"),
        (nobodys.as_str(), "tls_authorities: must have a certificate"),
    ] {
        refused(cloud, &format!("screen create two --zone zone1 --port 5900 {flags}"), 3, words);
    }
}

/// By itself: who has other links keeps them.
async fn one_link_is_taken_back(cloud: &Cloud) {
    let before = proxy(cloud, "p-1").await["grants"].clone();
    let token = cloud.folder.path().join("daves-token");
    std::fs::write(&token, "a token that is dave's alone, of 43 letters").unwrap();
    let grant = format!("console-grant create dave --screen vm-7 --token-file {}", token.display());
    done(cloud, &grant);
    let grants = proxy(cloud, "p-1").await["grants"].clone();
    assert_eq!(grants.as_array().unwrap().len(), before.as_array().unwrap().len() + 1, "{grants}");
    done(cloud, "console-grant delete dave");
    assert_eq!(proxy(cloud, "p-1").await["grants"], before);
}

/// Never by the default route, so not before there is a gateway on the control network.
async fn hosts_with_ipv6_have_a_way_of_their_own(cloud: &Cloud) {
    let no_way = "address: zone zone1 has no control_gateway_ipv6";
    let far = "--address fd00:9::17";
    let screen = format!("screen create six --zone zone1 --port 5900 --unencrypted anything {far}");
    refused(cloud, &screen, 3, no_way);
    refused(cloud, &format!("screen update vm-7 {far}"), 3, no_way);
    for (gateway, words) in [
        ("10.8.0.1/24", "must be an IPv6 address"),
        ("fd00:8::1/112", "must have a prefix of 96 or less"),
        ("fd00:8::a9fe:1/64", "must not end in an address of control_cidr"),
    ] {
        let line = format!("zone update zone1 --control-gateway-ipv6 {gateway}");
        refused(cloud, &line, 3, &format!("control_gateway_ipv6: {words}"));
    }
    done(cloud, "zone update zone1 --control-gateway-ipv6 fd00:8::1/64");
    done(cloud, &screen);
    done(cloud, &screen.replace("six", "near").replace("fd00:9::17", "fd00:8::17"));
    let config = kinds::config(cloud, "p-1").await;
    let routes = config["routes"].as_array().unwrap();
    let to = |host: &str| routes.iter().find(|route| route["destination"] == host);
    let route = to("fd00:9::17/128").unwrap();
    assert_eq!((&route["link"], &route["via"]), (&json!("ctl"), &json!("fd00:8::1")));
    assert_eq!(to("fd00:8::17/128"), None, "it is on the control network itself");
    let links = config["links"].as_array().unwrap();
    let control = links.iter().find(|link| link["role"] == "control").unwrap();
    let own = control["addresses"][0].as_str().unwrap().split('/').next().unwrap();
    let [a, b, c, d] = own.parse::<Ipv4Addr>().unwrap().octets().map(u16::from);
    let beside = Ipv6Addr::new(0xfd00, 8, 0, 0, 0, 0, a << 8 | b, c << 8 | d);
    assert_eq!(control["addresses"][1], format!("{beside}/64"), "{control}");
    let linted = cloud.sluice(["appliance", "lint", "p-1"]);
    assert_eq!((linted.code, linted.out.as_str()), (0, ""), "{linted:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_console_proxy_gets_screens_and_grants() {
    let cloud = Cloud::start().await;
    let config = applied(&cloud, "consoles.toml", "p-1").await;
    let proxy = &config["role"]["proxy"];
    let screen = &proxy["screens"][0];
    assert_eq!((&screen["vm"], &screen["name"]), (&json!("vm-7"), &json!("web server")));
    assert_eq!(screen["tls"]["name"], "host-17.cloud.internal");
    let grant = &proxy["grants"][0];
    assert_eq!((&grant["vm"], &grant["source"]), (&json!("vm-7"), &json!("first-browser")));
    assert_eq!(grant["token"], BlobDigest::of(b"a token of the example").to_string());
    let routes = config["routes"].as_array().unwrap();
    let host = routes.iter().find(|route| route["destination"] == "10.8.0.17/32").unwrap();
    assert_eq!((&host["link"], &host["via"]), (&json!("ctl"), &json!("169.254.0.1")));
    assert_eq!(proxy["listen"], json!([]), "nobody without a certificate");
    assert_eq!(proxy["settings"]["ask_manager"], true, "before each connection");
    refused(&cloud, "console vm-7 --minutes 0", 3, "minutes: must be 1 or more");
    let elsewhere = "appliance update consoles1 --origin https://portal.example.org";
    refused(&cloud, elsewhere, 3, "origin: its host portal.example.org is none of hosts");
    refused(&cloud, "console vm-7", 3, "certificate: proxy consoles1 serves no browser before");

    let pem = cloud.folder.path().join("pem");
    std::fs::write(&pem, kinds::pem()).unwrap();
    let update = format!("appliance update consoles1 --certificate-file {}", pem.to_str().unwrap());
    done(&cloud, &update);
    let other = Authority::new().server("console.example.org");
    let chain = kinds::pem();
    std::fs::write(&pem, chain.split("-----BEGIN PRIVATE").next().unwrap().to_owned() + &other.key)
        .unwrap();
    refused(&cloud, &update, 3, "certificate: is none that TLS can use: keys may not be");
    done(&cloud, "screen update vm-7 --address 10.8.0.18");
    let config = kinds::config(&cloud, "p-1").await;
    let proxy = &config["role"]["proxy"];
    let links = config["links"].as_array().unwrap();
    let public = links.iter().find(|link| link["role"] == "public").unwrap();
    let own = public["addresses"][0].as_str().unwrap().split('/').next().unwrap();
    assert_eq!(proxy["listen"], json!([own]), "its public address, whichever it got");
    assert_ne!(proxy["certificates"][0]["chain"], proxy["certificates"][0]["key"]);
    assert_eq!(proxy["screens"][0]["address"], "10.8.0.18");
    for (line, code, words) in [
        ("console-grant create two --screen vm-7", 3, "token"),
        ("console-grant create two --screen vm-8", 4, "no screen vm-8"),
        ("screen delete vm-7", 5, "console grant alice"),
        ("screen create two --zone zone1 --address 10.8.0.1 --port 5900", 3, "unencrypted: must"),
        ("appliance delete consoles1", 5, "in use"),
        ("console vm-8", 4, "no screen vm-8"),
        ("console vm-7 --minutes 0", 3, "minutes: must be 1 or more"),
        ("console --revoke", 3, "say a screen, a user, or both"),
        ("console vm-7 --idle-seconds 0", 3, "idle_seconds: must be 1 or more"),
        ("console vm-8 --who", 4, "no screen vm-8"),
        ("console vm-7 --revoke --view-only", 2, "cannot be used with"),
        ("console --who --minutes 5", 2, "cannot be used with"),
        ("console-grant update alice --idle-seconds 0", 3, "idle_seconds: must be 1 or more"),
    ] {
        refused(&cloud, line, code, words);
    }
    what_nobody_could_use_is_refused(&cloud);
    hosts_with_ipv6_have_a_way_of_their_own(&cloud).await;
    cloud.stop();
}

/// On a desk: `sluice console` without `--print`, and what was shown to the person's browser, which is a script here.
fn opened_in_the_browser(cloud: &Cloud) -> String {
    let folder = cloud.folder.path().join("desk");
    std::fs::create_dir(&folder).unwrap();
    let (browser, shown) = (folder.join("browser"), folder.join("shown"));
    let script = format!("#!/bin/sh\nprintf %s \"$1\" > {}\n", shown.display());
    std::fs::write(&browser, script).unwrap();
    std::fs::set_permissions(&browser, std::fs::Permissions::from_mode(0o755)).unwrap();
    // a desk that knows of no other browser
    let (folder, browser) = (folder.to_str().unwrap(), browser.to_str().unwrap());
    let mut desk =
        vec![("DISPLAY", ":0"), ("BROWSER", browser), ("XDG_CURRENT_DESKTOP", "X-Generic")];
    let places = ["HOME", "XDG_DATA_HOME", "XDG_DATA_DIRS", "XDG_CONFIG_HOME", "XDG_CONFIG_DIRS"];
    desk.extend(places.map(|place| (place, folder)));
    let words = ["console", "vm-7", "--user", "carol", "--wait", "0"];
    let told = cloud.manager.sluice_with(words, &desk).unwrap();
    assert_eq!((told.code, told.out.as_str()), (8, ""), "no machine has it yet: {told:?}");
    std::fs::read_to_string(shown).unwrap()
}

/// The proxy part of what an appliance is to have.
async fn proxy(cloud: &Cloud, appliance: &str) -> Value {
    kinds::config(cloud, appliance).await["role"]["proxy"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn several_console_proxies_share_links_which_are_told_once_and_taken_away() {
    let cloud = Cloud::start().await;
    applied(&cloud, "consoles.toml", "p-1").await;
    let pem = cloud.folder.path().join("pem");
    std::fs::write(&pem, kinds::pem()).unwrap();
    let with = format!("--certificate-file {}", pem.to_str().unwrap());
    done(&cloud, &format!("appliance update consoles1 {with}"));
    done(
        &cloud,
        &format!("appliance create c2 --zone zone1 --role proxy --hosts c2.example.org {with}"),
    );
    let (one, two) = (proxy(&cloud, "p-1").await, proxy(&cloud, "p-2").await);
    assert_eq!(one["cookie_key"], two["cookie_key"]);
    assert!(one["cookie_key"].is_string(), "{one}");
    assert_eq!(one["peers"], json!(["https://c2.example.org"]));
    assert_eq!(two["peers"], json!(["https://console.example.org"]));
    let home = |proxy: &Value, at: usize| proxy["grants"][at]["home"].clone();
    assert_eq!(home(&one, 0), Value::Null, "alice's link leads here");
    assert_eq!(home(&two, 0), "https://console.example.org");

    // the next link leads to the proxy that has none; no machine answers yet, so nobody has it in time
    let told =
        cloud.sluice(["console", "vm-7", "--print", "--user", "bob", "--view-only", "--wait", "0"]);
    assert_eq!(told.code, 8, "{told:?}");
    let (place, token) = told.out.trim().split_once('#').unwrap();
    assert_eq!((place, token.len()), ("https://c2.example.org/", 43), "{told:?}");
    let one = proxy(&cloud, "p-1").await;
    let grant = &one["grants"][1];
    assert_eq!(grant["token"], BlobDigest::of(token.as_bytes()).to_string());
    assert_eq!((&grant["user"], &grant["view_only"]), (&json!("bob"), &json!(true)));
    assert_eq!(grant["home"], "https://c2.example.org");
    // every row, and what a file has besides
    let rows = std::fs::read(back_up(&cloud)).unwrap();
    let file = |name| std::fs::read(cloud.folder.path().join(name)).unwrap_or_default();
    for kept in [rows, file("manager.db"), file("manager.db-wal")] {
        let found = kept.windows(token.len()).any(|window| window == token.as_bytes());
        assert!(!found, "the token is in the store");
    }

    let url = opened_in_the_browser(&cloud);
    let (place, token) = url.split_once('#').unwrap();
    let carol = proxy(&cloud, "p-1").await["grants"][2].clone();
    assert_eq!((&carol["user"], token.len()), (&json!("carol"), 43), "{url}");
    assert_eq!(carol["token"], BlobDigest::of(token.as_bytes()).to_string());
    let leads = carol["home"].as_str().unwrap_or("https://console.example.org");
    assert_eq!(place, format!("{leads}/"), "where the proxies have its home");
    assert_eq!(cloud.sluice("console --revoke --user carol".split(' ')).out, "revoked 1 link\n");

    // a proxy that is to stop takes no new sessions, and its links lead to the other
    done(&cloud, "appliance update c2 --draining");
    let (one, two) = (proxy(&cloud, "p-1").await, proxy(&cloud, "p-2").await);
    assert_eq!(two["settings"]["draining"], true);
    assert_eq!((home(&one, 1), home(&two, 1)), (Value::Null, json!("https://console.example.org")));
    assert_eq!(one.get("peers"), None, "nobody goes on there");
    refused(&cloud, "appliance delete consoles1", 5, "in use");
    done(&cloud, "appliance delete c2");

    let again = cloud.sluice(["apply", &example("consoles.toml"), "--yes", "--prune"]);
    assert!(!again.out.contains("console grant"), "links come and go by themselves: {again:?}");
    one_link_is_taken_back(&cloud).await;
    let revoke = |line: &str| cloud.sluice(line.split(' ')).out;
    assert_eq!(revoke("console --revoke --user nobody"), "revoked 0 links\n");
    assert_eq!(revoke("console --revoke --user bob"), "revoked 1 link\n");
    assert_eq!(revoke("console vm-7 --revoke"), "revoked 1 link\n");
    assert_eq!(proxy(&cloud, "p-1").await["grants"], json!([]));
    assert_eq!(revoke("console --who"), "none\n");
    refused(&cloud, "console --history --user a&b=c --revoke", 2, "cannot be used with");
    cloud.stop();
}
