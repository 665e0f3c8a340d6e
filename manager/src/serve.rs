//! The manager as a process: store, authority, watch and API, until it is told to stop.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Subcommand;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch::{self, Receiver};
use tracing::info;

use crate::kinds;
use crate::ops::{begin_life, hide_addresses, refresh};
use crate::push::{Replaced, Watch, WatchSettings};
use crate::rest::access::Admission;
use crate::rest::listen::{Peer, TlsListener, socket};
use crate::rest::{App, router};
use crate::store::{Location, Owner, Store, tokens};

mod restore;

/// How long a manager that is told to stop waits for the answers that it owes.
const GRACE: Duration = Duration::from_secs(5);
/// Characters of a token that nobody guesses.
const SHORTEST_TOKEN: usize = 20;

/// The manager's command line.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "sluice-manager", version, about = "The manager: REST API, allocation, pushing")]
pub struct Program {
    #[command(flatten)]
    settings: Settings,
    #[command(subcommand)]
    task: Option<OtherTask>,
}

/// What the program can do instead of serving.
#[derive(Clone, Debug, Subcommand)]
enum OtherTask {
    /// Put a back-up of `sluice backup` into the store, which must be new, and its authority beside it. A manager that is
    /// started on it pushes nothing until `sluice resume`.
    Restore {
        /// The back-up; `-` for standard input.
        file: PathBuf,
    },
}

/// Settings of a manager process.
#[derive(Clone, Debug, clap::Args)]
pub struct Settings {
    /// Store: a file, created if there is none, or `postgres://…`. The authority's key lies beside a file, as NAME.ca.pem.
    #[arg(
        long,
        global = true,
        env = "SLUICE_STORE",
        hide_env_values = true,
        default_value = "sluice.db"
    )]
    pub store: Location,
    /// The authority's file. Default: beside the store's file; required with a database.
    #[arg(long, global = true, env = "SLUICE_AUTHORITY")]
    pub authority: Option<PathBuf>,
    /// Socket that the API is served on; callers are root and the manager's user. Default, unless --listen is given: beside
    /// the store's file, as NAME.sock, or `sluice.sock` with a database.
    #[arg(long, env = "SLUICE_SOCKET")]
    pub socket: Option<PathBuf>,
    /// Address that the API is served on; callers need a token, and TLS on other than loopback addresses.
    #[arg(long, env = "SLUICE_LISTEN")]
    pub listen: Option<SocketAddr>,
    /// Certificate chain in PEM for --listen.
    #[arg(long, requires = "tls_key")]
    pub tls_certificate: Option<PathBuf>,
    /// Its private key in PEM.
    #[arg(long, requires = "tls_certificate")]
    pub tls_key: Option<PathBuf>,
    /// File with an administrator's token, besides those of `sluice token create`.
    #[arg(long, env = "SLUICE_ADMINISTRATOR_FILE")]
    pub token_file: Option<PathBuf>,
    /// Give up an authority whose file is lost: each machine then needs a new boot document.
    #[arg(long)]
    pub replace_authority: bool,
    /// Life of the appliances' certificates in hours, 1 to 8760; renewed when a third is left.
    #[arg(long, default_value_t = 168, value_parser = clap::value_parser!(u64).range(1..=8760))]
    pub certificate_hours: u64,
    /// Milliseconds between two looks at an appliance that is as it should be.
    #[arg(long, default_value_t = 5000, value_parser = clap::value_parser!(u64).range(50..=3_600_000))]
    pub poll_ms: u64,
    /// Milliseconds of the first wait after a failure; doubles up to --retry-most-ms.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(10..=3_600_000))]
    pub retry_ms: u64,
    /// Milliseconds of the longest wait after failures.
    #[arg(long, default_value_t = 30_000, value_parser = clap::value_parser!(u64).range(10..=3_600_000))]
    pub retry_most_ms: u64,
}

/// Does what the command line says.
pub async fn run(program: Program) -> anyhow::Result<()> {
    match program.task {
        Some(OtherTask::Restore { file }) => {
            let authority = authority_file(&program.settings)?;
            restore::run(&program.settings.store, &authority, &file).await
        }
        None => serve(program.settings).await,
    }
}

/// Runs a manager until SIGTERM or SIGINT.
pub async fn serve(settings: Settings) -> anyhow::Result<()> {
    let store = Store::open(&settings.store).await?;
    let admission = admission(&settings, &store).await?;
    let life = Duration::from_secs(settings.certificate_hours * 3600);
    let file = authority_file(&settings)?;
    let authority = begin_life(&store, &file, life, settings.replace_authority).await?;
    hide_addresses(&store).await?;
    kinds::fill(&store).await?;
    refresh(&store).await?;
    let watch = Watch::new(store.clone(), authority.clone(), times(&settings));
    let owner = Owner::default();
    let app = App { store: store.clone(), watch: watch.clone(), authority, admission, owner };
    let (stopper, stopped) = watch::channel(false);
    let mut api = pin!(api(&settings, app, stopped));
    let replaced = tokio::select! {
        served = &mut api => return served,
        Replaced = watch.run() => true,
        () = told_to_stop() => false,
    };
    stopper.send_replace(true);
    // callers get their answers, unless they wait for something
    let _answered = tokio::time::timeout(GRACE, api).await;
    store.close().await;
    if replaced {
        bail!("the store was put back from a back-up while this manager ran on it; start again");
    }
    info!("stopped");
    Ok(())
}

