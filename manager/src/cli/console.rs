//! `sluice console`: a VM's screen in the browser, who is on it, and taking links away.

use std::env;
use std::io;
use std::process::{ExitCode, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use clap::{ArgGroup, Args};
use reqwest::Method;
use serde_json::{Value, json};
use sluice_api::types::Cidr;

use super::client::{Client, Failure};
use super::object::{self, segment};
use super::table::Column;
use super::{exit, output, waiting};
use crate::rest::consoles::{ConsoleLink, ConsoleLinkSpec};
use crate::store::Outcome;

/// What opens an address in the browser that a person uses.
const OPENER: &str = "xdg-open";
/// How long a new link is waited for, unless `--wait` says so.
const PATIENCE: Duration = Duration::from_secs(20);

/// Arguments of `console`.
#[derive(Debug, Args)]
#[allow(clippy::struct_excessive_bools)] // each is a flag of its own
#[command(group = ArgGroup::new("what").args(["who", "history", "load", "revoke"]))]
pub(super) struct ConsoleArgs {
    /// Screen of the VM, by name or id.
    #[arg(required_unless_present_any = ["who", "history", "load", "revoke"])]
    vm: Option<String>,
    /// Print the link instead of opening a browser.
    #[arg(long, conflicts_with = "what")]
    print: bool,
    /// Nothing can be typed, clicked or pasted.
    #[arg(long, conflicts_with = "what")]
    view_only: bool,
    /// For whom the link is, for the log; with --who, --history and --revoke: only those for this user.
    #[arg(long)]
    user: Option<String>,
    /// How long the link and its sessions last. Default 60.
    #[arg(long, conflicts_with = "what")]
    minutes: Option<u32>,
    /// End a session in which nobody typed or clicked for so long.
    #[arg(long, value_name = "SECONDS", conflicts_with = "what")]
    idle_seconds: Option<u32>,
    /// For whichever browser has the link, not for the first alone.
    #[arg(long, conflicts_with = "what")]
    any_browser: bool,
    /// Only from this network, in place of the first browser; may be given more than once.
    #[arg(long = "source", value_name = "CIDR", conflicts_with_all = ["any_browser", "what"])]
    sources: Vec<Cidr>,
    /// Show who is on a console now instead.
    #[arg(long)]
    who: bool,
    /// Show who was on a console within 90 days instead.
    #[arg(long)]
    history: bool,
    /// Show how busy each console proxy is instead.
    #[arg(long, conflicts_with_all = ["vm", "user"])]
    load: bool,
    /// Take links away instead, by VM, by user or by both; their sessions end.
    #[arg(long)]
    revoke: bool,
}

const SESSIONS: &[Column] = &[
    ("VM", "/vm"),
    ("USER", "/user"),
    ("FROM", "/from"),
    ("VIEW ONLY", "/view_only"),
    ("SINCE", "/since"),
    ("UNTIL", "/until"),
    ("REASON", "/reason"),
    ("SCREEN BYTES", "/to_browser"),
    ("INPUT BYTES", "/from_browser"),
    ("GRANT", "/grant"),
    ("PROXY", "/appliance"),
];

const LOADS: &[Column] = &[
    ("PROXY", "/appliance"),
    ("SESSIONS", "/sessions"),
    ("MOST", "/most"),
    ("BYTES/S", "/bytes_per_second"),
    ("ANSWERS", "/answers"),
    ("SINCE", "/seen"),
];

/// Does what `args` say.
pub(super) async fn run(
    client: &Client,
    json: bool,
    args: ConsoleArgs,
) -> Result<ExitCode, Failure> {
    if args.revoke {
        return revoke(client, json, &args).await;
    }
    if args.load {
        object::list(json, &client.get("/v1/consoles/loads").await?, LOADS);
        return Ok(ExitCode::SUCCESS);
    }
    if args.who || args.history {
        let path = sessions(&args);
        object::list(json, &client.get(&path).await?, SESSIONS);
        return Ok(ExitCode::SUCCESS);
    }
    open(client, json, args).await
}

/// The question who is on which console.
fn sessions(args: &ConsoleArgs) -> String {
    let mut query = vec![("open", args.who.to_string())];
    query.extend(args.vm.iter().map(|vm| ("screen", vm.clone())));
    query.extend(args.user.iter().map(|user| ("user", user.clone())));
    let mut path = "/v1/consoles/sessions".to_owned();
    // any host will do: it is the query that is spelled here
    if let Ok(url) = reqwest::Url::parse_with_params("http://localhost", query) {
        path.extend(url.query().map(|query| format!("?{query}")));
    }
    path
}

async fn revoke(client: &Client, json: bool, args: &ConsoleArgs) -> Result<ExitCode, Failure> {
    let mut body = json!({});
    let given = [("screen", &args.vm), ("user", &args.user)];
    for (field, value) in given.into_iter().filter_map(|(field, it)| Some((field, it.as_ref()?))) {
        if let Some(fields) = body.as_object_mut() {
            fields.insert(field.to_owned(), Value::from(value.as_str()));
        }
    }
    let answer: Value = client.change(Method::POST, "/v1/consoles/revoke", Some(&body)).await?;
    let told = || {
        if json {
            return object::show(true, &answer);
        }
        let count = answer.get("revoked").and_then(Value::as_array).map_or(0, Vec::len);
        let links = if count == 1 { "link" } else { "links" };
        output::line(&format!("revoked {count} {links}"));
    };
    waiting::changed(client, json, &answer, told).await
}

/// Makes a link, waits until it can be used, and opens or prints it.
async fn open(client: &Client, json: bool, args: ConsoleArgs) -> Result<ExitCode, Failure> {
    let vm = args.vm.unwrap_or_default();
    let spec = ConsoleLinkSpec {
        user: args.user,
        view_only: args.view_only,
        minutes: args.minutes,
        any_browser: args.any_browser,
        sources: args.sources,
        idle_seconds: args.idle_seconds,
    };
    let link: ConsoleLink =
        client.ask(&format!("/v1/screens/{}/console", segment(&vm)), &spec).await?;
    let patience = client.wait().unwrap_or(PATIENCE);
    let ready = usable(client, &link, patience).await?;
    if !ready {
        let proxy = &link.proxy;
        output::error(&format!("{proxy} does not have the link yet: see `sluice status {proxy}`"));
    }
    if json {
        object::show(true, &json!(link));
    } else if args.print || !shown(&link.url) {
        output::line(&link.url);
    }
    Ok(if ready { ExitCode::SUCCESS } else { ExitCode::from(exit::NOT_IN_SYNC) })
}

/// Whether the proxy that the link leads to has it within `patience`.
async fn usable(client: &Client, link: &ConsoleLink, patience: Duration) -> Result<bool, Failure> {
    let own = link.effects.iter().filter(|effect| effect.appliance.as_str() == link.proxy);
    let until = Instant::now() + patience;
    for effect in own {
        if waiting::wait(client, effect, until).await?.state != Outcome::InForce {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether a browser was asked to show `url`: only where there is a display, and something that opens addresses.
fn shown(url: &str) -> bool {
    let display = ["WAYLAND_DISPLAY", "DISPLAY"].iter().any(|name| env::var_os(name).is_some());
    display && opened(url).is_ok_and(|status| status.success())
}

/// The opener sees the link on its command line, as the browser that it starts will.
fn opened(url: &str) -> io::Result<ExitStatus> {
    let mut command = sluice_programs::command(OPENER).map_err(io::Error::other)?;
    command.arg(url).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status()
}
