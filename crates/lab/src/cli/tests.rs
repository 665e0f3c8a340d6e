//! Words, tables and the command line's shape.

use clap::{Parser, Subcommand};

use super::LabCommand;
use super::exec::shell_line;
use super::show::tables;
use crate::lab::LabStatus;

#[derive(Parser)]
struct Program {
    #[command(subcommand)]
    lab: Words,
}

#[derive(Subcommand)]
enum Words {
    /// as `sluice` embeds it
    #[command(subcommand)]
    Lab(LabCommand),
}

fn parse(words: &str) -> Result<Words, clap::Error> {
    Program::try_parse_from(["sluice", "lab"].into_iter().chain(words.split(' ')))
        .map(|program| program.lab)
}

#[test]
fn every_documented_command_is_understood() {
    for words in [
        "up lab.toml",
        "up --check lab.toml",
        "status",
        "status --json --lab one",
        "console r-1",
        "exec vm1 -- ip addr",
        "capture guest -o out.pcap",
        "capture guest --seconds 5 -o -",
        "cut guest",
        "heal guest",
        "loss guest 2.5",
        "delay guest 30 --jitter 5",
        "power r-1 cut",
        "power r-1 on",
        "power r-1 off",
        "down",
        "lab-daemon /run/x",
    ] {
        assert!(parse(words).is_ok(), "{words}: {:?}", parse(words).err());
    }
    for words in ["up", "exec vm1", "power r-1 maybe", "loss guest much", "capture guest"] {
        assert!(parse(words).is_err(), "{words}");
    }
}

#[test]
fn words_reach_the_shell_as_they_were_typed() {
    let line = |words: &[&str]| {
        shell_line(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    };
    assert_eq!(line(&["ip", "-4", "addr"]), "ip -4 addr");
    assert_eq!(line(&["echo", "a b", "it's", "", "$HOME"]), r"echo 'a b' 'it'\''s' '' '$HOME'");
    assert_eq!(line(&["ip addr | grep inet"]), "ip addr | grep inet");
}

#[test]
fn an_endpoint_is_shown_as_the_manager_takes_it() {
    use crate::qemu::MachineStatus;
    let machine = MachineStatus {
        name: "r-1".into(),
        kind: crate::spec::MachineKind::Template,
        on: true,
        paused: false,
        pid: None,
        accelerator: "tcg".into(),
        endpoint: Some("127.0.0.1:43922".parse().expect("an address")),
        macs: Vec::new(),
        without_carrier: Vec::new(),
        console: "console".into(),
        console_log: "console.log".into(),
    };
    let (name, machines) = ("one".into(), vec![machine]);
    let status = LabStatus {
        name,
        machines,
        wires: Vec::new(),
        namespaces: std::collections::BTreeMap::new(),
    };
    let text = tables(&status);
    let shown: Vec<std::net::SocketAddr> =
        text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    assert_eq!(shown, ["127.0.0.1:43922".parse().expect("an address")], "{text}");
}

#[tokio::test]
async fn status_shows_wires_and_their_stations() {
    use crate::wire::{Impairment, Percent, PortIo, PortSettings, Wire};
    let loss_percent = Percent::new(2.5).expect("in range");
    let impairment = Impairment { loss_percent, delay_ms: 30, jitter_ms: 5 };
    let wire = Wire::new("guest", impairment, 0).expect("in a runtime");
    let (io, _send, _receive) = PortIo::channel();
    wire.add_port("vm1.0", PortSettings::default(), io);
    wire.cut();
    let status = LabStatus {
        name: "one".into(),
        machines: Vec::new(),
        wires: vec![wire.status()],
        namespaces: [("inet".to_owned(), "slt-1-one-inet".to_owned())].into(),
    };
    let text = tables(&status);
    for wanted in [
        "lab one",
        "guest",
        "cut, loses 2.5 %, 30 ms + 0..5 ms",
        "vm1.0",
        "trunk",
        "slt-1-one-inet",
    ] {
        assert!(text.contains(wanted), "{wanted} is not in\n{text}");
    }
}