fn times(settings: &Settings) -> WatchSettings {
    WatchSettings {
        poll: Duration::from_millis(settings.poll_ms),
        retry: Duration::from_millis(settings.retry_ms),
        retry_most: Duration::from_millis(settings.retry_most_ms.max(settings.retry_ms)),
    }
}

/// Who is let in; refuses to serve an address that nobody could call, or that others could listen in on.
async fn admission(settings: &Settings, store: &Store) -> anyhow::Result<Admission> {
    let administrator = match &settings.token_file {
        Some(path) => Some(tokens::digest(&token(path)?)),
        None => None,
    };
    if let Some(address) = settings.listen {
        if !address.ip().is_loopback() && settings.tls_certificate.is_none() {
            bail!(
                "{address} is not a loopback address: give --tls-certificate and --tls-key, or \
                 tokens would be sent in the clear"
            );
        }
        let known = tokens::list(&mut *store.read().await?).await?;
        if administrator.is_none() && known.is_empty() {
            bail!(
                "callers of {address} need a token and there is none: give --token-file, or make \
                 one with `sluice token create` over the socket first"
            );
        }
    }
    Ok(Admission { administrator, own_user: fs::metadata("/proc/self")?.uid() })
}

fn token(path: &Path) -> anyhow::Result<String> {
    let named = || format!("{} cannot be used", path.display());
    let text = fs::read_to_string(path).with_context(named)?;
    let token = text.trim();
    if token.len() < SHORTEST_TOKEN {
        bail!("{}: a token has at least {SHORTEST_TOKEN} characters", named());
    }
    Ok(token.to_owned())
}

/// Serves on the socket and the address that the settings name, until told to stop.
async fn api(settings: &Settings, app: App, stopped: Receiver<bool>) -> anyhow::Result<()> {
    let on_socket = on_socket(settings, app.clone(), stopped.clone());
    let on_address = on_address(settings, app, stopped);
    tokio::try_join!(on_socket, on_address).map(|_| ())
}

async fn on_socket(settings: &Settings, app: App, stopped: Receiver<bool>) -> anyhow::Result<()> {
    let Some(path) = socket_path(settings) else { return Ok(()) };
    let listener = socket(&path).await?;
    info!(socket = %path.display(), store = %settings.store, "serving on a socket");
    let service = router(app, true).into_make_service_with_connect_info::<Peer>();
    let api = axum::serve(listener, service).with_graceful_shutdown(stop(stopped));
    api.await.context("the API ended")
}

async fn on_address(settings: &Settings, app: App, stopped: Receiver<bool>) -> anyhow::Result<()> {
    let Some(asked) = settings.listen else { return Ok(()) };
    let listener = TcpListener::bind(asked)
        .await
        .with_context(|| format!("cannot listen on {asked}; is a manager running?"))?;
    let address = listener.local_addr().context("the listener has no address")?;
    let service =
        router(app, asked.ip().is_loopback()).into_make_service_with_connect_info::<Peer>();
    let tls = settings.tls_certificate.as_ref().zip(settings.tls_key.as_ref());
    let Some((certificate, key)) = tls else {
        info!(%address, store = %settings.store, "serving");
        let api = axum::serve(listener, service).with_graceful_shutdown(stop(stopped));
        return api.await.context("the API ended");
    };
    let listener = TlsListener::new(listener, certificate, key)?;
    info!(%address, store = %settings.store, "serving");
    let api = axum::serve(listener, service).with_graceful_shutdown(stop(stopped));
    api.await.context("the API ended")
}

fn socket_path(settings: &Settings) -> Option<PathBuf> {
    if settings.socket.is_some() || settings.listen.is_some() {
        return settings.socket.clone();
    }
    let beside = settings.store.path().map(|path| path.with_extension("sock"));
    Some(beside.unwrap_or_else(|| PathBuf::from("sluice.sock")))
}

fn authority_file(settings: &Settings) -> anyhow::Result<PathBuf> {
    let beside = || settings.store.path().map(|path| path.with_extension("ca.pem"));
    let file = settings.authority.clone().or_else(beside);
    file.context("with a database, --authority says where the authority's file is")
}

async fn stop(mut stopped: Receiver<bool>) {
    // whoever tells has gone: that is the end as well
    let _told = stopped.wait_for(|stopped| *stopped).await;
}

async fn told_to_stop() {
    let term = async {
        match signal(SignalKind::terminate()) {
            Ok(mut signal) => signal.recv().await,
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = term => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}
