//! `console`: this terminal on a machine's serial port.
//!
//! Guarantees: the terminal is put back as it was, whatever ends the session.

use std::io::{IsTerminal, Read, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::mpsc;

use crate::daemon::Client;

/// Ctrl-], as in telnet: no shell or boot loader wants it.
const LEAVE: u8 = 0x1d;
/// How much of what was said before is shown first, in bytes.
const BEFORE: usize = 4096;

pub(super) async fn attach(client: &Client, node: &str) -> Result<()> {
    let status = client.status().await?;
    let Some(machine) = status.machines.iter().find(|machine| machine.name == node) else {
        let known: Vec<_> = status.machines.iter().map(|machine| machine.name.as_str()).collect();
        bail!("no machine {node:?} in this lab; there are: {}", known.join(", "));
    };
    if !machine.on {
        bail!("machine {node} is off: `lab power {node} on` switches it on");
    }
    let stream = UnixStream::connect(&machine.console).await;
    let stream = stream.with_context(|| format!("cannot attach to the console of {node}"))?;
    eprintln!("console of {node}; Ctrl-] leaves");
    show(&before(&machine.console_log))?;
    let _terminal = RawTerminal::set()?;
    talk(stream).await
}

/// The end of what was said so far.
fn before(log: &Path) -> Vec<u8> {
    let mut said = std::fs::read(log).unwrap_or_default();
    said.split_off(said.len().saturating_sub(BEFORE))
}

fn show(bytes: &[u8]) -> Result<()> {
    let mut screen = std::io::stdout();
    screen.write_all(bytes).and_then(|()| screen.flush()).context("cannot write to the terminal")
}

/// What is typed, read by a thread of its own: reading a terminal cannot be given up halfway.
fn keys() -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel(16);
    std::thread::spawn(move || {
        let mut typed = [0; 256];
        while let Ok(read @ 1..) = std::io::stdin().read(&mut typed) {
            let bytes = typed.get(..read).unwrap_or_default().to_vec();
            if sender.blocking_send(bytes).is_err() {
                return;
            }
        }
    });
    receiver
}

async fn talk(stream: UnixStream) -> Result<()> {
    let (mut machine, mut to_machine) = stream.into_split();
    let mut keys = keys();
    let mut said = [0; 4096];
    loop {
        tokio::select! {
            typed = keys.recv() => {
                let Some(bytes) = typed else { return Ok(()) };
                let kept = bytes.split(|byte| *byte == LEAVE).next().unwrap_or_default();
                to_machine.write_all(kept).await.context("the console does not listen")?;
                if kept.len() < bytes.len() {
                    return Ok(());
                }
            }
            read = machine.read(&mut said) => {
                let bytes = said.get(..read.context("the console broke off")?).unwrap_or_default();
                if bytes.is_empty() {
                    eprint!("\r\nthe machine is off\r\n");
                    return Ok(());
                }
                show(bytes)?;
            }
        }
    }
}

/// The terminal in raw mode until dropped; nothing when standard input is no terminal.
struct RawTerminal(Option<Termios>);

impl RawTerminal {
    fn set() -> Result<Self> {
        let stdin = std::io::stdin();
        if !stdin.is_terminal() {
            return Ok(Self(None));
        }
        let before = tcgetattr(&stdin).context("cannot read the terminal's settings")?;
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        tcsetattr(&stdin, SetArg::TCSANOW, &raw).context("cannot set the terminal")?;
        Ok(Self(Some(before)))
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            // nothing better can be done while leaving
            let _restored = tcsetattr(std::io::stdin(), SetArg::TCSANOW, before);
        }
    }
}
