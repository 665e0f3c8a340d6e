//! Two hosts and a router as namespaces of this machine.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use sluice_lab::netns::{Namespace, Topology, VethEnd};

/// How long each stream is measured.
const LONG: Duration = Duration::from_secs(2);
const SERVER: &str = "198.51.100.1:5001";

/// A flowtable of its own, to see whether there is such a thing.
const TRIAL: &str = "add table inet trial
add flowtable inet trial fast { hook ingress priority 0; devices = { guest0, pub0 }; }
delete table inet trial
";

pub(super) struct Path {
    guest: Namespace,
    router: Namespace,
    outside: Namespace,
    _topology: Topology,
}

impl Path {
    pub(super) fn new() -> Result<Self> {
        let mut topology = Topology::new()?;
        let guest = topology.namespace("guest")?;
        let router = topology.namespace("router")?;
        let outside = topology.namespace("inet")?;
        let link = |name: &str| name.parse().context("a link's name");
        for (near, other) in [("guest0", &guest), ("pub0", &outside)] {
            let near = VethEnd::new(&router, link(near)?);
            topology.veth(&near, &VethEnd::new(other, link("eth0")?))?;
        }
        for (ns, name, address) in [
            (&guest, "eth0", "10.1.1.23/24"),
            (&router, "guest0", "10.1.1.1/24"),
            (&router, "pub0", "198.51.100.10/24"),
            (&outside, "eth0", "198.51.100.1/24"),
        ] {
            ns.address(&link(name)?, address.parse()?)?;
        }
        guest.route(["default", "via", "10.1.1.1"])?;
        outside.route(["10.1.1.0/24", "via", "198.51.100.10"])?;
        router.sh("sysctl -qw net.ipv4.ip_forward=1").check()?;
        Ok(Self { guest, router, outside, _topology: topology })
    }

    pub(super) fn has_flowtables(&self) -> Result<bool> {
        Ok(self.nft(TRIAL)?.is_ok())
    }

    fn nft(&self, text: &str) -> Result<Result<(), String>> {
        let nft = sluice_lab::netns::nft().display().to_string();
        let loaded = self.router.command([nft.as_str(), "-f", "-"]).input(text).run()?;
        Ok(if loaded.ok() { Ok(()) } else { Err(loaded.stderr) })
    }

    /// Takes all rules away and loads these.
    pub(super) fn load(&self, text: &str) -> Result<()> {
        let loaded = self.nft(&format!("flush ruleset\n{text}"))?;
        ensure!(loaded.is_ok(), "the rules cannot be loaded: {loaded:?}");
        Ok(())
    }

    /// Gigabits in a second from the guest to the outside.
    pub(super) fn rate(&self) -> Result<f64> {
        let server: SocketAddr = SERVER.parse()?;
        let listener = self.outside.enter(move || TcpListener::bind(server))??;
        let reader = std::thread::spawn(move || -> std::io::Result<(u64, Duration)> {
            let (mut stream, _) = listener.accept()?;
            let (start, mut bytes, mut buffer) = (Instant::now(), 0_u64, vec![0; 1 << 18]);
            loop {
                let length = stream.read(&mut buffer)?;
                if length == 0 {
                    return Ok((bytes, start.elapsed()));
                }
                bytes += u64::try_from(length).unwrap_or(0);
            }
        });
        self.guest.enter(move || -> std::io::Result<()> {
            let mut stream = TcpStream::connect(server)?;
            let (end, block) = (Instant::now() + LONG, vec![7_u8; 1 << 18]);
            while Instant::now() < end {
                stream.write_all(&block)?;
            }
            Ok(())
        })??;
        let (bytes, took) = reader.join().map_err(|_| anyhow::anyhow!("the reader ended"))??;
        #[allow(clippy::cast_precision_loss)] // of gigabits
        Ok(bytes as f64 * 8.0 / took.as_secs_f64() / 1e9)
    }
}
