//! `sluice-router metadata`: the service on a desk or a test bench, without an agent.

use std::collections::BTreeMap;

use anyhow::{Error, Result};

use super::process;
use super::site::MetadataSite;
use super::slice::slice;
use crate::SliceArgs;
use crate::web::{Web, desk};

struct Desk<'a> {
    args: &'a SliceArgs,
    web: Web<MetadataSite>,
}

impl desk::Desk for Desk<'_> {
    fn load(&mut self) -> Result<()> {
        process::apply(&self.web, &self.args.load(|config| slice(config, |_| None))?);
        Ok(())
    }

    fn counters(&self) -> BTreeMap<String, u64> {
        self.web.counters()
    }
}

/// Serves until SIGTERM or SIGINT.
pub fn run(args: &SliceArgs) -> Result<()> {
    desk::run("metadata", || Ok(Desk { args, web: process::start().map_err(Error::msg)? }))
}
