//! Everything that examples/rules.toml asks of one router, in packets of machines.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use serde_json::Value;
use sluice_lab::Wait;
use sluice_tests::cloud::{INTERNET, Shell as _, guest};

use super::world::World;

/// Emulated machines, and checks of health every two seconds.
const SOON: Duration = Duration::from_secs(60);

/// Says its name at every path.
fn server(name: &str, port: u16) -> String {
    format!(
        "cat > /run/nginx-{port}.conf <<'END'\n\
         user root; pid /run/nginx-{port}.pid; error_log /run/nginx.log;\n\
         events {{}}\n\
         http {{ access_log off; server {{ listen {port}; default_type text/plain;\n\
           location / {{ return 200 \"{name}\\n\"; }} }} }}\nEND\nnginx -c /run/nginx-{port}.conf"
    )
}

/// Starts a web server on a guest.
pub(crate) async fn serve(world: &World, guest: &str, port: u16) {
    world.lab.done(guest, &server(guest, port)).await.unwrap();
}

/// What a page says; `None` when there is none.
pub(crate) async fn page(world: &World, from: &str, options: &str, at: &str) -> Option<String> {
    let line = format!("curl -s --noproxy '*' --max-time 5 {options} http://{at}/");
    let output = world.lab.sh(from, &line).await.unwrap();
    output.ok().then(|| output.stdout.trim().to_owned())
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
    world.lab.done("vm2", "kill $(cat /run/nginx-8080.pid)").await.unwrap();
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

/// A rule that goes takes effect, and the others stay.
pub(crate) async fn a_rule_that_is_deleted_lets_nobody_in(world: &World) {
    let services = public_ip(world, "services");
    world.change(&["firewall-rule", "delete", "web"]);
    assert_eq!(page(world, INTERNET, "", &services.to_string()).await, None);
    let friend = format!("echo again | nc -N -w 5 -s 203.0.113.10 {services} 2222");
    world.lab.done(INTERNET, &friend).await.unwrap();
}
