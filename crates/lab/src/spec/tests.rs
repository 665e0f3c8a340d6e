//! A good file, and a bad one for each rule with the finding it must give.

use std::path::{Path, PathBuf};

use proptest::prelude::*;
use sluice_api::Finding;

use super::{Firmware, LabSpec, MachineKind};

const GOOD: &str = r#"
name = "good"
[wires.lan]
loss_percent = 1.5
delay_ms = 20
jitter_ms = 5
seed = 3
[machines.r-1]
firmware = "uefi"
boot = "boot.json"
control = { address = "10.255.0.5/24", mac = "02:00:00:00:00:01", host_port = 3999 }
nics = [{ wire = "lan" }]
[machines.vm1]
kind = "host"
append = "quiet"
nics = [{ wire = "lan", vlan = 10, mac = "02:00:00:00:00:02" }]
[namespaces.inet]
gateway = "192.0.2.1"
nics = [{ wire = "lan", vlan = 20, addresses = ["192.0.2.9/24"] }]
"#;

fn parse(text: &str) -> Result<LabSpec, Vec<Finding>> {
    LabSpec::parse(text, Path::new("/lab"), Path::new("/images"))
}

#[test]
fn a_good_file_is_read_whole() {
    let spec = parse(GOOD).expect("good");
    let router = &spec.machines[&"r-1".parse().expect("an id")];
    assert_eq!((router.ram_mib, router.firmware), (128, Firmware::Uefi));
    assert_eq!(router.boot, Some(PathBuf::from("/lab/boot.json")));
    let guest = &spec.machines[&"vm1".parse().expect("an id")];
    assert_eq!((guest.kind, guest.firmware), (MachineKind::Host, Firmware::Direct));
    let inet = &spec.namespaces[&"inet".parse().expect("an id")];
    assert_eq!(inet.nics[0].link.as_str(), "eth0");
    assert_eq!(spec.images, Path::new("/images"));
}

#[test]
fn the_daemon_reads_what_we_write() {
    let spec = parse(GOOD).expect("good");
    let text = serde_json::to_string(&spec).expect("written");
    assert_eq!(serde_json::from_str::<LabSpec>(&text).expect("read"), spec);
}

