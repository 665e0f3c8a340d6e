//! The command and its background process, with a machine of bare firmware: no image, no rights.

#![allow(clippy::expect_used, clippy::indexing_slicing)] // a helper of a test fails the test

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::Value;
use sluice_lab::Wait;

const BOUND: Duration = Duration::from_secs(30);

/// A folder of its own for state, so that no other lab of this user is touched.
struct Desk {
    folder: tempfile::TempDir,
}

impl Desk {
    fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("slt").tempdir_in("/tmp").expect("a folder");
        let disk = folder.path().join("empty.qcow2");
        let made = sluice_programs::command("qemu-img")
            .expect("in the table")
            .args(["create", "-q", "-f", "qcow2"])
            .arg(&disk)
            .arg("1M")
            .status();
        assert!(made.expect("qemu-img runs").success());
        Self { folder }
    }

    fn lab_file(&self, text: &str) -> PathBuf {
        let path = self.folder.path().join("lab.toml");
        std::fs::write(&path, text).expect("written");
        path
    }

    fn good_file(&self) -> PathBuf {
        self.lab_file(
            "name = \"desk\"\n[wires.lan]\n[machines.m]\ndisk = \"empty.qcow2\"\nram_mib = 64\n\
             nics = [{ wire = \"lan\" }]\n",
        )
    }

    fn run(&self, words: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sluice-lab"));
        command.args(words).env("XDG_RUNTIME_DIR", self.folder.path()).env_remove("SLUICE_LAB");
        command.output().expect("the command runs")
    }

    fn ok(&self, words: &[&str]) -> String {
        let output = self.run(words);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{words:?}: {said}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn refused(&self, words: &[&str], because: &str) {
        let output = self.run(words);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{words:?} was not refused");
        assert!(said.contains(because), "{words:?} said {said:?} instead of {because:?}");
    }

    fn status(&self) -> Value {
        serde_json::from_str(&self.ok(&["status", "--json"])).expect("JSON")
    }

    fn machine(&self, field: &str) -> Value {
        self.status()["machines"][0][field].clone()
    }

    fn daemon_pid(&self) -> i64 {
        let path = self.folder.path().join("sluice-lab/desk/daemon.json");
        let text = std::fs::read_to_string(path).expect("noted");
        let owner: Value = serde_json::from_str(&text).expect("JSON");
        owner["pid"].as_i64().expect("a pid")
    }

    fn lab_folder_is_gone(&self) -> bool {
        !self.folder.path().join("sluice-lab/desk").exists()
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        // a test that failed half-way must not leave machines behind
        self.run(&["down"]);
    }
}

fn gone(pid: &Value) -> bool {
    !Path::new("/proc").join(pid.to_string()).exists()
}

#[test]
fn a_lab_goes_up_answers_and_goes_down() {
    let desk = Desk::new();
    let file = desk.good_file();
    let file = file.to_str().expect("text");
    let shown = desk.ok(&["up", file]);
    assert!(shown.contains("desk") && shown.contains("m.0"), "{shown}");
    desk.refused(&["up", file], "up already");
    assert_eq!(desk.machine("on"), true);

    desk.ok(&["cut", "lan"]);
    desk.ok(&["loss", "lan", "2.5"]);
    desk.ok(&["delay", "lan", "30", "--jitter", "4"]);
    let wire = desk.status()["wires"][0].clone();
    assert_eq!(wire["cut"], true);
    let impaired = serde_json::json!({ "loss_percent": 2.5, "delay_ms": 30, "jitter_ms": 4 });
    assert_eq!(wire["impairment"], impaired);
    desk.ok(&["heal", "lan"]);

    desk.refused(&["cut", "wan"], "no wire \"wan\" in this lab; there are: lan");
    desk.refused(&["loss", "lan", "200"], "not a percentage");
    desk.refused(&["delay", "lan", "20000"], "too long");
    desk.refused(&["exec", "m", "--", "true"], "no command channel");
    desk.refused(&["console", "n"], "no machine \"n\"");
    desk.refused(&["status", "--lab", "other"], "lab other is not up");

    let pcap = desk.folder.path().join("lan.pcap");
    desk.ok(&["capture", "lan", "--seconds", "1", "-o", pcap.to_str().expect("text")]);
    assert_eq!(std::fs::read(&pcap).expect("written").len(), 24, "a header and no frame");
    desk.refused(&["capture", "wan", "-o", "-"], "no wire");

    let pid = desk.machine("pid");
    desk.ok(&["power", "m", "cut"]);
    assert!(gone(&pid), "a machine without power still runs");
    desk.refused(&["power", "m", "cut"], "machine m is off");
    desk.ok(&["power", "m", "on"]);
    let pid = desk.machine("pid");

    desk.ok(&["down"]);
    assert!(gone(&pid), "a machine outlived its lab");
    assert!(desk.lab_folder_is_gone());
    desk.refused(&["status"], "no lab is up");
}

