//! Reading a machine's serial console from its log.
//!
//! Guarantees: text since the machine was last switched on, whoever else is attached to the
//! console meanwhile.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// How much of the console an error shows.
const TAIL_LINES: usize = 40;

/// The log of one machine's console.
#[derive(Debug, Clone)]
pub(super) struct ConsoleLog {
    path: PathBuf,
    start: u64,
}

impl ConsoleLog {
    /// From the present end of the log on.
    pub(super) fn from_now(path: &Path) -> Self {
        let start = std::fs::metadata(path).map_or(0, |metadata| metadata.len());
        Self { path: path.to_owned(), start }
    }

    /// What was said since; control bytes are left as they came.
    pub(super) fn text(&self) -> String {
        let mut bytes = Vec::new();
        if let Ok(mut file) = File::open(&self.path) {
            // what cannot be read yet is read at the next look
            let _at = file.seek(SeekFrom::Start(self.start));
            let _read = file.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The last lines, for an error.
    pub(super) fn tail(&self) -> String {
        let text = self.text();
        let lines: Vec<&str> = text.lines().collect();
        let from = lines.len().saturating_sub(TAIL_LINES);
        let shown = lines.get(from..).unwrap_or_default().join("\n");
        format!("-- console of {}\n{shown}", self.path.display())
    }
}
