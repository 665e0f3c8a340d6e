//! Stage 2, on the template's root: everything between the hand-over and the supervised agent, in this order because each
//! step needs the one before: mounts, settings, the kernel's rules engine, drop-all, drivers, loopback, boot document, agent.

use std::convert::Infallible;
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::reboot::set_cad_enabled;

use super::bootdoc::{self, BootDocError, Found};
use super::cmdline::Cmdline;
use super::console::Console;
use super::firewall::{self, FirewallError};
use super::modules::{ModuleError, Modules};
use super::mounts::{self, MountError};
use super::supervise::{self, Machine, Program};
use super::{coldplug, loopback, power, sysctl};
use crate::causes::chain;

/// Names, one a line, of the modules that no alias asks for in time.
const MODULES: &str = "/usr/lib/sluice/stage2.modules";
/// What links of PPP are made by.
const PPP: &str = "/dev/ppp";
/// How long a config drive may take to appear.
const DRIVE_PATIENCE: Duration = Duration::from_secs(15);
/// Between two looks for it.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Only the debug flavour has it.
const DEBUG_SHELL: &str = "/usr/bin/busybox";

/// Only the laboratory's test host has it; it is part of a read-only root, so no appliance can become one.
const TEST_HOST: &str = "/usr/lib/sluice/testhost";

