//! The fake kernel refuses what Linux refuses, and outlives its process.

use sluice_api::config::Attachment;
use sluice_api::types::LinkName;

use super::FakeKernel;
use crate::kernel::{Fault, FaultyKernel, Kernel, KernelError, Wake};
use crate::model::{Keys, RouteEntry, Step};

fn link(name: &str) -> LinkName {
    name.parse().unwrap()
}

fn trunk() -> Vec<Step> {
    vec![
        Step::Rename { from: "eth0".to_owned(), to: link("trunk0") },
        Step::SetUp { link: link("trunk0") },
        vlan("tier-1", "trunk0"),
        Step::SetUp { link: link("tier-1") },
        address("tier-1"),
        Step::AddRoute(route("tier-1")),
    ]
}

fn vlan(name: &str, trunk: &str) -> Step {
    let (trunk, id) = (link(trunk), 103_u64.try_into().unwrap());
    Step::CreateVlan { link: link(name), attach: Attachment::Vlan { trunk, id, mac: None } }
}

fn address(name: &str) -> Step {
    Step::AddAddress { link: link(name), address: "10.1.1.1/24".parse().unwrap() }
}

fn route(name: &str) -> RouteEntry {
    RouteEntry {
        table: crate::model::MAIN_TABLE,
        destination: "10.9.0.0/16".parse().unwrap(),
        metric: 0,
        link: link(name),
        via: Some("10.1.1.254".parse().unwrap()),
        source: None,
    }
}

fn machine() -> FakeKernel {
    FakeKernel::with_nics(["02:00:00:00:00:01".parse().unwrap()])
}

async fn errno(kernel: &impl Kernel, step: Step) -> Option<i32> {
    kernel.apply(&step).await.as_ref().err().and_then(KernelError::errno)
}

async fn all(kernel: &impl Kernel, steps: Vec<Step>) {
    for step in steps {
        kernel.apply(&step).await.unwrap_or_else(|error| panic!("{step}: {error}"));
    }
}

#[tokio::test]
async fn refuses_what_linux_refuses() {
    let kernel = machine();
    assert_eq!(errno(&kernel, vlan("tier-1", "trunk0")).await, Some(libc::ENODEV));
    assert_eq!(errno(&kernel, address("trunk0")).await, Some(libc::ENODEV));
    assert_eq!(errno(&kernel, Step::AddRoute(route("trunk0"))).await, Some(libc::ENODEV));
    all(&kernel, trunk()).await;
    assert_eq!(errno(&kernel, vlan("tier-2", "trunk0")).await, Some(libc::EEXIST));
    assert_eq!(errno(&kernel, address("tier-1")).await, Some(libc::EEXIST));
    assert_eq!(errno(&kernel, Step::AddRoute(route("tier-1"))).await, Some(libc::EEXIST));
    let far = RouteEntry { via: Some("10.2.0.1".parse().unwrap()), metric: 1, ..route("tier-1") };
    assert_eq!(errno(&kernel, Step::AddRoute(far)).await, Some(libc::ENETUNREACH));
    let wide = Step::SetMtu { link: link("tier-1"), from: 1500, to: 9000_u64.try_into().unwrap() };
    assert_eq!(errno(&kernel, wide).await, Some(libc::ERANGE));
}

#[tokio::test]
async fn what_goes_takes_along_what_depends_on_it() {
    let kernel = machine();
    all(&kernel, trunk()).await;
    all(&kernel, vec![Step::SetDown { link: "trunk0".to_owned() }]).await;
    let seen = kernel.state();
    assert!(seen.routes.is_empty() && !seen.links["tier-1"].up, "{kernel}");
    assert_eq!(seen.addresses.len(), 1, "{kernel}");
    assert_eq!(errno(&kernel, Step::SetUp { link: link("tier-1") }).await, Some(libc::ENETDOWN));
    all(&kernel, vec![Step::DeleteLink { link: "tier-1".to_owned() }]).await;
    assert!(kernel.state().addresses.is_empty(), "{kernel}");
}

