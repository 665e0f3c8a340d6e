//! Finds partitions by their GPT label and disks by what is on them, as the kernel shows them in sysfs.
//!
//! Labels rather than names: the disk is `vda`, `sda`, `xvda` or `nvme0n1` depending on the hypervisor.

use std::fs;
use std::path::{Path, PathBuf};

/// One entry per disk or partition.
const BLOCK: &str = "/sys/class/block";

/// The device node of the partition with this GPT label; the first by name when several have it.
pub(crate) fn by_label(label: &str) -> Option<PathBuf> {
    find(Path::new(BLOCK), |uevent| field(uevent, "PARTNAME") == Some(label)).into_iter().next()
}

/// All whole disks and optical drives, by name.
pub(crate) fn disks() -> Vec<PathBuf> {
    find(Path::new(BLOCK), |uevent| field(uevent, "DEVTYPE") == Some("disk"))
}

fn find(dir: &Path, wanted: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let node = |path: PathBuf| {
        let uevent = fs::read_to_string(path.join("uevent")).ok()?;
        let name = field(&uevent, "DEVNAME").filter(|_| wanted(&uevent))?;
        Some(Path::new("/dev").join(name))
    };
    let mut nodes: Vec<PathBuf> =
        entries.flatten().filter_map(|entry| node(entry.path())).collect();
    nodes.sort();
    nodes
}

/// The value of `KEY=` in a uevent text.
pub(crate) fn field<'a>(uevent: &'a str, key: &str) -> Option<&'a str> {
    uevent.split(['\n', '\0']).find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_found_by_label() {
        let dir = tempfile::tempdir().unwrap();
        let add = |name: &str, text: &str| {
            fs::create_dir(dir.path().join(name)).unwrap();
            fs::write(dir.path().join(name).join("uevent"), text).unwrap();
        };
        add("vda", "MAJOR=254\nDEVNAME=vda\nDEVTYPE=disk\n");
        add("vda3", "DEVNAME=vda3\nDEVTYPE=partition\nPARTN=3\nPARTNAME=sluice-root-a\n");
        let by = |label: &'static str| {
            find(dir.path(), move |text| field(text, "PARTNAME") == Some(label))
        };
        assert_eq!(by("sluice-root-a"), [PathBuf::from("/dev/vda3")]);
        assert!(by("sluice-root").is_empty());
    }

    #[test]
    fn a_kernel_message_has_the_same_fields() {
        assert_eq!(
            field("add@/devices/x\0ACTION=add\0MODALIAS=pci:v1\0", "MODALIAS"),
            Some("pci:v1")
        );
        assert_eq!(field("add@/devices/x\0", "MODALIAS"), None);
    }
}
