//! Calls to an object store, each within a bound.
//!
//! Guarantees: no call waits for ever; a token that has ended is asked for anew; keys and tokens stand in no error.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use opendal::services::{S3, Swift};
use opendal::{ErrorKind, HttpTransporter, OperationContext, Operator};
use opendal_http_transport_reqwest::ReqwestTransport;
use reqwest::Client;
use sluice_api::types::{Secret, SourceUrl};
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::slice::BucketService;

/// How long one call may take; none moves more than a piece of an object.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
/// How long a server may take to join the pieces of an object.
pub(super) const JOINING: Duration = Duration::from_mins(5);

/// A bucket.
pub(super) struct Remote {
    service: BucketService,
    client: Client,
    /// How it is spoken to; none: not yet, or not any more.
    operator: Mutex<Option<Operator>>,
    /// Where the account of Swift is, and a token for it; none: not yet, or not any more.
    account: Mutex<Option<(String, String)>>,
}

impl Remote {
    pub(super) fn new(service: BucketService, client: Client) -> Self {
        Self { service, client, operator: Mutex::default(), account: Mutex::default() }
    }

    /// What it is.
    pub(super) const fn service(&self) -> &BucketService {
        &self.service
    }

    /// How it is spoken to.
    pub(super) const fn client(&self) -> &Client {
        &self.client
    }

    /// Where the account of Swift is, and a token for it.
    pub(super) async fn account(&self) -> io::Result<(String, String)> {
        let mut kept = self.account.lock().await;
        if let Some(account) = &*kept {
            return Ok(account.clone());
        }
        let BucketService::Swift { endpoint, user, secret, .. } = &self.service else {
            return Err(io::Error::other("there are no accounts but those of Swift"));
        };
        let account = bounded(PATIENCE, self.token(endpoint, user.as_str(), secret)).await??;
        Ok(kept.insert(account).clone())
    }

    /// The token has ended.
    pub(super) async fn forget_account(&self) {
        *self.account.lock().await = None;
    }

    /// A small object, whole; none when it is not there.
    pub(super) async fn read(&self, key: &str) -> io::Result<Option<Vec<u8>>> {
        let call = async |operator: Operator| operator.read(key).await;
        Ok(self.call(call).await?.map(|buffer| buffer.to_vec()))
    }

    /// Some bytes of an object; none when it is not there.
    pub(super) async fn range(&self, key: &str, at: u64, end: u64) -> io::Result<Option<Bytes>> {
        let call = async |operator: Operator| operator.read_with(key).range(at..end).await;
        Ok(self.call(call).await?.map(|buffer| buffer.to_bytes()))
    }

    /// Its length; none when it is not there.
    pub(super) async fn length(&self, key: &str) -> io::Result<Option<u64>> {
        let call = async |operator: Operator| operator.stat(key).await;
        Ok(self.call(call).await?.map(|found| found.content_length()))
    }

    /// Replaces a small object, whole.
    pub(super) async fn replace(&self, key: &str, bytes: Vec<u8>) -> io::Result<()> {
        let call = async |operator: Operator| operator.write(key, bytes.clone()).await;
        self.call(call).await?.map(drop).ok_or_else(no_bucket)
    }

    /// Removes an object; one that is not there is removed already.
    pub(super) async fn remove(&self, key: &str) -> io::Result<()> {
        let call = async |operator: Operator| operator.delete(key).await;
        self.call(call).await.map(drop)
    }

    /// Keys of the objects in a folder and below.
    pub(super) async fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let call = async |operator: Operator| operator.list_with(folder).recursive(true).await;
        let entries = self.call(call).await?.unwrap_or_default();
        Ok(entries.into_iter().map(|entry| entry.path().to_owned()).collect())
    }

    /// An address of the object itself that is good for `seconds`.
    pub(super) async fn address(&self, key: &str, seconds: u32) -> io::Result<String> {
        let good = Duration::from_secs(seconds.into());
        let call = async |operator: Operator| operator.presign_read(key, good).await;
        let request = self.call(call).await?.ok_or_else(no_bucket)?;
        Ok(request.uri().to_string())
    }

    /// Makes a call; none when there is no such object.
    async fn call<T>(
        &self,
        call: impl AsyncFn(Operator) -> opendal::Result<T>,
    ) -> io::Result<Option<T>> {
        let mut again = true;
        loop {
            let operator = self.operator().await?;
            match bounded(PATIENCE, call(operator)).await? {
                Ok(found) => return Ok(Some(found)),
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
                // a token has its time; the next one is asked for once
                Err(error) if again && error.kind() == ErrorKind::PermissionDenied => {
                    again = false;
                    *self.operator.lock().await = None;
                }
                Err(error) => return Err(plain(&error)),
            }
        }
    }

    async fn operator(&self) -> io::Result<Operator> {
        let mut kept = self.operator.lock().await;
        if let Some(operator) = &*kept {
            return Ok(operator.clone());
        }
        let operator = bounded(PATIENCE, self.introduced()).await??;
        let transport = HttpTransporter::new(ReqwestTransport::new(self.client.clone()));
        let context = OperationContext::new().with_http_transport(transport);
        let operator = operator.with_context(context);
        *kept = Some(operator.clone());
        Ok(operator)
    }

    async fn introduced(&self) -> io::Result<Operator> {
        match &self.service {
            BucketService::S3 { endpoint, region, bucket, user, secret } => {
                let service = S3::default()
                    .endpoint(endpoint.reveal())
                    .region(region.as_str())
                    .bucket(bucket.as_str())
                    .access_key_id(user.as_str())
                    .secret_access_key(secret.reveal())
                    // nothing of the machine's environment is meant for us
                    .disable_config_load()
                    .disable_ec2_metadata();
                Operator::new(service).map_err(|error| plain(&error))
            }
            BucketService::Swift { endpoint, container, user, secret, temp_url_key } => {
                let (storage, token) = self.token(endpoint, user.as_str(), secret).await?;
                let mut service =
                    Swift::default().endpoint(&storage).container(container.as_str()).token(&token);
                if let Some(key) = temp_url_key {
                    service = service.temp_url_key(key.reveal());
                }
                Operator::new(service).map_err(|error| plain(&error))
            }
        }
    }

    /// Where the account is, and a token for it (version 1 of Swift's authentication).
    async fn token(
        &self,
        endpoint: &SourceUrl,
        user: &str,
        key: &Secret,
    ) -> io::Result<(String, String)> {
        let request = self.client.get(endpoint.reveal());
        let request = request.header("X-Auth-User", user).header("X-Auth-Key", key.reveal());
        let answer = request.send().await.map_err(|error| io::Error::other(error.without_url()))?;
        let header = |name| answer.headers().get(name).and_then(|value| value.to_str().ok());
        match (header("X-Storage-Url"), header("X-Auth-Token")) {
            (Some(storage), Some(token)) if answer.status().is_success() => {
                Ok((storage.to_owned(), token.to_owned()))
            }
            _ => Err(io::Error::other(format!("no token was given: {}", answer.status()))),
        }
    }
}

/// What `call` says in time.
pub(super) async fn bounded<T>(patience: Duration, call: impl Future<Output = T>) -> io::Result<T> {
    let late = |_| io::Error::other(format!("no answer within {} s", patience.as_secs()));
    timeout(patience, call).await.map_err(late)
}

/// What a library's error says without the request that it is about, whose headers have keys.
fn plain(error: &opendal::Error) -> io::Error {
    let message: String = error.message().chars().take(300).collect();
    io::Error::other(format!("{}: {message}", error.kind()))
}

fn no_bucket() -> io::Error {
    io::Error::other("there is no such bucket")
}
