//! What scenarios across crates share: where our binaries and images are.

#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // test support may fail loudly

pub mod alpine;
pub mod cloud;
pub mod console;
pub mod demo;
pub mod faults;
pub mod hosts;
pub mod manager;
pub mod postgres;
mod pypi;
pub mod schemathesis;
pub mod storage;
pub mod takeover;
pub mod tunnels;

use std::path::PathBuf;

/// The binary `name` of this workspace, as built beside the running test.
///
/// # Panics
/// When it has not been built, with a hint.
pub fn bin(name: &str) -> PathBuf {
    let path = profile_dir().join(name);
    assert!(path.exists(), "{} is missing: run `cargo build --workspace --bins`", path.display());
    path
}

/// `target/PROFILE`, found from the running executable (`target/PROFILE/deps/test` or `target/PROFILE/bin`).
fn profile_dir() -> PathBuf {
    let exe = std::env::current_exe().expect("the running executable has a path");
    let dir = exe.parent().expect("an executable is in a directory");
    if dir.ends_with("deps") {
        dir.parent().expect("deps is in the profile directory").to_owned()
    } else {
        dir.to_owned()
    }
}

/// The file `name` of the built images: `target/image/` or `$SLUICE_IMAGE_DIR`.
///
/// # Panics
/// When it has not been built, with a hint.
pub fn image(name: &str) -> PathBuf {
    let dir = std::env::var_os("SLUICE_IMAGE_DIR").map_or_else(
        || profile_dir().parent().expect("a profile directory is in target").join("image"),
        PathBuf::from,
    );
    let path = dir.join(name);
    assert!(path.exists(), "{} is missing: run `cargo xtask image`", path.display());
    path
}
