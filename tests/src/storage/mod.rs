//! A cloud with a secondary storage VM: its description, and the machines that it takes.

pub mod server;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use rcgen::{CertificateParams, KeyPair};
use sluice_lab::spec::{Firmware, LabSpec, NicSpec};

use crate::cloud::{Cloud, INTERNET, STORAGE};
use crate::image;

/// The secondary storage VM.
pub const SSVM: &str = "s-1";
/// The machine with the file server and the web server.
pub const SERVER: &str = INTERNET;
/// It has its files in RAM.
const SERVER_RAM_MIB: u32 = 768;
/// What examples/storage.toml says and the laboratory has otherwise: the web server, and an export as NFS 4 names it, of a
/// server whose one export is its root.
const HERE_OTHERWISE: [(&str, &str); 2] = [
    ("https://images.example.com/debian-13.qcow2", "http://198.51.100.1/sluice.qcow2"),
    ("path = \"/export/secondary\"", "path = \"/secondary\""),
];

/// Writes examples/storage.toml into `folder` as the laboratory has it: with a certificate, and `more` at its end.
pub fn description(folder: &Path, more: &str) -> Result<PathBuf> {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/storage.toml");
    let mut text = std::fs::read_to_string(&example)
        .with_context(|| format!("cannot read {}", example.display()))?;
    for (from, to) in HERE_OTHERWISE {
        anyhow::ensure!(text.contains(from), "{} no longer says {from}", example.display());
        text = text.replace(from, to);
    }
    let role = "role = \"ssvm\"\n";
    anyhow::ensure!(text.contains(role), "{} has no ssvm", example.display());
    text = text.replace(role, &format!("{role}certificate = \"\"\"\n{}\"\"\"\n", certificate()?));
    let file = folder.join("storage.toml");
    std::fs::write(&file, format!("{text}\n{more}"))?;
    Ok(file)
}

/// A certificate that signs itself, and its key; of no address, for the pool gives one.
fn certificate() -> Result<String> {
    let key = KeyPair::generate()?;
    let certificate = CertificateParams::new([SSVM.to_owned()])?.self_signed(&key)?;
    Ok(format!("{}{}", certificate.pem(), key.serialize_pem()))
}

/// The machines: what the cloud needs, and the server with the template as a disk.
pub fn lab(cloud: &Cloud, name: &str) -> Result<LabSpec> {
    let mut spec = cloud.lab(name, Firmware::Direct)?;
    let server = spec.machines.get_mut(&SERVER.parse()?).context("the lab has no such machine")?;
    server.ram_mib = SERVER_RAM_MIB;
    server.nics.push(NicSpec::on(STORAGE.parse()?));
    server.attached.push(image("sluice.qcow2"));
    Ok(spec)
}
