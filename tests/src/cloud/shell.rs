//! Commands on the machines of a lab, wherever the lab runs.

use std::time::Duration;

use anyhow::{Result, bail};
use async_trait::async_trait;
use sluice_lab::Lab;
use sluice_lab::daemon::{Client, Reply, Request};
use sluice_lab::qemu::GuestOutput;

/// An emulated machine on a busy host answers within this.
const USUAL: Duration = Duration::from_mins(1);

/// A way to run shell lines on test hosts.
#[async_trait]
pub trait Shell: Sync {
    /// Runs a shell line on `host`, which kills it after `bound`; any exit code is an answer.
    async fn within(&self, host: &str, line: &str, bound: Duration) -> Result<GuestOutput>;

    /// Runs a shell line with the usual bound of one minute.
    async fn sh(&self, host: &str, line: &str) -> Result<GuestOutput> {
        self.within(host, line, USUAL).await
    }

    /// Runs a shell line; an exit code other than 0 is an error. Returns standard output.
    async fn done(&self, host: &str, line: &str) -> Result<String> {
        let output = self.sh(host, line).await?;
        if !output.ok() {
            let said = format!("{}{}", output.stderr, output.stdout);
            bail!("{host}: `{line}` ended with {}: {}", output.code, said.trim());
        }
        Ok(output.stdout)
    }

    /// Waits until a host has booted.
    async fn ready(&self, host: &str, bound: Duration) -> Result<()> {
        self.within(host, "true", bound).await.map(drop)
    }
}

#[async_trait]
impl Shell for Lab {
    async fn within(&self, host: &str, line: &str, bound: Duration) -> Result<GuestOutput> {
        Ok(self.host(host)?.sh_within(line, bound).await?)
    }
}

#[async_trait]
impl Shell for Client {
    async fn within(&self, host: &str, line: &str, bound: Duration) -> Result<GuestOutput> {
        let request = Request::Exec {
            node: host.to_owned(),
            line: line.to_owned(),
            timeout_s: bound.as_secs(),
        };
        match self.ask(&request).await? {
            Reply::Output(output) => Ok(output),
            other => bail!("{host}: unexpected answer {other:?}"),
        }
    }
}
