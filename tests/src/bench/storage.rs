//! Imports against what an administrator types: `curl | tee >(sha256sum) | zstd -d`, then `qemu-img check`.
//!
//! Both fetch the same packed qcow2 image from the same nginx and end with it durable on the same disk; ours has compared,
//! hashed twice more and inspected it as well. Rounds alternate, each on a disk with nothing left to write, and the best of
//! each counts. What comes over the network and what is given to the disk is counted by the kernel.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use sluice_lab::Wait;
use sluice_lab::netns::{Namespace, Process, Topology};

use super::Row;

/// Size of the guest's disk, in bytes.
const DISK: u64 = 2 << 30;
const ROUNDS: usize = 3;
const WEB: &str = "192.0.2.10";
/// Most memory that an import may take, in kilobytes.
const MEMORY: f64 = 65_536.0;
/// Longest import.
const PATIENCE: Duration = Duration::from_mins(5);
/// Bytes a second of one connection on the slow link.
const SLOW: u64 = 20 << 20;

/// Measures; needs nginx, curl, zstd, qemu-img, and root for a network namespace.
pub fn run() -> Result<Vec<Row>> {
    let field = Field::new()?;
    let (mut ours, mut rival) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        rival.push(field.rival(round, "80")?);
        ours.push(field.ours(round, "80")?);
    }
    let slow = (field.ours(ROUNDS, "81")?, field.rival(ROUNDS, "81")?);
    Ok(rows(&ours, &rival, &slow))
}

/// One import.
#[derive(Clone, Copy, Debug)]
struct Sample {
    seconds: f64,
    /// Most memory resident, in kilobytes.
    memory: f64,
    /// Bytes given to the disk.
    written: f64,
    /// Bytes that came over the network.
    fetched: f64,
}

fn rows(ours: &[Sample], rival: &[Sample], slow: &(Sample, Sample)) -> Vec<Row> {
    let best = |of: &[Sample]| of.iter().map(|s| s.seconds).fold(f64::INFINITY, f64::min);
    let most = |of: fn(&Sample) -> f64, all: &[Sample]| all.iter().map(of).fold(0.0, f64::max);
    #[allow(clippy::cast_precision_loss)] // a size in MB needs no 64 bits
    let megabytes = DISK as f64 / 1e6;
    let speed = |seconds: f64| megabytes / seconds;
    let mut fast = row("2 GiB packed qcow2", "MB/s", speed(best(ours)), Some(speed(best(rival))));
    fast.within = fast.ratio.map(|ratio| ratio >= 0.9);
    fast.budget = Some(">= 0.9 x of curl | sha256sum | zstd".to_owned());
    let mut memory = row("most memory", "kB", most(|s| s.memory, ours), None);
    memory.within = Some(memory.ours <= MEMORY);
    memory.budget = Some("<= 64 MiB whatever the size".to_owned());
    let fetched = once("fetched", most(|s| s.fetched, ours), most(|s| s.fetched, rival));
    let written = once("given to the disk", most(|s| s.written, ours), most(|s| s.written, rival));
    let mut ranges =
        row("20 MB/s a connection", "MB/s", speed(slow.0.seconds), Some(speed(slow.1.seconds)));
    ranges.within = ranges.ratio.map(|ratio| ratio > 1.0);
    ranges.budget = Some("ranges beat one stream".to_owned());
    vec![fast, memory, fetched, written, ranges]
}

/// What a pipe of programs moves no more than once either.
fn once(case: &str, ours: f64, rival: f64) -> Row {
    let mut once = row(case, "MB", ours / 1e6, Some(rival / 1e6));
    once.ratio = Some(rival / ours);
    once.budget = Some("each byte once".to_owned());
    once.within = Some(ours > 0.0 && ours <= rival * 1.05);
    once
}

fn row(case: &str, unit: &str, ours: f64, rival: Option<f64>) -> Row {
    Row {
        bench: "storage".to_owned(),
        case: case.to_owned(),
        unit: unit.to_owned(),
        ours,
        rival,
        rival_name: rival.map(|_| "curl".to_owned()),
        ratio: rival.map(|rival| ours / rival),
        budget: None,
        within: None,
    }
}

/// A web server with the image, and a disk. The order of fields is that of dropping.
struct Field {
    _nginx: Process,
    ns: Namespace,
    _topology: Topology,
    folder: tempfile::TempDir,
}

impl Field {
    fn new() -> Result<Self> {
        let mut topology = Topology::new()?;
        let ns = topology.namespace("storage")?;
        ns.ip(["addr", "add", &format!("{WEB}/32"), "dev", "lo"])?;
        let folder = tempfile::tempdir().context("cannot make a folder for images")?;
        image(folder.path())?;
        let nginx = nginx(&ns, folder.path())?;
        Ok(Self { _nginx: nginx, ns, _topology: topology, folder })
    }

