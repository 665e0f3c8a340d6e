//! `sluice-on-postgres COMMAND…`: runs a command with the manager's tests on PostgreSQL, on one server that ends with it.
//! Each test gets a database of its own. Ends as the command does.

use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result};
use sluice_tests::postgres::{Postgres, SERVER};

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let words: Vec<_> = std::env::args_os().skip(1).collect();
    let (program, words) = words.split_first().context("say a command")?;
    let server = Postgres::start().await?;
    let status = Command::new(program).args(words).env(SERVER, server.url()).status();
    let status = status.with_context(|| format!("cannot start {}", program.display()))?;
    Ok(status
        .code()
        .and_then(|code| u8::try_from(code).ok())
        .map_or(ExitCode::FAILURE, ExitCode::from))
}
