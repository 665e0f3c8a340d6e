//! The steps that are shown once the machines are on.

#![allow(clippy::print_stdout)] // this program talks to a person

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use sluice_lab::daemon::Client;
use sluice_manager::model::view::ApplianceStatus;

use super::shown::Shown;
use crate::cloud::{Cloud, Shell as _, View, guest, internet};

/// Emulated machines on a busy host boot within this.
pub(super) const BOOT: Duration = Duration::from_mins(3);
/// From power-on to the first configuration in force.
const CONFIGURED_S: u32 = 180;
/// A change on a running router.
pub(super) const CHANGED_S: u32 = 30;
const PORT: u16 = 8080;
const ROUTER: &str = "r-1";
const NETWORK: &str = "net1";

/// A cloud whose machines are on.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) cloud: Cloud,
    pub(super) lab: Client,
    pub(super) started: Instant,
}

impl Stage {
    pub(super) async fn play(&self, shown: &mut Shown) -> Result<()> {
        let view = self.cloud.view()?;
        shown.step("the router has its first configuration", self.configured()).await?;
        shown.step("vm1, vm2 and inet have booted", self.booted(&["vm1", "vm2"])).await?;
        for name in ["vm1", "vm2"] {
            let what = format!("{name} takes a lease with dhclient");
            shown.step(&what, self.lease(&view, name)).await?;
        }
        shown.step("vm1 finds vm2 by its name", self.neighbour(&view)).await?;
        shown.step("vm1 finds an outside name through the router", self.outside_name()).await?;
        shown.step("vm1 fetches an outside page through source NAT", self.page(&view)).await?;
        shown.step("unsolicited connections from outside are refused", self.shut(&view)).await?;
        let status =
            shown.step("one change is pushed: egress of net1 to deny", self.change()).await?;
        print_plan(&status);
        shown.step("vm1 no longer gets out; vm2's name is still found", self.denied(&view)).await?;
        Ok(())
    }

    pub(super) async fn configured(&self) -> Result<(String, ())> {
        let status = self.lab.status().await?;
        let router = status.machines.iter().find(|machine| machine.name.as_str() == ROUTER);
        let endpoint = router.and_then(|router| router.endpoint);
        self.cloud.endpoint(ROUTER, endpoint.context("the router has no control link")?)?;
        let status = only(tokio::task::block_in_place(|| self.cloud.in_sync(CONFIGURED_S))?)?;
        let since = self.started.elapsed().as_secs_f64();
        Ok((format!("{} in force {since:.1} s after power-on", generation(&status)), ()))
    }

    pub(super) async fn booted(&self, guests: &[&str]) -> Result<(String, ())> {
        for host in guests.iter().chain([&crate::cloud::INTERNET]) {
            self.lab.ready(host, BOOT).await?;
        }
        internet::set_up(&self.lab).await?;
        Ok((format!("{} answers as {}", internet::WEB_NAME, internet::WEB_ADDRESS), ()))
    }

    pub(super) async fn lease(&self, view: &View, name: &str) -> Result<(String, ())> {
        let lease = guest::take_lease(&self.lab, name).await?;
        let (network, wanted) = (view.network(NETWORK)?, view.address(name)?);
        let prefix = network.cidr.prefix();
        ensure!(
            lease.address == format!("{wanted}/{prefix}"),
            "the manager gave it {wanted}: {lease:?}"
        );
        let gateway = network.gateway.to_string();
        ensure!([&lease.router, &lease.resolver, &lease.server] == [&gateway; 3], "{lease:?}");
        ensure!(lease.domain.contains(network.domain.as_str()), "{lease:?}");
        Ok((format!("{} from {}", lease.address, lease.server), ()))
    }

