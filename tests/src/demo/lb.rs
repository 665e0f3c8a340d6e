//! Load balancing: three web servers behind one address, cookies, one killed and healed, a certificate swapped.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use sluice_lab::Wait;

use super::script::Stage;
use super::shown::Shown;
use crate::cloud::web::{self, Certificate};
use crate::cloud::{INTERNET, Shell as _};

/// Checks of health are a second apart, and machines are emulated.
const SOON: Duration = Duration::from_mins(1);
const SERVERS: [&str; 3] = ["web1", "web2", "web3"];
const PORT: u16 = 8080;
const HTTP: &str = "http://198.51.100.21/";
const HTTPS: &str = "https://www.example.net/";
/// The name is found by curl alone: what it means is the balancer's certificate.
const RESOLVED: &str = "--resolve www.example.net:443:198.51.100.21";
const INSIDE: &str = "http://10.1.1.200/";

impl Stage {
    /// What examples/lb.toml asks for, as clients see it.
    pub(super) async fn play_lb(&self, shown: &mut Shown) -> Result<()> {
        let view = self.cloud.view()?;
        shown.step("the router has its first configuration", self.configured()).await?;
        shown.step("three web servers and inet have booted", self.booted(&SERVERS)).await?;
        for name in SERVERS {
            shown
                .step(&format!("{name} takes a lease and serves"), self.serves(&view, name))
                .await?;
        }
        shown.step("one address is all three", self.shared()).await?;
        shown.step("a cookie keeps a client with one server", self.cookie()).await?;
        shown.step("web2 is killed: nobody is refused", self.killed()).await?;
        shown.step("web2 is started again", self.healed()).await?;
        shown.step("guests have an address of their own", self.inside()).await?;
        let first = shown.step("TLS ends at the balancer", self.secure()).await?;
        shown.step("the certificate is swapped", self.swapped(&first)).await?;
        shown.step("what the manager shows of it", async { self.state() }).await?;
        Ok(())
    }

    async fn serves(&self, view: &crate::cloud::View, name: &str) -> Result<(String, ())> {
        let (seen, ()) = self.lease(view, name).await?;
        web::serve(&self.lab, name, PORT).await?;
        Ok((seen, ()))
    }

    /// Waits until exactly these serve the public address.
    async fn served_by(&self, names: &[&str]) -> Result<()> {
        self.serve(names, INTERNET, HTTP).await
    }

    /// Waits until `from` is answered at `url` by exactly these: each balancer checks its members by itself.
    async fn serve(&self, names: &[&str], from: &str, url: &str) -> Result<()> {
        let wanted: BTreeSet<_> = names.iter().map(|name| Some((*name).to_owned())).collect();
        let found = Wait::until_async(SOON, "the servers that are well to serve", || async {
            let seen = web::served_by(&self.lab, from, url, 6).await.ok()?;
            (seen == wanted).then_some(())
        });
        found.await.map_err(Into::into)
    }

    async fn shared(&self) -> Result<(String, ())> {
        self.served_by(&SERVERS).await?;
        Ok((format!("curl {HTTP} is answered by {} in turn", SERVERS.join(", ")), ()))
    }

    async fn cookie(&self) -> Result<(String, ())> {
        let first = web::page(&self.lab, INTERNET, "-c /run/jar", HTTP).await?;
        for _ in 0..4 {
            let again = web::page(&self.lab, INTERNET, "-b /run/jar", HTTP).await?;
            ensure!(again == first, "first {first:?}, then {again:?}");
        }
        let jar = self.lab.done(INTERNET, "grep SRV /run/jar").await?;
        let value = jar.split_whitespace().last().unwrap_or_default();
        ensure!(!value.contains("10.1.1"), "the cookie tells an inside address: {jar}");
        Ok((format!("SRV={value}: five times {}", first.unwrap_or_default()), ()))
    }

    async fn killed(&self) -> Result<(String, ())> {
        web::kill(&self.lab, "web2", PORT).await?;
        let start = Instant::now();
        // every visit from the moment of its death on is answered
        let seen = web::served_by(&self.lab, INTERNET, HTTP, 12).await?;
        ensure!(!seen.contains(&None), "a visitor was refused: {seen:?}");
        self.served_by(&["web1", "web3"]).await?;
        self.healthy("members 3, healthy 2").await?;
        let took = start.elapsed().as_secs_f64();
        Ok((format!("12 visits of 12 answered; members 3, healthy 2 after {took:.1} s"), ()))
    }

    async fn healed(&self) -> Result<(String, ())> {
        web::serve(&self.lab, "web2", PORT).await?;
        self.served_by(&SERVERS).await?;
        self.healthy("members 3, healthy 3").await?;
        Ok(("members 3, healthy 3; all of them serve".to_owned(), ()))
    }

    /// Waits until the manager shows this of the rule `www`.
    async fn healthy(&self, wanted: &str) -> Result<()> {
        let found = Wait::until_async(SOON, wanted, || async {
            let rows: Vec<Value> = self.cloud.manager.ask(["balancer", "state", "www"]).ok()?;
            (rows.first()?["state"] == wanted).then_some(())
        });
        found.await.map_err(Into::into)
    }

    async fn inside(&self) -> Result<(String, ())> {
        self.serve(&["web1", "web2"], "web3", INSIDE).await?;
        Ok((format!("web3 asks {INSIDE} and is answered by web1 and web2"), ()))
    }

    async fn secure(&self) -> Result<(String, Certificate)> {
        let first = Certificate::of("www.example.net")?;
        self.certify(&first, "first").await?;
        let options =
            format!("{RESOLVED} --cacert /run/first.pem -w ' over HTTP/%{{http_version}}'");
        let seen = web::page(&self.lab, INTERNET, &options, HTTPS).await?;
        let seen = seen.context("nothing came over TLS")?.replace('\n', "");
        Ok((format!("curl believes the certificate; {seen}"), first))
    }

    async fn swapped(&self, first: &Certificate) -> Result<(String, ())> {
        let second = Certificate::of("www.example.net")?;
        ensure!(first.proof != second.proof, "the same certificate twice");
        self.certify(&second, "second").await?;
        let with = |name: &str| format!("{RESOLVED} --cacert /run/{name}.pem");
        let (old, new) = (with("first"), with("second"));
        let new = web::page(&self.lab, INTERNET, &new, HTTPS).await?;
        let old = web::page(&self.lab, INTERNET, &old, HTTPS).await?;
        ensure!(new.is_some() && old.is_none(), "new: {new:?}, old: {old:?}");
        Ok(("curl believes the new one and no longer the old one".to_owned(), ()))
    }

    /// Gives the rule `secure` a certificate by the command line, and inet the means to believe it.
    async fn certify(&self, certificate: &Certificate, name: &str) -> Result<()> {
        let file = self.cloud.file(&format!("{name}.pem"), &certificate.with_key)?;
        let file = file.to_str().context("the folder's path is not UTF-8")?;
        let wait = ["--wait", "30", "balancer", "update", "secure", "--certificates-file", file];
        tokio::task::block_in_place(|| self.cloud.manager.done(wait))?;
        certificate.give(&self.lab, INTERNET, &format!("/run/{name}.pem")).await
    }

    fn state(&self) -> Result<(String, ())> {
        let table = self.cloud.manager.done(["balancer", "state", "www"])?;
        let csv = self.cloud.manager.done(["appliance", "report", "r-1", "lb", "--csv"])?;
        ensure!(csv.starts_with("# pxname,svname,"), "no CSV of HAProxy's: {csv}");
        let lines: Vec<&str> = table.lines().collect();
        Ok((lines.join("\n"), ()))
    }
}
