//! The drop-all table: loaded before any NIC is up, replaced by the agent's first configuration.
//!
//! Fails closed: a machine that cannot load it does not go on.

use std::io;
use std::process::{Command, Stdio};

const NFT: &str = "/usr/sbin/nft";
/// Part of the image, so that it can be read without the program.
const SCRIPT: &str = "/usr/lib/sluice/drop-all.nft";

/// The table is not loaded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FirewallError {
    /// nft cannot be started.
    #[error("cannot start {NFT}")]
    Start(#[source] io::Error),
    /// nft refused the script.
    #[error("nft refused {SCRIPT}: {0}")]
    Refused(String),
}

/// Loads the table.
pub(crate) fn drop_all() -> Result<(), FirewallError> {
    let output = Command::new(NFT)
        .args(["-f", SCRIPT])
        .env_clear()
        .stdin(Stdio::null())
        .output()
        .map_err(FirewallError::Start)?;
    if output.status.success() {
        return Ok(());
    }
    Err(FirewallError::Refused(String::from_utf8_lossy(&output.stderr).trim().replace('\n', " ")))
}

#[cfg(test)]
mod tests {
    use sluice_sys::nft::{ObservedTables, diff, early};

    const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../image/lists/drop-all.nft");

    #[test]
    fn the_image_has_the_table_that_the_agent_knows() {
        let tables = [(early::table_id(), early::drop_all())].into();
        let script = diff(&ObservedTables::default(), &tables).render();
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(PATH, &script).unwrap();
        }
        assert_eq!(std::fs::read_to_string(PATH).unwrap(), script, "run: cargo xtask bless");
    }
}
