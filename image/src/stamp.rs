//! Knows whether an image is up to date, so that a test run does not build it again.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::error::{Result, file, read, write};
use crate::manifest::sha256;

/// The inputs of an image, as a file beside it.
pub(crate) struct Stamp {
    path: PathBuf,
    value: String,
}

impl Stamp {
    /// Hashes the inputs: these files as far as they exist, this text, and the builder itself, which holds the lists.
    pub(crate) fn new(path: PathBuf, files: &[PathBuf], text: &str) -> Result<Self> {
        let mut hash = Sha256::new();
        let builder =
            std::env::current_exe().map_err(file("find", Path::new("the running program")))?;
        for input in files.iter().chain([&builder]).filter(|input| input.exists()) {
            hash.update(input.to_string_lossy().as_bytes());
            hash.update(Sha256::digest(read(input)?));
        }
        hash.update(text.as_bytes());
        Ok(Self { path, value: sha256(&hash.finalize()) })
    }

    /// Whether these files are there and made of these inputs.
    pub(crate) fn is_fresh(&self, outputs: &[&Path]) -> bool {
        let kept = std::fs::read_to_string(&self.path).unwrap_or_default();
        kept == self.value && outputs.iter().all(|output| output.exists())
    }

    /// Says that they are being made: a build that is interrupted leaves nothing that could pass for fresh.
    pub(crate) fn void(&self) -> Result<()> {
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(file("remove", &self.path)(error))
            }
            _ => Ok(()),
        }
    }

    /// Says that they are now.
    pub(crate) fn keep(&self) -> Result<()> {
        write(&self.path, self.value.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_input_makes_it_stale() {
        let dir = tempfile::tempdir().unwrap();
        let (input, output) = (dir.path().join("in"), dir.path().join("out"));
        std::fs::write(&input, "1").unwrap();
        std::fs::write(&output, "").unwrap();
        let stamp =
            || Stamp::new(dir.path().join("stamp"), std::slice::from_ref(&input), "x").unwrap();
        assert!(!stamp().is_fresh(&[&output]));
        stamp().keep().unwrap();
        assert!(stamp().is_fresh(&[&output]));
        assert!(!stamp().is_fresh(&[&dir.path().join("other")]));
        std::fs::write(&input, "2").unwrap();
        assert!(!stamp().is_fresh(&[&output]));
        stamp().void().unwrap();
        std::fs::write(&input, "1").unwrap();
        assert!(!stamp().is_fresh(&[&output]), "the build of the other input was interrupted");
        stamp().void().unwrap();
    }
}
