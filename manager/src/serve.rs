//! The manager as a process: store, authority, watch and API, until it is told to stop.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing::info;

use crate::ca::Authority;
use crate::ops::refresh;
use crate::push::{Watch, WatchSettings};
use crate::rest::{App, router};
use crate::store::{Location, Store};

/// Settings of a manager process.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "sluice-manager", version, about = "The manager: REST API, allocation, pushing")]
pub struct Settings {
    /// Store: a file, created if there is none, or `postgres://…`. The authority's key lies beside a file, as NAME.ca.pem.
    #[arg(long, env = "SLUICE_STORE", hide_env_values = true, default_value = "sluice.db")]
    pub store: Location,
    /// The authority's file. Default: beside the store's file; required with a database.
    #[arg(long, env = "SLUICE_AUTHORITY")]
    pub authority: Option<PathBuf>,
    /// Where the API listens. It has no users and passwords: leave it on loopback.
    #[arg(long, env = "SLUICE_LISTEN", default_value = "127.0.0.1:3920")]
    pub listen: SocketAddr,
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

/// Runs a manager until SIGTERM or SIGINT.
pub async fn serve(settings: Settings) -> anyhow::Result<()> {
    let life = Duration::from_secs(settings.certificate_hours * 3600);
    let store = Store::open(&settings.store).await?;
    let authority = Authority::at(&authority_file(&settings)?, life)?;
    refresh(&store).await?;
    let times = WatchSettings {
        poll: Duration::from_millis(settings.poll_ms),
        retry: Duration::from_millis(settings.retry_ms),
        retry_most: Duration::from_millis(settings.retry_most_ms.max(settings.retry_ms)),
    };
    let watch = Watch::new(store.clone(), authority.clone(), times);
    let listener = TcpListener::bind(settings.listen)
        .await
        .with_context(|| format!("cannot listen on {}; is a manager running?", settings.listen))?;
    let address = listener.local_addr().context("the listener has no address")?;
    info!(%address, store = %settings.store, "serving");
    let app = App { store: store.clone(), watch: watch.clone(), authority };
    let api = axum::serve(listener, router(app, settings.listen.ip().is_loopback()));
    tokio::select! {
        ended = api.with_graceful_shutdown(stop()) => ended.context("the API ended")?,
        () = watch.run() => {}
    }
    store.close().await;
    info!("stopped");
    Ok(())
}

fn authority_file(settings: &Settings) -> anyhow::Result<PathBuf> {
    let beside = || settings.store.path().map(|path| path.with_extension("ca.pem"));
    let file = settings.authority.clone().or_else(beside);
    file.context("with a database, --authority says where the authority's file is")
}

async fn stop() {
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
