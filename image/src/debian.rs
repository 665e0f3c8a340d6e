//! Debian packages, unpacked and never installed: no maintainer script runs, so nothing of the host leaks in.
//!
//! mmdebstrap resolves, downloads and verifies against the archive's keys; the result is kept by the hash of what was asked.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::{Result, dir_entries, file, make_dir, read, write};
use crate::{lists, mirror, tool};

/// Changes when the cache's form does.
const FORM: &str = "1";
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// A Debian package as it was unpacked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Package {
    /// Its name.
    pub(crate) name: String,
    /// Its version.
    pub(crate) version: String,
    /// The source package, where its licence obligations point.
    pub(crate) source: String,
    /// Files and links it holds, without a leading slash.
    pub(crate) files: Vec<String>,
}

/// A tree of unpacked packages.
#[derive(Debug)]
pub(crate) struct Debian {
    /// Where the files are.
    pub(crate) root: PathBuf,
    /// All packages, by name.
    pub(crate) packages: Vec<Package>,
    owners: BTreeMap<String, usize>,
}

impl Debian {
    /// Fetches and unpacks these packages and what they depend on, or takes them from the cache.
    pub(crate) fn fetch(names: &BTreeSet<&str>, cache: &Path) -> Result<Self> {
        let dir = cache.join(format!("debian-{}", key(names)));
        if !dir.exists() {
            make_dir(cache)?;
            let fresh = tempfile::tempdir_in(cache).map_err(file("create", cache))?;
            unpack(names, fresh.path())?;
            let fresh = fresh.keep();
            fs::rename(&fresh, &dir).map_err(file("create", &dir))?;
        }
        Self::open(&dir)
    }

    fn open(dir: &Path) -> Result<Self> {
        let path = dir.join("packages.json");
        let packages: Vec<Package> = serde_json::from_slice(&read(&path)?)
            .map_err(std::io::Error::from)
            .map_err(file("read", &path))?;
        let each = packages.iter().enumerate();
        let owners = each
            .flat_map(|(at, package)| package.files.iter().map(move |name| (name.clone(), at)))
            .collect();
        Ok(Self { root: dir.join("root"), packages, owners })
    }

    /// The package that holds this path.
    pub(crate) fn owner(&self, path: &str) -> Option<&Package> {
        self.packages.get(*self.owners.get(path)?)
    }

    /// The path of a shared library by its name.
    pub(crate) fn library(&self, name: &str) -> Option<String> {
        // the last one is strongSwan's own, which its files name (RUNPATH)
        const DIRS: [&str; 4] =
            ["usr/lib/x86_64-linux-gnu", "usr/lib64", "usr/lib", "usr/lib/ipsec"];
        DIRS.iter().map(|dir| format!("{dir}/{name}")).find(|path| self.owners.contains_key(path))
    }
}

fn key(names: &BTreeSet<&str>) -> String {
    let mut hash = Sha256::new();
    for name in [FORM, mirror::SUITE].iter().chain(names) {
        hash.update(name.as_bytes());
        hash.update(b"\n");
    }
    hash.finalize().iter().take(6).fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn unpack(names: &BTreeSet<&str>, dir: &Path) -> Result<()> {
    let archive = dir.join("root.tar");
    download(names, dir, &archive)?;
    let root = dir.join("root");
    make_dir(&root)?;
    let mut tar = tool::command("tar");
    // owners and devices are ours to set; as an ordinary user they could not be kept anyway
    tar.args(["--no-same-owner", "--exclude=./dev/*", "-xf"]).arg(&archive).arg("-C").arg(&root);
    tool::run(&mut tar)?;
    fs::remove_file(&archive).map_err(file("remove", &archive))?;
    let debs = root.join("var/cache/apt/archives");
    let packages = describe_all(&debs)?;
    fs::remove_dir_all(root.join("var/cache")).map_err(file("remove", &debs))?;
    let json = serde_json::to_vec(&packages).map_err(std::io::Error::from);
    let index = dir.join("packages.json");
    write(&index, &json.map_err(file("write", &index))?)
}

fn download(names: &BTreeSet<&str>, dir: &Path, archive: &Path) -> Result<()> {
    let include = names.iter().copied().collect::<Vec<_>>().join(",");
    let mut command = tool::command("mmdebstrap");
    command
        .args(["--variant=extract", "--architectures=amd64", "--format=tar"])
        // the packages stay, for they say which file is whose
        .arg("--skip=cleanup/apt,extract/rm")
        .arg("--aptopt=APT::Install-Recommends \"false\"")
        .arg(format!("--include={include}"))
        .arg(mirror::SUITE)
        .arg(archive);
    let sources = mirror::host_sources();
    if !sources.is_empty() {
        command.arg(sources_file(dir, &sources)?);
    }
    tool::run(&mut command).map(drop)
}

fn sources_file(dir: &Path, lines: &[String]) -> Result<PathBuf> {
    let path = dir.join("sources.list");
    let signed = format!("deb [signed-by={KEYRING}] ");
    let text = lists::lines(lines.iter().map(|line| line.replacen("deb ", &signed, 1)));
    write(&path, text.as_bytes())?;
    Ok(path)
}

fn describe_all(dir: &Path) -> Result<Vec<Package>> {
    let mut paths: Vec<PathBuf> = dir_entries(dir)?.iter().map(fs::DirEntry::path).collect();
    paths.retain(|path| path.extension().is_some_and(|kind| kind == "deb"));
    paths.sort();
    let mut packages = paths.iter().map(|path| describe(path)).collect::<Result<Vec<_>>>()?;
    packages.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(packages)
}

fn describe(path: &Path) -> Result<Package> {
    let mut show = tool::command("dpkg-deb");
    let fields = tool::run(
        show.args(["--show", "--showformat=${Package}\n${Version}\n${source:Package}\n"]).arg(path),
    )?;
    let fields = String::from_utf8_lossy(&fields);
    let mut lines = fields.lines().map(str::to_owned);
    let mut next = || lines.next().unwrap_or_default();
    let (name, version, source) = (next(), next(), next());
    let list = tool::run(tool::command("dpkg-deb").arg("--contents").arg(path))?;
    let files = String::from_utf8_lossy(&list).lines().filter_map(listed_path).collect();
    Ok(Package { name, version, source, files })
}

/// The path in a line of `tar -tv`; directories belong to nobody.
fn listed_path(line: &str) -> Option<String> {
    let path = line.split_once(" ./")?.1;
    let path = path
        .split_once(" -> ")
        .or_else(|| path.split_once(" link to "))
        .map_or(path, |(path, _)| path);
    (!line.starts_with('d')).then(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_give_files_and_links() {
        let file = "-rwxr-xr-x root/root  26680 2025-04-09 10:00 ./usr/sbin/nft";
        let link =
            "lrwxrwxrwx root/root      0 2025-04-09 10:00 ./usr/lib/liba.so.1 -> liba.so.1.2";
        assert_eq!(listed_path(file).as_deref(), Some("usr/sbin/nft"));
        assert_eq!(listed_path(link).as_deref(), Some("usr/lib/liba.so.1"));
        assert_eq!(listed_path("drwxr-xr-x root/root 0 2025-04-09 10:00 ./usr/"), None);
    }

    #[test]
    fn the_cache_key_follows_the_packages() {
        let key_of = |names: &[&'static str]| key(&names.iter().copied().collect());
        assert_eq!(key_of(&["a", "b"]), key_of(&["b", "a"]));
        assert_ne!(key_of(&["a", "b"]), key_of(&["ab"]));
    }
}
