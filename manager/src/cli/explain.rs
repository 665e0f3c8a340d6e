//! `sluice explain`: why a connection passes or does not.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::process::ExitCode;

use clap::Args;
use sluice_api::report::ExplainQuestion;
use sluice_api::types::{AskedProtocol, LinkName, ObjectId, Port};

use super::client::{Client, Failure};
use super::{exit, object, output};
use crate::ops::explain::{ExplainRequest, Explained, Under};

/// Arguments of `explain`.
#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    /// Who opens the connection.
    #[arg(long, value_name = "ADDRESS")]
    from: IpAddr,
    /// Whom it is opened to, before any translation.
    #[arg(long, value_name = "ADDRESS")]
    to: IpAddr,
    /// tcp, udp, icmp (a ping, of either version of IP), or the number of another protocol.
    #[arg(long, value_name = "PROTOCOL")]
    proto: AskedProtocol,
    /// Destination port of TCP or UDP.
    #[arg(long)]
    port: Option<Port>,
    /// Source port of TCP or UDP.
    #[arg(long, value_name = "PORT", default_value_t = ExplainQuestion::FROM_PORT)]
    from_port: Port,
    /// The router's link that it comes in by. Default: the one that leads to where it is from.
    #[arg(long)]
    link: Option<LinkName>,
    /// Router, by name or id. Default: the one that has the sender's network, else the destination.
    #[arg(long)]
    appliance: Option<ObjectId>,
    /// Which of its configurations: a number, `wanted`, or `found` for what it has now.
    #[arg(long, default_value = "wanted")]
    generation: String,
    /// Compare with another of them; exit code 10 when the answers differ.
    #[arg(long, value_name = "GENERATION")]
    against: Option<String>,
    /// Ask the router too which such connections it tracks now.
    #[arg(long)]
    live: bool,
}

impl ExplainArgs {
    fn request(&self) -> ExplainRequest {
        ExplainRequest {
            question: ExplainQuestion {
                from: self.from,
                to: self.to,
                protocol: self.proto,
                port: self.port,
                from_port: self.from_port,
                link: self.link.clone(),
            },
            appliance: self.appliance.clone(),
            generation: Some(self.generation.clone()),
            against: self.against.clone(),
            live: self.live,
        }
    }
}

pub(super) async fn run(
    client: &Client,
    json: bool,
    args: &ExplainArgs,
) -> Result<ExitCode, Failure> {
    let told: Explained = client.ask("/v1/explain", &args.request()).await?;
    if json {
        let value = serde_json::to_value(&told);
        object::show(true, &value.map_err(|error| Failure::Answer(error.to_string()))?);
    } else {
        output::print(&text(&told));
    }
    let differs = told.differs == Some(true);
    Ok(if differs { ExitCode::from(exit::DIFFERENT) } else { ExitCode::SUCCESS })
}

fn text(told: &Explained) -> String {
    let Explained { appliance, generation, down, answer, against, live, .. } = told;
    let mut text = format!("{appliance}, generation {generation}{}:\n{answer}", without(down));
    // writing to a String cannot fail
    if let Some(Under { generation, down, answer: other }) = against {
        if other == answer {
            let _ = writeln!(text, "generation {generation}: the same");
        } else {
            let _ = write!(text, "generation {generation}{}:\n{other}", without(down));
        }
    }
    if let Some(live) = live {
        let _ = writeln!(text, "tracked now: {}", live.total);
        for flow in &live.flows {
            let _ = writeln!(text, "  {flow}");
        }
    }
    text
}

/// Which uplinks are down, if any.
fn without(down: &[LinkName]) -> String {
    match down {
        [] => String::new(),
        links => {
            let links: Vec<&str> = links.iter().map(LinkName::as_str).collect();
            format!(", with {} down", links.join(", "))
        }
    }
}
