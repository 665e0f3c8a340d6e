//! The machine's consoles: one line per boot step, with the time since start.
//!
//! Every active console gets the line (serial and screen), unlike `/dev/console`, which is only the last of them. A console
//! that takes nothing, such as a serial line with flow control and nobody there, loses lines and never stops PID 1.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Names the kernel's consoles, separated by blanks.
const ACTIVE: &str = "/sys/class/tty/console/active";
/// Longest wait for one write.
const PATIENCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };
/// A console that blocked is left alone this long.
const REST: Duration = Duration::from_secs(5);

/// All active consoles.
#[derive(Debug, Default)]
pub(crate) struct Console {
    outputs: Vec<Output>,
}

#[derive(Debug)]
struct Output {
    file: File,
    resting_until: Option<Instant>,
}

impl Console {
    /// Opens what is there; with none, lines are lost silently, for there is nowhere to say so.
    pub(crate) fn open() -> Self {
        let names = std::fs::read_to_string(ACTIVE).unwrap_or_else(|_| "console".to_owned());
        let outputs = names.split_whitespace().filter_map(Output::open).collect();
        Self { outputs }
    }

    /// Prints one boot step.
    pub(crate) fn say(&mut self, text: &str) {
        self.line(&format!("[{:>8}] sluice: {text}", since_start()));
    }

    /// Prints one line as it is.
    pub(crate) fn line(&mut self, text: &str) {
        let bytes = format!("{text}\n");
        for output in &mut self.outputs {
            output.write(bytes.as_bytes());
        }
    }
}

impl Output {
    fn open(name: &str) -> Option<Self> {
        let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let path = format!("/dev/{name}");
        let file = OpenOptions::new().write(true).custom_flags(flags.bits()).open(path).ok()?;
        Some(Self { file, resting_until: None })
    }

    fn write(&mut self, mut bytes: &[u8]) {
        if self.resting_until.is_some_and(|end| Instant::now() < end) {
            return;
        }
        self.resting_until = None;
        while !bytes.is_empty() {
            match self.file.write(bytes) {
                Ok(0) => return,
                Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock && self.wait() => {}
                Err(_) => {
                    self.resting_until = Some(Instant::now() + REST);
                    return;
                }
            }
        }
    }

    /// Whether the console can take more within the patience.
    fn wait(&self) -> bool {
        let mut fds = [PollFd::new(&self.file, PollFlags::OUT)];
        matches!(poll(&mut fds, Some(&PATIENCE)), Ok(count) if count > 0)
    }
}

/// Seconds since the kernel started, as text; hundredths are what the kernel shows.
fn since_start() -> String {
    let uptime = std::fs::read_to_string("/proc/uptime").unwrap_or_default();
    uptime.split(' ').next().unwrap_or_default().to_owned()
}
