//! Kernel modules: chosen by a list, completed by what they depend on, indexed as modprobe expects it.
//!
//! Dependencies and aliases are read from the modules themselves, because the kernel package leaves its index to a
//! maintainer script, which we do not run.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::elf::Elf;
use crate::error::{Error, Result, dir_entries, read};
use crate::lists::{self, entries};
use crate::tool;
use crate::tree::Tree;

/// A module, unpacked: the root is compressed as a whole, better and with less memory at boot.
#[derive(Clone, Debug)]
pub(crate) struct Module {
    /// Path below the kernel's module directory, `kernel/...ko`.
    path: String,
    content: Vec<u8>,
    depends: Vec<String>,
    aliases: Vec<String>,
}

/// All modules of a kernel, on disk.
#[derive(Debug)]
pub(crate) struct Kernel {
    /// Its release, the name of its module directory.
    pub(crate) release: String,
    dir: PathBuf,
    /// Paths without suffix below `dir`, by normal name.
    paths: BTreeMap<String, String>,
    builtin: BTreeSet<String>,
}

/// A chosen set of modules, complete.
pub(crate) type Chosen = BTreeMap<String, Module>;

impl Kernel {
    /// Finds the one kernel in an unpacked root.
    pub(crate) fn find(root: &Path) -> Result<Self> {
        let all = root.join("usr/lib/modules");
        let mut releases: Vec<PathBuf> =
            dir_entries(&all)?.iter().map(std::fs::DirEntry::path).collect();
        releases.sort();
        let dir = releases.pop().ok_or_else(|| unknown("linux-image"))?;
        let release = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut paths = BTreeMap::new();
        collect(&dir, "kernel", &mut paths)?;
        let builtin = String::from_utf8_lossy(&read(&dir.join("modules.builtin"))?)
            .lines()
            .map(name_of)
            .collect();
        Ok(Self { release, dir, paths, builtin })
    }

    /// The modules of a list and everything they depend on.
    pub(crate) fn choose(&self, list: &str) -> Result<Chosen> {
        let mut chosen = Chosen::new();
        let mut wanted =
            entries(list).map(|entry| self.expand(entry)).collect::<Result<Vec<_>>>()?.concat();
        while let Some(name) = wanted.pop() {
            if chosen.contains_key(&name) {
                continue;
            }
            let module = self.load(&name)?;
            wanted.extend(module.depends.iter().cloned());
            chosen.insert(name, module);
        }
        Ok(chosen)
    }

    /// The names that an entry of a list stands for; built-in ones stand for nothing.
    fn expand(&self, entry: &str) -> Result<Vec<String>> {
        if let Some(pattern) = entry.strip_suffix('*').filter(|entry| entry.contains('/')) {
            let start = format!("kernel/{pattern}");
            let below =
                |path: &&String| path.strip_prefix(&start).is_some_and(|rest| !rest.contains('/'));
            let names: Vec<_> = self
                .paths
                .iter()
                .filter(|(_, path)| below(path))
                .map(|(name, _)| name.clone())
                .collect();
            return if names.is_empty() { Err(unknown(entry)) } else { Ok(names) };
        }
        let name = normal(entry);
        if self.paths.contains_key(&name) {
            return Ok(vec![name]);
        }
        if self.builtin.contains(&name) { Ok(Vec::new()) } else { Err(unknown(entry)) }
    }

    fn load(&self, name: &str) -> Result<Module> {
        let path = self.paths.get(name).ok_or_else(|| unknown(name))?;
        let packed = self.dir.join(format!("{path}.xz"));
        let content = tool::run(tool::command("xz").arg("-dc").arg(&packed))?;
        let damaged =
            || Error::Damaged { path: packed.display().to_string(), reason: "no kernel module" };
        let info = Elf::parse(&content).ok_or_else(damaged)?.modinfo();
        let values = |key: &'static str| {
            info.iter().filter(move |(name, _)| name == key).map(|(_, value)| value.clone())
        };
        let depends =
            values("depends").flat_map(|text| text.split(',').map(normal).collect::<Vec<_>>());
        let depends = depends.filter(|name| !name.is_empty()).collect();
        let aliases = values("alias").collect();
        Ok(Module { path: path.clone(), content, depends, aliases })
    }

    /// Adds chosen modules and their index to a tree.
    pub(crate) fn install(&self, chosen: &Chosen, tree: &mut Tree) {
        let dir = format!("usr/lib/modules/{}", self.release);
        for module in chosen.values() {
            tree.file(&format!("{dir}/{}", module.path), module.content.clone(), 0o644);
        }
        tree.file(&format!("{dir}/modules.dep"), dep_index(chosen), 0o644);
        tree.file(&format!("{dir}/modules.alias"), alias_index(chosen), 0o644);
    }
}

