//! Servers that cut, lie, change their minds and fall silent.

use super::bench::{Bench, WEB, import, noise};
use super::server::{range, range_cut, say, start};
use std::sync::atomic::Ordering;

fn job(bench: &mut Bench, port: u16) {
    let job = import("j-1", 1, &format!("http://{WEB}:{port}/disk"));
    bench.change(|slice| slice["jobs"] = vec![job].into());
}

#[test]
fn a_server_that_cuts_every_connection_is_asked_for_the_rest() {
    let mut bench = Bench::new("cuts");
    let disk = noise(2 << 20);
    let served = disk.clone();
    let asked = start(&bench.ns, "192.0.2.10:90", move |request, stream| {
        range_cut(request, stream, &served, "\"a\"", 100_000);
    });
    job(&mut bench, 90);
    // one stream, so that each answer is used as far as it came
    bench.change(|slice| slice["fetch"]["streams"] = 1.into());
    bench.start();
    let done = bench.done("j-1");
    assert_eq!(done["fetched"], 2 << 20, "not a byte twice");
    assert!(std::fs::read(bench.object(1, "web.raw")).unwrap() == disk);
    assert_eq!(asked.load(Ordering::SeqCst), (2_usize << 20).div_ceil(100_000));
}

#[test]
fn a_server_that_promises_more_than_it_has_is_found_out() {
    let mut bench = Bench::new("lies");
    let disk = noise(2 << 20);
    start(&bench.ns, "192.0.2.10:90", move |_, stream| {
        let head = format!("200 OK\r\nContent-Length: {}\r\nETag: \"a\"", disk.len() * 2);
        say(stream, &head, &disk);
    });
    job(&mut bench, 90);
    bench.change(|slice| slice["fetch"]["attempts"] = 3.into());
    bench.start();
    let (code, reason) = bench.failed("j-1");
    assert!(code.starts_with("source-"), "{code}: {reason}");
    assert!(!bench.object(1, "web.raw").exists());
}

#[test]
fn bytes_of_two_states_of_a_source_are_never_joined() {
    let mut bench = Bench::new("changes");
    let (old, new) = (noise(2 << 20), noise(3 << 20));
    let after = new.clone();
    start(&bench.ns, "192.0.2.10:90", move |request, stream| {
        let (bytes, etag) =
            if request.number < 3 { (&old, "\"old\"") } else { (&after, "\"new\"") };
        range(request, stream, bytes, etag);
    });
    job(&mut bench, 90);
    bench.start();
    let done = bench.done("j-1");
    assert!(std::fs::read(bench.object(1, "web.raw")).unwrap() == new);
    assert!(done["fetched"].as_u64().unwrap() > 3 << 20, "it began anew");
    assert!(bench.log().contains("begins anew"), "{}", bench.log());
}

#[test]
fn a_server_that_falls_silent_is_given_up_and_asked_again() {
    let mut bench = Bench::new("silent");
    let disk = noise(2 << 20);
    let served = disk.clone();
    start(&bench.ns, "192.0.2.10:90", move |request, stream| {
        if request.number == 1 {
            range_cut(request, stream, &served, "\"a\"", 1000);
            std::thread::park_timeout(std::time::Duration::from_secs(60));
        }
        range(request, stream, &served, "\"a\"");
    });
    job(&mut bench, 90);
    bench.change(|slice| slice["fetch"]["silence_seconds"] = 1.into());
    bench.start();
    bench.done("j-1");
    assert!(std::fs::read(bench.object(1, "web.raw")).unwrap() == disk);
}

#[test]
fn errors_of_the_server_are_waited_out_and_refusals_are_not() {
    let mut bench = Bench::new("errors");
    let disk = noise(2 << 20);
    let served = disk.clone();
    start(&bench.ns, "192.0.2.10:90", move |request, stream| match request.number {
        0 => say(stream, "503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0", b""),
        1 => say(stream, "500 Internal Server Error\r\nContent-Length: 0", b""),
        2 => drop(stream.shutdown(std::net::Shutdown::Both)),
        _ => range(request, stream, &served, "\"a\""),
    });
    job(&mut bench, 90);
    bench.start();
    bench.done("j-1");
    bench.change(|slice| {
        slice["jobs"] = vec![import("j-2", 2, &format!("http://{WEB}/gone"))].into()
    });
    let (code, reason) = bench.failed("j-2");
    assert_eq!((code.as_str(), reason.as_str()), ("source-status", "the server answered 404"));
}

#[test]
fn a_source_without_length_and_ranges_is_taken_to_its_end() {
    let mut bench = Bench::new("endless");
    let disk = noise(2 << 20);
    let served = disk.clone();
    start(&bench.ns, "192.0.2.10:90", move |_, stream| say(stream, "200 OK", &served));
    start(&bench.ns, "192.0.2.10:85", |_, stream| {
        say(stream, "200 OK", b"");
        // for ever, until the client has enough
        while std::io::Write::write_all(stream, &[7; 65_536]).is_ok() {}
    });
    job(&mut bench, 90);
    bench.start();
    let done = bench.done("j-1");
    assert!(done["total"].is_null());
    assert!(std::fs::read(bench.object(1, "web.raw")).unwrap() == disk);
    bench.change(|slice| {
        slice["jobs"] = vec![import("j-2", 2, &format!("http://{WEB}:85/disk"))].into();
        slice["limits"]["object_bytes"] = (4 << 20).into();
    });
    assert_eq!(bench.failed("j-2").0, "too-large");
}
