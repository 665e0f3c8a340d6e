//! Guests that want to take the name service from their neighbours.

use serde_json::json;
use sluice_lab::Wait;

use crate::bench::{BOUND, Bench, dig, link, slice};

/// Kilobytes that the server has.
fn memory(bench: &mut Bench) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", bench.server().pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Connections that say nothing, or a part of a question that never ends.
const IDLE: &str = r#"
import resource, socket, time
resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
held = []
for number in range(1100):
    held.append(socket.create_connection(("10.1.2.1", 53)))
    if number % 2:
        try:
            held[-1].sendall(b"\x0f\x00" + b"x" * 1000)
        except OSError:
            pass
print("1100 open", flush=True)
time.sleep(600)
"#;

#[test]
fn connections_that_say_nothing_keep_nobody_out() {
    let mut bench = Bench::new("dns-idle");
    let before = memory(&mut bench);
    let file = bench.path("idle.py");
    std::fs::write(&file, IDLE).unwrap();
    let mut held = bench.second.spawn(["python3", &file.display().to_string()]).unwrap();
    held.says("1100 open", BOUND).unwrap();
    for how in ["+notcp", "+tcp"] {
        let answer = dig(&bench.first, &format!("{how} @10.1.1.1 vm1.cs1.cloud.internal"));
        answer.expect("10.1.1.23");
    }
    dig(&bench.second, "+notcp @10.1.2.1 db1.cs2.cloud.internal").expect("10.1.2.23");
    assert!(memory(&mut bench) < before + 8192, "{before} KiB before");
    held.kill();
    let again = || dig(&bench.second, "+tcp @10.1.2.1 db1.cs2.cloud.internal").says("10.1.2.23");
    Wait::until(BOUND, "their own place", again).unwrap();
}

/// As many connections as one client may have from each of 20 addresses, opened again as they are closed.
const MANY: &str = r#"
import select, socket, time
held = []
def fill():
    for number in range(100, 120):
        for _ in range(16):
            s = socket.socket()
            s.bind((f"10.1.2.{number}", 0))
            s.connect(("10.1.2.1", 53))
            held.append(s)
fill()
print("320 open", flush=True)
while True:
    gone, _, _ = select.select(held, [], [], 1)
    for s in gone:
        held.remove(s)
        local = s.getsockname()[0]
        s.close()
        s = socket.socket()
        s.bind((local, 0))
        s.connect(("10.1.2.1", 53))
        held.append(s)
    time.sleep(0.05)
"#;

#[test]
fn a_guest_with_many_addresses_takes_connections_from_its_own_network() {
    let mut bench = Bench::new("dns-many");
    for number in 100..120 {
        let own = format!("10.1.2.{number}/24").parse().unwrap();
        bench.second.address(&link("eth0"), own).unwrap();
    }
    let file = bench.path("many.py");
    std::fs::write(&file, MANY).unwrap();
    let mut held = bench.second.spawn(["python3", &file.display().to_string()]).unwrap();
    held.says("320 open", BOUND).unwrap();
    for _ in 0..10 {
        let answer = dig(&bench.first, "+tcp +tries=1 @10.1.1.1 vm1.cs1.cloud.internal");
        answer.expect("10.1.1.23");
    }
    dig(&bench.second, "+notcp @10.1.2.1 db1.cs2.cloud.internal").expect("10.1.2.23");
    assert_eq!(bench.report()["counts"]["strangers"], 0);
    held.kill();
}

/// Sixteen connections that ask for long answers and read none.
const DEAF: &str = r#"
import socket, time
query = b"\x07\x07\x01\0\0\x01\0\0\0\0\0\0\x04long\x07example\0\0\x10\0\x01"
held = []
for _ in range(16):
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    s.connect(("10.1.2.1", 53))
    s.sendall((len(query).to_bytes(2, "big") + query) * 60)
    held.append(s)
print("asked", flush=True)
time.sleep(600)
"#;

#[test]
fn a_client_that_never_reads_holds_one_answer_a_connection() {
    let mut bench = Bench::wired("dns-deaf");
    let mut slice = slice();
    let text = |number: u32| format!("{number:0>250}");
    let long = (0..240).map(|n| json!({ "name": "long.example", "data": { "txt": text(n) } }));
    slice["networks"][1]["records"] = long.collect();
    bench.write(&slice);
    bench.start();
    dig(&bench.second, "+tcp +bufsize=4096 @10.1.2.1 long.example TXT").expect(&text(239));
    let before = memory(&mut bench);
    let file = bench.path("deaf.py");
    std::fs::write(&file, DEAF).unwrap();
    let mut held = bench.second.spawn(["python3", &file.display().to_string()]).unwrap();
    held.says("asked", BOUND).unwrap();
    // as long as the server waits for them to read
    let mut most = before;
    for _ in 0..20 {
        dig(&bench.first, "+tcp @10.1.1.1 vm1.cs1.cloud.internal").expect("10.1.1.23");
        most = most.max(memory(&mut bench));
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    assert!(most < before + 8192, "{before} KiB before, {most} KiB then");
    held.kill();
}
