//! Objects out: whole or in ranges, with the digests that they were recorded with.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE,
    ETAG, IF_NONE_MATCH, IF_RANGE, LOCATION, RANGE,
};
use axum::http::{HeaderMap, HeaderName, Method, Response, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use super::Desk;
use super::answer::Answer;
use super::grants::Held;
use super::meter::Meter;
use super::range::{Asked, asked};
use crate::disk::File;
use crate::holes::{HOLES, framed};
use crate::jobs::Engine;
use crate::slice::Permission;
use crate::store::{Manifest, StoreError};

/// Bytes read and sent at once.
const BLOCK: u64 = 256 << 10;
/// RFC 9530 2.
const REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");

/// `GET` and `HEAD` of a link with a name at its end for tools that take the file's name from there.
pub(super) async fn get_named(
    state: State<Desk>,
    Path((token, _)): Path<(String, String)>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response<Body>, Answer> {
    get(state, Path(token), method, headers).await
}

/// `GET` and `HEAD` of a link.
pub(super) async fn get(
    State(desk): State<Desk>,
    Path(token): Path<String>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response<Body>, Answer> {
    let held = desk.grants.to_download(&token)?;
    object(&desk.engine, held, &method, &headers, false).await
}

/// The object of a grant, as far as it is asked for; with its zeros left out when `holes` says that this may be.
pub(super) async fn object(
    engine: &Engine,
    held: Held,
    method: &Method,
    headers: &HeaderMap,
    holes: bool,
) -> Result<Response<Body>, Answer> {
    let Permission::Download {
        store,
        place,
        file_name,
        most_downloads,
        bytes_per_second,
        redirect_seconds,
    } = held.grant.permission.clone()
    else {
        return Err(Answer::nothing_here());
    };
    if let Some(seconds) = redirect_seconds {
        let address = engine.address(&store, place, seconds).await;
        let address = address.map_err(|error| refused(&error))?;
        return onward(&held, most_downloads, &address);
    }
    let opened = engine.open(&store, place).await.map_err(|error| refused(&error))?;
    let tag = etag(&opened.manifest);
    if header(headers, &IF_NONE_MATCH).is_some_and(|tags| tags.contains(&tag)) {
        return build(Response::builder().status(304).header(ETAG, tag), Body::empty());
    }
    // a range of what the client has of another object is of no use to it
    let same = header(headers, &IF_RANGE).is_none_or(|mark| mark == tag);
    let range = header(headers, &RANGE).filter(|_| same);
    let size = opened.manifest.size;
    let (status, first, length) = match asked(range, size) {
        Asked::Whole => (StatusCode::OK, 0, size),
        Asked::Part(first, last) => (StatusCode::PARTIAL_CONTENT, first, last - first + 1),
        Asked::Beyond => return unsatisfied(size),
    };
    let reads = *method != Method::HEAD;
    if reads && first == 0 && !held.meter.begin(most_downloads) {
        return Err(Answer::new(410, "downloads-used-up", "the grant's downloads are used up"));
    }
    let name = file_name.unwrap_or_else(|| opened.name.clone());
    let mut builder = described(&opened.manifest, &name, &tag).status(status);
    builder = sized(builder, length, holes && reads);
    if status == StatusCode::PARTIAL_CONTENT {
        let last = first + length - 1;
        builder = builder.header(CONTENT_RANGE, format!("bytes {first}-{last}/{size}"));
    }
    if !reads {
        return build(builder, Body::empty());
    }
    tracing::info!(grant = %held.grant.id, first, length, "download begins");
    let (file, at, end) = (opened.file, first, first + length);
    let (meter, rate) = (held.meter, bytes_per_second);
    let sending = Sending { file, at, end, meter, rate, holes };
    build(builder, Body::from_stream(futures_util::stream::try_unfold(sending, next)))
}

/// To where the object store itself serves it.
fn onward(held: &Held, most: Option<u64>, address: &str) -> Result<Response<Body>, Answer> {
    if !held.meter.begin(most) {
        return Err(Answer::new(410, "downloads-used-up", "the grant's downloads are used up"));
    }
    tracing::info!(grant = %held.grant.id, "download is sent on");
    let builder = Response::builder().status(StatusCode::TEMPORARY_REDIRECT);
    build(builder.header(LOCATION, address).header(CACHE_CONTROL, "no-store"), Body::empty())
}

/// With zeros left out nobody knows how long the body becomes.
fn sized(
    builder: axum::http::response::Builder,
    length: u64,
    holes: bool,
) -> axum::http::response::Builder {
    if holes { builder.header(HOLES, "1") } else { builder.header(CONTENT_LENGTH, length) }
}

fn described(manifest: &Manifest, name: &str, tag: &str) -> axum::http::response::Builder {
    let digests = format!(
        "sha-256=:{}:, sha-512=:{}:",
        STANDARD.encode(unhex(&manifest.sha256)),
        STANDARD.encode(unhex(&manifest.sha512))
    );
    Response::builder()
        .header(CONTENT_TYPE, "application/octet-stream")
        .header(CONTENT_DISPOSITION, disposition(name))
        .header(ACCEPT_RANGES, "bytes")
        .header(CACHE_CONTROL, "private")
        .header(ETAG, tag)
        .header(REPR_DIGEST, digests)
}

/// A name that every browser saves under; what is not plain in it becomes `_`.
fn disposition(name: &str) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_') { c } else { '_' }
    };
    let name: String = name.chars().take(120).map(plain).collect();
    format!("attachment; filename=\"{name}\"")
}

fn etag(manifest: &Manifest) -> String {
    format!("\"sha256-{}\"", manifest.sha256)
}

fn unhex(text: &str) -> Vec<u8> {
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    text.as_bytes().chunks(2).filter_map(byte).collect()
}

fn header<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn unsatisfied(size: u64) -> Result<Response<Body>, Answer> {
    let builder = Response::builder().status(StatusCode::RANGE_NOT_SATISFIABLE);
    build(builder.header(CONTENT_RANGE, format!("bytes */{size}")), Body::empty())
}

fn build(builder: axum::http::response::Builder, body: Body) -> Result<Response<Body>, Answer> {
    builder.body(body).map_err(|error| Answer::new(500, "internal", error.to_string()))
}

fn refused(error: &StoreError) -> Answer {
    let status = match error {
        StoreError::NotFound { .. } | StoreError::Unknown { .. } => 404,
        _ => 503,
    };
    // which store and what happened to it is the operator's business
    tracing::warn!(code = error.code(), %error, "download refused");
    Answer::new(status, error.code(), "the object cannot be read now")
}

struct Sending {
    file: Arc<dyn File>,
    at: u64,
    end: u64,
    meter: Arc<Meter>,
    rate: Option<u64>,
    holes: bool,
}

async fn next(mut sending: Sending) -> io::Result<Option<(Bytes, Sending)>> {
    let length = (sending.end - sending.at).min(BLOCK);
    if length == 0 {
        return Ok(None);
    }
    if let Some(rate) = sending.rate {
        tokio::time::sleep(sending.meter.pause(length, rate, Instant::now())).await;
    }
    let (file, at, holes) = (Arc::clone(&sending.file), sending.at, sending.holes);
    let block = tokio::task::spawn_blocking(move || {
        let block = read(&*file, at, length)?;
        Ok::<_, io::Error>(if holes { framed(&block).into() } else { block })
    });
    let block = block.await.map_err(io::Error::other)??;
    sending.at += length;
    Ok(Some((block, sending)))
}

/// An object that became shorter ends the transfer with an error instead of a file that looks whole.
fn read(file: &dyn File, at: u64, length: u64) -> io::Result<Bytes> {
    let length = usize::try_from(length).map_err(io::Error::other)?;
    let mut block = vec![0; length];
    let read = file.read_at(at, &mut block)?;
    if read < length {
        tracing::error!(at, read, "an object is shorter than its record says");
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
    }
    Ok(block.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_break_out_of_its_header() {
        assert_eq!(
            disposition("a\"\r\nx: y/../é.qcow2"),
            "attachment; filename=\"a___x__y_..__.qcow2\""
        );
    }

    #[test]
    fn digits_become_bytes() {
        assert_eq!(unhex("00ff10"), [0, 255, 16]);
    }
}
