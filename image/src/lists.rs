//! The checked-in lists that say what goes into an image.

pub(crate) const PACKAGES: &str = include_str!("../lists/packages.txt");
pub(crate) const PACKAGES_STRONGSWAN: &str = include_str!("../lists/packages-strongswan.txt");
pub(crate) const PACKAGES_LIBRESWAN: &str = include_str!("../lists/packages-libreswan.txt");
pub(crate) const PACKAGES_DEBUG: &str = include_str!("../lists/packages-debug.txt");
pub(crate) const PACKAGES_TESTHOST: &str = include_str!("../lists/packages-testhost.txt");
pub(crate) const FILES: &str = include_str!("../lists/files.txt");
pub(crate) const FILES_STRONGSWAN: &str = include_str!("../lists/files-strongswan.txt");
pub(crate) const FILES_LIBRESWAN: &str = include_str!("../lists/files-libreswan.txt");
pub(crate) const FILES_DEBUG: &str = include_str!("../lists/files-debug.txt");
pub(crate) const MODULES: &str = include_str!("../lists/modules.txt");
pub(crate) const MODULES_TESTHOST: &str = include_str!("../lists/modules-testhost.txt");
pub(crate) const MODULES_INITRD: &str = include_str!("../lists/modules-initrd.txt");
pub(crate) const MODULES_STAGE1: &str = include_str!("../lists/modules-stage1.txt");
pub(crate) const MODULES_STAGE2: &str = include_str!("../lists/modules-stage2.txt");

/// The entries of a list, without comments and blank lines.
pub(crate) fn entries(list: &str) -> impl Iterator<Item = &str> {
    list.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// The entries as a file for the image.
pub(crate) fn as_file(list: &str) -> String {
    lines(entries(list))
}

/// Texts as lines of a file.
pub(crate) fn lines<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> String {
    let mut out = String::new();
    for text in texts {
        out.push_str(text.as_ref());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_are_no_entries() {
        assert_eq!(entries("# a\n\n b \nc").collect::<Vec<_>>(), ["b", "c"]);
    }

    /// Field case: a machine whose control NIC has no driver is never heard of.
    #[test]
    fn nics_that_hypervisors_offer_have_drivers() {
        for driver in [
            "virtio_net",
            "e1000",
            "e1000e",
            "8139cp",
            "8139too",
            "pcnet32",
            "vmxnet3",
            "xen-netfront",
            "hv_netvsc",
            "ixgbevf",
            "iavf",
            "igbvf",
            "ena",
            "gve",
        ] {
            assert!(entries(MODULES).any(|entry| entry == driver), "{driver}");
        }
    }
}
