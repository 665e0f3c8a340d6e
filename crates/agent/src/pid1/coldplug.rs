//! Drivers for the devices that are there already: each device names the drivers it would take by an alias.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use super::modules::{ModuleError, Modules};

/// Where devices hang.
const DEVICES: &str = "/sys/devices";
/// Where those on PCI are listed.
const PCI: &str = "/sys/bus/pci/devices";
/// PCI class 02, network controllers.
const NETWORK: &str = "0x02";
/// Deeper than any bus nests; bounds the walk.
const MAX_DEPTH: usize = 24;

/// What the processor itself asks for: faster ciphers.
const PROCESSOR: &str = "cpu:";
/// PCI class 01, mass storage (PCI Code and ID Assignment Specification).
const STORAGE: &str = "bc01";
/// The paravirtual bus, where disks and NICs of most machines are.
const VIRTIO: &str = "virtio:";
/// An appliance serves long before this, and no tunnel is up yet.
const LATE: Duration = Duration::from_secs(20);

/// Loads the drivers of all devices but the processor; answers the failures, for one bad driver must not stop the others.
pub(crate) fn run(modules: &mut Modules) -> Vec<ModuleError> {
    load(modules, |alias| !alias.starts_with(PROCESSOR))
}

/// The drivers of paravirtual devices alone: enough to find the disk of most machines, without probing for others.
pub(crate) fn virtio(modules: &mut Modules) -> Vec<ModuleError> {
    load(modules, |alias| alias.starts_with(VIRTIO))
}

/// The drivers of all devices but the processor and further storage, of which the root's is there already.
pub(crate) fn without_storage(modules: &mut Modules) -> Vec<ModuleError> {
    let wanted = |alias: &str| !alias.starts_with(PROCESSOR) && !alias.contains(STORAGE);
    load(modules, wanted)
}

/// Loads what is left in the background and late. The kernel tests the processor's ciphers for a second or two under
/// emulation, which would come on top of every start; a tunnel that needs one sooner makes the kernel ask for it.
pub(crate) fn rest_later() {
    thread::spawn(|| {
        thread::sleep(LATE);
        if let Ok(mut modules) = Modules::open() {
            // without them the generic ciphers serve, and the disk is in use already
            let _unneeded = load(&mut modules, |_| true);
        }
    });
}

fn load(modules: &mut Modules, wanted: impl Fn(&str) -> bool) -> Vec<ModuleError> {
    let mut aliases = Vec::new();
    collect(Path::new(DEVICES), MAX_DEPTH, &mut aliases);
    aliases.retain(|alias| wanted(alias));
    aliases.sort();
    aliases.dedup();
    aliases.iter().filter_map(|alias| modules.load_alias(alias).err()).collect()
}

fn collect(dir: &Path, depth: usize, into: &mut Vec<String>) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() && depth > 0 {
            collect(&entry.path(), depth - 1, into);
        } else if entry.file_name() == "modalias" {
            let alias = fs::read_to_string(entry.path()).unwrap_or_default();
            into.extend(Some(alias.trim().to_owned()).filter(|alias| !alias.is_empty()));
        }
    }
}

/// Network cards that no driver took, such as `10ec:8139 at 0000:00:04.0`: a machine without its control link says nothing
/// else.
pub(crate) fn cards_without_driver() -> Vec<String> {
    without_driver(Path::new(PCI))
}

fn without_driver(devices: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(devices) else { return Vec::new() };
    let card = |device: &Path| {
        let read = |name| fs::read_to_string(device.join(name)).unwrap_or_default();
        let is_idle = read("class").starts_with(NETWORK) && !device.join("driver").exists();
        let number = |name| read(name).trim().trim_start_matches("0x").to_owned();
        let place = device.file_name().unwrap_or_default().to_string_lossy().into_owned();
        is_idle.then(|| format!("{}:{} at {place}", number("vendor"), number("device")))
    };
    let mut cards: Vec<_> = entries.flatten().filter_map(|entry| card(&entry.path())).collect();
    cards.sort();
    cards
}

/// Shell-style match as `modules.alias` uses it: `*`, `?`, and `[...]` with ranges.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    glob(pattern.as_bytes(), text.as_bytes())
}

/// Backtracks to the last `*` only, so the time is bounded by the product of the lengths.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut pattern, mut text) = (pattern, text);
    let mut retry: Option<(&[u8], &[u8])> = None;
    loop {
        if let [b'*', rest @ ..] = pattern {
            retry = Some((rest, text));
            pattern = rest;
            continue;
        }
        if pattern.is_empty() && text.is_empty() {
            return true;
        }
        if let Some((next_pattern, next_text)) = one(pattern, text) {
            (pattern, text) = (next_pattern, next_text);
            continue;
        }
        match retry {
            Some((after, [_, rest @ ..])) => {
                retry = Some((after, rest));
                (pattern, text) = (after, rest);
            }
            _ => return false,
        }
    }
}

/// Matches one character; answers what is left of both.
fn one<'a>(pattern: &'a [u8], text: &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
    let (&byte, text) = text.split_first()?;
    match pattern {
        [b'?', rest @ ..] => Some((rest, text)),
        [b'[', rest @ ..] => {
            let end = rest.iter().position(|&byte| byte == b']')?;
            let (class, rest) = (rest.get(..end)?, rest.get(end + 1..)?);
            in_class(class, byte).then_some((rest, text))
        }
        [first, rest @ ..] => (*first == byte).then_some((rest, text)),
        [] => None,
    }
}

fn in_class(class: &[u8], byte: u8) -> bool {
    match class {
        [from, b'-', to, rest @ ..] => (*from..=*to).contains(&byte) || in_class(rest, byte),
        [first, rest @ ..] => *first == byte || in_class(rest, byte),
        [] => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_cards_that_nobody_drives_are_named() {
        let folder = tempfile::tempdir().unwrap();
        for (place, class, device, driven) in [
            ("0000:00:03.0", "0x020000\n", "0x1000\n", true),
            ("0000:00:04.0", "0x020000\n", "0x8139\n", false),
            ("0000:00:05.0", "0x030000\n", "0x1111\n", false),
        ] {
            let path = folder.path().join(place);
            fs::create_dir(&path).unwrap();
            for (name, text) in [("class", class), ("vendor", "0x10ec\n"), ("device", device)] {
                fs::write(path.join(name), text).unwrap();
            }
            if driven {
                fs::create_dir(path.join("driver")).unwrap();
            }
        }
        assert_eq!(without_driver(folder.path()), ["10ec:8139 at 0000:00:04.0"]);
        assert!(without_driver(Path::new("/nowhere")).is_empty());
    }

    #[test]
    fn globs_match_as_modprobe_does() {
        assert!(matches(
            "pci:v00001AF4d*sv*sd*bc*sc*i*",
            "pci:v00001AF4d00001000sv00001AF4sd00000001bc02sc00i00"
        ));
        assert!(matches("virtio:d00000001v*", "virtio:d00000001v00001AF4"));
        assert!(!matches("virtio:d00000001v*", "virtio:d00000002v00001AF4"));
        assert!(matches("input:b*v*p*e*-e*1,*k*", "input:b0019v0000p0001e0000-e0,1,k74,"));
        assert!(matches("a[0-9b]?c", "a7xc"));
        assert!(!matches("a[0-9b]?c", "acxc"));
        assert!(!matches("a[", "ab"));
        assert!(matches("*", ""));
    }
}
