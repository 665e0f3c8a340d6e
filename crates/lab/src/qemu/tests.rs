//! The command line, the probe, the config drive and the lives of machines, with the smallest
//! guest there is: none at all (firmware without a disk), so that these stay in T0.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sluice_api::types::Port;

use super::accel::Accelerator;
use super::args::{Plan, arguments};
use super::disk::Images;
use super::layout::Layout;
use super::nic::NicId;
use super::{MachineError, config_drive};
use crate::spec::{BootVia, ControlSpec, DeskSpec, Firmware, ForwardSpec, LabSpec, MachineSpec};
use crate::{Lab, LabError};

fn line(spec: &MachineSpec, images: &Images) -> String {
    let layout = Layout::new(Path::new("/l"), "m").expect("short");
    let plan = Plan {
        name: "m",
        spec,
        images,
        layout: &layout,
        accelerator: Accelerator::Tcg,
        nics: vec![(NicId(0), "02:00:00:00:00:01".parse().expect("a MAC"))],
        control_port: Some(Port::fixed(4000)),
    };
    let words: Vec<_> = arguments(&plan).into_iter().map(std::ffi::OsString::into_string).collect();
    words.into_iter().map(|word| word.expect("text")).collect::<Vec<_>>().join(" ")
}

fn control(address: &str) -> ControlSpec {
    let mac = "02:00:00:00:00:02".parse().expect("a MAC");
    let address = address.parse().expect("an address");
    ControlSpec { address, mac, host_port: None }
}

#[test]
fn a_nic_is_a_datagram_socket_of_its_own() {
    let line = line(&MachineSpec::template(), &Images::default());
    let wanted = "-netdev dgram,id=net0,local.type=unix,local.path=/l/m/n0.q,\
                  remote.type=unix,remote.path=/l/m/n0.w \
                  -device virtio-net-pci,netdev=net0,id=nic0,mac=02:00:00:00:00:01,romfile=";
    assert!(line.contains(wanted), "{line}");
}

#[test]
fn the_control_link_forwards_one_port_and_reaches_nothing_else() {
    let spec = MachineSpec { control: Some(control("10.255.0.5/24")), ..MachineSpec::template() };
    let line = line(&spec, &Images::default());
    let wanted = "-netdev user,id=control,ipv6=off,restrict=on,net=10.255.0.0/24,host=10.255.0.1,\
                  dns=10.255.0.2,dhcpstart=10.255.0.3,hostfwd=tcp:127.0.0.1:4000-10.255.0.5:3922";
    assert!(line.contains(wanted), "{line}");
}

#[test]
fn a_desk_link_forwards_ports_and_has_this_host_where_it_is_wanted() {
    let port = |number| Port::fixed(number);
    let mac = "02:00:00:00:00:03".parse().expect("a MAC");
    let address = "198.51.100.2/24".parse().expect("an address");
    let forward = vec![ForwardSpec { host_port: port(8443), port: port(443) }];
    let host = Some("198.51.100.1".parse().expect("an address"));
    let desk = DeskSpec { address, mac, host, forward };
    let spec = MachineSpec { desk: Some(desk), vnc: Some(port(5907)), ..MachineSpec::template() };
    let line = line(&spec, &Images::default());
    let wanted = "-netdev user,id=desk,ipv6=off,net=198.51.100.0/24,host=198.51.100.1,dns=198.51.100.3,\
                  dhcpstart=198.51.100.4,hostfwd=tcp:127.0.0.1:8443-198.51.100.2:443 \
                  -device virtio-net-pci,netdev=desk,id=desk-nic,mac=02:00:00:00:00:03,romfile=";
    assert!(line.contains(wanted), "{line}");
    assert!(line.contains("-device VGA -vnc 127.0.0.1:7,share=force-shared"), "{line}");
}

#[test]
fn this_host_never_takes_the_machines_control_address() {
    for (address, places) in [
        ("10.255.0.1/29", "host=10.255.0.2,dns=10.255.0.3,dhcpstart=10.255.0.4"),
        ("10.255.0.2/29", "host=10.255.0.1,dns=10.255.0.3,dhcpstart=10.255.0.4"),
    ] {
        let spec = MachineSpec { control: Some(control(address)), ..MachineSpec::template() };
        let line = line(&spec, &Images::default());
        assert!(line.contains(places), "{line}");
    }
}

#[test]
fn the_boot_document_goes_in_by_fw_cfg_or_as_a_drive() {
    let mut spec = MachineSpec { boot: Some("/b,1.json".into()), ..MachineSpec::template() };
    let by_fw_cfg = line(&spec, &Images::default());
    assert!(by_fw_cfg.contains("-fw_cfg name=opt/sluice/boot,file=/b,,1.json"), "{by_fw_cfg}");
    spec.boot_via = BootVia::ConfigDrive;
    let by_drive = line(&spec, &Images::default());
    assert!(by_drive.contains("media=cdrom,format=raw,readonly=on,file=/l/m/boot.iso"));
    assert!(!by_drive.contains("fw_cfg"));
}

#[test]
fn a_host_knows_its_name_and_has_a_command_channel() {
    let images = Images { root: Some("/i/testhost.raw".into()), ..Images::default() };
    let line = line(&MachineSpec::host(), &images);
    for wanted in [
        "sluice.hostname=m",
        "sluice.overlay",
        "if=virtio,format=raw,readonly=on,file=/i/testhost.raw",
        "virtserialport,chardev=guest,name=org.sluice.guest",
    ] {
        assert!(line.contains(wanted), "{wanted} is not in {line}");
    }
}

