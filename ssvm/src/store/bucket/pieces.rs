//! Objects in pieces: begun, sent one by one, joined or given up, across restarts.
//!
//! S3 has multipart uploads for it. In Swift the pieces are objects of their own below `.segments/`, and a static large object
//! names them (`OpenStack` Swift, "Large Object Support").

use std::io;

use bytes::Bytes;
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use serde_json::json;
use sluice_api::types::{BucketName, Secret, SourceUrl, StoreUser};
use time::OffsetDateTime;
use uuid::Uuid;

use super::note::Note;
use super::remote::{JOINING, PATIENCE, Remote, bounded};
use super::signed::{Signer, Unsigned, query};
use crate::slice::BucketService;

/// Most characters of an answer that are told.
const TOLD: usize = 300;

/// A bucket by S3.
struct Bucket<'a> {
    endpoint: &'a SourceUrl,
    region: &'a StoreUser,
    name: &'a BucketName,
    user: &'a StoreUser,
    secret: &'a Secret,
}

impl Remote {
    /// Begins an object; returns what it is called until it is whole.
    pub(super) async fn begin(&self, key: &str) -> io::Result<String> {
        let Some(bucket) = self.s3() else { return Ok(Uuid::new_v4().to_string()) };
        let asked = self.signed(&bucket, Method::POST, key, &[("uploads", "")], Bytes::new())?;
        let text = text(good(bounded(PATIENCE, asked.send()).await?)?).await?;
        let id = text.split("<UploadId>").nth(1).and_then(|rest| rest.split('<').next());
        id.map(|id| id.replace("&amp;", "&")).ok_or_else(|| io::Error::other("no upload was begun"))
    }

    /// Sends the next piece of `note`; returns what the server says of it. None: the server knows nothing of the upload.
    pub(super) async fn piece(&self, note: &Note, bytes: Bytes) -> io::Result<Option<String>> {
        let number = note.parts.len() + 1;
        let answer = if let Some(bucket) = self.s3() {
            let number = number.to_string();
            let query = [("partNumber", number.as_str()), ("uploadId", note.upload.as_str())];
            let asked = self.signed(&bucket, Method::PUT, &note.key, &query, bytes)?;
            bounded(PATIENCE, asked.send()).await?.map_err(unsent)?
        } else {
            let path = format!("{}{number:08}", segments(note));
            self.of_swift(Method::PUT, &path, &[], bytes).await?
        };
        if answer.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let answer = good(Ok(answer))?;
        let tag = answer.headers().get("etag").and_then(|tag| tag.to_str().ok());
        tag.map(|tag| Some(tag.to_owned())).ok_or_else(|| io::Error::other("a piece has no ETag"))
    }

    /// Makes the object of its pieces: from now on it is there. False: the server knows nothing of the upload.
    pub(super) async fn join(&self, note: &Note) -> io::Result<bool> {
        let answer = if let Some(bucket) = self.s3() {
            let part = |(at, tag): (usize, &String)| {
                let (number, tag) = (at + 1, tag.replace('&', "&amp;").replace('<', "&lt;"));
                format!("<Part><PartNumber>{number}</PartNumber><ETag>{tag}</ETag></Part>")
            };
            let parts: String = note.parts.iter().enumerate().map(part).collect();
            let body = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
            let query = [("uploadId", note.upload.as_str())];
            let asked = self.signed(&bucket, Method::POST, &note.key, &query, body.into())?;
            bounded(JOINING, asked.send()).await?.map_err(unsent)?
        } else {
            let container = self.container();
            let part = |(at, (tag, size)): (usize, (&str, u64))| {
                let path = format!("/{container}/{}{:08}", segments(note), at + 1);
                json!({ "path": path, "etag": tag.trim_matches('"'), "size_bytes": size })
            };
            let parts: Vec<_> = note.lengths().enumerate().map(part).collect();
            let body = serde_json::to_vec(&parts)?;
            let query = [("multipart-manifest", "put")];
            self.of_swift(Method::PUT, &note.key, &query, body.into()).await?
        };
        if answer.status() == StatusCode::NOT_FOUND {
            return Ok(false);
        }
        // a server that has begun to answer can only say in the body that it failed
        let text = text(good(Ok(answer))?).await?;
        if text.contains("<Error>") {
            return Err(io::Error::other(format!("the pieces were not joined: {}", short(&text))));
        }
        Ok(true)
    }

