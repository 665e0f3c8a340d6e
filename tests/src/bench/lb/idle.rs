//! What connections that do nothing cost: all are held at once, by as many balancers, servers and clients as the limit of open
//! files makes necessary, each with its share of them.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::balancers::{self, Balancer, Kind};
use super::origin::Origin;

/// The program at both ends.
const CROWD: &str = include_str!("crowd.py");
/// Connections of each process before the idle ones, which bring with them what is not theirs alone.
const FIRST: u64 = 100;
/// Most balancers at once.
const MOST: u64 = 8;
/// Until connections have settled in the balancers.
const SETTLE: Duration = Duration::from_secs(2);

/// Idle connections, and the processes that share them.
#[derive(Clone, Copy)]
pub(super) struct Idle {
    /// Of all processes.
    pub(super) number: u64,
    processes: u64,
}

impl Idle {
    /// `wanted`, or as many as [`MOST`] processes can have.
    pub(super) fn of(wanted: u64) -> Result<Self> {
        let each = balancers::connections(FIRST + wanted)?.saturating_sub(FIRST);
        if each == 0 {
            bail!("too few open files for any connection");
        }
        let number = wanted.min(each * MOST);
        Ok(Self { number, processes: number.div_ceil(each).max(1) })
    }

    /// What was measured, for a person.
    pub(super) fn case(self, mode: &str) -> String {
        let all = format!("memory of an idle {mode} connection of {}", self.number);
        if self.processes == 1 { all } else { format!("{all} in {} processes", self.processes) }
    }

    /// Bytes of memory that each costs balancers of `kind`, after one exchange over it.
    pub(super) fn bytes(self, kind: Kind, folder: &Path, http: bool) -> Result<f64> {
        let mut parts = Vec::new();
        for number in 0..self.processes {
            parts.push(Part::start(kind, folder, http, u8::try_from(number + 1)?)?);
        }
        for part in &mut parts {
            part.open(FIRST)?;
        }
        std::thread::sleep(SETTLE);
        let before = memory(&parts)?;
        let (share, rest) = (self.number / self.processes, self.number % self.processes);
        for (number, part) in (0..).zip(&mut parts) {
            part.open(share + u64::from(number < rest))?;
        }
        std::thread::sleep(SETTLE);
        let added = memory(&parts)? - before;
        for part in &mut parts {
            // nobody may have been sent away meanwhile
            part.open(0)?;
        }
        #[allow(clippy::cast_precision_loss)] // some ten thousand
        Ok(added / self.number as f64)
    }
}

/// Memory of all balancers.
fn memory(parts: &[Part]) -> Result<f64> {
    parts.iter().map(|part| part.balancer.memory()).sum()
}

/// A balancer that nothing was asked of before, so that nothing which was allocated earlier counts; with its own clients and
/// servers.
struct Part {
    balancer: Balancer,
    clients: Crowd,
    opened: u64,
    _servers: Crowd,
}

impl Part {
    fn start(kind: Kind, folder: &Path, http: bool, number: u8) -> Result<Self> {
        let mut servers = Crowd::start(&["serve"])?;
        let port: u16 = servers.line()?.parse().context("the servers tell no port")?;
        let at = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let balancer = Balancer::start(kind, folder, &Origin { web: at, source: at })?;
        let port = if http { balancer.places.http } else { balancer.places.tcp }.port();
        // one address has no more than 28,000 ports
        let sources = [1, 2].map(|last| Ipv4Addr::new(127, 0, number, last).to_string());
        let [first, second] = &sources;
        let clients = Crowd::start(&["hold", &port.to_string(), first, second])?;
        Ok(Self { balancer, clients, opened: 0, _servers: servers })
    }

    /// Opens more; all that were opened must be there then.
    fn open(&mut self, more: u64) -> Result<()> {
        self.opened += more;
        self.clients.say(more)?;
        let held: u64 = self.clients.line()?.parse().context("the clients tell no number")?;
        if held != self.opened {
            let (name, opened) = (self.balancer.kind.name(), self.opened);
            bail!("{name} has {held} of {opened} connections");
        }
        Ok(())
    }
}

/// Many ends of connections in one process; ended when dropped.
struct Crowd {
    child: Child,
    told: ChildStdin,
    said: BufReader<ChildStdout>,
}

impl Crowd {
    fn start(words: &[&str]) -> Result<Self> {
        let mut child = sluice_programs::command("python3")?
            .args(["-c", CROWD])
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot run python3")?;
        let told = child.stdin.take().context("python3 has an input")?;
        let said = BufReader::new(child.stdout.take().context("python3 has an output")?);
        Ok(Self { child, told, said })
    }

    fn say(&mut self, number: u64) -> Result<()> {
        writeln!(self.told, "{number}").context("the clients have ended")
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        if self.said.read_line(&mut line).context("cannot hear a crowd")? == 0 {
            bail!("a crowd has ended");
        }
        Ok(line.trim().to_owned())
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        // an error means that it has ended already
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}
