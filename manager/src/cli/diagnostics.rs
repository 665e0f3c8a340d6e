//! Questions that an appliance asks its networks: ping, traceroute, arping, capture.

use std::fs;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;
use serde_json::Value;
use sluice_api::types::{
    CaptureBytes, CapturePackets, CaptureSeconds, HopLimit, HostAddress, LinkName, Port, ProbeCount,
};

use super::appliance::path;
use super::client::{Client, Failure};
use super::table::{Column, render};
use super::{exit, object, output};

/// Arguments of `ping`.
#[derive(Debug, Args, Serialize)]
pub(super) struct PingArgs {
    /// Id of the appliance.
    #[serde(skip)]
    appliance: String,
    /// Whom to ask.
    address: HostAddress,
    /// Echo requests, 1 to 10.
    #[arg(long, short, default_value_t)]
    count: ProbeCount,
    /// Leave by this link. Default: as routed.
    #[arg(long, short)]
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<LinkName>,
}

/// Arguments of `traceroute`.
#[derive(Debug, Args, Serialize)]
pub(super) struct TracerouteArgs {
    /// Id of the appliance.
    #[serde(skip)]
    appliance: String,
    /// Where to.
    address: HostAddress,
    /// Hops at most, 1 to 30.
    #[arg(long, default_value_t)]
    max_hops: HopLimit,
    /// Leave by this link. Default: as routed.
    #[arg(long, short)]
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<LinkName>,
}

/// Arguments of `arping`.
#[derive(Debug, Args, Serialize)]
pub(super) struct ArpingArgs {
    /// Id of the appliance.
    #[serde(skip)]
    appliance: String,
    /// Whose MAC is asked for.
    address: HostAddress,
    /// On this link.
    #[arg(long, short)]
    link: LinkName,
    /// Requests, 1 to 10.
    #[arg(long, short, default_value_t)]
    count: ProbeCount,
}

/// Arguments of `capture`.
#[derive(Debug, Args, Serialize)]
pub(super) struct CaptureArgs {
    /// Id of the appliance.
    #[serde(skip)]
    appliance: String,
    /// On this link.
    #[arg(long, short)]
    link: LinkName,
    /// The pcap file to write; `-` for standard output.
    #[arg(long, short)]
    #[serde(skip)]
    output: PathBuf,
    /// Packets at most, 1 to 10000.
    #[arg(long, short = 'n', default_value_t)]
    packets: CapturePackets,
    /// Bytes of the file at most, 65600 to 16777216.
    #[arg(long, default_value_t)]
    bytes: CaptureBytes,
    /// Seconds at most, 1 to 60.
    #[arg(long, short, default_value_t)]
    seconds: CaptureSeconds,
    /// Only packets from or to this address; in ARP, about it.
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<HostAddress>,
    /// Only TCP and UDP packets from or to this port.
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<Port>,
    /// Only packets of this protocol.
    #[arg(long, value_parser = ["arp", "icmp", "icmpv6", "tcp", "udp"])]
    #[serde(skip_serializing_if = "Option::is_none")]
    protocol: Option<String>,
    /// With the packets of the agent's own API, which carry the capture itself.
    #[arg(long)]
    include_api: bool,
}

const PROBES: &[Column] = &[
    ("PROBE", "/number"),
    ("OUTCOME", "/outcome"),
    ("FROM", "/from"),
    ("MS", "/ms"),
    ("DETAIL", "/detail"),
];
const NEIGHBOURS: &[Column] = &[
    ("PROBE", "/number"),
    ("OUTCOME", "/outcome"),
    ("MAC", "/mac"),
    ("MS", "/ms"),
    ("DETAIL", "/detail"),
];
const HOPS: &[Column] = &[
    ("HOP", "/number"),
    ("OUTCOME", "/outcome"),
    ("FROM", "/from"),
    ("MS", "/ms"),
    ("DETAIL", "/detail"),
];

pub(super) async fn ping(
    client: &Client,
    json: bool,
    args: &PingArgs,
) -> Result<ExitCode, Failure> {
    let output = client.ask(&path(&args.appliance, "/diagnostics/ping"), args).await?;
    Ok(told(json, output, PROBES))
}

pub(super) async fn traceroute(
    client: &Client,
    json: bool,
    args: &TracerouteArgs,
) -> Result<ExitCode, Failure> {
    let output = client.ask(&path(&args.appliance, "/diagnostics/traceroute"), args).await?;
    Ok(told(json, output, HOPS))
}

pub(super) async fn arping(
    client: &Client,
    json: bool,
    args: &ArpingArgs,
) -> Result<ExitCode, Failure> {
    let output = client.ask(&path(&args.appliance, "/diagnostics/arping"), args).await?;
    Ok(told(json, output, NEIGHBOURS))
}

/// Success when the address answered, as `ping` itself has it.
fn told(json: bool, mut output: Value, columns: &[Column]) -> ExitCode {
    let reached = output.get("reached").is_some_and(|reached| reached == true);
    if json {
        object::show(true, &output);
    } else {
        output::print(&table(&mut output, columns));
    }
    ExitCode::from(if reached { 0 } else { exit::FAILED })
}

fn table(output: &mut Value, columns: &[Column]) -> String {
    let Some(probes) = output.get_mut("probes").and_then(Value::as_array_mut) else {
        return String::new();
    };
    for probe in probes.iter_mut() {
        if let Some(microseconds) = probe.get("rtt_us").and_then(Value::as_u64) {
            let text = format!("{}.{:03}", microseconds / 1000, microseconds % 1000);
            probe["ms"] = text.into();
        }
    }
    render(probes, columns)
}

pub(super) async fn capture(
    client: &Client,
    json: bool,
    args: &CaptureArgs,
) -> Result<(), Failure> {
    let to_stdout = args.output == Path::new("-");
    if to_stdout && std::io::stdout().is_terminal() {
        return Err(Failure::File {
            path: "-".to_owned(),
            reason: "a capture is not for a terminal: name a file, or pipe it into `tcpdump -r -`"
                .to_owned(),
        });
    }
    let file = client.ask_bytes(&path(&args.appliance, "/diagnostics/capture"), args).await?;
    if to_stdout {
        output::bytes(&file);
        return Ok(());
    }
    let named = args.output.display().to_string();
    fs::write(&args.output, &file)
        .map_err(|error| Failure::File { path: named.clone(), reason: error.to_string() })?;
    if json {
        object::show(true, &serde_json::json!({ "file": named, "bytes": file.len() }));
    } else {
        output::line(&format!(
            "capture on {} of {}: {named}, {} bytes",
            args.link,
            args.appliance,
            file.len()
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn hops_are_a_table() {
        let mut output = json!({ "reached": true, "probes": [
            { "number": 1, "outcome": "expired", "from": "198.51.100.1", "rtt_us": 1_234 },
            { "number": 2, "outcome": "silent" },
            { "number": 3, "outcome": "reply", "from": "192.0.2.80", "rtt_us": 12_034 },
        ] });
        let expected = "HOP  OUTCOME  FROM          MS      DETAIL\n\
                        1    expired  198.51.100.1  1.234   -\n\
                        2    silent   -             -       -\n\
                        3    reply    192.0.2.80    12.034  -\n";
        assert_eq!(table(&mut output, HOPS), expected);
    }
}