/// (rule, file, path of the finding, its code, a part of its reason)
const BAD: &[(&str, &str, &str, &str, &str)] = &[
    ("syntax", "name = ", "", "syntax", "TOML parse error"),
    ("no name", "[machines.a]", "name", "missing", "must be given"),
    ("type", "name = 3\n[machines.a]", "name", "value", "expected a string"),
    (
        "unknown at the top",
        "name = \"x\"\nwire = 1\n[machines.a]",
        "wire",
        "unknown-field",
        "wires",
    ),
    (
        "unknown of a wire",
        "name = \"x\"\n[wires.w]\nloss = 1\n[machines.a]",
        "wires.w.loss",
        "unknown-field",
        "loss_percent",
    ),
    (
        "unknown of a machine",
        "name = \"x\"\n[machines.a]\nmemory = 1",
        "machines.a.memory",
        "unknown-field",
        "ram_mib",
    ),
    (
        "unknown of a NIC",
        "name = \"x\"\n[wires.w]\n[machines.a]\nnics = [{ wire = \"w\", tag = 4 }]",
        "machines.a.nics[0].tag",
        "unknown-field",
        "vlan",
    ),
    (
        "unknown of a namespace",
        "name = \"x\"\n[namespaces.n]\nroute = 1",
        "namespaces.n.route",
        "unknown-field",
        "gateway",
    ),
    (
        "unknown of a control link",
        "name = \"x\"\n[machines.a.control]\naddress = \"10.0.0.2/24\"\nmac = \"02:00:00:00:00:01\"\nport = 1",
        "machines.a.control.port",
        "unknown-field",
        "host_port",
    ),
    ("not a table", "name = \"x\"\nwires = 3\n[machines.a]", "wires", "type", "integer"),
    (
        "machine not a table",
        "name = \"x\"\n[machines]\na = 3",
        "machines.a",
        "type",
        "expected a table",
    ),
    ("NICs not a list", "name = \"x\"\n[machines.a]\nnics = 3", "machines.a.nics", "type", "array"),
    ("nothing in it", "name = \"x\"", "", "empty", "no machine"),
    ("name of the lab", "name = \"X Y\"\n[machines.a]", "name", "value", "lower-case"),
    ("name of a machine", "name = \"x\"\n[machines.A_b]", "machines.A_b", "name", "lower-case"),
    (
        "name too long",
        "name = \"x\"\n[machines.a2345678901234567890123456]",
        "machines.a2345678901234567890123456",
        "name-length",
        "24",
    ),
    (
        "one name twice",
        "name = \"x\"\n[machines.a]\n[namespaces.a]",
        "namespaces.a",
        "name-twice",
        "machine",
    ),
    (
        "kind",
        "name = \"x\"\n[machines.a]\nkind = \"router\"",
        "machines.a.kind",
        "value",
        "template",
    ),
    (
        "firmware",
        "name = \"x\"\n[machines.a]\nfirmware = \"efi\"",
        "machines.a.firmware",
        "value",
        "uefi",
    ),
    ("RAM", "name = \"x\"\n[machines.a]\nram_mib = 8", "machines.a.ram_mib", "ram", "64 to 65536"),
    ("processors", "name = \"x\"\n[machines.a]\ncpus = 0", "machines.a.cpus", "cpus", "1 to 16"),
    (
        "no wire named",
        "name = \"x\"\n[machines.a]\nnics = [{}]",
        "machines.a.nics[0].wire",
        "missing",
        "must be given",
    ),
    (
        "no such wire",
        "name = \"x\"\n[machines.a]\nnics = [{ wire = \"w\" }]",
        "machines.a.nics[0].wire",
        "no-such-wire",
        "no wire w",
    ),
    (
        "VLAN 0",
        "name = \"x\"\n[wires.w]\n[machines.a]\nnics = [{ wire = \"w\", vlan = 0 }]",
        "machines.a.nics[0].vlan",
        "value",
        "1 to 4094",
    ),
    (
        "VLAN 4095",
        "name = \"x\"\n[wires.w]\n[machines.a]\nnics = [{ wire = \"w\", vlan = 4095 }]",
        "machines.a.nics[0].vlan",
        "value",
        "1 to 4094",
    ),
    (
        "group MAC",
        "name = \"x\"\n[wires.w]\n[machines.a]\nnics = [{ wire = \"w\", mac = \"01:00:00:00:00:01\" }]",
        "machines.a.nics[0].mac",
        "value",
        "multicast",
    ),
    (
        "MAC twice",
        "name = \"x\"\n[wires.w]\n[machines.a]\nnics = [{ wire = \"w\", mac = \"02:00:00:00:00:01\" }]\n[namespaces.b]\nnics = [{ wire = \"w\", mac = \"02:00:00:00:00:01\" }]",
        "namespaces.b.nics[0].mac",
        "mac-twice",
        "machines.a.nics[0]",
    ),
    (
        "loss",
        "name = \"x\"\n[wires.w]\nloss_percent = 101\n[machines.a]",
        "wires.w.loss_percent",
        "value",
        "0 to 100",
    ),
    (
        "delay",
        "name = \"x\"\n[wires.w]\ndelay_ms = 10001\n[machines.a]",
        "wires.w",
        "delay",
        "10000 ms",
    ),
    (
        "jitter of a port",
        "name = \"x\"\n[wires.w]\n[machines.a]\nnics = [{ wire = \"w\", jitter_ms = 10001 }]",
        "machines.a.nics[0]",
        "delay",
        "10000 ms",
    ),
    (
        "template's disk for a host",
        "name = \"x\"\n[machines.a]\nkind = \"host\"\ndisk = \"d\"",
        "machines.a.disk",
        "not-for-host",
        "template",
    ),
    (
        "boot document for a host",
        "name = \"x\"\n[machines.a]\nkind = \"host\"\nboot = \"b\"",
        "machines.a.boot",
        "not-for-host",
        "template",
    ),
    (
        "firmware of a host",
        "name = \"x\"\n[machines.a]\nkind = \"host\"\nfirmware = \"bios\"",
        "machines.a.firmware",
        "not-for-host",
        "template",
    ),
    (
        "host's root for a template",
        "name = \"x\"\n[machines.a]\nroot = \"r\"",
        "machines.a.root",
        "not-for-template",
        "host",
    ),
    (
        "kernel without direct",
        "name = \"x\"\n[machines.a]\nkernel = \"k\"",
        "machines.a.kernel",
        "direct-only",
        "direct",
    ),
    (
        "append without direct",
        "name = \"x\"\n[machines.a]\nappend = \"k\"",
        "machines.a.append",
        "direct-only",
        "direct",
    ),
    (
        "drive without document",
        "name = \"x\"\n[machines.a]\nboot_via = \"config-drive\"",
        "machines.a.boot_via",
        "no-boot",
        "no boot document",
    ),
    (
        "control without MAC",
        "name = \"x\"\n[machines.a]\ncontrol = { address = \"10.0.0.2/24\" }",
        "machines.a.control.mac",
        "missing",
        "must be given",
    ),
    (
        "control in a /30",
        "name = \"x\"\n[machines.a]\ncontrol = { address = \"10.0.0.2/30\", mac = \"02:00:00:00:00:01\" }",
        "machines.a.control.address",
        "control-address",
        "8 to 29",
    ),
    (
        "control by IPv6",
        "name = \"x\"\n[machines.a]\ncontrol = { address = \"fd00::2/64\", mac = \"02:00:00:00:00:01\" }",
        "machines.a.control.address",
        "control-address",
        "IPv4",
    ),
    (
        "desk's host outside",
        "name = \"x\"\n[machines.a]\ndesk = { address = \"10.0.0.2/24\", mac = \"02:00:00:00:00:01\", host = \"10.0.1.1\" }",
        "machines.a.desk.host",
        "desk-host",
        "in the network of 10.0.0.2/24",
    ),
    ("low VNC port", "name = \"x\"\n[machines.a]\nvnc = 59", "machines.a.vnc", "vnc-port", "5900"),
    (
        "forwarded port of a VNC server",
        "name = \"x\"\n[machines.a]\nvnc = 5901\n[machines.b]\ndesk = { address = \"10.0.0.2/24\", mac = \"02:00:00:00:00:02\", forward = [{ host_port = 5901, port = 443 }] }",
        "machines.b.desk.forward[0].host_port",
        "port-twice",
        "leads to a",
    ),
    (
        "host port twice",
        "name = \"x\"\n[machines.a]\ncontrol = { address = \"10.0.0.2/24\", mac = \"02:00:00:00:00:01\", host_port = 7 }\n[machines.b]\ncontrol = { address = \"10.0.0.2/24\", mac = \"02:00:00:00:00:02\", host_port = 7 }",
        "machines.b.control.host_port",
        "port-twice",
        "leads to a",
    ),
    (
        "link twice",
        "name = \"x\"\n[wires.w]\n[namespaces.n]\nnics = [{ wire = \"w\", link = \"a\" }, { wire = \"w\", link = \"a\" }]",
        "namespaces.n.nics[1].link",
        "link-twice",
        "a is there twice",
    ),
    (
        "address of an interface",
        "name = \"x\"\n[wires.w]\n[namespaces.n]\nnics = [{ wire = \"w\", addresses = [\"192.0.2.0/24\"] }]",
        "namespaces.n.nics[0].addresses",
        "value",
        "network's own",
    ),
];

