//! Helpers of connection tracking on real packets: what FTP, TFTP and PPTP agree on passes where a rule asks for it, translated,
//! and nowhere else.

use serde_json::{Value, json};
use sluice_api::RouterDocument;
use sluice_lab::Wait;
use sluice_lab::netns::{Namespace, Process};

use crate::SOON;
use crate::policy::{changed, guests_with_addresses};
use crate::world::World;

/// Bytes of the file that every server has.
const SIZE: usize = 200_000;

/// An FTP server on the ports 21 and 2121, for active and passive clients, in the forms of RFC 959 and RFC 2428.
const FTP: &str = r#"
import socket, threading, time
FILE = b'x' * 200000
def serve(control):
    here = control.getsockname()[0]
    def say(text):
        control.sendall((text + '\r\n').encode())
    def passive():
        listener = socket.create_server((here, 0))
        listener.settimeout(5)
        return listener.getsockname()[1], lambda: listener.accept()[0]
    def active(host, port):
        return lambda: socket.create_connection((host, port), 5, (here, 0))
    data = None
    say('220 ready')
    for line in control.makefile('rb'):
        word, _, rest = line.decode().strip().partition(' ')
        match word.upper():
            case 'USER':
                say('331 anything')
            case 'PASS':
                say('230 in')
            case 'PWD':
                say('257 "/" is it')
            case 'TYPE':
                say('200 done')
            case 'EPSV':
                port, data = passive()
                say(f'229 listening (|||{port}|)')
            case 'PASV':
                port, data = passive()
                numbers = here.split('.') + [str(port >> 8), str(port & 255)]
                say('227 listening (' + ','.join(numbers) + ')')
            case 'EPRT':
                _, _, host, port, _ = rest.split('|')
                data = active(host, int(port))
                say('200 done')
            case 'PORT':
                numbers = rest.split(',')
                data = active('.'.join(numbers[:4]), int(numbers[4]) * 256 + int(numbers[5]))
                say('200 done')
            case 'RETR':
                say('150 here it comes')
                try:
                    with data() as to:
                        while rest == 'slow':
                            to.sendall(b'more')
                            time.sleep(0.02)
                        to.sendall(FILE)
                    say('226 that was all')
                except OSError:
                    say('425 no connection')
            case 'QUIT':
                say('221 bye')
                return
            case _:
                say('500 what')
def listen(port):
    server = socket.create_server(('0.0.0.0', port))
    while True:
        threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()
threading.Thread(target=listen, args=(2121,), daemon=True).start()
listen(21)
"#;

/// A TFTP server for files of one block: each answer comes from a port of its own (RFC 1350 section 4).
const TFTP: &str = r"
import socket
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(('192.0.2.80', 69))
while True:
    asked, who = server.recvfrom(1000)
    answer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    answer.bind(('192.0.2.80', 0))
    answer.sendto(b'\0\3\0\1' + b'x' * 400, who)
";

/// Both ends of a PPTP call (RFC 2637): control over TCP, then one packet of GRE to the other end and back. Every client says
/// that its call is number 7.
const PPTP: &str = "\
import socket, struct, sys, threading, time
MAGIC = 0x1a2b3c4d
def message(kind, body):
    return struct.pack('!HHIHH', 12 + len(body), 1, MAGIC, kind, 0) + body
def take(control):
    head = control.recv(12, socket.MSG_WAITALL)
    length, _, _, kind, _ = struct.unpack('!HHIHH', head)
    return kind, control.recv(length - 12, socket.MSG_WAITALL)
def gre(call, payload):
    return struct.pack('!HHHHI', 0x3001, 0x880b, len(payload), call, 0) + payload
def tunnel(address):
    raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, 47)
    raw.bind((address, 0))
    raw.settimeout(1)
    return raw
def content(packet):
    packet = packet[(packet[0] & 15) * 4:]
    return struct.unpack('!HHHHI', packet[:12])[3], packet[12:]
calls = {}
def serve(control, own):
    while True:
        kind, body = take(control)
        if kind == 1:
            control.sendall(message(2, struct.pack('!HBBIIHH', 0x100, 1, 0, 1, 1, 0, 1) + bytes(128)))
        if kind == 7:
            other = struct.unpack('!H', body[:2])[0]
            calls[own] = other
            control.sendall(message(8, struct.pack('!HHBBHIHHI', own, other, 1, 0, 0, 64000, 3, 0, 0)))
