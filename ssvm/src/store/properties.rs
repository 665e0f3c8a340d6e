//! CloudStack's own record of a template or volume (`template.properties`, `volume.properties`), written as a view of ours
//! so that its management server, hosts and tools find what they look for.

use std::fmt::Write as _;

use super::manifest::Manifest;
use crate::slice::Place;

/// Name of the record, of which a folder has one; none for kinds that have none.
pub(super) const fn name(place: &Place) -> Option<&'static str> {
    match place {
        Place::Template { .. } => Some("template.properties"),
        Place::Volume { .. } => Some("volume.properties"),
        Place::Snapshot { .. } => None,
    }
}

/// Name and content of the record; none for kinds that have none.
pub(super) fn of(manifest: &Manifest) -> Option<(&'static str, String)> {
    let name = name(&manifest.place)?;
    let (Place::Template { id, account, .. }
    | Place::Volume { id, account, .. }
    | Place::Snapshot { volume: id, account, .. }) = &manifest.place;
    let (format, file, size) = (manifest.format(), manifest.file(), manifest.size);
    let virtual_size = manifest.image.virtual_size;
    let unique = format!("{id}-{account}-{}", manifest.place.name());
    let digest = &manifest.origin.digest;
    let mut text = String::from("# written by sluice; the record beside it says more\n");
    for (key, value) in [
        ("uniquename", unique.as_str()),
        ("filename", &file),
        ("id", &id.to_string()),
        ("public", "false"),
        ("hvm", "true"),
        ("description", manifest.place.name().as_str()),
        ("checksum", &digest.to_string()),
        ("size", &size.to_string()),
        ("physicalSize", &size.to_string()),
        ("virtualsize", &virtual_size.to_string()),
        (format.as_str(), "true"),
        (&format!("{format}.filename"), &file),
        (&format!("{format}.size"), &size.to_string()),
        (&format!("{format}.virtualsize"), &virtual_size.to_string()),
    ] {
        // writing to a String cannot fail
        let _ = writeln!(text, "{key}={value}");
    }
    Some((name, text))
}