/// Why stage 2 stopped.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Stage2Error {
    /// A mount failed.
    #[error(transparent)]
    Mount(#[from] MountError),
    /// The module index cannot be read.
    #[error("the image is incomplete")]
    Modules(#[from] ModuleError),
    /// Without the drop-all table no NIC may come up.
    #[error("the drop-all table is not loaded")]
    Firewall(#[from] FirewallError),
    /// The machine does not know who it is.
    #[error(transparent)]
    BootDoc(#[from] BootDocError),
    /// The supervising loop cannot run.
    #[error("cannot supervise the agent")]
    Supervise(#[source] io::Error),
    /// The kernel command line cannot be read.
    #[error("cannot read the kernel command line")]
    Cmdline(#[source] io::Error),
    /// The kernel refused to end the machine.
    #[error("the kernel refused to end the machine")]
    End,
}

/// Runs stage 2 until the machine ends.
pub(crate) fn run() -> Result<Infallible, Stage2Error> {
    mounts::late()?;
    let mut console = Console::open();
    console.say(&format!("stage 2: {} {}", env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION")));
    settings(&mut console);
    let mut modules = Modules::open()?;
    if Path::new(TEST_HOST).exists() {
        return test_host(console, modules);
    }
    named_modules(&mut console, &mut modules);
    firewall::drop_all()?;
    console.say("drop-all table is loaded");
    for (path, error) in sysctl::size_tables() {
        console.say(&format!("warning: cannot set {path}: {error}"));
    }
    drivers(&mut console, &mut modules);
    if let Err(error) = loopback::up() {
        console.say(&format!("warning: cannot raise lo: {error}"));
    }
    debug_shell(&mut console);
    let found = boot_document(&mut console, &mut modules)?;
    console.say(&format!("boot document from {}: appliance {}", found.from, found.appliance));
    coldplug::rest_later();
    supervise(Machine { console, modules, program: Program::agent(found.role) })
}

/// A machine of the laboratory: no filter and no identity, but the same start and the same end.
fn test_host(mut console: Console, mut modules: Modules) -> Result<Infallible, Stage2Error> {
    let cmdline = Cmdline::read().map_err(Stage2Error::Cmdline)?;
    if let Err(error) = rustix::system::sethostname(cmdline.hostname.as_bytes()) {
        console.say(&format!("warning: cannot set the host name: {error}"));
    }
    named_modules(&mut console, &mut modules);
    drivers(&mut console, &mut modules);
    if let Err(error) = loopback::up() {
        console.say(&format!("warning: cannot raise lo: {error}"));
    }
    supervise(Machine { console, modules, program: Program::test_host() })
}

fn settings(console: &mut Console) {
    for (name, error) in sysctl::apply() {
        console.say(&format!("warning: cannot set {name}: {error}"));
    }
    // Ctrl-Alt-Del then reaches us as SIGINT, and the disk is released before the restart
    if let Err(errno) = set_cad_enabled(false) {
        console.say(&format!("warning: Ctrl-Alt-Del restarts at once: {errno}"));
    }
}

/// None of them drives a NIC, so they may come before drop-all.
fn named_modules(console: &mut Console, modules: &mut Modules) {
    let names = fs::read_to_string(MODULES).unwrap_or_default();
    for failure in names.lines().filter_map(|name| modules.load(name).err()) {
        console.say(&format!("warning: {}", chain(&failure)));
    }
    // services do not run as root; whoever opens it needs CAP_NET_ADMIN in any case (drivers/net/ppp/ppp_generic.c)
    if let Err(error) = fs::set_permissions(PPP, fs::Permissions::from_mode(0o666)) {
        console.say(&format!("warning: {PPP} is not for services: {error}"));
    }
}

fn drivers(console: &mut Console, modules: &mut Modules) {
    for failure in coldplug::without_storage(modules) {
        console.say(&format!("warning: {}", chain(&failure)));
    }
    console.say(&format!("network interfaces: {}", interfaces().join(" ")));
    for card in coldplug::cards_without_driver() {
        console.say(&format!("warning: no driver for network card {card}"));
    }
}

fn interfaces() -> Vec<String> {
    let Ok(entries) = fs::read_dir("/sys/class/net") else { return Vec::new() };
    let mut names: Vec<_> =
        entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

/// A drive shows itself some time after its controller's driver is loaded, and then wants a driver of its own. The command
/// line comes last, so that it can never be in the way of a drive that is slow.
fn boot_document(console: &mut Console, modules: &mut Modules) -> Result<Found, Stage2Error> {
    let on_cmdline = on_cmdline(console)?;
    let end = Instant::now() + DRIVE_PATIENCE;
    loop {
        match bootdoc::acquire(None) {
            Err(BootDocError::None) if Instant::now() < end => {
                std::thread::sleep(LOOK_EVERY);
                // the drive may be behind a storage controller, whose driver comes only now
                coldplug::run(modules);
            }
            Err(BootDocError::None) => return Ok(bootdoc::acquire(on_cmdline.as_deref())?),
            result => return Ok(result?),
        }
    }
}

fn on_cmdline(console: &mut Console) -> Result<Option<String>, Stage2Error> {
    let offered = Cmdline::read().map_err(Stage2Error::Cmdline)?.boot;
    let usable = bootdoc::of_laboratory(offered, Path::new(DEBUG_SHELL).exists());
    Ok(usable.unwrap_or_else(|ignored| {
        console.say(&format!("warning: {ignored}"));
        None
    }))
}

/// A root shell on the serial line, in the flavour made for engineers only.
fn debug_shell(console: &mut Console) {
    let serial = Path::new("/dev/ttyS0");
    let is_there = serial.metadata().is_ok_and(|meta| meta.file_type().is_char_device());
    if !is_there || !Path::new(DEBUG_SHELL).exists() {
        return;
    }
    console.say("WARNING: debug flavour: a root shell without password is on ttyS0");
    // its own session, so that Ctrl-C reaches the shell's children and never us
    let line = "while :; do setsid -c sh -l </dev/ttyS0 >/dev/ttyS0 2>&1; done";
    let shell = Command::new(DEBUG_SHELL)
        .args(["sh", "-c", line])
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/usr/lib/sluice/bin")
        .env("HOME", "/tmp")
        .env("TERM", "vt102")
        .stdin(Stdio::null())
        .spawn();
    if let Err(error) = shell {
        console.say(&format!("warning: no debug shell: {error}"));
    }
}

fn supervise(machine: Machine) -> Result<Infallible, Stage2Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Stage2Error::Supervise)?;
    let (mut console, ending) =
        runtime.block_on(supervise::run(machine)).map_err(Stage2Error::Supervise)?;
    power::end(&mut console, ending);
    Err(Stage2Error::End)
}
