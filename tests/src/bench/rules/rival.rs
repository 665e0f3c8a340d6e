//! iptables-nft with the same number of rules, in a namespace of its own.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Result;
use sluice_lab::netns::Namespace;

use super::{PATIENCE, guest, public};
use crate::bench::apply::Field;

/// The rival.
pub(super) struct Rival {
    namespace: Namespace,
    file: PathBuf,
}

impl Rival {
    pub(super) fn new(field: &Field) -> Result<Self> {
        sluice_programs::find("iptables-nft")?;
        Ok(Self { namespace: field.rival.clone(), file: field.path("rules.iptables") })
    }

    /// Loads `count` rules in one transaction: a third translations, the others filters.
    pub(super) fn load(&self, count: usize) -> Result<Duration> {
        let translations = count / 3;
        let mut text = String::from("*nat\n");
        // writing to a String cannot fail
        for number in 0..translations {
            let (public, guest, port) =
                (public(number), guest(number), 1000 + number / 50 % 60_000);
            let _ = writeln!(
                text,
                "-A PREROUTING -d {public} -p tcp --dport {port} -j DNAT --to-destination {guest}:80"
            );
        }
        text.push_str("COMMIT\n*filter\n");
        for number in 0..count - translations {
            let (public, port) = (public(number), 1 + number / 100 % 60_000);
            let _ = writeln!(text, "-A FORWARD -d {public} -p tcp --dport {port} -j ACCEPT");
        }
        text.push_str("COMMIT\n");
        std::fs::write(&self.file, text)?;
        let line = format!("iptables-nft-restore < {}", self.file.display());
        let start = Instant::now();
        self.namespace.sh(&line).timeout(PATIENCE).check()?;
        Ok(start.elapsed())
    }

    /// Adds one rule.
    pub(super) fn add(&self, number: usize) -> Result<Duration> {
        let line = format!(
            "iptables-nft -A FORWARD -s 192.0.2.0/24 -p udp --dport {} -j ACCEPT",
            1 + number
        );
        let start = Instant::now();
        self.namespace.sh(&line).timeout(PATIENCE).check()?;
        Ok(start.elapsed())
    }
}
