//! What the command and the background process say to each other: a line of JSON each way.
//!
//! After the reply to [`Request::Capture`] the connection carries a pcap file until either side
//! closes it.

use serde::{Deserialize, Serialize};

use crate::lab::LabStatus;
use crate::qemu::GuestOutput;
use crate::wire::Percent;

/// What to do with a machine's power.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Power {
    /// Press the power button and wait for the machine to switch itself off
    Off,
    /// Cut the power between two instructions
    Cut,
    /// Switch it on
    On,
    /// Press the reset button: it begins anew at once
    Reset,
    /// Halt it between two instructions
    Pause,
    /// Let a halted one go on
    Resume,
}

/// Asked of a lab.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "do", deny_unknown_fields)]
pub enum Request {
    /// Everything's state.
    Status,
    /// A shell line on a test host.
    Exec {
        /// The host.
        node: String,
        /// The line.
        line: String,
        /// Its time limit in seconds.
        timeout_s: u64,
    },
    /// Frames of a wire from now on.
    Capture {
        /// The wire.
        wire: String,
    },
    /// Cuts or heals a wire.
    Cut {
        /// The wire.
        wire: String,
        /// True cuts, false heals.
        cut: bool,
    },
    /// Sets a wire's loss.
    Loss {
        /// The wire.
        wire: String,
        /// Share of frames, in percent.
        percent: Percent,
    },
    /// Sets a wire's delay.
    Delay {
        /// The wire.
        wire: String,
        /// Every frame's delay in milliseconds.
        delay_ms: u32,
        /// Up to this much more, at random.
        jitter_ms: u32,
    },
    /// Switches a machine.
    Power {
        /// The machine.
        node: String,
        /// How.
        to: Power,
    },
    /// Drops or restores a NIC's carrier.
    Carrier {
        /// The machine.
        node: String,
        /// Number of the NIC: 0 for the first of the lab file.
        nic: usize,
        /// True restores, false drops.
        up: bool,
    },
    /// Unplugs a NIC from a machine that runs.
    Unplug {
        /// The machine.
        node: String,
        /// Number of the NIC.
        nic: usize,
    },
    /// A command of QEMU's monitor.
    Monitor {
        /// The machine.
        node: String,
        /// The command.
        command: String,
        /// Its arguments.
        arguments: serde_json::Value,
    },
    /// Ends the lab.
    Down,
}

/// Answered by a lab.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// It is done.
    Done,
    /// Everything's state.
    Status(LabStatus),
    /// What a command left.
    Output(GuestOutput),
    /// What QEMU's monitor answered.
    Answer(serde_json::Value),
    /// It was not done.
    Failed {
        /// Why, with all causes.
        reason: String,
    },
}
