//! Every code that the agent answers comes from the documented table.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

fn sources(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] }).collect()
}

#[test]
fn findings_of_the_agent_are_made_of_the_table_only() {
    let files = sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    assert!(files.len() > 40, "only {} sources found", files.len());
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        for way in ["Finding::error", "Finding::warning", "Finding {"] {
            assert!(!text.contains(way), "{}: `{way}`; use ApiCode", file.display());
        }
    }
}
