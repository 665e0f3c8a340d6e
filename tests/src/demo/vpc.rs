//! The guide's VPC: three tiers on VLANs, access control lists, a forward, a private gateway; and why what passes.

#![allow(clippy::print_stdout)] // this program talks to a person

use std::net::Ipv4Addr;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::script::{BOOT, CHANGED_S, Stage};
use super::shown::Shown;
use crate::cloud::{INTERNET, Shell as _, View, guest, internet, office};

/// Each guest with the port that it serves.
const SERVERS: [(&str, u16); 3] = [("web1", 80), ("app1", 8080), ("db1", 8080)];
/// The machine behind the private gateway of that name.
const OFFICE: &str = "office";

impl Stage {
    /// Plays examples/vpc.toml.
    pub(super) async fn play_vpc(&self, shown: &mut Shown) -> Result<()> {
        let view = self.cloud.view()?;
        shown.step("the router has its first configuration", self.configured()).await?;
        shown.step("guests, office and inet have booted", self.tiers_booted()).await?;
        shown.step("each tier gives leases of its own", self.tiers_lease(&view)).await?;
        let www = self.public_ip("www")?;
        shown.step("the Internet reaches web1 by a forward", self.outside_to_web(www)).await?;
        shown.step("web1 reaches app1, and not db1", self.web_to_app(&view)).await?;
        let why = shown.step("why web1 does not reach db1", async { self.why(&view) }).await?;
        told(&why);
        shown.step("db1 reaches the office by the private gateway", self.to_office(&view)).await?;
        let what = "a rule is wanted: app1 may use db1; what would change is known before";
        let change = shown.step(what, async { self.opened(&view) }).await?;
        told(&change);
        shown.step("app1 reaches db1 now, web1 still does not", self.app_to_db(&view)).await?;
        let usage = shown.step("bytes by address, tier and rule", async { self.used() }).await?;
        told(&usage);
        Ok(())
    }

    async fn tiers_booted(&self) -> Result<(String, ())> {
        for host in ["web1", "app1", "db1", OFFICE, INTERNET] {
            self.lab.ready(host, BOOT).await?;
        }
        internet::set_up(&self.lab).await?;
        office::set_up(&self.lab, OFFICE).await?;
        Ok((format!("the office is {} on VLAN 900", office::GATEWAY), ()))
    }

    async fn tiers_lease(&self, view: &View) -> Result<(String, ())> {
        let mut seen = Vec::new();
        for (name, port) in SERVERS {
            let lease = guest::take_lease(&self.lab, name).await?;
            let wanted = view.address(name)?;
            ensure!(lease.address == format!("{wanted}/24"), "{name}: {lease:?}");
            guest::serve(&self.lab, name, port).await?;
            seen.push(format!("{name} {wanted}"));
        }
        Ok((seen.join(", "), ()))
    }

    async fn tier_page(&self, from: &str, to: Ipv4Addr, port: u16) -> Result<Option<String>> {
        guest::page(&self.lab, from, &format!("{to}:{port}")).await
    }

    async fn outside_to_web(&self, www: Ipv4Addr) -> Result<(String, ())> {
        let page = self.tier_page(INTERNET, www, 80).await?;
        ensure!(page.as_deref() == Some("web1"), "{www} says {page:?}");
        ensure!(self.tier_page(INTERNET, www, 8080).await?.is_none(), "another port is open");
        Ok((format!("{www} port 80 is web1, and nothing else is there"), ()))
    }

    async fn web_to_app(&self, view: &View) -> Result<(String, ())> {
        let page = self.tier_page("web1", view.address("app1")?, 8080).await?;
        ensure!(page.as_deref() == Some("app1"), "app1 says {page:?}");
        ensure!(
            self.tier_page("web1", view.address("db1")?, 8080).await?.is_none(),
            "db1 is reached"
        );
        ensure!(!guest::reaches_outside(&self.lab, "web1").await?, "web1 reaches the Internet");
        Ok(("one egress rule: port 8080 of the application tier, and no more".to_owned(), ()))
    }

