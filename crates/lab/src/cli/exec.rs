//! `exec`: a command on a test host, through its command channel, or in a namespace of this host.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use sluice_sys::stdout;

use crate::daemon::{Client, Reply, Request};

pub(super) async fn exec(
    client: &Client,
    node: &str,
    timeout_s: u64,
    command: &[String],
) -> Result<ExitCode> {
    let status = client.status().await?;
    if let Some(namespace) = status.namespaces.get(node) {
        // run from here, so that it has this terminal
        let mut ip = sluice_programs::command("ip")?;
        let ran = ip.args(["netns", "exec", namespace]).args(command).status();
        let status = ran.context("cannot run `ip netns exec`")?;
        return Ok(exit_code(status.code().unwrap_or(-1)));
    }
    let request = Request::Exec { node: node.to_owned(), line: shell_line(command), timeout_s };
    match client.ask(&request).await? {
        Reply::Output(output) => {
            stdout::print(&output.stdout)?;
            eprint!("{}", output.stderr);
            Ok(exit_code(output.code))
        }
        other => bail!("unexpected answer: {other:?}"),
    }
}

fn exit_code(code: i32) -> ExitCode {
    u8::try_from(code).map_or(ExitCode::FAILURE, ExitCode::from)
}

/// The words as one line that a shell takes apart into the same words. A single word is left as it
/// is, so that `exec vm1 -- 'ip addr | grep inet'` works too.
pub(super) fn shell_line(words: &[String]) -> String {
    match words {
        [line] => line.clone(),
        words => words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" "),
    }
}

fn quoted(word: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_./:=@%+,".contains(&b);
    if !word.is_empty() && word.bytes().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}
