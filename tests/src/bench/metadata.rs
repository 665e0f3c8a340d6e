//! Metadata of one guest among 2,000, against nginx that serves the same values as files; and the memory of the four services
//! that guests ask.
//!
//! Both servers run on one core, the guest on the other. What is compared is the servers' CPU time per request: the
//! load takes more of it than either. Requests go over a connection each, as guests' scripts do, and over kept ones.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use sluice_lab::Wait;
use sluice_lab::netns::{Namespace, Process, Topology, VethEnd};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::Row;

/// Guests of the network.
const GUESTS: u32 = 2_000;
/// Connections at a time: fewer than one guest may have.
const CLIENTS: usize = 8;
/// How long each case is measured.
const SPAN: Duration = Duration::from_secs(4);
const READY: Duration = Duration::from_secs(20);
const SERVER_CORE: &str = "0";
const OURS: &str = "10.1.0.1:80";
const NGINX: &str = "10.1.0.1:8088";
/// What the services may take together.
const MEMORY: f64 = 64.0;

/// Measures.
pub fn run() -> Result<Vec<Row>> {
    let mut topology = Topology::new()?;
    let (router, guest) = (topology.namespace("bench-mdr")?, topology.namespace("bench-mdg")?);
    let inside = VethEnd::new(&router, "guest0".parse()?);
    let outside = VethEnd::new(&guest, "eth0".parse()?).mac(mac(0).parse()?);
    topology.veth(&inside, &outside)?;
    for address in ["10.1.0.1/16", "169.254.169.254/32"] {
        router.address(&"guest0".parse()?, address.parse()?)?;
    }
    guest.address(&"eth0".parse()?, format!("{}/16", address(0)).parse()?)?;
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("config.json");
    fs::write(&config, configuration()?.to_string())?;
    let services = ["dhcp", "dns", "metadata", "password"]
        .map(|service| ours(&router, service, &config))
        .into_iter()
        .collect::<Result<Vec<_>>>()?;
    let metadata = services.get(2).context("four services were started")?;
    let nginx = nginx(&router, folder.path())?;
    let mut rows = Vec::new();
    for (case, kept) in [("a connection each", false), ("kept connections", true)] {
        let our = measured(&guest, metadata, OURS, kept)?;
        let their = measured(&guest, &nginx, NGINX, kept)?;
        rows.push(against(&format!("CPU per request, {case}"), our, their));
    }
    let total = services.iter().map(memory).sum::<Result<f64>>()?;
    rows.push(Row {
        bench: "metadata".to_owned(),
        case: format!("memory of the four services, {GUESTS} guests"),
        unit: "MiB".to_owned(),
        ours: total,
        rival: None,
        rival_name: None,
        ratio: None,
        budget: Some(format!("<= {MEMORY} MiB")),
        within: Some(total <= MEMORY),
    });
    Ok(rows)
}

fn against(case: &str, ours: f64, rival: f64) -> Row {
    let ratio = rival / ours;
    Row {
        bench: "metadata".to_owned(),
        case: case.to_owned(),
        unit: "us".to_owned(),
        ours,
        rival: Some(rival),
        rival_name: Some("nginx".to_owned()),
        ratio: Some(ratio),
        budget: Some(">= 0.8 x".to_owned()),
        within: Some(ratio >= 0.8),
    }
}

fn address(number: u32) -> String {
    std::net::Ipv4Addr::from(0x0a01_1000 + number).to_string()
}

fn mac(number: u32) -> String {
    let [_, high, middle, low] = number.to_be_bytes();
    format!("02:00:01:{high:02x}:{middle:02x}:{low:02x}")
}

/// The example's router with one network of many guests.
fn configuration() -> Result<Value> {
    let mut config: Value = serde_json::from_str(include_str!("../../../examples/router.json"))?;
    let network = config.pointer_mut("/role/router/networks").and_then(Value::as_array_mut);
    let networks = network.context("the example has networks")?;
    networks.truncate(1);
    let network = networks.first_mut().context("the example has a network")?;
    let guest = |number: u32| {
        json!({ "id": format!("vm{number}-0"), "mac": mac(number), "address": address(number),
                "hostname": format!("vm{number}") })
    };
    for (field, value) in [
        ("cidr", json!("10.1.0.0/16")),
        ("gateway", json!("10.1.0.1")),
        ("guests", (0..GUESTS).map(guest).collect()),
    ] {
        if let Some(place) = network.as_object_mut() {
            place.insert(field.to_owned(), value);
        }
    }
    Ok(config)
}

