//! The same on a machine of the lab, whose kernel is the template's: it has what this machine's kernel may lack.

use std::time::Duration;

use anyhow::{Context as _, Result};
use sluice_lab::Lab;
use sluice_lab::spec::MachineSpec;

use super::{Case, Rates, cases};
use crate::cloud::Shell as _;
use crate::hosts::TWO_HOSTS;
use crate::image;

const MACHINE: &str = "router";
const WIRE: &str = "unused";
/// An emulated machine boots and loads ten thousand rules within this.
const SLOW: Duration = Duration::from_mins(3);
/// How often each case is measured; the best counts.
const ROUNDS: usize = 2;
/// Bytes of a shell line, which the kernel limits to 128 KiB.
const LINE: usize = 96 << 10;

/// A server that says at which rate it was sent, and its client.
const PROGRAMS: &str = "cat > /run/server.py <<'END'
import socket, time
s = socket.create_server(('198.51.100.1', 5001))
print('listening', flush=True)
c = s.accept()[0]
start, total, buffer = time.monotonic(), 0, bytearray(1 << 18)
while n := c.recv_into(buffer):
    total += n
print(total * 8 / (time.monotonic() - start) / 1e9)
END
cat > /run/client.py <<'END'
import socket, time
c = socket.create_connection(('198.51.100.1', 5001), timeout=20)
block, end = b'7' * (1 << 18), time.monotonic() + 3
while time.monotonic() < end:
    c.sendall(block)
END";

/// Prints gigabits in a second from the guest to the outside.
const MEASURE: &str = "set -e
ip netns exec inet python3 /run/server.py > /run/rate &
for i in $(seq 100); do grep -q listening /run/rate && break; sleep 0.1; done
ip netns exec guest python3 /run/client.py
wait
tail -n 1 /run/rate";

/// Measures every case, flowtables included.
pub(super) async fn rates() -> Result<Rates> {
    let disk = image("testhost.raw");
    let images = disk.parent().context("a folder of images")?;
    let machine = MachineSpec::host().ram_mib(512);
    let lab = Lab::builder("forward").images(images).wire(WIRE).machine(MACHINE, machine);
    let lab = lab.start().await?;
    let measured = measure(&lab).await;
    lab.down().await?;
    Ok(Rates { place: ", on an emulated machine", all: measured? })
}

async fn measure(lab: &Lab) -> Result<Vec<(Case, f64)>> {
    lab.ready(MACHINE, SLOW).await?;
    // two hosts with a router between them, as `namespaces` has them
    lab.done(MACHINE, &[TWO_HOSTS, PROGRAMS].concat()).await?;
    let mut best: Vec<(Case, f64)> = cases(true).into_iter().map(|case| (case, 0.0)).collect();
    for _ in 0..ROUNDS {
        for (case, best) in &mut best {
            load(lab, &case.text()?).await?;
            let told = lab.done(MACHINE, MEASURE).await?;
            let rate: f64 = told.trim().parse().with_context(|| format!("a rate: {told}"))?;
            *best = best.max(rate);
        }
    }
    Ok(best)
}

/// Takes all rules away and loads these, which are sent in pieces.
async fn load(lab: &Lab, text: &str) -> Result<()> {
    lab.done(MACHINE, "echo flush ruleset > /run/rules.nft").await?;
    let mut piece = String::new();
    for line in text.lines() {
        if piece.len() + line.len() > LINE {
            append(lab, &std::mem::take(&mut piece)).await?;
        }
        piece.push_str(line);
        piece.push('\n');
    }
    append(lab, &piece).await?;
    let loaded = lab.within(MACHINE, "nft -f /run/rules.nft", SLOW).await?;
    anyhow::ensure!(loaded.ok(), "the rules cannot be loaded: {}", loaded.stderr);
    Ok(())
}

async fn append(lab: &Lab, piece: &str) -> Result<()> {
    let line = format!("cat >> /run/rules.nft <<'END'\n{piece}END");
    lab.done(MACHINE, &line).await.map(drop)
}