def listen():
    server = socket.create_server(('192.0.2.80', 1723))
    own = 100
    while True:
        own += 1
        threading.Thread(target=serve, args=(server.accept()[0], own), daemon=True).start()
if sys.argv[1] == 'server':
    raw = tunnel('192.0.2.80')
    threading.Thread(target=listen, daemon=True).start()
    while True:
        try:
            packet, who = raw.recvfrom(2000)
        except TimeoutError:
            continue
        call, payload = content(packet)
        if call in calls:
            raw.sendto(gre(calls[call], payload), who)
name, here = sys.argv[1].encode(), sys.argv[2]
control = socket.create_connection(('192.0.2.80', 1723), 5)
control.sendall(message(1, struct.pack('!HHIIHH', 0x100, 0, 1, 1, 0, 1) + bytes(128)))
assert take(control)[0] == 2
control.sendall(message(7, struct.pack('!HHIIIIHHHH', 7, 1, 300, 64000, 1, 1, 3, 0, 0, 0) + bytes(128)))
kind, body = take(control)
own, other = struct.unpack('!HH', body[:4])
assert (kind, other) == (8, 7), 'the other end speaks of another call'
raw = tunnel(here)
for _ in range(int(sys.argv[3])):
    raw.sendto(gre(own, name), ('192.0.2.80', 0))
    try:
        call, payload = content(raw.recv(2000))
    except TimeoutError:
        continue
    print('answered', call, payload.decode(), flush=True)
    break
time.sleep(600)
";

fn start(world: &World, ns: &Namespace, name: &str, text: &str, port: &str) -> Process {
    let script = world.dir.path().join(name);
    std::fs::write(&script, text).unwrap();
    let process = ns.spawn(["python3".as_ref(), script.as_os_str(), "server".as_ref()]).unwrap();
    let serves = || ns.sh(&format!("ss -Hlntu {port} | grep -q .")).run().unwrap().ok();
    let up = Wait::until(SOON, name, serves);
    assert!(up.is_ok(), "{}", process.output());
    process
}

/// Whether the whole file comes, over FTP as `options` have it; what is not to come is not waited for long.
fn fetched(from: &Namespace, options: &str, server: &str, wanted: bool) -> bool {
    let most = if wanted { 15 } else { 2 };
    let line = format!("curl -s --max-time {most} {options} ftp://{server}/file | wc -c");
    from.sh(&line).check().unwrap().trim().parse() == Ok(SIZE)
}

/// Addresses and ports inside the connection are taken at their word.
const PASSIVE: &str = "--disable-epsv --no-ftp-skip-pasv-ip";
const PASSIVE_EXTENDED: &str = "";
const ACTIVE: &str = "-P - --disable-eprt";
const ACTIVE_EXTENDED: &str = "-P -";

fn tcp(ports: &str) -> Value {
    json!({ "tcp": { "ports": ports } })
}

/// Ports 21 and 2121 both ways, and port 21 alone with a helper, if there is to be any.
fn isolated(generation: u64, policy: &str, helpers: bool) -> RouterDocument {
    changed(generation, |document| {
        let router = &mut document["role"]["router"];
        router["networks"][0]["egress"] = json!(policy);
        let forward = |id: &str, port: &str| {
            json!({ "id": id, "public": "198.51.100.11", "protocol": "tcp", "ports": port,
                    "network": "net-1", "guest": "10.1.1.23" })
        };
        router["port_forwards"] = json!([forward("pf-1", "21"), forward("pf-2", "2121")]);
        let helper = |mut rule: Value, helper: &str| {
            if helpers {
                rule["helper"] = json!(helper);
            }
            rule
        };
        let firewall = |id: &str, port: &str| json!({ "id": id, "public": "198.51.100.11", "traffic": tcp(port) });
        router["firewall"] =
            json!([helper(firewall("fw-1", "21"), "ftp"), firewall("fw-2", "2121"),]);
        let egress = |id: &str, traffic: Value| json!({ "id": id, "network": "net-1", "destinations": ["192.0.2.80/32"], "traffic": traffic });
        let mut rules = vec![
            helper(egress("eg-1", tcp("21")), "ftp"),
            helper(egress("eg-2", json!({ "udp": { "ports": "69" } })), "tftp"),
            helper(egress("eg-3", tcp("1723")), "pptp"),
            egress("eg-4", tcp("2121")),
        ];
        if policy == "allow" {
            // without a helper these would be exceptions to the policy, so none of them would pass
            rules.truncate(if helpers { 3 } else { 0 });
        }
        router["egress_rules"] = json!(rules);
    })
}

