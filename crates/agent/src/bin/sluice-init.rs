//! PID 1 of the appliances; see `sluice_agent::pid1`.

use std::process::ExitCode;

fn main() -> ExitCode {
    sluice_agent::pid1::main()
}
