//! Everything that examples/rules.toml asks of one router, in packets of machines.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use serde_json::Value;
use sluice_lab::Wait;
use sluice_tests::cloud::web::{self, Certificate};
use sluice_tests::cloud::{INTERNET, Shell as _, guest};

use super::world::World;

/// Emulated machines, and checks of health every two seconds.
const SOON: Duration = Duration::from_secs(60);

/// Starts a web server on a guest.
pub(crate) async fn serve(world: &World, name: &str, port: u16) {
    guest::serve(&world.lab, name, port).await.unwrap();
}

/// What a page says; `None` when there is none.
pub(crate) async fn page(world: &World, from: &str, options: &str, at: &str) -> Option<String> {
    web::page(&world.lab, from, options, &format!("http://{at}/")).await.unwrap()
}

/// A public address by its name.
pub(crate) fn public_ip(world: &World, name: &str) -> Ipv4Addr {
    let all: Vec<Value> = world.cloud.manager.ask(["public-ip", "list"]).unwrap();
    let found = all.iter().find(|one| one["name"] == name);
    let address = found.and_then(|one| one["address"].as_str());
    address.unwrap_or_else(|| panic!("no {name} in {all:#?}")).parse().unwrap()
}

/// User data and the password's server are the router's, and say what the manager was told.
pub(crate) async fn a_guest_is_told_what_its_owner_wants(world: &World) {
    for at in ["10.1.1.1", "169.254.169.254"] {
        let line = format!("curl -sf --noproxy '*' --max-time 10 http://{at}/latest/user-data");
        let told = world.lab.done("vm1", &line).await.unwrap();
        assert_eq!(told, "#cloud-config\npackages: [nginx]\n");
    }
    let line = "curl -sf --noproxy '*' http://10.1.1.1/latest/meta-data/public-keys/0/openssh-key";
    let told = world.lab.done("vm1", line).await.unwrap();
    assert!(told.starts_with("ssh-ed25519 "), "{told}");
}

/// The router came up with a clock that is years behind, said so, and has the manager's time by now.
pub(crate) fn a_clock_that_is_years_behind_was_put_right(world: &World) {
    let said = world.cloud.manager.done(["logs", "r-1"]).unwrap();
    assert!(said.contains("clock is wrong"), "{said}");
    assert!(said.contains("clock was wrong, set by the manager"), "{said}");
    let alarms = world.in_sync().unwrap();
    assert!(!format!("{alarms:?}").contains("clock"), "{alarms:#?}");
}

/// A forwarded port leads to its guest, for those whom the firewall lets in.
pub(crate) async fn a_forwarded_port_is_for_whom_the_firewall_names(world: &World) {
    let services = public_ip(world, "services");
    guest::listen(&world.lab, "vm1", 22).await.unwrap();
    let knock =
        |from: &str, word: &str| format!("echo {word} | nc -N -w 5 -s {from} {services} 2222");
    assert!(!world.lab.sh(INTERNET, &knock("198.51.100.1", "stranger")).await.unwrap().ok());
    world.lab.done(INTERNET, &knock("203.0.113.10", "friend")).await.unwrap();
    assert_eq!(guest::heard(&world.lab, "vm1", 22).await.unwrap(), "friend\n");
}

/// Two members behind one address, a cookie that binds, a member that dies and comes back.
pub(crate) async fn connections_are_balanced(world: &World) {
    let services = public_ip(world, "services").to_string();
    for member in ["vm1", "vm2"] {
        serve(world, member, 8080).await;
    }
    let both = || async {
        let mut seen = BTreeSet::new();
        for _ in 0..6 {
            seen.extend(page(world, INTERNET, "", &services).await);
        }
        (seen.len() == 2).then_some(())
    };
    Wait::until_async(SOON, "both members to serve", both).await.unwrap();
    let first = page(world, INTERNET, "-c /run/jar", &services).await;
    for _ in 0..4 {
        assert_eq!(page(world, INTERNET, "-b /run/jar", &services).await, first, "the cookie");
    }
    web::kill(&world.lab, "vm2", 8080).await.unwrap();
    let one = || async {
        let mut seen = BTreeSet::new();
        for _ in 0..4 {
            seen.insert(page(world, INTERNET, "", &services).await);
        }
        (seen == BTreeSet::from([Some("vm1".to_owned())])).then_some(())
    };
    Wait::until_async(SOON, "the dead member to be left out", one).await.unwrap();
    serve(world, "vm2", 8080).await;
    Wait::until_async(SOON, "both members to serve again", both).await.unwrap();
}

