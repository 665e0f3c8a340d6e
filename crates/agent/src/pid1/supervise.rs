//! Keeps the agent running, hears signals, the power button and new devices, until the machine is to end.
//!
//! One thread, one loop: nothing here may block, since everything the machine does hangs on it.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use sluice_api::boot::Role;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::{Instant, sleep_until};

use super::console::Console;
use super::hotplug::{Added, Hotplug};
use super::modules::Modules;
use super::power::{self, Ending};
use super::restart::Backoff;
use super::{bootdoc, buttons, output};
use crate::causes::chain;

/// Where the agent notes services that outlive it; in RAM.
const SERVICES: &str = "/run/sluice/agent";
/// Lines waiting for a slow console.
const LINES: usize = 256;
/// A day: "no restart is due", as a time that the loop can wait for.
const NEVER: Duration = Duration::from_hours(24);

/// What the loop needs from the machine.
pub(crate) struct Machine {
    /// Where boot steps are shown.
    pub(crate) console: Console,
    /// For devices plugged in later.
    pub(crate) modules: Modules,
    /// What to keep running.
    pub(crate) program: Program,
}

/// The one program that PID 1 keeps running.
pub(crate) struct Program {
    /// For people.
    name: String,
    command: Vec<String>,
}

impl Program {
    /// The agent of a role.
    pub(crate) fn agent(role: Role) -> Self {
        let role = role.as_str();
        let program = format!("/usr/lib/sluice/bin/sluice-{role}");
        let words =
            [&program, "agent", "--boot", bootdoc::KEPT_AT, "--data", "/data", "--run", SERVICES];
        let command = words.map(str::to_owned).to_vec();
        Self { name: format!("role {role}"), command }
    }

    /// The command channel of a test host.
    pub(crate) fn test_host() -> Self {
        let command = vec!["/usr/lib/sluice/bin/sluice-guest".to_owned()];
        Self { name: "test host".to_owned(), command }
    }
}

/// What happened.
enum Event {
    ChildGone,
    Stop(Ending),
    Added(Added),
    Line(String),
    StartDue,
}

struct Supervisor {
    machine: Machine,
    child_gone: Signal,
    terminate: Signal,
    interrupt: Signal,
    hotplug: Hotplug,
    lines: (Sender<String>, Receiver<String>),
    presses: (Sender<()>, Receiver<()>),
    agent: Option<Child>,
    started: Instant,
    start_at: Option<Instant>,
    backoff: Backoff,
}

/// Runs until somebody asks for the machine's end; fails only when the kernel refuses the loop's own means.
pub(crate) async fn run(machine: Machine) -> io::Result<(Console, Ending)> {
    let mut supervisor = Supervisor::new(machine)?;
    supervisor.start();
    loop {
        let event = supervisor.next().await;
        if let Some(ending) = supervisor.handle(event) {
            return Ok((supervisor.machine.console, ending));
        }
    }
}

impl Supervisor {
    fn new(machine: Machine) -> io::Result<Self> {
        let presses = channel(1);
        buttons::watch_all(&presses.0);
        Ok(Self {
            machine,
            child_gone: signal(SignalKind::child())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hotplug: Hotplug::listen()?,
            lines: channel(LINES),
            presses,
            agent: None,
            started: Instant::now(),
            start_at: None,
            backoff: Backoff::default(),
        })
    }

    async fn next(&mut self) -> Event {
        let due = self.start_at.unwrap_or_else(|| Instant::now() + NEVER);
        tokio::select! {
            _ = self.child_gone.recv() => Event::ChildGone,
            _ = self.terminate.recv() => Event::Stop(Ending::PowerOff),
            _ = self.interrupt.recv() => Event::Stop(Ending::Reboot),
            _ = self.presses.1.recv() => Event::Stop(Ending::PowerOff),
            Some(line) = self.lines.1.recv() => Event::Line(line),
            added = self.hotplug.next() => Event::Added(added),
            () = sleep_until(due) => Event::StartDue,
        }
    }

    fn handle(&mut self, event: Event) -> Option<Ending> {
        match event {
            Event::ChildGone => return self.reap(),
            Event::Stop(ending) => return Some(ending),
            Event::Line(line) => self.machine.console.line(&line),
            Event::Added(added) => self.added(added),
            Event::StartDue if self.start_at.is_some() => self.start(),
            Event::StartDue => {}
        }
        None
    }

    fn start(&mut self) {
        self.start_at = None;
        self.started = Instant::now();
        match spawn(&self.machine.program, &self.lines.0) {
            Ok(child) => {
                let (name, pid) = (&self.machine.program.name, child.id());
                self.machine.console.say(&format!("agent started: {name}, process {pid}"));
                self.agent = Some(child);
            }
            Err(error) => {
                self.machine.console.say(&format!("cannot start the agent: {}", chain(&error)));
                self.start_later();
            }
        }
    }

    fn start_later(&mut self) {
        let delay = self.backoff.after(self.started.elapsed());
        self.start_at = Some(Instant::now() + delay);
        self.machine.console.say(&format!("starting the agent again in {} ms", delay.as_millis()));
    }

    /// Takes all dead children, orphans included: several deaths may share one signal.
    fn reap(&mut self) -> Option<Ending> {
        let mut asked = None;
        while let Some((pid, status)) = next_dead() {
            if self
                .agent
                .as_ref()
                .is_some_and(|agent| i64::from(agent.id()) == i64::from(pid.as_raw()))
            {
                asked = self.agent_ended(status);
            }
        }
        asked
    }

    fn agent_ended(&mut self, status: ExitStatus) -> Option<Ending> {
        self.agent = None;
        let lived = self.started.elapsed().as_secs();
        let how = power::describe(status);
        self.machine.console.say(&format!("agent ended after {lived} s: {how}"));
        let asked = Ending::asked_by(status);
        if asked.is_none() {
            self.start_later();
        }
        asked
    }

    fn added(&mut self, added: Added) {
        match added {
            Added::Input(node) => buttons::watch(&node, &self.presses.0),
            Added::Wants(alias) => {
                if let Err(error) = self.machine.modules.load_alias(&alias) {
                    self.machine.console.say(&format!("warning: {}", chain(&error)));
                }
            }
        }
    }
}

fn spawn(program: &Program, lines: &Sender<String>) -> io::Result<Child> {
    let (path, args) = program.command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let mut child = Command::new(path)
        .args(args)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin")
        .env("HOME", "/tmp")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Some(pipe) = child.stdout.take() {
        output::forward(pipe, lines.clone())?;
    }
    if let Some(pipe) = child.stderr.take() {
        output::forward(pipe, lines.clone())?;
    }
    Ok(child)
}

/// The next dead child, if there is one.
fn next_dead() -> Option<(Pid, ExitStatus)> {
    match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
        Ok(WaitStatus::Exited(pid, code)) => Some((pid, ExitStatus::from_raw(code << 8))),
        Ok(WaitStatus::Signaled(pid, signal, _)) => {
            Some((pid, ExitStatus::from_raw(signal as i32)))
        }
        _ => None,
    }
}