#[test]
fn ftp_passes_translated_where_a_rule_asks_for_it_and_nowhere_else() {
    let world = World::new();
    world.push_and_confirm(&isolated(10, "deny", true));
    guests_with_addresses(&world);
    let (vm1, inet) = (world.guest("vm1"), &world.inet);
    let listening = "sport = :21";
    let _servers = [vm1, inet].map(|ns| start(&world, ns, "ftp.py", FTP, listening));
    let table = [
        ("passive, in", inet, PASSIVE, "198.51.100.11", true),
        ("extended passive, in", inet, PASSIVE_EXTENDED, "198.51.100.11", true),
        ("active, in", inet, ACTIVE, "198.51.100.11", true),
        ("active, out", vm1, ACTIVE, "192.0.2.80", true),
        ("extended active, out", vm1, ACTIVE_EXTENDED, "192.0.2.80", true),
        ("passive, out", vm1, PASSIVE, "192.0.2.80", true),
        ("passive, in, on a port without", inet, PASSIVE, "198.51.100.11:2121", false),
        ("active, out, on a port without", vm1, ACTIVE, "192.0.2.80:2121", false),
        ("passive, out, on a port without", vm1, PASSIVE, "192.0.2.80:2121", false),
    ];
    let rules = || world.router.sh("nft list chain inet sluice helpers; conntrack -L").run();
    for (what, from, options, server, wanted) in table {
        assert_eq!(fetched(from, options, server, wanted), wanted, "{what}\n{:?}", rules());
    }
    // what was agreed on is over with its connection: nothing is open that no rule lets in
    let open = world.router.sh("conntrack -L expect 2>/dev/null").check().unwrap();
    assert_eq!(open.trim(), "", "still open");

    world.push_and_confirm(&isolated(11, "deny", false));
    for (what, from, options, server, _) in table {
        assert!(!fetched(from, options, server, false), "{what}, without a helper anywhere");
    }
    let rules = world.router.sh("nft list table inet sluice").check().unwrap();
    assert!(!rules.contains("helper"), "{rules}");
}

#[test]
fn what_a_helper_let_through_lives_and_ends_with_its_rule() {
    let world = World::new();
    world.push_and_confirm(&isolated(10, "deny", true));
    guests_with_addresses(&world);
    let _server = start(&world, world.guest("vm1"), "ftp.py", FTP, "sport = :21");
    let taken = world.dir.path().join("taken");
    let options = ["--disable-epsv", "--no-ftp-skip-pasv-ip", "-o", taken.to_str().unwrap()];
    let words = [&["curl", "-sN"], &options[..], &["ftp://198.51.100.11/slow"]].concat();
    let _client = world.inet.spawn(words).unwrap();
    let length = || std::fs::metadata(&taken).map_or(0, |is| is.len());
    let goes_on = || {
        let before = length();
        Wait::until(SOON, "the transfer to go on", || length() > before + 100)
    };
    goes_on().unwrap();
    let with = |generation: u64, change: &dyn Fn(&mut Vec<Value>)| {
        let mut document = json!(isolated(generation, "deny", true));
        change(document["role"]["router"]["firewall"].as_array_mut().unwrap());
        RouterDocument::decode(document.to_string().as_bytes()).unwrap().0
    };
    let more = json!({ "id": "fw-9", "public": "198.51.100.11", "traffic": tcp("9999") });
    world.push_and_confirm(&with(11, &|rules| rules.push(more.clone())));
    goes_on().unwrap();
    world.push_and_confirm(&with(12, &|rules| rules.retain(|rule| rule["id"] != "fw-1")));
    let still = || {
        let before = length();
        std::thread::park_timeout(std::time::Duration::from_millis(500));
        length() == before
    };
    Wait::until(SOON, "the transfer to end with the rule that asked for the helper", still)
        .unwrap();
}

