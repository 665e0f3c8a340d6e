//! dnsperf and what it says.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::servers::Server;

/// The core that dnsperf is pinned to.
const LOAD_CORE: &str = "1";
/// Sockets it uses, as some busy guests would.
const CLIENTS: &str = "16";
/// Questions it keeps open: enough to keep a server busy, too few to overrun a receive buffer.
const OUTSTANDING: &str = "200";

/// The questions asked.
pub(super) struct Load {
    questions: PathBuf,
    count: usize,
}

/// What one round showed.
pub(super) struct Sample {
    sent: f64,
    completed: f64,
    seconds: f64,
    cpu: f64,
}

impl Sample {
    /// Answers a second.
    pub(super) fn per_second(&self) -> f64 {
        if self.seconds > 0.0 { self.completed / self.seconds } else { 0.0 }
    }

    /// Answers per second of the server's processor time.
    pub(super) fn per_cpu_second(&self) -> f64 {
        if self.cpu > 0.0 { self.completed / self.cpu } else { 0.0 }
    }

    /// Questions without an answer.
    pub(super) fn lost_percent(&self) -> f64 {
        if self.sent > 0.0 { (self.sent - self.completed) / self.sent * 100.0 } else { 0.0 }
    }
}

impl Load {
    /// Asks for the addresses of `names`, over and over.
    pub(super) fn new(folder: &Path, names: &[String]) -> Result<Self> {
        let questions = folder.join("questions");
        let text: Vec<_> = names.iter().map(|name| format!("{name} A")).collect();
        std::fs::write(&questions, text.join("\n") + "\n").context("cannot write the questions")?;
        Ok(Self { questions, count: names.len() })
    }

    /// Each question once, which also fills a cache; fails unless every answer is a good one.
    pub(super) fn once(&self, server: &Server) -> Result<()> {
        let output = self.dnsperf(server, &["-n", "1", "-q", "50"])?;
        let good = figure(&output, "NOERROR ")?;
        #[allow(clippy::cast_precision_loss)] // some thousand
        if good < self.count as f64 {
            bail!("only {good} good answers to {} questions:\n{output}", self.count);
        }
        Ok(())
    }

    /// As much as both can for `length`.
    pub(super) fn round(&self, server: &Server, length: Duration) -> Result<Sample> {
        let before = server.cpu()?;
        let seconds = length.as_secs().to_string();
        let output = self.dnsperf(server, &["-l", &seconds, "-q", OUTSTANDING])?;
        let cpu = server.cpu()?.saturating_sub(before).as_secs_f64();
        let of = |title: &str| figure(&output, title);
        let (sent, completed) = (of("Queries sent:")?, of("Queries completed:")?);
        Ok(Sample { sent, completed, seconds: of("Run time (s):")?, cpu })
    }

    fn dnsperf(&self, server: &Server, words: &[&str]) -> Result<String> {
        let port = server.port.to_string();
        let output = sluice_programs::command("taskset")?
            .args(["-c", LOAD_CORE, "dnsperf", "-s", "127.0.0.1", "-p", &port, "-c", CLIENTS, "-d"])
            .arg(&self.questions)
            .args(words)
            .output()
            .context("cannot run dnsperf under taskset")?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// The number behind `title`.
fn figure(output: &str, title: &str) -> Result<f64> {
    let rest = output.split(title).nth(1).unwrap_or_default();
    let word = rest.split_whitespace().next().unwrap_or_default();
    word.parse().with_context(|| format!("dnsperf did not say \"{title}\":\n{output}"))
}