/// TLS that ends at the balancer, a certificate swapped under its clients, and an address for guests alone: what a
/// description adds to the example.
pub(crate) async fn a_certificate_is_swapped(world: &World) {
    let services = public_ip(world, "services");
    let (first, second) = (Certificate::of(NAME).unwrap(), Certificate::of(NAME).unwrap());
    for (name, certificate) in [("first", &first), ("second", &second)] {
        certificate.give(&world.lab, INTERNET, &format!("/run/{name}.pem")).await.unwrap();
    }
    let asked = |proof: &str| {
        // whom the rule's own list names
        let from = "--interface 203.0.113.10";
        format!("{from} --resolve {NAME}:443:{services} --cacert /run/{proof}.pem")
    };
    for (right, wrong, certificate) in [("first", "second", &first), ("second", "first", &second)] {
        world.apply(&with_tls(&certificate.with_key));
        let url = format!("https://{NAME}/");
        let served =
            || async { web::page(&world.lab, INTERNET, &asked(right), &url).await.unwrap() };
        Wait::until_async(SOON, "a page over TLS", served).await.unwrap();
        let old = web::page(&world.lab, INTERNET, &asked(wrong), &url).await.unwrap();
        assert_eq!(old, None, "{wrong} is believed while {right} serves");
    }
    let within = page(world, "vm1", "", "10.1.1.200").await;
    assert!(within.is_some(), "a guest reaches the balancer of its own");
    let state = || async {
        let rows: Vec<Value> = world.cloud.manager.ask(["balancer", "state", "tls"]).unwrap();
        (rows[0]["state"] == "members 2, healthy 2").then_some(rows)
    };
    let rows = Wait::until_async(SOON, "both members to be told of", state).await.unwrap();
    assert_eq!(rows[0]["lets_in"], "203.0.113.0/24", "{rows:#?}");
    assert_eq!(rows.len(), 3, "{rows:#?}");
    let csv = world.cloud.manager.done(["appliance", "report", "r-1", "lb", "--csv"]).unwrap();
    assert!(csv.starts_with("# pxname,svname,"), "{csv}");
}

/// The name that the certificates are for.
const NAME: &str = "www.example.net";

/// The example with two rules more.
fn with_tls(certificate: &str) -> String {
    let example = std::fs::read_to_string(super::example("rules.toml")).unwrap();
    let member = |balancer: &str, guest: &str| {
        format!(
            "[[balancer_members]]\nbalancer = \"{balancer}\"\nname = \"{guest}\"\nguest = \"{guest}\"\n"
        )
    };
    let members: String = ["tls", "inside"]
        .into_iter()
        .flat_map(|rule| [member(rule, "vm1"), member(rule, "vm2")])
        .collect();
    format!(
        "{example}\n\
         [[firewall_rules]]\nname = \"tls\"\npublic_ip = \"services\"\nprotocol = \"tcp\"\nports = \"443\"\n\
         [[balancers]]\nname = \"tls\"\npublic_ip = \"services\"\nport = 443\nprivate_port = 8080\nmode = \"http\"\n\
         sources = [\"203.0.113.0/24\"]\ncertificates = [\"\"\"\n{certificate}\"\"\"]\n\
         [[balancers]]\nname = \"inside\"\nnetwork = \"net1\"\naddress = \"10.1.1.200\"\nport = 80\nprivate_port = 8080\n\
         {members}"
    )
}

