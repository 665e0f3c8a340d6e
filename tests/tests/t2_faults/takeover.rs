//! The agent dies at each step of starting a service, taking it over, or putting one of another build in its place:
//! nothing that the service carries is cut, nobody is refused, and in the end it runs once.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::time::Duration;

use serde_json::json;
use sluice_lab::Wait;
use sluice_tests::takeover::Course;

const SOON: Duration = Duration::from_secs(30);
/// More steps than any course has.
const MANY: u64 = 100;

/// A balancer's world: a member that sends back what it gets, and agents that come and die.
struct World {
    folder: tempfile::TempDir,
    at: SocketAddr,
    user: u32,
}

impl World {
    /// Processes are told by their `user`.
    fn new(user: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let member = echo();
        let at = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let slice = json!({ "balancers": [{
            "id": "echo", "address": at.ip(), "port": at.port(), "mode": "tcp",
            "members": [{ "id": "m1", "address": member.ip(), "port": member.port() }],
        }] });
        std::fs::write(folder.path().join("slice"), slice.to_string()).unwrap();
        Self { folder, at, user }
    }

    /// An agent comes up; true when it died at step `dies_at`.
    fn agent(&self, build: &str, dies_at: u64) -> bool {
        let course = Course {
            folder: self.folder.path().join("run"),
            user: self.user,
            build: build.to_owned(),
            slice: self.folder.path().join("slice"),
            dies_at,
        };
        let child = Command::new(sluice_tests::bin("sluice-fault-child"))
            .arg("takeover")
            .args(course.words())
            .output()
            .unwrap();
        let killed = child.status.signal() == Some(9);
        let said = String::from_utf8_lossy(&child.stderr);
        assert!(killed || child.status.success(), "step {dies_at}: {}: {said}", child.status);
        killed
    }

    /// A client that is served.
    fn client(&self) -> Client {
        let stream = TcpStream::connect(self.at)
            .unwrap_or_else(|error| panic!("somebody is refused: {error}"));
        stream.set_read_timeout(Some(SOON)).unwrap();
        let mut client = Client(stream);
        client.goes_on("a new one");
        client
    }

    /// Processes of the balancer that run.
    fn processes(&self) -> Vec<u32> {
        let all = std::fs::read_dir("/proc").unwrap().flatten();
        let numbers = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        numbers.filter(|pid| self.owns(*pid)).collect()
    }

    fn owns(&self, pid: u32) -> bool {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        status.contains(&format!("\nUid:\t{}\t", self.user)) && !status.contains("\nState:\tZ")
    }

    /// Those of one build.
    fn of_build(&self, build: &str) -> usize {
        let word = format!("BUILD={build}\0");
        let is = |pid: &u32| {
            let words = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            String::from_utf8_lossy(&words).contains(&word)
        };
        self.processes().iter().filter(|pid| is(pid)).count()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for pid in self.processes() {
            let pid = nix::unistd::Pid::from_raw(pid.try_into().unwrap());
            let _gone = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
        }
    }
}

struct Client(TcpStream);

impl Client {
    fn goes_on(&mut self, when: &str) {
        self.0.write_all(b"ping").unwrap();
        let mut heard = [0; 4];
        self.0.read_exact(&mut heard).unwrap_or_else(|error| panic!("cut {when}: {error}"));
        assert_eq!(&heard, b"ping");
    }
}

/// A server that sends back what it gets.
fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || {
                let mut back = stream.try_clone().unwrap();
                std::io::copy(&mut stream, &mut back)
            });
        }
    });
    at
}

#[test]
fn an_agent_that_dies_while_it_takes_over_cuts_nothing_and_starts_nothing() {
    let world = World::new(64_061);
    assert!(!world.agent("1", 0));
    let mut client = world.client();
    let first = world.processes();
    assert_eq!(first.len(), 1);
    let deaths = (1..MANY).take_while(|step| {
        let died = world.agent("1", *step);
        client.goes_on(&format!("at step {step}"));
        assert_eq!(world.processes(), first, "step {step}");
        world.client();
        died
    });
    let deaths = deaths.count();
    assert!(deaths >= 10, "it died {deaths} times only");
}

#[test]
fn a_service_whose_agent_dies_while_it_starts_it_runs_once_in_the_end() {
    for step in 1..MANY {
        let world = World::new(64_062);
        let died = world.agent("1", step);
        // the next one is unharmed
        assert!(!world.agent("1", 0));
        world.client();
        let once = || world.processes().len() == 1;
        Wait::until(SOON, "one process", once)
            .unwrap_or_else(|_| panic!("step {step}: {:?}", world.processes()));
        if !died {
            assert!(step > 8, "it died {} times only", step - 1);
            return;
        }
    }
    panic!("it died in every course");
}

#[test]
fn an_agent_that_dies_while_it_puts_another_build_in_place_cuts_nothing_and_refuses_nobody() {
    for step in 1..MANY {
        let world = World::new(64_063);
        assert!(!world.agent("1", 0));
        let mut client = world.client();
        let died = world.agent("2", step);
        client.goes_on(&format!("at step {step}"));
        world.client().goes_on(&format!("after step {step}"));
        assert!(!world.agent("2", 0));
        client.goes_on(&format!("when it is done, after step {step}"));
        world.client();
        assert_eq!(world.of_build("2"), 1, "step {step}");
        assert!(world.of_build("1") <= 1, "step {step}");
        drop(client);
        let once = || world.processes().len() == 1 && world.of_build("2") == 1;
        let ended = Wait::until(SOON, "the former one to end", once);
        assert!(ended.is_ok(), "step {step}: {:?}", world.processes());
        if !died {
            assert!(step > 8, "it died {} times only", step - 1);
            return;
        }
    }
    panic!("it died in every course");
}
