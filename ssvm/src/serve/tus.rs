//! Uploads by the tus protocol 1.0.0 with its extensions creation and checksum (tus.io/protocols/resumable-upload).

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, LOCATION};
use axum::http::{HeaderMap, HeaderName, Response};
use axum::response::Json;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sluice_api::types::ObjectId;
use std::sync::Arc;

use super::Desk;
use super::answer::Answer;
use crate::checksum::HashFunction;
use crate::jobs::{JobReport, Piece, Upload, UploadError};
use crate::slice::Permission;

const VERSION: &str = "1.0.0";
const RESUMABLE: HeaderName = HeaderName::from_static("tus-resumable");
const VERSIONS: HeaderName = HeaderName::from_static("tus-version");
const EXTENSION: HeaderName = HeaderName::from_static("tus-extension");
const ALGORITHMS: HeaderName = HeaderName::from_static("tus-checksum-algorithm");
const OFFSET: HeaderName = HeaderName::from_static("upload-offset");
const LENGTH: HeaderName = HeaderName::from_static("upload-length");
const CHECKSUM: HeaderName = HeaderName::from_static("upload-checksum");

type Answered = Result<Response<Body>, Answer>;

/// What a client may use.
pub(super) async fn options() -> Answered {
    let builder = Response::builder()
        .status(204)
        .header(RESUMABLE, VERSION)
        .header(VERSIONS, VERSION)
        .header(EXTENSION, "creation,checksum")
        .header(ALGORITHMS, "sha1,sha256,sha512,md5");
    build(builder)
}

/// Creation: the grant says which job the upload is for, the client how long it is.
pub(super) async fn create(State(desk): State<Desk>, headers: HeaderMap) -> Answered {
    let (job, upload, quota) = granted(&desk, &headers, None)?;
    let Some(length) = number(&headers, &LENGTH)? else {
        return Err(Answer::new(400, "upload-length", "Upload-Length is missing"));
    };
    upload.begin(length, quota).await.map_err(refused)?;
    tracing::info!(%job, length, "upload begins");
    build(tus(201).header(LOCATION, format!("/upload/{job}")))
}

/// How far an upload is.
pub(super) async fn position(
    State(desk): State<Desk>,
    Path(job): Path<String>,
    headers: HeaderMap,
) -> Answered {
    let (_, upload, _) = granted(&desk, &headers, Some(&job))?;
    let position = upload.position().await.map_err(refused)?;
    let Some(length) = position.length else { return Err(Answer::nothing_here()) };
    let builder = tus(200).header(CACHE_CONTROL, "no-store");
    build(builder.header(OFFSET, position.offset).header(LENGTH, length))
}