    async fn neighbour(&self, view: &View) -> Result<(String, ())> {
        let found = guest::look_up(&self.lab, "vm1", "vm2").await?;
        ensure!(found == [view.address("vm2")?], "vm2 is at {found:?}");
        let full = format!("vm2.{}", view.network(NETWORK)?.domain);
        ensure!(guest::look_up(&self.lab, "vm1", &full).await? == found, "{full} differs");
        guest::pings(&self.lab, "vm1", view.address("vm2")?).await?;
        Ok((format!("{full} is {}, and answers", view.address("vm2")?), ()))
    }

    async fn outside_name(&self) -> Result<(String, ())> {
        let found = guest::look_up(&self.lab, "vm1", internet::WEB_NAME).await?;
        let wanted: Ipv4Addr = internet::WEB_ADDRESS.parse()?;
        ensure!(found == [wanted], "{} is at {found:?}", internet::WEB_NAME);
        Ok((format!("{} is {wanted}", internet::WEB_NAME), ()))
    }

    async fn page(&self, view: &View) -> Result<(String, ())> {
        let seen = guest::visit(&self.lab, "vm1").await?;
        let public = view.source_nat(NETWORK)?.to_string();
        ensure!(seen == public, "the far side saw {seen}, not {public}");
        Ok((format!("the far side saw {public}, the router's public address"), ()))
    }

    /// With a proof that the port is open to those who may.
    async fn shut(&self, view: &View) -> Result<(String, ())> {
        let (vm1, public) = (view.address("vm1")?, view.source_nat(NETWORK)?);
        guest::listen(&self.lab, "vm1", PORT).await?;
        let through = guest::intrude(&self.lab, public, vm1, PORT).await?;
        ensure!(through.is_empty(), "came through: {}", through.join(", "));
        let neighbour = guest::knock(&self.lab, "vm2", vm1, PORT, "neighbour").await?;
        let heard = guest::heard(&self.lab, "vm1", PORT).await?;
        ensure!(neighbour && heard.contains("neighbour"), "vm2 was not heard: {heard:?}");
        ensure!(!heard.contains("intruder"), "vm1 heard an intruder: {heard:?}");
        Ok((format!("4 ways in tried from outside; vm1's port {PORT} heard only vm2"), ()))
    }

    async fn change(&self) -> Result<(String, ApplianceStatus)> {
        ensure!(guest::reaches_outside(&self.lab, "vm1").await?, "vm1 did not get out before");
        let before = only(self.cloud.manager.ask(["status"])?)?;
        let start = Instant::now();
        self.cloud.manager.done(["network", "update", NETWORK, "--egress", "deny"])?;
        let status = only(tokio::task::block_in_place(|| self.cloud.in_sync(CHANGED_S))?)?;
        ensure!(status.reported > before.reported, "still {}", generation(&status));
        let confirmed = start.elapsed().as_millis();
        let agent = status.timing.as_ref().map_or(0, |timing| timing.total_us / 1000);
        let seen = format!(
            "{}: {agent} ms on the router, {confirmed} ms from command to confirmed",
            generation(&status)
        );
        Ok((seen, status))
    }

    async fn denied(&self, view: &View) -> Result<(String, ())> {
        ensure!(!guest::reaches_outside(&self.lab, "vm1").await?, "vm1 still gets out");
        let found = guest::look_up(&self.lab, "vm1", "vm2").await?;
        ensure!(found == [view.address("vm2")?], "vm2 is at {found:?}");
        Ok(("the page is out of reach".to_owned(), ()))
    }
}

fn only(statuses: Vec<ApplianceStatus>) -> Result<ApplianceStatus> {
    statuses.into_iter().next().context("the manager watches no appliance")
}

fn generation(status: &ApplianceStatus) -> String {
    status.reported.map_or("no generation".to_owned(), |number| format!("generation {number}"))
}

fn print_plan(status: &ApplianceStatus) {
    let Some(plan) = &status.plan else { return };
    println!("   the plan, as the router carried it out ({} objects untouched):", plan.unchanged);
    for step in &plan.steps {
        println!("     {step}");
    }
}