#[test]
fn each_rule_gives_its_own_finding_and_no_other() {
    for (rule, file, path, code, reason) in BAD {
        let findings = parse(file).expect_err(rule);
        let [finding] = &findings[..] else { panic!("{rule}: {findings:?}") };
        assert_eq!((finding.path.as_str(), finding.code.as_str()), (*path, *code), "{rule}");
        assert!(finding.reason.contains(reason), "{rule}: {}", finding.reason);
    }
}

#[test]
fn too_many_nics_are_refused() {
    let nics = "{ wire = \"w\" },".repeat(25);
    let text = format!("name = \"x\"\n[wires.w]\n[machines.a]\nnics = [{nics}]");
    let findings = parse(&text).expect_err("too many");
    assert_eq!(findings[0].code, "too-many-nics");
}

#[test]
fn all_findings_come_at_once() {
    let text =
        "name = \"x\"\nextra = 1\n[machines.a]\nram_mib = 1\ncpus = 99\nnics = [{ wire = \"w\" }]";
    let codes: Vec<_> =
        parse(text).expect_err("bad").into_iter().map(|finding| finding.code).collect();
    assert_eq!(codes, ["unknown-field", "cpus", "no-such-wire", "ram"]);
}

#[test]
fn every_example_of_a_lab_is_good() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let mut seen = 0;
    for entry in std::fs::read_dir(&folder).expect("examples").flatten() {
        let path = entry.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with("lab-") {
            let text = std::fs::read_to_string(&path).expect("readable");
            assert!(parse(&text).is_ok(), "{name}: {:?}", parse(&text));
            seen += 1;
        }
    }
    assert!(seen >= 2, "only {seen} examples found");
}

proptest! {
    #[test]
    fn no_text_panics(text in ".*") {
        let _either = parse(&text);
    }

    #[test]
    fn no_damaged_file_panics(at in 0..GOOD.len(), byte in any::<char>()) {
        let mut text = GOOD.to_owned();
        if text.is_char_boundary(at) {
            text.insert(at, byte);
        }
        if let Err(findings) = parse(&text) {
            prop_assert!(!findings.is_empty());
        }
    }
}