/// An address that stands for one guest, both ways, and lets in only what its firewall says.
pub(crate) async fn an_address_stands_for_one_guest(world: &World) {
    let own = public_ip(world, "own");
    guest::pings(&world.lab, INTERNET, own).await.unwrap();
    assert_eq!(guest::visit(&world.lab, "vm2").await.unwrap(), own.to_string());
    assert_eq!(page(world, INTERNET, "", &format!("{own}:8080")).await, None);
    world.visits("vm1", "net1").await;
}

/// What an egress rule refuses does not leave, and the rest does.
pub(crate) async fn guests_may_not_send_mail(world: &World) {
    let serve = "(while true; do nc -l -p 25 || nc -l 25; done) >/dev/null 2>&1 </dev/null &";
    world.lab.done(INTERNET, serve).await.unwrap();
    let knock = world.lab.sh("vm1", "echo mail | nc -N -w 4 203.0.113.10 25").await.unwrap();
    assert!(!knock.ok(), "mail left");
    assert!(guest::reaches_outside(&world.lab, "vm1").await.unwrap());
}

/// What the manager works out is what happened to the packets above, and what was counted has the owners' names.
pub(crate) fn what_happened_is_explained_and_counted(world: &World) {
    let services = public_ip(world, "services").to_string();
    let ask = |from: &str, port: &str| {
        let words = ["explain", "--from", from, "--to", &services, "--proto", "tcp", "--port"];
        let told: Value =
            world.cloud.manager.ask(words.iter().copied().chain([port, "--live"])).unwrap();
        told
    };
    let friend = ask("203.0.113.10", "2222");
    assert_eq!(friend["answer"]["verdict"], "passes", "{friend:#}");
    assert_eq!(friend["answer"]["decided_by"]["rule"], "firewall/fw-1");
    let names = friend["answer"]["objects"].as_array().unwrap();
    assert!(names.iter().any(|one| one["name"] == "ssh-vm1"), "{friend:#}");
    let tracked = friend["live"]["flows"].as_array().unwrap();
    let vm1 = format!("{}:22", world.view.address("vm1").unwrap());
    assert!(tracked.iter().any(|flow| flow["destination"] == *vm1), "{friend:#}");
    let stranger = ask("198.51.100.1", "2222");
    assert_eq!(stranger["answer"]["verdict"], "dropped", "{stranger:#}");
    let usage: Value = world.cloud.manager.ask(["appliance", "usage", "r-1"]).unwrap();
    let list = |name: &str| usage["usage"][name].as_array().unwrap().clone();
    let of = |name: &str, what: &str| {
        let found = list(name).into_iter().find(|one| one["name"] == what);
        found.unwrap_or_else(|| panic!("no {what} in {usage:#}"))
    };
    assert!(of("addresses", &services)["received"]["packets"].as_u64() > Some(10));
    assert!(of("networks", "n-1")["sent"]["bytes"].as_u64() > Some(1000));
    assert!(of("forwards", "pf-1")["sent"]["packets"].as_u64() > Some(1));
    let judged = list("rules").into_iter().find(|rule| rule["rule"] == "firewall/fw-1").unwrap();
    assert!(judged["judged"]["packets"].as_u64() >= Some(1), "{judged}");
    assert_eq!(usage["usage"]["tracking"]["insert_failed"], 0);
    let owners = usage["owners"].as_array().unwrap();
    let owner = owners.iter().find(|one| one["rule"] == "firewall/fw-1").unwrap();
    assert_eq!(owner["name"], "ssh");
}

/// A rule that goes takes effect, and the others stay.
pub(crate) async fn a_rule_that_is_deleted_lets_nobody_in(world: &World) {
    let services = public_ip(world, "services");
    world.change(&["firewall-rule", "delete", "web"]);
    assert_eq!(page(world, INTERNET, "", &services.to_string()).await, None);
    let friend = format!("echo again | nc -N -w 5 -s 203.0.113.10 {services} 2222");
    world.lab.done(INTERNET, &friend).await.unwrap();
}
