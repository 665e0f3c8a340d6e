//! What today's routers do: rewrite dnsmasq's files and restart it; rules by one `nft -f`.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::Result;
use sluice_lab::netns::{Namespace, Process};

use super::field::{Field, GATEWAY, ask};
use super::guests::{DOMAIN, Guests};

const SOON: Duration = Duration::from_mins(1);

/// dnsmasq in a namespace of its own with the same guests.
pub(super) struct Rival {
    namespace: Namespace,
    words: Vec<String>,
    files: [std::path::PathBuf; 2],
    running: Option<Process>,
}

impl Rival {
    pub(super) fn new(field: &Field) -> Self {
        let files = ["hosts", "reservations"].map(|name| field.path(name));
        let [hosts, reservations] = [&files[0], &files[1]].map(|path| path.display().to_string());
        let leases = field.path("leases").display().to_string();
        let mut words = ["dnsmasq", "-k", "--conf-file=/dev/null", "--user=root", "--pid-file="]
            .map(str::to_owned)
            .to_vec();
        words.extend(
            ["--no-hosts", "--no-resolv", "--no-ping", "--bind-interfaces"].map(str::to_owned),
        );
        words.extend([
            format!("--listen-address={GATEWAY},127.0.0.1"),
            "--dhcp-range=10.1.0.0,static,255.255.0.0,1h".to_owned(),
            format!("--dhcp-leasefile={leases}"),
            "--server=192.0.2.53".to_owned(),
            format!("--local=/{DOMAIN}/"),
            format!("--addn-hosts={hosts}"),
            format!("--dhcp-hostsfile={reservations}"),
        ]);
        Self { namespace: field.rival.clone(), words, files, running: None }
    }

    /// Loads the rules of the router's configuration in one transaction.
    pub(super) fn loads_rules(&self, field: &Field) -> Result<Duration> {
        let path = field.path("rules.nft");
        std::fs::write(&path, sluice_router::desk::render(field.config()))?;
        let line = format!("nft -f {}", path.display());
        let start = Instant::now();
        self.namespace.sh(&line).timeout(SOON).check()?;
        Ok(start.elapsed())
    }

    /// Rewrites the files and starts it anew; how long until it answers for the guest `at`.
    pub(super) fn restart(&mut self, guests: &Guests, at: usize) -> Result<Duration> {
        let (hosts, reservations) = guests.files();
        let start = Instant::now();
        for (path, text) in self.files.iter().zip([hosts, reservations]) {
            std::fs::write(path, text)?;
        }
        if let Some(mut old) = self.running.take() {
            old.signal(nix::sys::signal::Signal::SIGTERM)?;
            old.kill();
        }
        self.running = Some(self.namespace.spawn(&self.words)?);
        let (name, address) = guests.name(at);
        self.namespace.enter(|| ask(Ipv4Addr::LOCALHOST, &name, address, SOON))??;
        Ok(start.elapsed())
    }
}
