//! A QEMU machine with VNC servers, and a guest of 512 bytes that prints a line and then whatever is typed.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use sluice_lab::Wait;
use sluice_lab::netns::Namespace;

use super::BOUND;
use super::certificates::Signed;

/// What the guest prints first.
pub const GREETING: &str = "Sluice console test. Type: ";

/// A VNC server of the machine.
#[derive(Debug)]
pub enum Server<'a> {
    /// Security type None.
    Open,
    /// VNC authentication with this password.
    Password(&'a str),
    /// VeNCrypt with a certificate, and a password inside where there is one.
    Tls(&'a Signed, Option<&'a str>),
}

/// A running machine; killed when dropped.
#[derive(Debug)]
pub struct Qemu {
    child: Child,
    monitor: BufReader<UnixStream>,
    folder: PathBuf,
    /// Ports of its VNC servers, in the order given.
    pub ports: Vec<u16>,
}

impl Qemu {
    /// Starts it with all its files in `folder`, and waits until the guest has spoken.
    pub fn start(folder: &Path, servers: &[Server<'_>]) -> Self {
        Self::start_at(None, "127.0.0.1", folder, servers)
    }

    /// The same with a fixed keyboard layout such as `de`: viewers then say symbols instead of places of keys.
    pub fn start_with_layout(folder: &Path, servers: &[Server<'_>], layout: &str) -> Self {
        Self::launch(None, "127.0.0.1", folder, servers, &["-k", layout], &boot_sector())
    }

    /// The same, called `name`, which its screen then bears too.
    pub fn start_called(folder: &Path, servers: &[Server<'_>], name: &str) -> Self {
        Self::launch(None, "127.0.0.1", folder, servers, &["-name", name], &boot_sector())
    }

    /// One whose guest prints what its keyboard says, two hexadecimal digits for each byte of set 1; with a fixed keyboard
    /// layout if one is given.
    pub fn start_with_keyboard(
        folder: &Path,
        servers: &[Server<'_>],
        layout: Option<&str>,
    ) -> Self {
        let more: Vec<_> = layout.into_iter().flat_map(|layout| ["-k", layout]).collect();
        Self::launch(None, "127.0.0.1", folder, servers, &more, &keyboard_sector())
    }

    /// The same, its VNC servers at `address` of a namespace.
    pub fn start_at(
        ns: Option<&Namespace>,
        address: &str,
        folder: &Path,
        servers: &[Server<'_>],
    ) -> Self {
        Self::launch(ns, address, folder, servers, &[], &boot_sector())
    }

    fn launch(
        ns: Option<&Namespace>,
        address: &str,
        folder: &Path,
        servers: &[Server<'_>],
        more: &[&str],
        guest: &[u8],
    ) -> Self {
        let image = folder.join("guest.img");
        fs::write(&image, guest).unwrap();
        let socket = folder.join("qmp");
        let program = if ns.is_some() { "ip" } else { "setpriv" };
        let mut command = sluice_programs::command(program).unwrap();
        if let Some(ns) = ns {
            command.args(["netns", "exec", ns.full_name(), "setpriv"]);
        }
        command.args(["--pdeathsig", "KILL", "--", "qemu-system-x86_64", "-accel", "tcg"]);
        command.args(more).args([
            "-nodefaults",
            "-display",
            "none",
            "-m",
            "16",
            "-vga",
            "std",
            "-boot",
            "a",
        ]);
        command.arg("-drive").arg(format!("if=floppy,format=raw,file={}", image.display()));
        command.arg("-qmp").arg(format!("unix:{},server=on,wait=off", socket.display()));
        for (number, server) in servers.iter().enumerate() {
            vnc(&mut command, address, folder, number, server);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(fs::File::create(folder.join("qemu.log")).unwrap());
        let mut child = command.spawn().unwrap();
        let monitor = Wait::until_some(BOUND, "QEMU's monitor", || {
            assert!(child.try_wait().unwrap().is_none(), "{}", log(folder));
            UnixStream::connect(&socket).ok()
        });
        let monitor = BufReader::new(monitor.unwrap());
        let mut qemu = Self { child, monitor, folder: folder.to_owned(), ports: Vec::new() };
        qemu.said();
        qemu.command("qmp_capabilities", json!({}));
        qemu.ports = qemu.vnc_ports(servers.len());
        let spoken =
            Wait::until(BOUND, "the guest's greeting", || qemu.screen().contains(GREETING));
        spoken.unwrap_or_else(|error| panic!("{error}\n{}", log(folder)));
        qemu
    }

    /// Resets the machine, as a power cycle from its own side.
    pub fn reset(&mut self) {
        self.command("system_reset", json!({}));
    }

    /// The text on the guest's screen, out of its memory: proof of what was typed that no viewer has a part in.
    pub fn screen(&mut self) -> String {
        let file = self.folder.join("memory");
        let area = json!({ "val": 0xb_8000, "size": 80 * 25 * 2, "filename": file });
        self.command("pmemsave", area);
        let memory = fs::read(&file).unwrap();
        memory.chunks(2).map(|cell| char::from(cell[0])).collect()
    }

    /// Carries out one command of the monitor.
    pub fn command(&mut self, name: &str, arguments: Value) -> Value {
        let line = format!("{}\n", json!({ "execute": name, "arguments": arguments }));
        self.monitor.get_mut().write_all(line.as_bytes()).unwrap();
        loop {
            let said = self.said();
            assert!(said.get("error").is_none(), "{name}: {said}");
            if let Some(answer) = said.get("return") {
                return answer.clone();
            }
        }
    }

    fn said(&mut self) -> Value {
        let mut line = String::new();
        self.monitor.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}{}", log(&self.folder)))
    }

    fn vnc_ports(&mut self, count: usize) -> Vec<u16> {
        let servers = self.command("query-vnc-servers", json!({}));
        let port = |number: usize| {
            let id = format!("vnc{number}");
            let mine = servers.as_array().unwrap().iter().find(|it| it["id"] == id.as_str());
            mine.unwrap()["server"][0]["service"].as_str().unwrap().parse().unwrap()
        };
        (0..count).map(port).collect()
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        // an error means that it has ended already
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}

fn log(folder: &Path) -> String {
    fs::read_to_string(folder.join("qemu.log")).unwrap_or_default()
}

fn vnc(command: &mut Command, address: &str, folder: &Path, number: usize, server: &Server<'_>) {
    let mut words =
        format!("{address}:0,to=500,id=vnc{number},share=force-shared,power-control=on");
    let password = match server {
        Server::Open => None,
        Server::Password(password) => Some(*password),
        Server::Tls(_, password) => *password,
    };
    if let Some(password) = password {
        command.arg("-object").arg(format!("secret,id=secret{number},data={password}"));
        words += &format!(",password-secret=secret{number}");
    }
    if let Server::Tls(signed, _) = server {
        let dir = folder.join(format!("tls{number}"));
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("ca-cert.pem"), &signed.chain).unwrap();
        fs::write(dir.join("server-cert.pem"), &signed.chain).unwrap();
        fs::write(dir.join("server-key.pem"), &signed.key).unwrap();
        let object = "tls-creds-x509,endpoint=server,verify-peer=off,sanity-check=off";
        command.arg("-object").arg(format!("{object},id=tls{number},dir={}", dir.display()));
        words += &format!(",tls-creds=tls{number}");
    }
    command.arg("-vnc").arg(words);
}

/// Text mode, the greeting, then each key as the BIOS reads it.
pub fn boot_sector() -> Vec<u8> {
    floppy(&[
        0x31, 0xc0, 0xcd, 0x16, // wait: read a key
        0xb4, 0x0e, 0xcd, 0x10, 0xeb, 0xf6, // print it
    ])
}

/// Text mode, the greeting, then each byte of the keyboard, which the BIOS does not get to see.
fn keyboard_sector() -> Vec<u8> {
    floppy(&[
        0xe4, 0x21, 0x0c, 0x02, 0xe6, 0x21, // no interrupts of the keyboard
        0xe4, 0x64, 0xa8, 0x01, 0x74, 0xfa, // wait: has it a byte?
        0xe4, 0x60, 0x88, 0xc2, // dl = the byte
        0xc0, 0xe8, 0x04, 0xe8, 0x09, 0x00, // print its upper half
        0x88, 0xd0, 0x24, 0x0f, 0xe8, 0x02, 0x00, // and its lower
        0xeb, 0xe7, // wait
        0x04, 0x30, 0x3c, 0x3a, 0x72, 0x02, 0x04, 0x27, // half: al as a digit
        0xb4, 0x0e, 0xcd, 0x10, 0xc3, // print it
    ])
}

/// Text mode, the greeting, and then this.
fn floppy(then: &[u8]) -> Vec<u8> {
    let text = 0x7c00 + 26 + u16::try_from(then.len()).unwrap();
    let [low, high] = text.to_le_bytes();
    let mut code = vec![
        0xfc, // cld
        0x31, 0xc0, 0x8e, 0xd8, // ds = 0
        0xb8, 0x03, 0x00, 0xcd, 0x10, // 80 x 25 text
        0x31, 0xdb, // bx = 0: page 0
        0xbe, low, high, // si = the text, which stands behind the code
        0xac, 0x84, 0xc0, 0x74, 0x06, // next: al = [si], done at 0
        0xb4, 0x0e, 0xcd, 0x10, 0xeb, 0xf5, // print it
    ];
    assert_eq!(code.len(), 26);
    code.extend(then);
    code.extend(GREETING.as_bytes());
    code.resize(510, 0);
    code.extend([0x55, 0xaa]);
    // a floppy of 1.44 MB, which every BIOS knows
    code.resize(1_474_560, 0);
    code
}
