//! The template as built, booted as an operator does: from its disk by both firmwares, in 128 MiB.

#![allow(clippy::expect_used)] // a helper of a test fails the test

use std::path::PathBuf;
use std::time::Duration;

use sluice_lab::Lab;
use sluice_lab::spec::{BootVia, Firmware, MachineSpec};

/// Emulated machines on a busy host boot within this.
const BOOT: Duration = Duration::from_mins(3);
const SOON: Duration = Duration::from_secs(30);
const RAM_MIB: u32 = 128;

/// PID 1 reads the role and keeps the rest for the agent, so certificates need not be real here.
const DOCUMENT: &str = r#"{"version":1,"role":"router","appliance":"r-1",
    "control":{"mac":"02:00:00:00:00:01","address":"169.254.0.10/16"},
    "identity":{"authority":"a","certificate":"b","key":"c"}}"#;

fn images() -> PathBuf {
    sluice_tests::image("sluice.qcow2").parent().expect("a folder").to_owned()
}

/// A lab of one template, and the folder that holds its boot document.
async fn boot(name: &str, machine: MachineSpec) -> (Lab, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let document = folder.path().join("boot.json");
    std::fs::write(&document, DOCUMENT).expect("written");
    let machine = MachineSpec { ram_mib: RAM_MIB, boot: Some(document), ..machine };
    let lab = Lab::builder(name).images(images()).machine("r1", machine).start().await;
    (lab.expect("started"), folder)
}

async fn sees(lab: &Lab, text: &str) {
    let machine = lab.machine("r1").expect("there");
    let seen = machine.console_until(text, BOOT).await.is_ok();
    assert!(seen, "{text:?} did not appear:\n{}", machine.console_text().await);
}

/// All that must have happened by the time the agent starts, and nothing that must not.
async fn comes_up(lab: &Lab) {
    sees(lab, "agent started: role router").await;
    let console = lab.machine("r1").expect("there").console_text().await;
    let steps =
        ["data is /dev/", "drop-all table is loaded", "network interfaces:", "appliance r-1"];
    let places: Vec<_> = steps.iter().map(|step| console.find(step)).collect();
    assert!(places.iter().all(Option::is_some), "a step is missing:\n{console}");
    assert!(places.is_sorted(), "steps out of order:\n{console}");
    for bad in ["FATAL", "warning:", "WARNING"] {
        assert!(!console.contains(bad), "{bad} on the console:\n{console}");
    }
}

/// The power button ends it cleanly.
async fn powers_off(lab: Lab) {
    let machine = lab.machine("r1").expect("there");
    machine.power_down(SOON).await.expect("off");
    let console = machine.console_text().await;
    assert!(console.contains("powering off"), "not by PID 1:\n{console}");
    lab.down().await.expect("down");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_disk_boots_with_seabios() {
    let (lab, _folder) = boot("seabios", MachineSpec::default()).await;
    comes_up(&lab).await;
    powers_off(lab).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_disk_boots_with_ovmf() {
    let machine = MachineSpec { firmware: Firmware::Uefi, ..MachineSpec::default() };
    let (lab, _folder) = boot("ovmf", machine).await;
    comes_up(&lab).await;
    powers_off(lab).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_kernel_boots_directly_and_finds_a_config_drive() {
    let machine = MachineSpec {
        firmware: Firmware::Direct,
        boot_via: BootVia::ConfigDrive,
        append: "quiet".into(),
        ..MachineSpec::default()
    };
    let (lab, _folder) = boot("direct", machine).await;
    comes_up(&lab).await;
    sees(&lab, "boot document from the config drive").await;
    powers_off(lab).await;
}
