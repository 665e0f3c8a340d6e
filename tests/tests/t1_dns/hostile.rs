//! Guests that want to take the name service from their neighbours.

use sluice_lab::Wait;

use crate::bench::{BOUND, Bench, dig};

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