#[tokio::test]
async fn is_found_again_in_its_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("kernel.json");
    let kernel = machine().kept_in(&file).unwrap();
    all(&kernel, trunk()).await;
    let table = crate::nft::early::drop_all();
    let desired = [(crate::nft::early::table_id(), table)].into();
    let script = crate::nft::diff(&kernel.state().tables, &desired);
    all(&kernel, vec![Step::Rules(script)]).await;
    let again = FakeKernel::default().kept_in(&file).unwrap();
    assert_eq!(again.state(), kernel.state());
}

#[tokio::test]
async fn wakes_who_listens() {
    let kernel = machine();
    let mut changes = kernel.changes().unwrap();
    all(&kernel, trunk()).await;
    assert_eq!(changes.next().await, Some(Wake::Links));
    kernel.edit(|seen| seen.routes.clear()).unwrap();
    while changes.next().await != Some(Wake::Routes) {}
}

#[tokio::test]
async fn fails_at_the_operation_asked_for_and_at_no_other() {
    let kernel = FaultyKernel::new(machine(), Fault::Fail(2));
    kernel.observe(&Keys::default()).await.unwrap();
    let first = trunk().remove(0);
    assert_eq!(errno(&kernel, first).await, Some(libc::EIO));
    assert_eq!(kernel.inner().state(), machine().state());
    all(&kernel, trunk()).await;
    assert_eq!(kernel.operations(), 8);
}

fn own(link_name: &str, text: &str) -> Step {
    Step::AddAddress { link: link(link_name), address: text.parse().unwrap() }
}

fn less(link_name: &str, text: &str) -> Step {
    Step::RemoveAddress { link: link_name.to_owned(), address: text.parse().unwrap() }
}

#[tokio::test]
async fn with_the_first_address_of_a_network_the_others_go_unless_they_are_promoted() {
    let key = crate::model::SysctlKey::fixed("net.ipv4.conf.all.promote_secondaries");
    for (promote, left) in [("0", 0), ("1", 2)] {
        let kernel = machine();
        all(&kernel, trunk()).await;
        let set = Step::SetSysctl { key: key.clone(), from: None, to: promote.to_owned() };
        all(&kernel, vec![set, own("tier-1", "10.1.1.2/24"), own("tier-1", "10.1.1.3/24")]).await;
        // one that stands behind takes nobody along
        all(&kernel, vec![less("tier-1", "10.1.1.3/24"), own("tier-1", "10.1.1.4/24")]).await;
        assert_eq!(kernel.state().addresses.len(), 3, "{kernel}");
        all(&kernel, vec![less("tier-1", "10.1.1.1/24")]).await;
        assert_eq!(kernel.state().addresses.len(), left, "{kernel}");
        // routes go with the link's last address
        assert_eq!(kernel.state().routes.len(), usize::from(left > 0), "{kernel}");
    }
}

#[tokio::test]
async fn a_route_is_changed_in_one_step_and_policy_rules_are_kept_once() {
    let kernel = machine();
    all(&kernel, trunk()).await;
    let to = RouteEntry { via: Some("10.1.1.253".parse().unwrap()), ..route("tier-1") };
    let change = Step::ChangeRoute { from: route("tier-1"), to: to.clone() };
    all(&kernel, vec![change]).await;
    assert_eq!(kernel.state().routes, [to].into());
    let rule = crate::model::PolicyEntry {
        priority: 20_001,
        ipv4: true,
        source: Some("10.1.1.0/24".parse().unwrap()),
        destination: None,
        link: None,
        mark: Some(7),
        table: 100,
    };
    all(&kernel, vec![Step::AddPolicy(rule.clone())]).await;
    assert_eq!(errno(&kernel, Step::AddPolicy(rule.clone())).await, Some(libc::EEXIST));
    all(&kernel, vec![Step::RemovePolicy(rule.clone()), Step::RemovePolicy(rule)]).await;
    assert!(kernel.state().policy_rules.is_empty());
}

#[tokio::test]
async fn an_operation_may_take_effect_and_fail_all_the_same() {
    let kernel = FaultyKernel::new(machine(), Fault::FailAfter(1));
    assert_eq!(errno(&kernel, trunk().remove(0)).await, Some(libc::EIO));
    assert!(kernel.inner().state().links.contains_key("trunk0"));
}
