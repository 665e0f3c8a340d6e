//! `sluice-router password`: the service on a desk or a test bench, without an agent.

use std::collections::BTreeMap;

use anyhow::{Error, Result};

use super::process;
use super::site::PasswordSite;
use super::slice::slice;
use crate::SliceArgs;
use crate::web::{Web, desk};

struct Desk<'a> {
    args: &'a SliceArgs,
    web: Web<PasswordSite>,
}

impl desk::Desk for Desk<'_> {
    fn load(&mut self) -> Result<()> {
        process::apply(&self.web, &self.args.load(|config| slice(config, |_| None))?)
            .map_err(Error::msg)
    }

    fn counters(&self) -> BTreeMap<String, u64> {
        process::counters(&self.web)
    }
}

/// Serves until SIGTERM or SIGINT.
pub fn run(args: &SliceArgs) -> Result<()> {
    desk::run("password", || Ok(Desk { args, web: process::start(None).map_err(Error::msg)? }))
}
