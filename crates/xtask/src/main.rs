//! `cargo xtask`: everything a person or CI does with this tree, set-up included.
//!
//! Guarantees: each command installs what it misses, after saying what and why; it needs nothing on the machine but
//! Rust. Exit code 0: all went well; 1: something failed, with the reason and a hint on stderr; 2: wrong usage.

/// Tells a person something.
macro_rules! say {
    ($($text:tt)*) => { $crate::run::say(format_args!($($text)*)) };
}

mod bench;
mod bless;
mod demo;
mod fuzz;
mod image;
mod lab;
mod licences;
mod nextest;
mod packages;
mod run;
#[cfg(test)]
mod starts;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    about = "Build, try and test Sluice",
    disable_help_subcommand = true
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Show the main job on virtual machines: address, names, the Internet, one change
    Demo(demo::Options),
    /// Run all tests, tier by tier
    Test(test::Options),
    /// Build the bootable template and the test host
    Image(image::Options),
    /// Virtual wires and machines: up, status, console, capture, down
    Lab(lab::Options),
    /// Measure ours beside the rival's
    Bench(bench::Options),
    /// Rewrite golden files after a change that was meant
    Bless,
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Demo(options) => demo::run(&options),
        Command::Test(options) => test::run(&options),
        Command::Image(options) => image::run(&options),
        Command::Lab(options) => lab::run(&options),
        Command::Bench(options) => bench::run(&options),
        Command::Bless => bless::run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