fn unknown(name: &str) -> Error {
    Error::Unknown { list: "modules.txt", name: name.to_owned() }
}

fn collect(dir: &Path, below: &str, into: &mut BTreeMap<String, String>) -> Result<()> {
    let here = dir.join(below);
    for entry in dir_entries(&here)? {
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{below}/{name}");
        if entry.path().is_dir() {
            collect(dir, &path, into)?;
        } else if let Some(path) = path.strip_suffix(".xz") {
            into.insert(name_of(path), path.to_owned());
        }
    }
    Ok(())
}

/// `PATH: PATH PATH`, the last one to be loaded first, as depmod writes it.
fn dep_index(chosen: &Chosen) -> String {
    let line = |(name, module): (&String, &Module)| {
        let mut order = Vec::new();
        load_order(chosen, name, &mut order);
        let needs = order.iter().rev().skip(1).filter_map(|name| chosen.get(name));
        let needs: Vec<_> = needs.map(|module| module.path.as_str()).collect();
        let blank = if needs.is_empty() { "" } else { " " };
        format!("{}:{blank}{}", module.path, needs.join(" "))
    };
    lists::lines(chosen.iter().map(line))
}

/// Dependencies first, the module itself last; the kernel's modules have no cycles, and one would end here too.
fn load_order(chosen: &Chosen, name: &str, order: &mut Vec<String>) {
    fn visit(chosen: &Chosen, name: &str, seen: &mut BTreeSet<String>, order: &mut Vec<String>) {
        let Some(module) = chosen.get(name) else { return };
        if seen.insert(name.to_owned()) {
            module.depends.iter().for_each(|need| visit(chosen, need, seen, order));
            order.push(name.to_owned());
        }
    }
    visit(chosen, name, &mut BTreeSet::new(), order);
}

fn alias_index(chosen: &Chosen) -> String {
    let lines = |(name, module): (&String, &Module)| {
        let line = |alias: &String| format!("alias {alias} {name}");
        module.aliases.iter().map(line).collect::<Vec<_>>()
    };
    lists::lines(chosen.iter().flat_map(lines))
}

/// Whether a path of a tree is a kernel module's.
pub(crate) fn is_module(path: &str) -> bool {
    Path::new(path).extension().is_some_and(|kind| kind == "ko")
}

fn name_of(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    normal(file.split('.').next().unwrap_or(file))
}

fn normal(name: &str) -> String {
    name.replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(modules: &[(&str, &[&str])]) -> Chosen {
        let module = |&(name, depends): &(&str, &[&str])| {
            let depends = depends.iter().map(|name| (*name).to_owned()).collect();
            let aliases = vec![format!("fs-{name}")];
            (
                name.to_owned(),
                Module { path: format!("kernel/{name}.ko"), content: Vec::new(), depends, aliases },
            )
        };
        modules.iter().map(module).collect()
    }

    #[test]
    fn what_is_needed_first_stands_last() {
        let set = chosen(&[("a", &["b", "c"]), ("b", &["c"]), ("c", &[])]);
        let index = dep_index(&set);
        assert_eq!(
            index,
            "kernel/a.ko: kernel/b.ko kernel/c.ko\nkernel/b.ko: kernel/c.ko\nkernel/c.ko:\n"
        );
    }

    #[test]
    fn a_cycle_ends() {
        assert_eq!(dep_index(&chosen(&[("a", &["b"]), ("b", &["a"])])).lines().count(), 2);
    }

    #[test]
    fn aliases_name_their_module() {
        assert_eq!(alias_index(&chosen(&[("ext4", &[])])), "alias fs-ext4 ext4\n");
    }

    #[test]
    fn names_follow_the_kernel() {
        assert_eq!(name_of("kernel/arch/x86/crypto/crc32c-intel.ko.xz"), "crc32c_intel");
    }
}
