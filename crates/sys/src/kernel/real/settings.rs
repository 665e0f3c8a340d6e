//! Kernel settings in `/proc/sys`.
//!
//! `/proc/sys/net` shows the network namespace of the calling thread, so what is written belongs to it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::{fs, io};

use super::failed;
use crate::kernel::{KernelError, Object};
use crate::model::SysctlKey;

fn path(key: &SysctlKey) -> PathBuf {
    // a key has no slash and no empty part, so this stays inside
    Path::new("/proc/sys").join(key.path())
}

/// The settings that exist.
pub(super) fn read(keys: &BTreeSet<SysctlKey>) -> Result<BTreeMap<SysctlKey, String>, KernelError> {
    let mut values = BTreeMap::new();
    for key in keys {
        match fs::read_to_string(path(key)) {
            Ok(text) => {
                values.insert(key.clone(), normal(&text));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(failed("read", Object::Sysctl(key.clone()), source)),
        }
    }
    Ok(values)
}

/// Fields by single spaces, where the kernel prints tabs and a final newline.
fn normal(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Writes one setting.
pub(super) fn write(key: &SysctlKey, value: &str) -> Result<(), KernelError> {
    // never creates: a missing file is an unknown setting
    fs::OpenOptions::new()
        .write(true)
        .open(path(key))
        .and_then(|mut file| io::Write::write_all(&mut file, value.as_bytes()))
        .map_err(|source| failed("write", Object::Sysctl(key.clone()), source))
}
