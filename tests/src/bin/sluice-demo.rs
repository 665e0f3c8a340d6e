//! `cargo xtask demo [SCENE]`: the main jobs on virtual machines.
//!
//! Exit code 0: everything was shown; 1: something was not as it must be; 2: wrong usage.

#![allow(clippy::print_stdout)] // this program talks to a person

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use sluice_lab::LabCommand;
use sluice_tests::demo::{self, LAB_PREFIX, Options, Scene};

#[derive(Parser)]
#[command(name = "sluice-demo", about = "Show the main job on virtual machines")]
struct Arguments {
    /// Leave the machines up and say how to look around
    #[arg(long)]
    keep: bool,
    /// End what --keep left up
    #[arg(long, conflicts_with = "keep")]
    down: bool,
    /// Folder for the manager's store and the boot documents; emptied first
    #[arg(long, default_value = "target/demo")]
    folder: PathBuf,
    /// What is shown
    #[arg(long, value_enum, default_value = "network")]
    scene: Scene,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// The lab's background process
    #[command(subcommand, hide = true)]
    Lab(LabCommand),
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<ExitCode> {
    if let Some(Command::Lab(lab)) = arguments.command {
        return lab.run(LAB_PREFIX).await;
    }
    // the manager is told absolute paths, and so can be recognised by them later
    let folder = std::path::absolute(&arguments.folder)?;
    if arguments.down {
        demo::end(&folder).await?;
        println!("demo: down");
        return Ok(ExitCode::SUCCESS);
    }
    let options = Options { folder, scene: arguments.scene, keep: arguments.keep };
    demo::run(&options).await?;
    println!("demo: ok");
    Ok(ExitCode::SUCCESS)
}
