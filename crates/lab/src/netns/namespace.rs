//! One namespace: links, addresses, commands and code in it.

use std::ffi::OsStr;
use std::io;
use std::sync::Arc;

use sluice_api::types::{InterfaceAddress, LinkName, MacAddr};

use super::command::NsCommand;
use super::error::NetnsError;
use super::process::Process;
use super::{enter, stale};

/// A handle on a namespace; the [`super::Topology`] that made it takes it away.
#[derive(Debug, Clone)]
pub struct Namespace {
    short: Arc<str>,
    full: Arc<str>,
}

impl Namespace {
    pub(super) fn create(short: &str) -> Result<Self, NetnsError> {
        let fits = !short.is_empty()
            && short.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if !fits {
            return Err(NetnsError::Name(short.to_owned()));
        }
        let full = format!("{}-{}-{short}", stale::PREFIX, std::process::id());
        NsCommand::new("", ["ip", "netns", "add", &full]).check()?;
        let made = Self { short: short.into(), full: full.into() };
        made.ip(["link", "set", "lo", "up"])?;
        Ok(made)
    }

    /// The name it was asked for by.
    pub fn name(&self) -> &str {
        &self.short
    }

    /// The name that `ip netns` knows, `slt-<pid>-<name>`.
    pub fn full_name(&self) -> &str {
        &self.full
    }

    /// A command in the namespace: `ns.command(["ping", "-c1", "10.1.1.1"]).check()?`.
    pub fn command<S: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = S>) -> NsCommand {
        NsCommand::new(&self.full, words)
    }

    /// A shell line in the namespace.
    pub fn sh(&self, line: &str) -> NsCommand {
        self.command(["sh", "-c", line])
    }

    /// Starts a long-running program; it ends when the handle is dropped.
    pub fn spawn<S: AsRef<OsStr>>(
        &self,
        words: impl IntoIterator<Item = S>,
    ) -> Result<Process, NetnsError> {
        Process::start(&self.full, words)
    }

    /// Runs `work` on a thread of its own inside the namespace.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, NetnsError> {
        enter::blocking(&self.full, work)
    }

    /// Runs async code inside the namespace on a current-thread runtime of its own.
    /// Not to be called from async code: it blocks.
    pub fn enter_async<T: Send, F: Future<Output = T>>(
        &self,
        make: impl FnOnce() -> F + Send,
    ) -> Result<T, NetnsError> {
        enter::runtime(&self.full, make)
    }

    /// Runs `ip` with these words in the namespace; returns what it printed.
    pub fn ip<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> Result<String, NetnsError> {
        let prefix = ["ip", "-n", &self.full].map(str::to_owned);
        let words = prefix.into_iter().chain(words.into_iter().map(str::to_owned));
        NsCommand::new("", words).check()
    }

    /// Sets a link up.
    pub fn up(&self, link: &LinkName) -> Result<(), NetnsError> {
        self.ip(["link", "set", link.as_str(), "up"]).map(drop)
    }

    /// Adds an address to a link. IPv6 ones are usable at once (no duplicate detection).
    pub fn address(&self, link: &LinkName, address: InterfaceAddress) -> Result<(), NetnsError> {
        let text = address.to_string();
        let mut words = vec!["addr", "add", &text, "dev", link.as_str()];
        if address.ip().is_ipv6() {
            words.push("nodad");
        }
        self.ip(words).map(drop)
    }

    /// Sets a link's hardware address.
    pub fn mac(&self, link: &LinkName, mac: MacAddr) -> Result<(), NetnsError> {
        self.ip(["link", "set", link.as_str(), "address", &mac.to_string()]).map(drop)
    }

    /// Adds a route: `route(["default", "via", "10.1.1.1"])`.
    pub fn route<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> Result<(), NetnsError> {
        self.ip(["route", "add"].into_iter().chain(words)).map(drop)
    }

    /// Makes a bridge that is up, with these links in it.
    pub fn bridge(&self, name: &LinkName, links: &[LinkName]) -> Result<(), NetnsError> {
        self.ip(["link", "add", name.as_str(), "type", "bridge", "forward_delay", "0"])?;
        for link in links {
            self.ip(["link", "set", link.as_str(), "master", name.as_str()])?;
            self.up(link)?;
        }
        self.up(name)
    }

    /// What programs in the namespace read in place of `/etc/resolv.conf`.
    pub fn resolv_conf(&self, text: &str) -> Result<(), NetnsError> {
        let folder = stale::settings_folder(&self.full);
        std::fs::create_dir_all(&folder)
            .and_then(|()| std::fs::write(folder.join("resolv.conf"), text))
            .map_err(|source| self.failed("write its resolv.conf", source))
    }

    /// Addresses, routes, rules and nft tables, for a failing test to print.
    pub fn state(&self) -> String {
        let looks = [
            "ip addr",
            "ip rule",
            "ip route show table all",
            "ip neigh",
            "ss -lntup",
            "nft -a list ruleset",
        ];
        let shown = looks.map(|look| format!("$ {look}\n{}", self.look(look)));
        format!("== namespace {}\n{}", self.full, shown.join("\n"))
    }

    fn look(&self, line: &str) -> String {
        let output = self.command(line.split(' ')).run();
        output.map_or_else(|error| error.to_string(), |output| output.stdout + &output.stderr)
    }

    fn failed(&self, action: &'static str, source: io::Error) -> NetnsError {
        NetnsError::Io { namespace: self.full.to_string(), action, source }
    }
}
