//! Services that are killed in the middle of their work: they are back at once, and what they say is as right as before.

use serde_json::{Value, json};
use sluice_lab::Wait;
use sluice_lab::netns::Process;

use super::SOON;
use super::world::{World, config};

/// Asks all four services on and on as one guest. At SIGUSR1 it says of each how many answers were right, which were wrong,
/// and how many milliseconds the longest time between two right ones was.
const ASK: &str = r#"
import http.client, json, signal, socket, struct, sys, threading, time
link, mac, own, other, address, word, password = sys.argv[1:]
told = {}
def on_and_on(name, ask):
    mine = told[name] = {"right": 0, "wrong": [], "gap": 0}
    last = None
    while True:
        try:
            right, said = ask()
        except (OSError, http.client.HTTPException):
            right, said = False, None
        now = time.monotonic()
        if right:
            mine["right"] += 1
            mine["gap"] = max(mine["gap"], int(1000 * (now - last))) if last else 0
            last = now
        elif said is not None:
            mine["wrong"].append(repr(said))
        time.sleep(0.01)
def names():
    query = b"\x07\x07\x01\0\0\x01\0\0\0\0\0\0" + b"".join(bytes([len(l)]) + l.encode() for l in other.split(".")) + b"\0\0\x01\0\x01"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(0.3)
        s.connect(("10.1.1.1", 53))
        s.send(query)
        said = s.recv(512)
    return said[3] & 15 == 0 and said[-4:] == socket.inet_aton(address), said
def page(port, path, headers, wanted):
    asked = http.client.HTTPConnection("10.1.1.1", port, timeout=0.5)
    try:
        asked.request("GET", path, headers=headers)
        got = asked.getresponse()
        said = got.read().decode().strip()
    finally:
        asked.close()
    return got.status == 200 and said == wanted, (got.status, said)
def metadata():
    return page(80, "/latest/instance-id", {}, word)
def secret():
    return page(8080, "/", {"DomU_Request": "send_my_password"}, password)
client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
client.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
client.setsockopt(socket.SOL_SOCKET, 25, link.encode() + b"\0")
client.bind(("0.0.0.0", 68))
client.settimeout(0.3)
number = 0
def answer(kind, options):
    global number
    number += 1
    hardware = bytes.fromhex(mac.replace(":", ""))
    head = struct.pack("!BBBBIHH16s16s192sI", 1, 1, 6, 0, number, 0, 0x8000, b"", hardware, b"", 0x63825363)
    client.sendto(head + bytes([53, 1, kind]) + options + b"\xff", ("255.255.255.255", 67))
    while True:
        said = client.recv(2048)
        # others' answers are broadcast too
        if said[4:8] == struct.pack("!I", number) and said[28:34] == hardware:
            return said
def lease():
    for kind, options, expected in ((1, b"", 2), (3, b"\x32\x04" + socket.inet_aton(own) + b"\x36\x04\x0a\x01\x01\x01", 5)):
        said = answer(kind, options)
        # the kind is the first option of every answer
        if said[16:20] != socket.inet_aton(own) or said[240:243] != bytes([53, 1, expected]):
            return False, said.hex()
    return True, said
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
for name, ask in (("dns", names), ("metadata", metadata), ("password", secret), ("dhcp", lease)):
    threading.Thread(target=on_and_on, args=(name, ask), daemon=True).start()
print("asking", flush=True)
while signal.sigwait({signal.SIGUSR1}):
    print("told " + json.dumps(told), flush=True)
"#;

/// Given to vm1, which does not say that it has it, and vm2's, which has it and said so.
const PASSWORD: &str = "s3cret-One";
const TAKEN: &str = "s3cret-Two";
const GUESTS: [(&str, &str, &str, &str, &str); 2] = [
    ("vm1", "02:00:0a:01:01:17", "10.1.1.23", "vm2.cs1.cloud.internal", "10.1.1.24"),
    ("vm2", "02:00:0a:01:01:18", "10.1.1.24", "vm1.cs1.cloud.internal", "10.1.1.23"),
];

/// A router that lends addresses, and has a password for each guest.
fn world() -> World {
    let world = World::new();
    let mut config = config();
    let network = &mut config.role.networks[0];
    network.dhcp.pools = vec!["10.1.1.100-10.1.1.219".parse().unwrap()];
    for (guest, password) in network.guests.iter_mut().zip([PASSWORD, TAKEN]) {
        world.give_password(guest, password);
    }
    world.push_and_confirm(&config);
    world
}

/// A guest that asks all services.
struct Guest {
    name: &'static str,
    asking: Process,
}