#[test]
fn a_machine_is_halted_reset_and_loses_its_carrier() {
    let desk = Desk::new();
    let file = desk.good_file();
    desk.ok(&["up", file.to_str().expect("text")]);
    let pid = desk.machine("pid");

    desk.ok(&["power", "m", "pause"]);
    assert_eq!((desk.machine("on"), desk.machine("paused")), (true.into(), true.into()));
    let said: Value =
        serde_json::from_str(&desk.ok(&["monitor", "m", "query-status"])).expect("JSON");
    assert_eq!(said["running"], false, "{said}");
    desk.ok(&["power", "m", "resume"]);
    assert_eq!(desk.machine("paused"), false);

    desk.ok(&["carrier", "m", "0", "down"]);
    assert_eq!(desk.machine("without_carrier"), desk.machine("macs"));
    assert!(desk.ok(&["status"]).contains("no carrier"));
    desk.ok(&["power", "m", "reset"]);
    assert_eq!(desk.machine("pid"), pid, "a reset is no power cut");
    desk.ok(&["power", "m", "cut"]);
    desk.refused(&["power", "m", "pause"], "machine m is off");
    desk.ok(&["power", "m", "on"]);
    assert_eq!(desk.machine("without_carrier"), desk.machine("macs"), "it came back by itself");
    desk.ok(&["carrier", "m", "0", "up"]);
    assert_eq!(desk.machine("without_carrier"), serde_json::json!([]));

    desk.refused(&["carrier", "m", "7", "down"], "no NIC 7");
    desk.refused(&["unplug", "m", "7"], "no NIC 7");
    desk.refused(&["monitor", "m", "make-coffee"], "make-coffee");
    desk.refused(&["monitor", "m", "stop", "{"], "EOF");
}

#[test]
fn a_killed_background_process_takes_its_machines_along_and_is_cleaned() {
    let desk = Desk::new();
    let file = desk.good_file();
    let file = file.to_str().expect("text");
    desk.ok(&["up", file]);
    let machine = desk.machine("pid");
    let daemon = desk.daemon_pid();
    let killed =
        sluice_programs::command("kill").unwrap().args(["-KILL", &daemon.to_string()]).status();
    assert!(killed.expect("kill runs").success());
    Wait::until(BOUND, "the machine's end", || gone(&machine)).expect("dies with its lab");
    desk.refused(&["status"], "no lab is up");
    desk.ok(&["up", file]);
    assert_eq!(desk.machine("on"), true);

    let killed = sluice_programs::command("kill")
        .unwrap()
        .args(["-KILL", &desk.daemon_pid().to_string()])
        .status();
    assert!(killed.expect("kill runs").success());
    Wait::until(BOUND, "the lab's end", || !desk.run(&["status"]).status.success()).expect("ends");
    let said = desk.ok(&["down"]);
    assert!(said.contains("removed what was left of desk"), "{said}");
    assert!(desk.lab_folder_is_gone());
}

#[test]
fn a_bad_file_is_refused_with_every_finding() {
    let desk = Desk::new();
    let file = desk.lab_file("name = \"desk\"\nextra = 1\n[machines.m]\nram_mib = 1\n");
    let output = desk.run(&["up", file.to_str().expect("text")]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(said.contains("2 finding(s)"), "{said}");
    assert!(said.contains("error: extra: unknown field"), "{said}");
    assert!(said.contains("error: machines.m.ram_mib: must be 64 to 65536 MiB"), "{said}");
}

#[test]
fn a_lab_that_cannot_start_says_why_and_leaves_nothing() {
    let desk = Desk::new();
    let file = desk.lab_file("name = \"desk\"\n[machines.m]\ndisk = \"none.qcow2\"\n");
    desk.refused(&["up", file.to_str().expect("text")], "none.qcow2 is missing");
    assert!(desk.lab_folder_is_gone());
}