#[test]
fn uefi_has_its_own_variables() {
    let spec = MachineSpec::template().firmware(Firmware::Uefi);
    let images = Images { uefi_code: Some(PathBuf::from("/code.fd")), ..Images::default() };
    let line = line(&spec, &images);
    assert!(line.contains("if=pflash,format=raw,unit=0,readonly=on,file=/code.fd"), "{line}");
    assert!(line.contains("if=pflash,format=raw,unit=1,file=/l/m/vars.fd"), "{line}");
}

#[test]
fn folders_too_deep_for_sockets_are_refused() {
    let deep = PathBuf::from("/".to_owned() + &"x".repeat(100));
    let error = Layout::new(&deep, "machine").expect_err("too deep");
    assert!(matches!(error, MachineError::PathLength { .. }));
}

#[test]
fn a_config_drive_has_its_label_its_file_and_whole_sectors() {
    for length in [0, 1, 2048, 5000] {
        let document = vec![b'{'; length];
        let drive = config_drive(&document);
        assert_eq!(drive.len() % 2048, 0);
        assert_eq!(&drive[16 * 2048..16 * 2048 + 7], b"\x01CD001\x01");
        assert_eq!(&drive[16 * 2048 + 40..16 * 2048 + 46], b"SLUICE");
        assert_eq!(&drive[16 * 2048 + 881..16 * 2048 + 882], [1], "structure version");
        assert!(drive[20 * 2048..21 * 2048].windows(11).any(|name| name == b"BOOT.JSON;1"));
        assert_eq!(&drive[21 * 2048..21 * 2048 + length], &document[..]);
        assert_eq!(drive, config_drive(&document), "the same bytes again");
    }
}

#[tokio::test]
async fn a_probe_guest_really_runs_under_emulation() {
    assert!(Accelerator::Tcg.runs_a_guest(Duration::from_mins(1)).await);
}

#[tokio::test]
async fn a_probe_ends_at_its_bound() {
    let start = std::time::Instant::now();
    Accelerator::Kvm.runs_a_guest(Duration::from_millis(500)).await;
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}

#[tokio::test]
async fn all_missing_images_are_named_at_once() {
    let started = Lab::builder("missing")
        .images("/nowhere")
        .machine("r-1", MachineSpec::template())
        .machine("vm1", MachineSpec::host())
        .start();
    let error = started.await.expect_err("nothing is there");
    assert!(matches!(&error, LabError::Images(missing) if missing.len() == 2), "{error}");
    assert!(error.to_string().contains("cargo xtask image"), "{error}");
}

#[tokio::test]
async fn bad_names_are_found_before_anything_starts() {
    let built = Lab::builder("ok").wire("Bad Wire").host("vm1", "nowhere", None).build();
    let Err(LabError::Description(findings)) = built else { panic!("accepted") };
    let codes: Vec<&str> = findings.iter().map(|finding| finding.code.as_str()).collect();
    assert_eq!(codes, ["name", "no-such-wire"]);
}

/// A machine of firmware alone: it finds nothing to boot, and stays on.
async fn empty_machine(folder: &Path) -> Lab {
    let disk = folder.join("empty.qcow2");
    let made = sluice_programs::command("qemu-img")
        .unwrap()
        .args(["create", "-q", "-f", "qcow2"])
        .arg(&disk)
        .arg("1M")
        .status();
    assert!(made.expect("qemu-img runs").success());
    let spec = MachineSpec { disk: Some(disk), ..MachineSpec::template().ram_mib(64) };
    let lab: LabSpec = Lab::builder("empty")
        .wire("lan")
        .machine("m", MachineSpec { control: Some(control("10.255.0.5/24")), ..spec })
        .build()
        .expect("a good lab");
    Lab::start(lab).await.expect("started")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_is_switched_cut_and_plugged() {
    let folder = tempfile::tempdir().expect("a folder");
    let lab = empty_machine(folder.path()).await;
    let machine = lab.machine("m").expect("there").clone();
    let pid = machine.status().await.pid.expect("on");
    assert!(lab.endpoint("m").expect("a control link").port() > 0);
    assert!(matches!(machine.power_on().await, Err(MachineError::On(_))));

    let nic = crate::spec::NicSpec::on("lan".parse().expect("an id"));
    let mac = "02:00:00:00:00:09".parse().expect("a MAC");
    let wire = lab.wire("lan").expect("there");
    let id = machine.plug_nic(mac, &nic, wire).await.expect("plugged in");
    assert_eq!(wire.status().ports[0].station, "m.0");
    assert!(machine.port_of(id).is_ok());

    machine.power_cut().await.expect("cut");
    assert!(!Path::new(&format!("/proc/{pid}")).exists(), "QEMU still runs");
    assert!(!machine.is_on().await);
    machine.power_on().await.expect("on again, with the NIC that was plugged in");
    let folder = lab.folder().to_owned();
    lab.down().await.expect("down");
    assert!(!folder.exists(), "files stayed behind");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_lab_leaves_no_machine() {
    let folder = tempfile::tempdir().expect("a folder");
    let lab = empty_machine(folder.path()).await;
    let pid = lab.machine("m").expect("there").status().await.pid.expect("on");
    drop(lab);
    let gone = || !Path::new(&format!("/proc/{pid}")).exists();
    crate::Wait::until(Duration::from_secs(20), "QEMU's end", gone).expect("gone");
}
