//! The laboratory on its own: `sluice lab` for whoever has no manager.

use std::process::ExitCode;

use clap::Parser;
use sluice_lab::LabCommand;

#[derive(Parser)]
#[command(name = "sluice-lab", about = "Virtual wires and machines", version)]
struct Arguments {
    #[command(subcommand)]
    command: LabCommand,
}

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .init();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(Arguments::parse().command.run(&[])) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
