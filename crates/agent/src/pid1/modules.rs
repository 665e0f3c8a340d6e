//! Kernel modules: the index the image builder wrote, and loading with dependencies.
//!
//! Also answers the kernel's own requests (sysctl `kernel.modprobe`), so that nft expressions, link kinds and ciphers load
//! when first used. Loads only what the image holds; a module that is not there is an ordinary "no".

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use rustix::io::Errno;
use rustix::system::finit_module;

use super::coldplug::matches;

/// Why a module is not loaded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ModuleError {
    /// The index cannot be read.
    #[error("cannot read the module index {path}")]
    Index {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The module file cannot be opened or the kernel refused it.
    #[error("cannot load module {name}")]
    Load {
        /// Which module.
        name: String,
        /// Why.
        source: io::Error,
    },
}

/// The modules of the running kernel that the image holds.
#[derive(Debug, Default)]
pub(crate) struct Modules {
    dir: PathBuf,
    dependencies: Vec<Entry>,
    aliases: Vec<(String, String)>,
    loaded: BTreeSet<String>,
}

#[derive(Debug, PartialEq, Eq)]
struct Entry {
    name: String,
    path: String,
    /// In the order in which they must be loaded.
    needs: Vec<String>,
}

impl Modules {
    /// Reads the index of the running kernel.
    pub(crate) fn open() -> Result<Self, ModuleError> {
        let release = rustix::system::uname().release().to_string_lossy().into_owned();
        let dir = PathBuf::from("/usr/lib/modules").join(release);
        let read = |name: &str| {
            let path = dir.join(name);
            fs::read_to_string(&path).map_err(|source| ModuleError::Index { path, source })
        };
        let (dep, alias) = (read("modules.dep")?, read("modules.alias")?);
        Ok(Self {
            dependencies: parse_dep(&dep),
            aliases: parse_alias(&alias),
            dir,
            loaded: BTreeSet::new(),
        })
    }

    /// Loads a module by name with what it needs. A module the image lacks is no error: it may be built in.
    pub(crate) fn load(&mut self, name: &str) -> Result<(), ModuleError> {
        let name = normal(name);
        let Some(entry) = self.dependencies.iter().find(|entry| entry.name == name) else {
            return Ok(());
        };
        let paths: Vec<String> = entry.needs.iter().chain([&entry.path]).cloned().collect();
        paths.iter().try_for_each(|path| self.insert(path))
    }

    /// Loads every module that claims an alias; says how many there were.
    pub(crate) fn load_alias(&mut self, alias: &str) -> Result<usize, ModuleError> {
        let names: BTreeSet<String> = self
            .aliases
            .iter()
            .filter(|(pattern, _)| matches(pattern, alias))
            .map(|(_, name)| name.clone())
            .collect();
        for name in &names {
            self.load(name)?;
        }
        Ok(names.len())
    }

    fn insert(&mut self, path: &str) -> Result<(), ModuleError> {
        if self.loaded.contains(path) {
            return Ok(());
        }
        let error = |source| ModuleError::Load { name: module_name(path), source };
        let file = File::open(self.dir.join(path)).map_err(error)?;
        match finit_module(&file, c"", 0) {
            Ok(()) | Err(Errno::EXIST) => {
                self.loaded.insert(path.to_owned());
                Ok(())
            }
            Err(errno) => Err(error(errno.into())),
        }
    }
}

/// Answers `modprobe -q -- NAME` as the kernel calls it. Its exit code is for the kernel; it has no console to speak to.
pub(crate) fn modprobe_main(args: impl Iterator<Item = String>) -> ExitCode {
    let Ok(mut modules) = Modules::open() else { return ExitCode::FAILURE };
    for name in args.filter(|word| !word.starts_with('-')) {
        let by_alias = modules.load_alias(&name);
        if by_alias.is_err() || modules.load(&name).is_err() {
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// `modules.dep`: `PATH: PATH PATH`, where the last path is to be loaded first.
fn parse_dep(text: &str) -> Vec<Entry> {
    let entry = |line: &str| {
        let (path, needs) = line.split_once(':')?;
        let needs = needs.split_whitespace().rev().map(str::to_owned).collect();
        Some(Entry { name: module_name(path), path: path.to_owned(), needs })
    };
    text.lines().filter_map(entry).collect()
}

/// `modules.alias`: `alias PATTERN NAME`.
fn parse_alias(text: &str) -> Vec<(String, String)> {
    let alias = |line: &str| {
        let mut words = line.split_whitespace();
        let (kind, pattern, name) = (words.next()?, words.next()?, words.next()?);
        (kind == "alias").then(|| (pattern.to_owned(), normal(name)))
    };
    text.lines().filter_map(alias).collect()
}

fn module_name(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    normal(file.split('.').next().unwrap_or(file))
}

/// The kernel treats `-` and `_` in module names alike.
fn normal(name: &str) -> String {
    name.replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_come_in_loading_order() {
        let got = parse_dep(
            "kernel/net/8021q/8021q.ko: kernel/net/802/garp.ko kernel/net/llc/llc.ko\nkernel/a-b.ko:\n",
        );
        assert_eq!(got[0].needs, ["kernel/net/llc/llc.ko", "kernel/net/802/garp.ko"]);
        assert_eq!(got[0].name, "8021q");
        assert_eq!(
            got[1],
            Entry { name: "a_b".into(), path: "kernel/a-b.ko".into(), needs: vec![] }
        );
    }

    #[test]
    fn aliases_skip_comments() {
        let got = parse_alias("# comment\nalias fs-ext4 ext4\nalias short\n");
        assert_eq!(got, [("fs-ext4".to_owned(), "ext4".to_owned())]);
    }

    #[test]
    fn a_module_the_image_lacks_is_no_error() {
        let mut modules = Modules::default();
        modules.load("floppy").unwrap();
        assert_eq!(modules.load_alias("pci:v0").unwrap(), 0);
    }

    #[test]
    fn a_module_that_could_not_be_loaded_is_not_taken_for_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let mut modules = Modules {
            dir: folder.path().to_owned(),
            dependencies: parse_dep("kernel/a.ko:\n"),
            ..Modules::default()
        };
        // not there, there and no module, and asked for a second time
        assert!(matches!(modules.load("a"), Err(ModuleError::Load { .. })));
        fs::create_dir(folder.path().join("kernel")).unwrap();
        fs::write(folder.path().join("kernel/a.ko"), "nonsense").unwrap();
        for _ in 0..2 {
            assert!(matches!(modules.load("a"), Err(ModuleError::Load { .. })));
        }
        assert!(modules.loaded.is_empty());
    }
}
