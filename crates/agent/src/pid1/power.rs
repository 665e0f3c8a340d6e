//! Going down: the power button, and the order of the last steps.

use std::os::unix::process::ExitStatusExt;
use std::process::{ExitCode, ExitStatus};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::reboot::{RebootMode, reboot};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, sync};

use super::console::Console;

/// The agent asks for power-off by this exit code.
pub(crate) const EXIT_POWER_OFF: i32 = 65;
/// The agent asks for a restart of the machine by this exit code.
pub(crate) const EXIT_REBOOT: i32 = 66;
/// How long processes have to end by themselves.
const GRACE: Duration = Duration::from_secs(5);
/// Between two looks whether they did.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// struct input_event on 64 bit: time (16), type (2), code (2), value (4).
pub(crate) const EVENT_SIZE: usize = 24;
const EV_KEY: u16 = 1;
const KEY_POWER: u16 = 116;
const PRESSED: i32 = 1;

/// How the machine ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Power off.
    PowerOff,
    /// Start again.
    Reboot,
}

impl Ending {
    /// What an exit of the agent asks for; `None` is an ordinary death.
    pub(crate) fn asked_by(status: ExitStatus) -> Option<Self> {
        match status.code() {
            Some(EXIT_POWER_OFF) => Some(Self::PowerOff),
            Some(EXIT_REBOOT) => Some(Self::Reboot),
            _ => None,
        }
    }
}

/// Asks PID 1 to end the machine, as its supervising loop hears it.
pub(crate) fn ask(ending: Ending) -> ExitCode {
    let signal = match ending {
        Ending::PowerOff => Signal::SIGTERM,
        Ending::Reboot => Signal::SIGINT,
    };
    match kill(Pid::from_raw(1), signal) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Whether these input events hold a press of the power button.
pub(crate) fn power_pressed(events: &[u8]) -> bool {
    events.chunks_exact(EVENT_SIZE).any(|event| {
        let half = |at: usize| event.get(at..at + 2).and_then(|bytes| bytes.try_into().ok());
        let kind = half(16).map(u16::from_ne_bytes);
        let code = half(18).map(u16::from_ne_bytes);
        let value =
            event.get(20..24).and_then(|bytes| bytes.try_into().ok()).map(i32::from_ne_bytes);
        (kind, code, value) == (Some(EV_KEY), Some(KEY_POWER), Some(PRESSED))
    })
}

/// Ends everything and the machine. Returns only when the kernel refuses, which ends PID 1 and so panics into a restart.
pub(crate) fn end(console: &mut Console, ending: Ending) -> ExitCode {
    console.say(match ending {
        Ending::PowerOff => "powering off",
        Ending::Reboot => "restarting",
    });
    end_processes();
    sync();
    release_data(console);
    sync();
    let mode = match ending {
        Ending::PowerOff => RebootMode::RB_POWER_OFF,
        Ending::Reboot => RebootMode::RB_AUTOBOOT,
    };
    let refused = reboot(mode).err();
    console.say(&format!("the kernel refused: {refused:?}"));
    ExitCode::FAILURE
}

/// Asks all processes to end, then ends them.
fn end_processes() {
    let everyone = Pid::from_raw(-1);
    let _ = kill(everyone, Signal::SIGTERM);
    if !all_gone_within(GRACE) {
        let _ = kill(everyone, Signal::SIGKILL);
        all_gone_within(GRACE);
    }
}

fn all_gone_within(patience: Duration) -> bool {
    let end = Instant::now() + patience;
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Err(Errno::ECHILD) => return true,
            Ok(WaitStatus::StillAlive) if Instant::now() >= end => return false,
            Ok(WaitStatus::StillAlive) => std::thread::sleep(LOOK_EVERY),
            _ => {}
        }
    }
}

/// Unmounts the data partition; busy means read-only, which is as good for the disk.
fn release_data(console: &mut Console) {
    let none = None::<&str>;
    match umount2("/data", MntFlags::empty()) {
        Ok(()) | Err(Errno::EINVAL | Errno::ENOENT) => {}
        Err(_) => {
            let flags = MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
            if let Err(errno) = mount(none, "/data", none, flags, none) {
                console.say(&format!("warning: /data is still in use: {errno}"));
            }
        }
    }
}

/// For people: how a process ended.
pub(crate) fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "unknown status".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: u16, code: u16, value: i32) -> Vec<u8> {
        let mut bytes = vec![0; 16];
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(code.to_ne_bytes());
        bytes.extend(value.to_ne_bytes());
        bytes
    }

    #[test]
    fn only_a_press_of_the_power_key_counts() {
        let released = event(EV_KEY, KEY_POWER, 0);
        let other = event(EV_KEY, 30, 1);
        assert!(!power_pressed(&[released.clone(), other].concat()));
        assert!(power_pressed(&[released, event(EV_KEY, KEY_POWER, 1)].concat()));
        assert!(!power_pressed(&event(EV_KEY, KEY_POWER, 1)[..23]));
    }

    #[test]
    fn exit_codes_ask_for_endings() {
        let exit = |code: i32| Ending::asked_by(ExitStatus::from_raw(code << 8));
        assert_eq!(exit(65), Some(Ending::PowerOff));
        assert_eq!(exit(66), Some(Ending::Reboot));
        assert_eq!(exit(0), None);
        assert_eq!(Ending::asked_by(ExitStatus::from_raw(9)), None);
    }
}
