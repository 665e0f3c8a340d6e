//! A test host of a lab, for tests that type commands.

use std::time::Duration;

use crate::qemu::{GuestOutput, Machine, MachineError};

/// A test host; see [`Machine`] for its power, console and NICs.
#[derive(Debug, Clone, Copy)]
pub struct Host<'a> {
    machine: &'a Machine,
}

impl<'a> Host<'a> {
    pub(super) fn new(machine: &'a Machine) -> Self {
        Self { machine }
    }

    /// The machine itself.
    pub fn machine(&self) -> &'a Machine {
        self.machine
    }

    /// Waits until it answers.
    pub async fn ready(&self, bound: Duration) -> Result<(), MachineError> {
        self.machine.ready(bound).await
    }

    /// Runs a shell line; any exit code is an answer. Bound 30 s.
    pub async fn sh(&self, line: &str) -> Result<GuestOutput, MachineError> {
        self.machine.sh(line).await
    }

    /// Runs a shell line with another bound.
    pub async fn sh_within(
        &self,
        line: &str,
        bound: Duration,
    ) -> Result<GuestOutput, MachineError> {
        self.machine.sh_within(line, bound).await
    }

    /// Runs a shell line; an exit code other than 0 is an error. Returns standard output.
    pub async fn sh_ok(&self, line: &str) -> Result<String, MachineError> {
        self.machine.sh_ok(line).await
    }
}
