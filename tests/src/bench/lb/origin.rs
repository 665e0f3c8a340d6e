//! The servers behind the balancers: one that answers requests, one that only sends. On a thread of their own.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// An answer as small as they are.
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nserver: origin\r\n\r\nhello";

/// Both servers.
pub(super) struct Origin {
    /// Answers requests over kept connections.
    pub(super) web: SocketAddr,
    /// Sends bytes without end.
    pub(super) source: SocketAddr,
}

impl Origin {
    /// Starts both; they end with the process.
    pub(super) fn start() -> Result<Self> {
        let bind = || -> Result<_> {
            let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
            listener.set_nonblocking(true)?;
            Ok((listener.local_addr()?, listener))
        };
        let ((web, web_listener), (source, source_listener)) = (bind()?, bind()?);
        super::load::on_load_core(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let serve = async {
                let web = TcpListener::from_std(web_listener)?;
                let source = TcpListener::from_std(source_listener)?;
                tokio::try_join!(accept(web, answer), accept(source, pour)).map(|_| ())
            };
            // a benchmark without servers fails by itself
            let _ended = runtime.and_then(|runtime| runtime.block_on(serve));
        })
        .context("cannot start the servers")?;
        Ok(Self { web, source })
    }
}

async fn accept<F>(listener: TcpListener, each: impl Fn(TcpStream) -> F) -> std::io::Result<()>
where
    F: Future<Output = std::io::Result<()>> + Send + 'static,
{
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(each(stream));
    }
}

/// One answer for each empty line.
async fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    let mut buffer = vec![0; 4096];
    loop {
        let length = stream.read(&mut buffer).await?;
        if length == 0 {
            return Ok(());
        }
        let read = buffer.get(..length).unwrap_or_default();
        let requests = read.windows(4).filter(|it| it == b"\r\n\r\n").count();
        for _ in 0..requests {
            stream.write_all(ANSWER).await?;
        }
    }
}

async fn pour(mut stream: TcpStream) -> std::io::Result<()> {
    let bytes = vec![0x5a; 256 * 1024];
    loop {
        stream.write_all(&bytes).await?;
    }
}
