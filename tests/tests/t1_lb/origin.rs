//! Servers behind the balancer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A server; gone, with its connections, when dropped.
pub(crate) struct Origin {
    pub(crate) at: SocketAddr,
    /// Connections accepted.
    pub(crate) accepted: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Origin {
    /// An HTTP server that says who it is and what it was asked.
    pub(crate) async fn http(name: &str) -> Self {
        Self::http_at(name, "127.0.0.1:0".parse().unwrap()).await
    }

    pub(crate) async fn http_at(name: &str, at: SocketAddr) -> Self {
        let name = name.to_owned();
        let app = Router::new().fallback(move |request: Request| {
            let name = name.clone();
            async move { tell(&name, request).await }
        });
        Self::serve(at, move |stream| {
            let service = hyper_util::service::TowerToHyperService::new(app.clone());
            async move {
                let io = hyper_util::rt::TokioIo::new(stream);
                let builder = hyper_util::server::conn::auto::Builder::new(
                    hyper_util::rt::TokioExecutor::new(),
                );
                // ends when the client ends it
                let _end = builder.http1_only().serve_connection(io, service).await;
            }
        })
        .await
    }

    /// A server that does `each` with every connection.
    pub(crate) async fn serve<F>(
        at: SocketAddr,
        each: impl Fn(TcpStream) -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind(at).await.unwrap();
        let at = listener.local_addr().unwrap();
        let accepted = Arc::<AtomicUsize>::default();
        let count = Arc::clone(&accepted);
        let task = tokio::spawn(async move {
            // ends the connections with the task
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                count.fetch_add(1, Ordering::Relaxed);
                connections.spawn(each(stream));
            }
        });
        Self { at, accepted, task }
    }

    /// A server that says its name and then repeats what it hears, until the client has said all.
    pub(crate) async fn echo(name: &'static str) -> Self {
        Self::serve("127.0.0.1:0".parse().unwrap(), move |mut stream| async move {
            if stream.write_all(name.as_bytes()).await.is_err() {
                return;
            }
            let mut buffer = vec![0; 65536];
            while let Ok(length @ 1..) = stream.read(&mut buffer).await {
                if stream.write_all(&buffer[..length]).await.is_err() {
                    return;
                }
            }
        })
        .await
    }

    /// Servers m1, m2, ...
    pub(crate) async fn three() -> [Self; 3] {
        [Self::http("m1").await, Self::http("m2").await, Self::http("m3").await]
    }

    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }
}

/// Name and request in the answer. `/set/A=B` sets a cookie, `/status/N` answers so, `/size/N` answers so many bytes.
async fn tell(name: &str, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
    let mut words = parts.uri.path().splitn(3, '/').skip(1);
    let (what, value) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut seen = format!("{} {}\n", parts.method, parts.uri);
    for (name, value) in &parts.headers {
        seen += &format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes()));
    }
    seen += &format!("\n{}", String::from_utf8_lossy(&body));
    if what == "size" {
        seen = "x".repeat(value.parse().unwrap());
    }
    let mut answer = Response::new(Body::from(seen));
    if what == "status" {
        *answer.status_mut() = value.parse().unwrap();
    }
    let headers = answer.headers_mut();
    if what == "dated" {
        let date = HeaderValue::from_static("Thu, 26 Nov 2026 12:00:00 GMT");
        headers.insert("last-modified", date);
    }
    headers.insert("x-served-by", HeaderValue::from_str(name).unwrap());
    if what == "set" {
        headers
            .append("set-cookie", HeaderValue::from_str(&format!("{value}; path=/app")).unwrap());
    }
    answer
}
