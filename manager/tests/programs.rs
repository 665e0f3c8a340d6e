//! The two programs start and say who they are; what they do is tested where there are appliances.

#![allow(clippy::unwrap_used)] // tests

use std::process::Command;

#[test]
fn both_programs_say_their_version() {
    for program in [env!("CARGO_BIN_EXE_sluice"), env!("CARGO_BIN_EXE_sluice-manager")] {
        let told = Command::new(program).arg("--version").output().unwrap();
        let text = String::from_utf8(told.stdout).unwrap();
        assert!(told.status.success() && text.contains(env!("CARGO_PKG_VERSION")), "{text}");
    }
}