    fn explain(&self, view: &View, from: &str, to: &str, more: &[&str]) -> Result<(String, i32)> {
        let (from, to) = (view.address(from)?.to_string(), view.address(to)?.to_string());
        let words = ["explain", "--from", &from, "--to", &to, "--proto", "tcp", "--port", "8080"];
        let told = self.cloud.manager.sluice(words.iter().chain(more).copied())?;
        Ok((told.out + &told.err, told.code))
    }

    fn why(&self, view: &View) -> Result<(String, String)> {
        let (text, code) = self.explain(view, "web1", "db1", &[])?;
        let words = "the list has egress rules, and none of them allows this";
        ensure!(code == 0 && text.contains(words), "{text}");
        Ok((words.to_owned(), text))
    }

    async fn to_office(&self, view: &View) -> Result<(String, ())> {
        let seen = office::visit(&self.lab, "db1").await?;
        let db1 = view.address("db1")?.to_string();
        ensure!(seen == db1, "the office saw {seen}");
        let back = guest::page(&self.lab, OFFICE, &format!("{db1}:8080")).await?;
        ensure!(back.is_none(), "the office reaches a tier whose list allows nothing");
        Ok((format!("{} saw {db1} itself; nothing comes back in", office::BRANCH), ()))
    }

    fn opened(&self, view: &View) -> Result<(String, String)> {
        let app = view.network("app")?.cidr.to_string();
        let before = self.generation()?.to_string();
        let manager = &self.cloud.manager;
        manager.done(["acl-list", "create", "db", "--vpc", "vpc1"])?;
        let rule = ["acl-rule", "create", "from-app", "--acl-list", "db", "--number", "10"];
        let what = ["--direction", "ingress", "--action", "allow", "--protocol", "tcp"];
        let whom = ["--ports", "8080", "--networks", &app];
        manager.done(rule.into_iter().chain(what).chain(whom))?;
        manager.done(["network", "update", "db", "--acl", "db"])?;
        let (text, code) = self.explain(view, "app1", "db1", &["--against", &before])?;
        ensure!(code == 10 && text.contains("[acl rule from-app]"), "{text}");
        tokio::task::block_in_place(|| self.cloud.in_sync(CHANGED_S))?;
        Ok((format!("generation {} against {before}", self.generation()?), text))
    }

    async fn app_to_db(&self, view: &View) -> Result<(String, ())> {
        let db1 = view.address("db1")?;
        let page = self.tier_page("app1", db1, 8080).await?;
        ensure!(page.as_deref() == Some("db1"), "db1 says {page:?}");
        ensure!(self.tier_page("web1", db1, 8080).await?.is_none(), "web1 reaches db1");
        Ok(("by rule from-app of list db".to_owned(), ()))
    }

    fn used(&self) -> Result<(String, String)> {
        let text = self.cloud.manager.done(["appliance", "usage", "r-1"])?;
        ensure!(text.contains("network") && text.contains("from-app"), "{text}");
        Ok(("sluice appliance usage r-1".to_owned(), text))
    }

    fn generation(&self) -> Result<u64> {
        let status: Vec<Value> = self.cloud.manager.ask(["status"])?;
        let wanted = status.first().and_then(|status| status.get("wanted")?.as_u64());
        wanted.context("the manager watches no appliance")
    }

    fn public_ip(&self, name: &str) -> Result<Ipv4Addr> {
        let all: Vec<Value> = self.cloud.manager.ask(["public-ip", "list"])?;
        let found = all.iter().find(|ip| ip.get("name").is_some_and(|is| is == name));
        let address = found.and_then(|ip| ip.get("address")?.as_str());
        Ok(address.with_context(|| format!("there is no public address {name}"))?.parse()?)
    }
}

fn told(text: &str) {
    for line in text.lines() {
        println!("     {line}");
    }
}
