//! Tunnels: an office behind a strongSwan of Debian's, and somebody on the road with its xl2tpd and pppd.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use sluice_lab::Wait;

use super::script::Stage;
use super::shown::Shown;
use crate::cloud::{INTERNET, Shell as _, guest};
use crate::tunnels::example::{self, CLIENT, DESK, ROAD, SERVER};
use crate::tunnels::{self, SOON, transfer, warrior};

/// Emulated machines on a busy host boot within this.
const BOOT: Duration = Duration::from_mins(3);
const ROUTER: &str = "r-1";

impl Stage {
    pub(super) async fn play_vpn(&self, shown: &mut Shown) -> Result<()> {
        let web1 = self.cloud.view()?.address("web1")?;
        shown.step("the router has its first configuration", self.configured()).await?;
        shown.step("web1, the office and the road have booted", self.around()).await?;
        shown.step("the office opens its side, `sluice` resets the tunnel", self.office()).await?;
        shown.step("packets pass both ways, in ESP", self.both_ways(web1)).await?;
        shown.step("anna dials in: IPsec, L2TP, MS-CHAPv2", self.dials_in()).await?;
        shown.step("she reaches web1 and finds it by name", self.reaches(web1)).await?;
        shown.step("`sluice vpn-user delete anna`: she is cut off", self.cut_off()).await?;
        shown.step("the tunnel to the office never noticed", self.both_ways(web1)).await?;
        Ok(())
    }

    async fn around(&self) -> Result<(String, ())> {
        for host in ["web1", INTERNET, ROAD] {
            self.lab.ready(host, BOOT).await?;
        }
        example::set_up(&self.lab).await?;
        guest::take_lease(&self.lab, "web1").await?;
        Ok((format!("the office is at {}, the road at {}", example::OFFICE, example::ABROAD), ()))
    }

    async fn says(
        &self,
        service: &str,
        what: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let look = || async {
            let ask = || self.cloud.manager.ask(["appliance", "report", ROUTER, service]);
            let status: Value = tokio::task::block_in_place(ask).ok()?;
            status.get("report").cloned().filter(&wanted)
        };
        Wait::until_async(SOON, what, look).await.context("what `sluice appliance report` shows")
    }

    async fn office(&self) -> Result<(String, ())> {
        example::office_opens(&self.lab).await?;
        self.cloud.manager.done(["vpn-connection", "reset", "office"])?;
        let connected =
            |report: &Value| tunnels::connection(report, "vc-1")["phase"] == "connected";
        let report = self.says("ike", "the office connected", connected).await?;
        let connection = tunnels::connection(&report, "vc-1");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (ike, esp) = (&connection["ike"], &connection["tunnels"][0]["algorithms"]);
        Ok((format!("connected; IKE {}, ESP {}", text(ike), text(esp)), ()))
    }

    async fn both_ways(&self, web1: Ipv4Addr) -> Result<(String, ())> {
        transfer(&self.lab, "web1", INTERNET, DESK, 7000, "").await?;
        let source = format!("-s {DESK}");
        transfer(&self.lab, INTERNET, "web1", &web1.to_string(), 80, &source).await?;
        let states = self.lab.done(INTERNET, "ip -s xfrm state | grep -c 'proto esp'").await?;
        Ok((format!("1 MiB each way, {} associations", states.trim()), ()))
    }

    async fn dials_in(&self) -> Result<(String, ())> {
        let began = Instant::now();
        example::anna().dial(&self.lab, ROAD).await?;
        warrior::is_up(&self.lab, ROAD, SERVER).await?;
        self.lab.done(ROAD, "ip route replace 10.0.0.0/16 dev ppp0").await?;
        let seconds = began.elapsed().as_secs_f64();
        let hers = |session: &Value| session["user"] == "anna" && session["address"] == CLIENT;
        let sessions =
            |report: &Value| report["sessions"].as_array().is_some_and(|all| all.iter().any(hers));
        self.says("l2tp", "the session", sessions).await?;
        Ok((format!("{CLIENT}, {seconds:.1} s after the first packet"), ()))
    }

    async fn reaches(&self, web1: Ipv4Addr) -> Result<(String, ())> {
        tunnels::soon(&self.lab, ROAD, &format!("ping -c 1 -W 3 {web1}")).await?;
        let name = "web1.web.vpc1.internal";
        let said = self.lab.done(ROAD, &format!("dig +short +time=5 @10.0.1.1 {name}")).await?;
        ensure!(said.trim() == web1.to_string(), "{name} is {said:?}");
        Ok((format!("{name} is {web1}, and answers"), ()))
    }

    async fn cut_off(&self) -> Result<(String, ())> {
        let deleted = Instant::now();
        self.cloud.manager.done(["vpn-user", "delete", "anna"])?;
        warrior::is_down(&self.lab, ROAD).await?;
        Ok((format!("{:.1} s after the command", deleted.elapsed().as_secs_f64()), ()))
    }
}