#[test]
fn where_all_may_leave_a_rule_with_a_helper_forbids_nothing() {
    let world = World::new();
    world.push_and_confirm(&isolated(10, "allow", false));
    guests_with_addresses(&world);
    let (vm1, inet) = (world.guest("vm1"), &world.inet);
    let _ftp = start(&world, inet, "ftp.py", FTP, "sport = :21");
    let _tftp = start(&world, inet, "tftp.py", TFTP, "sport = :69");
    let tftp = |most: u32| {
        let line = format!("curl -s --max-time {most} tftp://192.0.2.80/file | wc -c");
        vm1.sh(&line).check().unwrap().trim() == "400"
    };
    assert!(fetched(vm1, PASSIVE, "192.0.2.80", true), "a guest's own connections");
    assert!(!fetched(vm1, ACTIVE, "192.0.2.80", false), "a connection to a guest");
    assert!(!tftp(3), "answers from another port");
    world.push_and_confirm(&isolated(11, "allow", true));
    assert!(fetched(vm1, PASSIVE, "192.0.2.80:2121", true), "what the rule is not about");
    for options in [ACTIVE, PASSIVE] {
        assert!(fetched(vm1, options, "192.0.2.80", true), "{options}");
    }
    assert!(tftp(15), "answers from another port, with a helper");
    world.push_and_confirm(&isolated(12, "deny", true));
    assert!(tftp(15), "by the rule alone");
}

/// A client's call, held open; what the client says once an answer came through the tunnel.
fn call(world: &World, guest: &str) -> (Process, String) {
    let ns = world.guest(guest);
    let address = if guest == "vm1" { "10.1.1.23" } else { "10.1.1.24" };
    let script = world.dir.path().join("pptp.py");
    let words = ["python3", script.to_str().unwrap(), guest, address, "9"];
    let mut process = ns.spawn(words).unwrap();
    let said = process.says("answered", SOON).map(|()| process.output()).unwrap_or_default();
    (process, said)
}

#[test]
fn two_guests_call_one_pptp_server() {
    let world = World::new();
    world.push_and_confirm(&isolated(10, "deny", true));
    guests_with_addresses(&world);
    let _server = start(&world, &world.inet, "pptp.py", PPTP, "sport = :1723");
    let one = call(&world, "vm1");
    let tracked = || world.router.sh("conntrack -L; conntrack -L expect").run();
    assert!(one.1.contains("answered 7 vm1"), "{}\n{:?}", one.0.output(), tracked());
    // the same number from the same address: it is translated
    let other = call(&world, "vm2");
    assert!(other.1.contains("answered 7 vm2"), "{}\n{:?}", other.0.output(), tracked());
}

/// A list that lets FTP in to tier 2, which a forward leads to.
fn vpc(generation: u64, helper: Option<&str>) -> RouterDocument {
    changed(generation, |document| {
        document["links"].as_array_mut().unwrap().push(json!({
            "name": "guest1", "role": "guest", "attach": { "nic": { "mac": "02:00:0a:01:02:01" } },
            "addresses": ["10.1.2.1/24"],
        }));
        let router = &mut document["role"]["router"];
        let mut rule = json!({ "id": "in", "number": 10, "direction": "ingress", "action": "allow",
                               "traffic": tcp("21") });
        if let Some(helper) = helper {
            rule["helper"] = json!(helper);
        }
        router["vpc"] = json!({ "id": "vpc-1", "cidr": "10.1.0.0/16",
                                "acls": [{ "id": "acl-2", "rules": [rule] }] });
        router["networks"].as_array_mut().unwrap().push(json!({
            "id": "net-2", "link": "guest1", "cidr": "10.1.2.0/24", "gateway": "10.1.2.1",
            "domain": "cs2.cloud.internal", "egress": "allow", "acl": "acl-2",
            "source_nat": { "link": "pub0", "address": "198.51.100.10" },
        }));
        router["port_forwards"] = json!([
            { "id": "pf-1", "public": "198.51.100.11", "protocol": "tcp", "ports": "2100-2199",
              "network": "net-2", "guest": "10.1.2.23", "guest_port": 20 },
        ]);
    })
}

#[test]
fn a_list_of_a_vpc_helps_what_it_lets_in_by_every_way() {
    let world = World::new();
    world.push_and_confirm(&vpc(10, Some("ftp")));
    guests_with_addresses(&world);
    let (vm1, inet) = (world.guest("vm1"), &world.inet);
    let _server = start(&world, &world.tier, "ftp.py", FTP, "sport = :21");
    for options in [PASSIVE, PASSIVE_EXTENDED, ACTIVE] {
        // public port 2101 leads to port 21
        assert!(fetched(inet, options, "198.51.100.11:2101", true), "from outside: {options}");
    }
    assert!(fetched(vm1, PASSIVE, "10.1.2.23", true), "from another tier");
    world.push_and_confirm(&vpc(11, None));
    assert!(!fetched(inet, PASSIVE, "198.51.100.11:2101", false), "from outside, without");
    assert!(!fetched(vm1, PASSIVE, "10.1.2.23", false), "from another tier, without");
}
