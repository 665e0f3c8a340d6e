//! PID 1 of every appliance: from the kernel's hand-over to a supervised agent, and down again.
//!
//! Guarantees: nothing enters or leaves by a NIC before the drop-all table is loaded; the agent is always running or about
//! to be restarted; orphans are reaped; the data partition is unmounted before power goes. Does not guarantee that a
//! configuration is in force: that is the agent's. One binary serves both stages and the kernel's module requests, told
//! apart by the name it is started under, because each further binary would cost memory in a 128 MiB machine.

mod bootdoc;
mod buttons;
mod cmdline;
mod coldplug;
mod console;
mod devices;
mod firewall;
mod hotplug;
mod loopback;
mod modules;
mod mounts;
mod output;
mod power;
mod restart;
mod stage1;
mod stage2;
mod supervise;
mod switch_root;
mod sysctl;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use console::Console;

use crate::causes::chain;

/// Where the first stage is started from by the kernel.
const STAGE1_NAME: &str = "init";
/// The kernel asks for modules under the first name (sysctl `kernel.modprobe`), people on a test host under the second.
const MODPROBE_NAMES: [&str; 2] = ["sluice-modprobe", "modprobe"];
/// What drivers of Hyper-V and Xen start when their host asks the machine to end (`orderly_poweroff`, `orderly_reboot`).
const POWEROFF_NAME: &str = "poweroff";
const REBOOT_NAME: &str = "reboot";
/// How long a fatal reason stays readable on a screen before the machine restarts.
const FATAL_WAIT: Duration = Duration::from_secs(15);

/// Why PID 1 could not go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fatal {
    /// The first stage, inside the initial RAM file system.
    #[error("stage 1 failed")]
    Stage1(#[from] stage1::Stage1Error),
    /// The second stage, on the template's own root.
    #[error("stage 2 failed")]
    Stage2(#[from] stage2::Stage2Error),
}

/// Entry point of `sluice-init`; returns only when it is not PID 1.
pub fn main() -> ExitCode {
    let mut args = std::env::args();
    let name = args.next().unwrap_or_default();
    let name = Path::new(&name).file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if MODPROBE_NAMES.contains(&name) {
        return modules::modprobe_main(args);
    }
    match name {
        POWEROFF_NAME => return power::ask(power::Ending::PowerOff),
        REBOOT_NAME => return power::ask(power::Ending::Reboot),
        _ => {}
    }
    if std::process::id() != 1 {
        eprintln!(
            "sluice-init: only the kernel starts this program; `sluice lab up` boots a machine"
        );
        return ExitCode::FAILURE;
    }
    let reason = if name == STAGE1_NAME { run_stage1() } else { run_stage2() };
    give_up(&reason)
}

fn run_stage1() -> Fatal {
    match stage1::run() {
        Ok(never) => match never {},
        Err(error) => error.into(),
    }
}

fn run_stage2() -> Fatal {
    match stage2::run() {
        Ok(never) => match never {},
        Err(error) => error.into(),
    }
}

/// Says why, waits so that a person can read it, restarts: a machine that stays dead helps nobody.
fn give_up(reason: &Fatal) -> ExitCode {
    let mut console = Console::open();
    console.say(&format!("FATAL: {}", chain(reason)));
    console.say(&format!("restarting in {} s", FATAL_WAIT.as_secs()));
    std::thread::sleep(FATAL_WAIT);
    power::end(&mut console, power::Ending::Reboot)
}
