//! Wires that run: ports on channels and on datagram sockets, captures and pcap files.

use std::time::Duration;

use tokio::net::UnixDatagram;

use super::super::core::PortSettings;
use super::super::impair::Impairment;
use super::super::pcap::PcapReader;
use super::super::port::PortIo;
use super::super::switch::PortMode;
use super::super::task::Wire;
use super::{BROADCAST, frame, mac, vlan};

const BOUND: Duration = Duration::from_secs(5);

fn wire() -> Wire {
    Wire::new("lan", Impairment::default(), 0).expect("in a runtime")
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(BOUND, future).await.expect("in time")
}

#[tokio::test]
async fn frames_cross_between_a_channel_and_a_socket() {
    let folder = tempfile::tempdir().expect("a folder");
    let (ours, theirs) = (folder.path().join("w"), folder.path().join("q"));
    let machine = UnixDatagram::bind(&theirs).expect("the machine's socket");
    let wire = wire();
    let access = PortSettings { mode: PortMode::Access(vlan(5)), ..PortSettings::default() };
    let io = PortIo::datagram(&ours, &theirs).expect("the wire's socket");
    wire.add_port("machine", access, io);
    let (io, send, mut receive) = PortIo::channel();
    wire.add_port("test", PortSettings::default(), io);

    let plain = frame(BROADCAST, mac(1), None, b"from the machine");
    machine.send_to(&plain, &ours).await.expect("sent");
    let tagged = frame(BROADCAST, mac(1), Some(5), b"from the machine");
    assert_eq!(soon(receive.recv()).await, Some(tagged));

    let answer = frame(mac(1), mac(2), Some(5), b"answer");
    send.send(answer).await.expect("the wire listens");
    let mut buffer = [0; 2000];
    let length = soon(machine.recv(&mut buffer)).await.expect("received");
    assert_eq!(&buffer[..length], &frame(mac(1), mac(2), None, b"answer")[..]);
}

#[tokio::test]
async fn a_machine_that_is_off_does_not_stop_the_others() {
    let folder = tempfile::tempdir().expect("a folder");
    let wire = wire();
    let io = PortIo::datagram(&folder.path().join("w"), &folder.path().join("nobody"));
    wire.add_port("off", PortSettings::default(), io.expect("bound"));
    let (io, send, _keep) = PortIo::channel();
    wire.add_port("a", PortSettings::default(), io);
    let (io, _also, mut receive) = PortIo::channel();
    wire.add_port("b", PortSettings::default(), io);
    for payload in 0..100_u8 {
        let sent = frame(BROADCAST, mac(1), None, &[payload]);
        send.send(sent.clone()).await.expect("the wire listens");
        assert_eq!(soon(receive.recv()).await, Some(sent));
    }
}

#[tokio::test]
async fn a_delayed_frame_comes_later_without_more_traffic() {
    let wire = wire();
    wire.set_impairment(Impairment { delay_ms: 40, ..Impairment::default() });
    let (io, send, _keep) = PortIo::channel();
    wire.add_port("a", PortSettings::default(), io);
    let (io, _also, mut receive) = PortIo::channel();
    wire.add_port("b", PortSettings::default(), io);
    let start = std::time::Instant::now();
    send.send(frame(BROADCAST, mac(1), None, b"")).await.expect("the wire listens");
    assert!(soon(receive.recv()).await.is_some());
    assert!(start.elapsed() >= Duration::from_millis(40), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_capture_file_holds_what_the_wire_carried() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("lan.pcap");
    let wire = wire();
    let (io, send, _keep) = PortIo::channel();
    let access = PortSettings { mode: PortMode::Access(vlan(9)), ..PortSettings::default() };
    let port = wire.add_port("a", access, io);
    let (io, _also, mut receive) = PortIo::channel();
    wire.add_port("b", PortSettings::default(), io);
    let capture = wire.capture();
    send.send(frame(BROADCAST, mac(1), None, b"one")).await.expect("the wire listens");
    soon(receive.recv()).await;
    wire.remove_port(port);
    drop(wire);
    assert_eq!(capture.write_file(&path, BOUND).await.expect("written"), 1);

    let file = std::fs::File::open(&path).expect("the file");
    let mut reader = PcapReader::new(file).expect("its header");
    let (_, first) = reader.next_frame().expect("readable").expect("a frame");
    assert_eq!(first, frame(BROADCAST, mac(1), Some(9), b"one"));
    assert!(reader.next_frame().expect("readable").is_none());
}

#[tokio::test]
async fn status_names_the_stations() {
    let wire = wire();
    let (io, _send, _receive) = PortIo::channel();
    let port = wire.add_port("vm1.n0", PortSettings::default(), io);
    wire.cut();
    let status = wire.status();
    assert!(status.cut);
    assert_eq!(status.ports[0].station, "vm1.n0");
    wire.remove_port(port);
    assert!(wire.set_port_cut(port, true).is_err());
}