impl Guest {
    fn start(
        world: &World,
        script: &str,
        (name, mac, own, other, address): (&'static str, &str, &str, &str, &str),
    ) -> Self {
        let (id, password) = match name {
            "vm1" => ("vm1-0", PASSWORD),
            _ => ("vm2-0", "saved_password"),
        };
        let words = ["python3", script, "eth0", mac, own, other, address, id, password];
        let mut asking = world.guest(name).spawn(words).unwrap();
        asking.says("asking", SOON).unwrap();
        Self { name, asking }
    }

    /// What it was told so far, by service.
    fn told(&self) -> Value {
        let said = |output: &str| -> Vec<Value> {
            let lines = output.lines().filter_map(|line| line.strip_prefix("told "));
            lines.filter_map(|line| serde_json::from_str(line).ok()).collect()
        };
        let before = said(&self.asking.output()).len();
        self.asking.signal(nix::sys::signal::Signal::SIGUSR1).unwrap();
        let told = || said(&self.asking.output()).get(before).cloned();
        Wait::until_some(SOON, "what it was told", told)
            .unwrap_or_else(|error| panic!("{error}\n{}", self.asking.output()))
    }

    /// It is told what is right by `service` again.
    fn is_served(&self, service: &str) {
        let right = || self.told()[service]["right"].as_u64().unwrap_or_default();
        let before = right();
        Wait::until(SOON, service, || right() > before + 5)
            .unwrap_or_else(|error| panic!("{}: {error}\n{}", self.name, self.told()));
    }

    /// No answer was wrong; says what it had to do without.
    fn judge(&self) {
        for (service, told) in self.told().as_object().unwrap() {
            assert_eq!(told["wrong"], json!([]), "{}: {service}", self.name);
            let (right, gap) = (&told["right"], &told["gap"]);
            eprintln!("{}: {service}: {right} answers, at most {gap} ms without", self.name);
        }
    }
}

/// Both guests ask all services.
fn ask(world: &World) -> Vec<Guest> {
    let script = world.dir.path().join("ask.py");
    std::fs::write(&script, ASK).unwrap();
    let script = script.display().to_string();
    GUESTS.into_iter().map(|guest| Guest::start(world, &script, guest)).collect()
}

/// Ends each service the hard way, one after the other, and waits each time until it is back with its configuration and
/// guests are served again.
fn kill_each(world: &World, guests: &[Guest], round: u64) {
    for service in world.status().services {
        let (name, pid) = (service.name.as_str(), service.pid.unwrap());
        for guest in guests {
            guest.is_served(name);
        }
        world.router.sh(&format!("kill -9 {pid}")).check().unwrap();
        Wait::until(SOON, name, || {
            let now = world.status().services;
            let now = now.iter().find(|one| one.name == name).unwrap();
            now.restarts == round && now.generation == Some(config().generation)
        })
        .unwrap();
        for guest in guests {
            guest.is_served(name);
        }
    }
}

/// vm2 takes its password, and says that it has it.
fn take_password(world: &World) {
    for (word, said) in [("send_my_password", TAKEN), ("saved_password", "saved_password")] {
        let header = format!("DomU_Request: {word}");
        let words = ["curl", "-sS", "-m", "10", "-H", &header, "http://10.1.1.1:8080/"];
        assert_eq!(world.guest("vm2").command(words).check().unwrap().trim(), said);
    }
}

/// What perfdhcp counted by `name`, of offers and of confirmations.
fn counted(told: &str, name: &str) -> [u64; 2] {
    let counts = told.lines().filter_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    counts.collect::<Vec<_>>().try_into().unwrap_or_else(|_| panic!("two of {name} in {told}"))
}

#[test]
fn under_load_no_answer_is_wrong_and_no_address_is_lent_twice() {
    let world = world();
    world.lease("vm1", "10.1.1.23");
    world.lease("vm2", "10.1.1.24");
    take_password(&world);
    let guests = ask(&world);
    let file = world.dir.path().join("queries");
    std::fs::write(&file, "vm1.cs1.cloud.internal A\nvm2.cs1.cloud.internal A\n").unwrap();
    let line = format!("exec dnsperf -s 10.1.1.1 -d {} -l 12 -Q 500 -t 1", file.display());
    let mut names = world.guest("vm1").spawn(["sh", "-c", &line]).unwrap();
    // a hundred machines that nobody knows, each with a MAC of its own
    let line = "exec perfdhcp -4 -u -l eth0 -r 10 -R 100 -n 100 -W 5000000";
    let loans = world.guest("vm2").spawn(["sh", "-c", line]).unwrap();
    for round in 1..=2 {
        kill_each(&world, &guests, round);
    }
    names.says("Average Latency", SOON * 4).unwrap();
    let told = names.output();
    assert!(told.contains("NOERROR") && !told.contains("NXDOMAIN"), "{told}");
    assert!(!told.contains("SERVFAIL") && !told.contains("REFUSED"), "{told}");
    // in the second of its two tables
    let name = "non unique addresses:";
    let ended = || loans.output().split(name).nth(2).is_some_and(|rest| rest.contains('\n'));
    Wait::until(SOON * 8, "what perfdhcp counted", ended).unwrap();
    let told = loans.output();
    let [offered, confirmed] = counted(&told, "received packets:");
    let [offered_twice, lent_twice] = counted(&told, name);
    assert_eq!(lent_twice, 0, "{told}");
    assert!(confirmed > 50, "{told}");
    // what was offered before a kill and not taken may be offered to another
    assert!(offered_twice <= offered.saturating_sub(confirmed), "{told}");
    guests.iter().for_each(Guest::judge);
}
