//! The other ends of tunnels on test hosts, with daemons that nobody here wrote: Debian's strongSwan and its libreswan as
//! gateways, its xl2tpd and pppd over either as road warriors.
//!
//! Guarantees: a function returns when what it says is so, seen on the machine, or ends with the machine's own words.

pub mod example;
pub mod libreswan;
pub mod strongswan;
pub mod warrior;

use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::Value;
use sluice_lab::Wait;
use sluice_lab::qemu::GuestOutput;

use crate::cloud::Shell;

/// Emulated machines on a busy host do what takes seconds within this.
pub const SOON: Duration = Duration::from_mins(2);

/// Runs a line until it succeeds.
pub async fn soon(shell: &dyn Shell, host: &str, line: &str) -> Result<()> {
    within(shell, host, line, SOON).await
}

/// The same with another bound.
pub async fn within(shell: &dyn Shell, host: &str, line: &str, bound: Duration) -> Result<()> {
    let run = || async { shell.sh(host, line).await.ok().filter(GuestOutput::ok) };
    match Wait::until_async(bound, line, run).await {
        Ok(_) => Ok(()),
        Err(late) => bail!("{host}: {late}: {:?}", shell.sh(host, line).await),
    }
}

/// A TCP transfer from one host to a port of another; the bytes that arrive are those that left.
pub async fn transfer(
    shell: &dyn Shell,
    from: &str,
    to: &str,
    address: &str,
    port: u16,
    options: &str,
) -> Result<()> {
    shell.done(to, &format!("(nc -l -p {port} >/run/got) >/dev/null 2>&1 </dev/null &")).await?;
    soon(shell, to, &format!("ss -Hltn 'sport = :{port}' | grep -q .")).await?;
    let send = format!(
        "head -c 1048576 /dev/urandom >/run/sent; nc -N {options} -w 30 {address} {port} </run/sent && sha256sum </run/sent"
    );
    let sent = shell.done(from, &send).await?;
    soon(shell, to, &format!("sha256sum </run/got | grep -qxF '{}'", sent.trim())).await
}

/// What the router's IKE process says of a connection, by what `sluice appliance report` or the agent's status gave.
pub fn connection<'a>(report: &'a Value, id: &str) -> &'a Value {
    report.pointer(&format!("/connections/s2s-{id}")).unwrap_or(&Value::Null)
}

/// Everything that these daemons know, for a failure to print.
pub const STATE: &str = "swanctl --list-sas; tail -n 60 /run/charon.log; tail -n 40 /run/xl2tpd.log /run/ppp.log; \
    ip addr; ip route; ip -s xfrm state";
