//! Guests that want to take the service from their neighbours.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::bench::{BOUND, Bench, get};

const GATEWAY: &str = "10.1.1.1:80";

fn connect() -> TcpStream {
    let stream = TcpStream::connect(GATEWAY).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
    stream
}

/// Everything that comes back until the end.
fn rest(mut stream: TcpStream) -> String {
    let mut text = Vec::new();
    let _reset = stream.read_to_end(&mut text);
    String::from_utf8_lossy(&text).into_owned()
}

fn memory(bench: &mut Bench) -> u64 {
    let pid = bench.server("metadata").pid();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_thousand_idle_connections_keep_nobody_out() {
    let mut bench = Bench::new("md-idle");
    let before = memory(&mut bench);
    let file = bench.path("idle.py");
    std::fs::write(&file, IDLE).unwrap();
    let mut held = bench.second.spawn(["/usr/bin/python3", &file.display().to_string()]).unwrap();
    held.says("1100 open", BOUND).unwrap();
    assert_eq!(get(&bench.first, "/latest/instance-id").1, "i-2-7-VM");
    assert_eq!(get(&bench.second, "/latest/instance-id").0, 401, "not even themselves");
    let counters = bench.counters("metadata");
    assert!(counters["evicted"].as_u64() >= Some(1000), "{counters}");
    assert!(memory(&mut bench) < before + 4096, "{before} KiB before");
    held.kill();
}

/// Connections left open, more than a process has descriptors for by default.
const IDLE: &str = r#"
import resource, socket, time
resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
held = [socket.create_connection(("10.1.1.1", 80)) for _ in range(1100)]
print("1100 open", flush=True)
time.sleep(60)
"#;

#[test]
fn a_slow_head_is_cut_off_and_a_long_one_refused() {
    let mut bench = Bench::new("md-slow");
    bench
        .second
        .enter(|| {
            let begun = Instant::now();
            let mut slow = connect();
            slow.write_all(b"GET /latest/ HTTP/1.1\r\nX: ").unwrap();
            let mut long = connect();
            let line = [b'x'; 1000];
            // as much as it takes, of a hundred megabytes
            let taken = (0..100_000).take_while(|_| long.write_all(&line).is_ok()).count();
            assert!(taken < 5000, "{taken} kB of a head were taken");
            let mut many = connect();
            many.write_all(b"GET / HTTP/1.1\r\n").unwrap();
            let _cut = (0..1000)
                .try_for_each(|number| many.write_all(format!("h{number}: 1\r\n").as_bytes()));
            let _cut = many.write_all(b"\r\n");
            let refused = rest(many);
            assert!(refused.is_empty() || refused.contains(" 431 "), "{refused}");
            assert!(!rest(slow).contains(" 200 "));
            assert!(begun.elapsed() < Duration::from_secs(12), "{:?}", begun.elapsed());
        })
        .unwrap();
    assert_eq!(get(&bench.first, "/latest/instance-id").1, "i-2-7-VM");
    assert!(bench.counters("metadata")["broken"].as_u64() >= Some(3));
}

#[test]
fn paths_lead_nowhere_else() {
    let bench = Bench::new("md-paths");
    for path in [
        "/latest/../../../etc/passwd",
        "/latest/%2e%2e/%2e%2e/etc/passwd",
        "/latest/meta-data/..%2f..%2fetc%2fpasswd",
        "/userdata/10.1.1.24/user-data",
        "/metadata/10.1.1.24/instance-id",
        "//etc/passwd",
        "/latest/user-data/../../10.1.1.24/user-data",
        "/latest/meta-data/%00",
    ] {
        let url = format!("http://10.1.1.1{path}");
        let (status, body) = crate::bench::curl(&bench.first, &["--path-as-is", &url]);
        assert!(matches!(status, 404 | 400 | 0), "{path}: {status} {body}");
        assert!(!body.contains("root:") && !body.contains("vm2"), "{path}: {body}");
    }
}

#[test]
fn who_takes_anothers_address_learns_nothing_of_it() {
    let mut bench = Bench::new("md-spoof");
    bench.first.ip(["link", "set", "eth0", "down"]).unwrap();
    let own = "10.1.1.23/32".parse().unwrap();
    bench.second.address(&crate::bench::link("eth0"), own).unwrap();
    let words = ["--interface", "10.1.1.23", "http://10.1.1.1/latest/user-data"];
    assert_eq!(crate::bench::curl(&bench.second, &words).0, 0);
    assert_eq!(bench.counters("metadata")["strangers_mac"], 1);
}
