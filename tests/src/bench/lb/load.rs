//! The clients: as much as they can for a time, on a core of their own.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::balancers::Balancer;

/// The core of clients and servers.
const CORE: usize = 1;
/// Clients at once.
const CLIENTS: usize = 32;
/// Streams of bulk data at once.
const STREAMS: usize = 4;
const REQUEST: &[u8] = b"GET /index.html HTTP/1.1\r\nHost: www.example.test\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n";

/// A thread on the core of clients and servers.
pub(super) fn on_load_core(run: impl FnOnce() + Send + 'static) -> Result<()> {
    std::thread::Builder::new().name("load".to_owned()).spawn(move || {
        let mut cores = CpuSet::new();
        // a machine without that core measures on the one it has
        let _pinned = cores.set(CORE).and_then(|()| sched_setaffinity(Pid::from_raw(0), &cores));
        run();
    })?;
    Ok(())
}

/// The clients' side.
pub(super) struct Load {
    connector: TlsConnector,
}

impl Load {
    /// Clients that take any certificate and resume no session.
    pub(super) fn new() -> Result<Self> {
        let mut config = sluice_router::lb::tls::unjudging_client().map_err(anyhow::Error::msg)?;
        config.resumption = Resumption::disabled();
        Ok(Self { connector: TlsConnector::from(Arc::new(config)) })
    }

    /// Megabytes that came.
    pub(super) fn tcp_bulk(&self, balancer: &Balancer, time: Duration) -> Result<f64> {
        let at = balancer.places.bulk;
        crowd(STREAMS, time, move |count, end| async move {
            drink(TcpStream::connect(at).await?, &count, end).await
        })
        .map(megabytes)
    }

    /// Megabytes that came through TLS.
    pub(super) fn tls_bulk(&self, balancer: &Balancer, time: Duration) -> Result<f64> {
        let (at, connector) = (balancer.places.tls_bulk, self.connector.clone());
        crowd(STREAMS, time, move |count, end| {
            let connector = connector.clone();
            async move { drink(encrypted(&connector, at).await?, &count, end).await }
        })
        .map(megabytes)
    }

    /// Connections of one exchange each.
    pub(super) fn connections(&self, balancer: &Balancer, time: Duration) -> Result<f64> {
        let at = balancer.places.tcp;
        crowd(CLIENTS, time, move |count, end| async move {
            while Instant::now() < end {
                let stream = TcpStream::connect(at).await?;
                stream.set_zero_linger()?;
                exchange(&mut { stream }).await?;
                count.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        })
    }

    /// Requests over kept connections.
    pub(super) fn requests(&self, balancer: &Balancer, time: Duration) -> Result<f64> {
        let at = balancer.places.http;
        crowd(CLIENTS, time, move |count, end| async move {
            let mut stream = TcpStream::connect(at).await?;
            stream.set_nodelay(true)?;
            while Instant::now() < end {
                exchange(&mut stream).await?;
                count.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        })
    }

    /// Full handshakes.
    pub(super) fn handshakes(&self, balancer: &Balancer, time: Duration) -> Result<f64> {
        let (at, connector) = (balancer.places.tls, self.connector.clone());
        crowd(CLIENTS, time, move |count, end| {
            let connector = connector.clone();
            async move {
                while Instant::now() < end {
                    exchange(&mut encrypted(&connector, at).await?).await?;
                    count.fetch_add(1, Ordering::Relaxed);
                }
                Ok(())
            }
        })
    }
}

#[allow(clippy::needless_pass_by_value)] // fits `map`
fn megabytes(bytes: f64) -> f64 {
    bytes / 1e6
}

/// What `clients` counted in `time`, each doing `each` until its end.
fn crowd<F>(
    clients: usize,
    time: Duration,
    each: impl Fn(Arc<AtomicU64>, Instant) -> F + Send + 'static,
) -> Result<f64>
where
    F: Future<Output = Result<()>> + Send + 'static,
{
    let count = Arc::<AtomicU64>::default();
    let counted = Arc::clone(&count);
    let (tell, told) = std::sync::mpsc::channel();
    on_load_core(move || {
        let work = || -> Result<()> {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let end = Instant::now() + time;
            runtime.block_on(async {
                let mut crowd = tokio::task::JoinSet::new();
                (0..clients).for_each(|_| {
                    crowd.spawn(each(Arc::clone(&counted), end));
                });
                while let Some(ended) = crowd.join_next().await {
                    ended??;
                }
                Ok(())
            })
        };
        // whoever measures waits
        let _told = tell.send(work());
    })?;
    told.recv().context("the load has ended")??;
    let count = count.load(Ordering::Relaxed);
    if count == 0 {
        bail!("nothing was done");
    }
    #[allow(clippy::cast_precision_loss)] // far below 2^52
    Ok(count as f64)
}

async fn encrypted(
    connector: &TlsConnector,
    at: SocketAddr,
) -> Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let stream = TcpStream::connect(at).await?;
    stream.set_nodelay(true)?;
    Ok(connector.connect(ServerName::try_from("bench")?, stream).await?)
}

async fn exchange(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> Result<()> {
    stream.write_all(REQUEST).await?;
    let mut buffer = [0; 1024];
    let mut length = 0;
    loop {
        let Some(room) = buffer.get_mut(length..).filter(|room| !room.is_empty()) else {
            bail!("an answer longer than expected");
        };
        match stream.read(room).await? {
            0 => bail!("closed before the answer"),
            more => length += more,
        }
        if buffer.get(..length).is_some_and(|heard| heard.ends_with(b"hello")) {
            return Ok(());
        }
    }
}

async fn drink(mut stream: impl AsyncRead + Unpin, count: &AtomicU64, end: Instant) -> Result<()> {
    let mut buffer = vec![0; 256 * 1024];
    while Instant::now() < end {
        let length = stream.read(&mut buffer).await?;
        if length == 0 {
            bail!("the stream ended");
        }
        count.fetch_add(u64::try_from(length)?, Ordering::Relaxed);
    }
    Ok(())
}