/// One of our services, serving the whole configuration.
fn ours(router: &Namespace, service: &str, config: &Path) -> Result<Process> {
    let program = crate::bin("sluice-router");
    let words = [program.as_os_str(), service.as_ref(), "--config".as_ref(), config.as_os_str()];
    let pinned = ["taskset", "-c", SERVER_CORE].map(std::ffi::OsStr::new);
    let mut server = router.spawn(pinned.into_iter().chain(words))?;
    server.says(&format!("{service} server started"), READY)?;
    Ok(server)
}

/// nginx with the same values as files; one process, so that its CPU time is found.
fn nginx(router: &Namespace, folder: &Path) -> Result<Process> {
    let root = folder.join("root/latest");
    fs::create_dir_all(&root)?;
    fs::write(root.join("instance-id"), "vm0-0")?;
    let (conf, log) = (folder.join("nginx.conf"), folder.join("nginx.log"));
    let mut text = String::new();
    write!(
        text,
        "daemon off; master_process off; pid {0}/nginx.pid; error_log {1}; events {{}}\n\
         http {{ access_log off; keepalive_requests 1000000; client_body_temp_path {0}/b; proxy_temp_path {0}/p;\n\
         fastcgi_temp_path {0}/f; uwsgi_temp_path {0}/u; scgi_temp_path {0}/s;\n\
         server {{ listen {NGINX}; root {0}/root; default_type text/plain; }} }}\n",
        folder.display(),
        log.display(),
    )?;
    fs::write(&conf, text)?;
    let conf = conf.display().to_string();
    let server = router.spawn(["taskset", "-c", SERVER_CORE, "nginx", "-c", &conf])?;
    Wait::until(READY, "nginx", || {
        router.sh("ss -Hltn sport = 8088 | grep -q .").run().is_ok_and(|o| o.ok())
    })?;
    Ok(server)
}

/// The server's CPU time per request of the guest, in microseconds.
fn measured(guest: &Namespace, server: &Process, at: &'static str, kept: bool) -> Result<f64> {
    let before = cpu(server)?;
    let count = guest.enter(move || load(at, kept))??;
    let spent = cpu(server)?.saturating_sub(before);
    ensure!(count > 0, "{at} answered nothing");
    #[allow(clippy::cast_precision_loss)] // some hundred thousand
    let each = spent.as_secs_f64() * 1e6 / count as f64;
    eprintln!("{at} kept {kept}: {count} requests, {each:.1} us each");
    Ok(each)
}

/// As many requests as there is time for; how many were answered.
fn load(at: &'static str, kept: bool) -> Result<u64> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let end = Instant::now() + SPAN;
    runtime.block_on(async {
        let mut crowd = tokio::task::JoinSet::new();
        for _ in 0..CLIENTS {
            crowd.spawn(client(at, kept, end));
        }
        let mut count = 0;
        while let Some(done) = crowd.join_next().await {
            count += done??;
        }
        Ok(count)
    })
}

async fn client(at: &'static str, kept: bool, end: Instant) -> Result<u64> {
    let close = if kept { "" } else { "Connection: close\r\n" };
    let request = format!("GET /latest/instance-id HTTP/1.1\r\nHost: data-server\r\n{close}\r\n");
    let (mut count, mut stream) = (0, None);
    while Instant::now() < end {
        let mut open = match stream.take() {
            Some(open) => open,
            None => TcpStream::connect(at).await?,
        };
        open.write_all(request.as_bytes()).await?;
        let mut buffer = [0; 1024];
        let mut length = 0;
        while !buffer.get(..length).is_some_and(|heard| heard.ends_with(b"vm0-0")) {
            let Some(room) = buffer.get_mut(length..) else { bail!("a long answer") };
            match open.read(room).await? {
                0 => bail!("closed before the answer"),
                more => length += more,
            }
        }
        count += 1;
        stream = kept.then_some(open);
    }
    Ok(count)
}

/// Processor time that a server's threads have used.
fn cpu(server: &Process) -> Result<Duration> {
    let mut total = 0;
    for task in fs::read_dir(format!("/proc/{}/task", server.pid()))? {
        let text = fs::read_to_string(task?.path().join("schedstat"))?;
        let first = text.split_whitespace().next().unwrap_or_default();
        total += first.parse::<u64>().with_context(|| format!("{text:?} is no schedstat"))?;
    }
    Ok(Duration::from_nanos(total))
}

/// Memory that a server has, in MiB.
fn memory(server: &Process) -> Result<f64> {
    let text = fs::read_to_string(format!("/proc/{}/status", server.pid()))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib / 1024.0)
}
