//! A server that does to its clients what no server should: one connection, one script.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use sluice_lab::netns::Namespace;

/// A request's first byte asked for, by `Range`.
pub(crate) struct Request {
    pub(crate) first: usize,
    pub(crate) last: Option<usize>,
    /// How many came before it.
    pub(crate) number: usize,
}

/// Answers every connection on `address` with what `script` does to it, until the test ends.
pub(crate) fn start(
    ns: &Namespace,
    address: &'static str,
    script: impl Fn(&Request, &mut TcpStream) + Send + Sync + 'static,
) -> Arc<AtomicUsize> {
    let asked = Arc::new(AtomicUsize::new(0));
    let (counter, script) = (Arc::clone(&asked), Arc::new(script));
    let listener = ns.enter(|| TcpListener::bind(address).unwrap()).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let (counter, script) = (Arc::clone(&counter), Arc::clone(&script));
            thread::spawn(move || {
                if let Some((first, last)) = head(&mut stream) {
                    let number = counter.fetch_add(1, Ordering::SeqCst);
                    script(&Request { first, last, number }, &mut stream);
                }
            });
        }
    });
    asked
}

fn head(stream: &mut TcpStream) -> Option<(usize, Option<usize>)> {
    let (mut text, mut byte) = (Vec::new(), [0]);
    while !text.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        text.push(byte[0]);
    }
    let text = String::from_utf8_lossy(&text).to_ascii_lowercase();
    let range = text.lines().find_map(|line| line.strip_prefix("range: bytes="))?;
    let (first, last) = range.split_once('-')?;
    Some((first.parse().ok()?, last.trim().parse().ok()))
}

/// Writes what it can; the client may be gone.
pub(crate) fn say(stream: &mut TcpStream, head: &str, body: &[u8]) {
    let _ = stream.write_all(format!("HTTP/1.1 {head}\r\nConnection: close\r\n\r\n").as_bytes());
    let _ = stream.write_all(body);
}

/// A proper answer to a request for a range of `bytes`.
pub(crate) fn range(request: &Request, stream: &mut TcpStream, bytes: &[u8], etag: &str) {
    range_cut(request, stream, bytes, etag, usize::MAX);
}

/// The same, but only `length` bytes of it arrive.
pub(crate) fn range_cut(
    request: &Request,
    stream: &mut TcpStream,
    bytes: &[u8],
    etag: &str,
    length: usize,
) {
    let last = request.last.unwrap_or(usize::MAX).min(bytes.len() - 1);
    let body = &bytes[request.first..=last];
    let head = format!(
        "206 Partial Content\r\nContent-Range: bytes {}-{last}/{}\r\nContent-Length: {}\r\nETag: {etag}",
        request.first,
        bytes.len(),
        body.len()
    );
    say(stream, &head, &body[..length.min(body.len())]);
}
