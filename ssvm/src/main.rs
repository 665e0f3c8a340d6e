//! The secondary storage VM. Not built yet: the program says so and does nothing else.

use std::process::ExitCode;

/// EX_UNAVAILABLE of sysexits(3): the service does not exist here.
const UNAVAILABLE: u8 = 69;

fn main() -> ExitCode {
    eprintln!(
        "error: the secondary storage VM is not part of this release; boot this template as a router"
    );
    ExitCode::from(UNAVAILABLE)
}