    /// Nothing of it is to stay.
    pub(super) async fn give_up(&self, note: &Note) -> io::Result<()> {
        let Some(bucket) = self.s3() else { return self.drop_segments(&segments(note)).await };
        let query = [("uploadId", note.upload.as_str())];
        let asked = self.signed(&bucket, Method::DELETE, &note.key, &query, Bytes::new())?;
        let answer = bounded(PATIENCE, asked.send()).await?.map_err(unsent)?;
        if answer.status() == StatusCode::NOT_FOUND {
            return Ok(());
        }
        good(Ok(answer)).map(drop)
    }

    /// Removes the pieces of an object that is gone; S3 has none.
    pub(super) async fn drop_pieces(&self, key: &str) -> io::Result<()> {
        if self.s3().is_some() {
            return Ok(());
        }
        self.drop_segments(&format!(".segments/{key}")).await
    }

    async fn drop_segments(&self, prefix: &str) -> io::Result<()> {
        let query = [("prefix", prefix)];
        let answer = self.of_swift(Method::GET, "", &query, Bytes::new()).await?;
        let names = text(good(Ok(answer))?).await?;
        for name in names.lines().filter(|name| name.starts_with(prefix)) {
            let answer = self.of_swift(Method::DELETE, name, &[], Bytes::new()).await?;
            if answer.status() != StatusCode::NOT_FOUND {
                good(Ok(answer))?;
            }
        }
        Ok(())
    }

    fn s3(&self) -> Option<Bucket<'_>> {
        match self.service() {
            BucketService::S3 { endpoint, region, bucket, user, secret } => {
                Some(Bucket { endpoint, region, name: bucket, user, secret })
            }
            BucketService::Swift { .. } => None,
        }
    }

    fn container(&self) -> &str {
        match self.service() {
            BucketService::S3 { bucket, .. } => bucket.as_str(),
            BucketService::Swift { container, .. } => container.as_str(),
        }
    }

    /// A request about an object of a bucket.
    fn signed(
        &self,
        bucket: &Bucket<'_>,
        method: Method,
        key: &str,
        pairs: &[(&str, &str)],
        body: Bytes,
    ) -> io::Result<RequestBuilder> {
        let base = bucket.endpoint.reveal().trim_end_matches('/');
        let text = format!("{base}/{}/{key}?{}", bucket.name.as_str(), query(pairs));
        let url = Url::parse(&text).map_err(|_| io::Error::other("the endpoint is no address"))?;
        let host = match (url.host_str(), url.port()) {
            (Some(host), Some(port)) => format!("{host}:{port}"),
            (host, _) => host.unwrap_or_default().to_owned(),
        };
        let (region, user) = (bucket.region.as_str(), bucket.user.as_str());
        let signer = Signer { region, user, secret: bucket.secret };
        let unsigned = Unsigned {
            method: method.as_str(),
            host: &host,
            path: url.path(),
            query: pairs,
            body: &body,
        };
        let headers = signer.headers(&unsigned, OffsetDateTime::now_utc());
        let request = self.client().request(method, url).body(body);
        Ok(headers.into_iter().fold(request, |request, (name, value)| request.header(name, value)))
    }

    /// A request about an object of a container; a token that has ended is asked for anew.
    async fn of_swift(
        &self,
        method: Method,
        path: &str,
        pairs: &[(&str, &str)],
        body: Bytes,
    ) -> io::Result<Response> {
        let mut again = true;
        loop {
            let (storage, token) = self.account().await?;
            let slash = if path.is_empty() { "" } else { "/" };
            let pairs = query(pairs);
            let url = format!("{storage}/{}{slash}{path}?{pairs}", self.container());
            let request = self.client().request(method.clone(), url).body(body.clone());
            let sent = request.header("X-Auth-Token", token).send();
            let answer = bounded(PATIENCE, sent).await?.map_err(unsent)?;
            if answer.status() != StatusCode::UNAUTHORIZED || !again {
                return Ok(answer);
            }
            again = false;
            self.forget_account().await;
        }
    }
}

/// Where the pieces of an object are in a container.
fn segments(note: &Note) -> String {
    format!(".segments/{}/{}/", note.key, note.upload)
}

/// What a library says without the address, whose query may be a key.
fn unsent(error: reqwest::Error) -> io::Error {
    io::Error::other(error.without_url())
}

fn good(answer: Result<Response, reqwest::Error>) -> io::Result<Response> {
    let answer = answer.map_err(unsent)?;
    if answer.status().is_success() {
        return Ok(answer);
    }
    Err(io::Error::other(format!("the server answered {}", answer.status())))
}

async fn text(answer: Response) -> io::Result<String> {
    bounded(JOINING, answer.text()).await?.map_err(unsent)
}

fn short(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(TOLD).collect()
}