/// The next piece.
pub(super) async fn piece(
    State(desk): State<Desk>,
    Path(job): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Answered {
    let (_, upload, quota) = granted(&desk, &headers, Some(&job))?;
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if kind != Some("application/offset+octet-stream") {
        let reason = "Content-Type must be application/offset+octet-stream";
        return Err(Answer::new(415, "content-type", reason));
    }
    let Some(offset) = number(&headers, &OFFSET)? else {
        return Err(Answer::new(400, "upload-offset", "Upload-Offset is missing"));
    };
    let piece = Piece { offset, digest: digest(&headers)?, quota };
    let reached = upload.piece(piece, body.into_data_stream()).await.map_err(refused)?;
    build(tus(204).header(OFFSET, reached))
}

/// How the job is that the upload is for; what the page shows when all is sent.
pub(super) async fn state(
    State(desk): State<Desk>,
    Path(job): Path<String>,
    headers: HeaderMap,
) -> Result<Json<JobReport>, Answer> {
    let held = desk.grants.to_upload(&headers)?;
    let id = job_of(&held.grant.permission, Some(&job))?;
    let found = desk.engine.report().jobs.into_iter().find(|report| report.id == id);
    found.map(Json).ok_or_else(Answer::nothing_here)
}

/// The upload that the token in `headers` is for, and how much it may send; `job` must be that upload's.
fn granted(
    desk: &Desk,
    headers: &HeaderMap,
    job: Option<&str>,
) -> Result<(ObjectId, Arc<Upload>, u64), Answer> {
    let held = desk.grants.to_upload(headers)?;
    if !speaks_our_version(headers) {
        return Err(Answer::new(412, "tus-version", "Tus-Resumable must be 1.0.0"));
    }
    let id = job_of(&held.grant.permission, job)?;
    let Permission::Upload { most_bytes, .. } = held.grant.permission else {
        return Err(Answer::nothing_here());
    };
    let Some(upload) = desk.engine.upload(&id) else {
        return Err(Answer::new(410, "upload-over", "this upload has ended"));
    };
    Ok((id, upload, most_bytes))
}

/// Said at least once, and nothing else said beside it: of two versions it is not known which one the client means.
fn speaks_our_version(headers: &HeaderMap) -> bool {
    let mut said = headers.get_all(RESUMABLE).iter().peekable();
    said.peek().is_some() && said.all(|version| version == VERSION)
}

fn job_of(permission: &Permission, asked: Option<&str>) -> Result<ObjectId, Answer> {
    match permission {
        Permission::Upload { job, .. } if asked.is_none_or(|asked| asked == job.as_str()) => {
            Ok(job.clone())
        }
        _ => Err(Answer::nothing_here()),
    }
}

fn number(headers: &HeaderMap, name: &HeaderName) -> Result<Option<u64>, Answer> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    let number = value.to_str().ok().and_then(|text| text.trim().parse().ok());
    let bad = || Answer::new(400, name.as_str(), format!("{name} is no number"));
    number.map(Some).ok_or_else(bad)
}

/// `Upload-Checksum: ALGORITHM BASE64`.
fn digest(headers: &HeaderMap) -> Result<Option<(HashFunction, Vec<u8>)>, Answer> {
    let Some(value) = headers.get(CHECKSUM) else { return Ok(None) };
    let read = || {
        let (name, digest) = value.to_str().ok()?.trim().split_once(' ')?;
        let algorithm = match name {
            "sha1" => HashFunction::Sha1,
            "sha256" => HashFunction::Sha256,
            "sha512" => HashFunction::Sha512,
            "md5" => HashFunction::Md5,
            _ => return None,
        };
        Some((algorithm, STANDARD.decode(digest.trim()).ok()?))
    };
    let reason = "Upload-Checksum must be sha1, sha256, sha512 or md5 and a digest in base 64";
    read().map(Some).ok_or_else(|| Answer::new(400, "upload-checksum", reason))
}

fn refused(error: UploadError) -> Answer {
    let reason = error.to_string();
    match error {
        UploadError::Busy => Answer::new(423, "busy", reason),
        UploadError::Length { .. } => Answer::new(409, "upload-length", reason),
        UploadError::Offset { .. } => Answer::new(409, "upload-offset", reason),
        UploadError::TooLarge { .. } => Answer::new(413, "too-large", reason),
        UploadError::Digest => Answer::new(460, "upload-checksum", reason),
        UploadError::CutOff => Answer::new(400, "cut-off", reason),
        UploadError::Refused(failure) => Answer::new(422, failure.code, failure.reason),
        UploadError::Over => Answer::new(410, "upload-over", reason),
        UploadError::Store(failure) => {
            tracing::warn!(code = failure.code, reason = failure.reason, "upload not taken");
            Answer::new(503, failure.code, "the store does not take it now, try again")
        }
    }
}

fn tus(status: u16) -> axum::http::response::Builder {
    Response::builder().status(status).header(RESUMABLE, VERSION)
}

fn build(builder: axum::http::response::Builder) -> Answered {
    builder.body(Body::empty()).map_err(|error| Answer::new(500, "internal", error.to_string()))
}