    fn ours(&self, round: usize, port: &str) -> Result<Sample> {
        let store = self.folder.path().join(format!("store-{round}"));
        fs::create_dir(&store)?;
        let program = crate::bin("sluice-ssvm");
        let place = "template/tmpl/1/1/image";
        let url = format!("http://{WEB}:{port}/image.zst");
        let line = format!(
            "{} import {url} --store {} --create --place {place} --port 81 --format qcow2",
            program.display(),
            store.display()
        );
        let sample = self.timed(&line)?;
        fs::remove_dir_all(store)?;
        Ok(sample)
    }

    fn rival(&self, round: usize, port: &str) -> Result<Sample> {
        let file = self.folder.path().join(format!("file-{round}"));
        let (path, sum) = (file.display(), self.folder.path().join("sum"));
        let line = format!(
            "bash -c 'set -o pipefail; curl -sS http://{WEB}:{port}/image.zst | tee >(sha256sum > {}) \
             | zstd -d -q > {path} && sync {path} && qemu-img check -q -f qcow2 {path}'",
            sum.display()
        );
        let sample = self.timed(&line)?;
        fs::remove_file(file)?;
        Ok(sample)
    }

    /// Runs a shell line with what GNU time and the kernel's counters tell: elapsed time, the largest process, blocks
    /// written, and bytes over the network.
    fn timed(&self, line: &str) -> Result<Sample> {
        let log = self.folder.path().join("time");
        let line = format!("/usr/bin/time -f '%M %O' -o {} {line}", log.display());
        // what others wrote before is not to be waited for
        check("sync", &[])?;
        let (before, start) = (self.fetched()?, Instant::now());
        self.ns.sh(&line).timeout(PATIENCE).check()?;
        let seconds = start.elapsed().as_secs_f64();
        let fetched = self.fetched()? - before;
        let text = fs::read_to_string(log)?;
        let mut numbers = text.split_whitespace().filter_map(|word| word.parse::<f64>().ok());
        let (Some(memory), Some(blocks)) = (numbers.next(), numbers.next()) else {
            bail!("GNU time says {text:?}");
        };
        Ok(Sample { seconds, memory, written: blocks * 512.0, fetched })
    }

    /// Bytes that came over the namespace's one link so far.
    fn fetched(&self) -> Result<f64> {
        let text = self.ns.sh("cat /proc/net/dev").check()?;
        let counted = text.lines().find_map(|line| line.trim().strip_prefix("lo:"));
        let first = counted.and_then(|counted| counted.split_whitespace().next());
        first.and_then(|bytes| bytes.parse().ok()).context("no counters of lo")
    }
}

/// A qcow2 image of a full disk that packs to about half, packed.
fn image(folder: &Path) -> Result<()> {
    let raw = folder.join("disk.raw");
    fill(&raw)?;
    let qcow2 = folder.join("image.qcow2");
    let (raw_text, qcow2_text) = (text(&raw)?, text(&qcow2)?);
    check("qemu-img", &["convert", "-f", "raw", "-O", "qcow2", raw_text, qcow2_text])?;
    fs::remove_file(&raw)?;
    let web = folder.join("web");
    fs::create_dir(&web)?;
    check("zstd", &["-q", "-T0", "--rm", qcow2_text, "-o", text(&web.join("image.zst"))?])
}

fn fill(path: &PathBuf) -> Result<()> {
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut block = Vec::with_capacity(8192);
    for number in 0..DISK / 8192 {
        block.clear();
        while block.len() < 4096 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            block.extend(state.to_le_bytes());
        }
        while block.len() < 8192 {
            block.extend(format!("block {number} of a file system\n").as_bytes());
        }
        block.truncate(8192);
        file.write_all(&block)?;
    }
    file.flush().context("cannot write the disk")
}

fn nginx(ns: &Namespace, folder: &Path) -> Result<Process> {
    let root = folder.display();
    let config = format!(
        "daemon off; master_process off; error_log stderr; pid {root}/pid; user root;
         events {{ worker_connections 64; }}
         http {{ access_log off; root {root}/web; sendfile on;
           client_body_temp_path {root}; proxy_temp_path {root}; fastcgi_temp_path {root};
           uwsgi_temp_path {root}; scgi_temp_path {root};
           server {{ listen {WEB}:80; }} server {{ listen {WEB}:81; limit_rate {SLOW}; }} }}"
    );
    let file = folder.join("nginx.conf");
    fs::write(&file, config)?;
    let nginx = ns.spawn(["nginx".as_ref(), "-c".as_ref(), file.as_os_str()])?;
    let up = || ns.sh(&format!("nc -z {WEB} 81")).run().is_ok_and(|output| output.ok());
    Wait::until(Duration::from_secs(20), "nginx", up)?;
    Ok(nginx)
}

fn check(program: &str, words: &[&str]) -> Result<()> {
    let status = sluice_programs::command(program)?.args(words).status();
    let status = status.with_context(|| format!("cannot start {program}"))?;
    if status.success() { Ok(()) } else { bail!("{program} failed") }
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a folder whose name is no text")
}
