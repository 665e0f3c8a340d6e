//! Client of the manager's API.

use std::time::Duration;

use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use super::exit;
use crate::code::ErrorCode;
use crate::error::Problem;

/// Attempts at a change whose connection breaks; the request id makes a repetition harmless.
const ATTEMPTS: u32 = 3;

/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// Longest wait for a whole answer: the manager itself waits two minutes for an appliance, and one for its store.
const WHOLE: Duration = Duration::from_secs(150);

/// Why a command did not do what it should.
#[derive(Debug, Error)]
pub enum Failure {
    /// The manager refused, with its reasons.
    #[error("error: {}", told(.0))]
    Refused(Box<Problem>),
    /// The manager cannot be reached.
    #[error("error: the manager at {url} does not answer: {reason}")]
    Unreachable {
        /// Where it should be.
        url: String,
        /// Why.
        reason: String,
    },
    /// The manager took the call and did not answer in time.
    #[error("error: the manager at {url} did not answer within {} s", patience.as_secs())]
    Slow {
        /// Where it is.
        url: String,
        /// How long was waited.
        patience: Duration,
    },
    /// A file cannot be used.
    #[error("error: {path}: {reason}")]
    File {
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
    /// Nobody was there to say yes.
    #[error("error: there is nobody to ask")]
    NobodyToAsk,
    /// A person said no.
    #[error("nothing was changed")]
    Declined,
    /// One of these appliances does not exist.
    #[error("error: there are not all of {0}")]
    Unknown(String),
    /// A laboratory failed.
    #[error("error: {0}")]
    Lab(String),
    /// The manager answered something that this build does not understand.
    #[error("error: the manager's answer is not understood: {0}")]
    Answer(String),
}

fn told(problem: &Problem) -> String {
    if problem.findings.len() < 2 {
        return problem.message.clone();
    }
    let all: Vec<_> = problem.findings.iter().map(ToString::to_string).collect();
    format!("{}\n  {}", problem.message, all.join("\n  "))
}

impl Failure {
    /// What to do next.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Refused(problem) => return problem.hint.clone(),
            Self::Unreachable { .. } => {
                "start `sluice-manager`, or name another with --manager or SLUICE_MANAGER"
                    .to_owned()
            }
            Self::Slow { .. } => {
                "see the manager's log; a change may still take effect: look before you repeat it"
                    .to_owned()
            }
            Self::NobodyToAsk => "say --yes".to_owned(),
            Self::Unknown(_) => "`sluice appliance list` shows what there is".to_owned(),
            Self::File { .. } | Self::Declined | Self::Lab(_) => return None,
            Self::Answer(_) => "are `sluice` and `sluice-manager` of the same version?".to_owned(),
        })
    }

    /// True when the same question may be answered a moment later.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Slow { .. } => true,
            Self::Refused(problem) => ErrorCode::of(&problem.code) == ErrorCode::Busy,
            _ => false,
        }
    }

    /// The exit code that says so.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Refused(problem) => ErrorCode::of(&problem.code).exit(),
            Self::Unreachable { .. } | Self::Slow { .. } => exit::UNREACHABLE,
            Self::File { .. } => exit::INVALID,
            Self::Unknown(_) => exit::NOT_FOUND,
            Self::NobodyToAsk => exit::USAGE,
            Self::Declined | Self::Answer(_) | Self::Lab(_) => exit::FAILED,
        }
    }
}

/// The manager.
#[derive(Clone, Debug)]
pub(super) struct Client {
    url: String,
    http: reqwest::Client,
    patience: Duration,
    wait: Option<Duration>,
}

impl Client {
    pub(super) fn new(url: &str) -> Result<Self, Failure> {
        Self::patient(url, WHOLE)
    }

    /// One that waits so long for a whole answer.
    fn patient(url: &str, patience: Duration) -> Result<Self, Failure> {
        let url = url.trim_end_matches('/').to_owned();
        // one is in force already where several clients are made
        let _ = rustls::crypto::ring::default_provider().install_default();
        // the manager is asked directly: a proxy for the Internet has no business here
        let http = reqwest::Client::builder()
            .no_proxy()
            .connect_timeout(CONNECT)
            .timeout(patience)
            .build();
        let http = http.map_err(|error| Failure::Answer(crate::push::chain(&error)))?;
        Ok(Self { url, http, patience, wait: None })
    }

    /// One whose changes are waited for so long.
    pub(super) fn waiting(self, wait: Option<Duration>) -> Self {
        Self { wait, ..self }
    }

    /// How long a change is waited for; none: it is not.
    pub(super) fn wait(&self) -> Option<Duration> {
        self.wait
    }

    /// A call without body and answer.
    pub(super) async fn done(&self, method: Method, path: &str) -> Result<(), Failure> {
        let request = self.http.request(method, format!("{}{path}", self.url));
        self.whole(request.header("content-type", "application/json")).await.map(drop)
    }

    /// Where the manager is.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        read(&self.whole(self.http.get(format!("{}{path}", self.url))).await?)
    }

    /// A change: tried again with the same request id when the connection breaks.
    pub(super) async fn change<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&(impl Serialize + Sync)>,
    ) -> Result<T, Failure> {
        let id = uuid::Uuid::new_v4().to_string();
        let mut attempt = 1;
        loop {
            let url = format!("{}{path}", self.url);
            let mut request = self.http.request(method.clone(), url).header("idempotency-key", &id);
            request = match body {
                Some(body) => request.json(body),
                None => request.header("content-type", "application/json"),
            };
            match exchange(request).await {
                Ok((status, body)) => return read(&success(status, body)?),
                Err(error) if attempt == ATTEMPTS || error.is_connect() || error.is_timeout() => {
                    return Err(self.unreachable(&error));
                }
                Err(_) => attempt += 1,
            }
        }
    }

    /// A question that changes nothing.
    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &(impl Serialize + Sync),
    ) -> Result<T, Failure> {
        read(&self.ask_bytes(path, body).await?)
    }

    /// The same, answered with a file.
    pub(super) async fn ask_bytes(
        &self,
        path: &str,
        body: &(impl Serialize + Sync),
    ) -> Result<Vec<u8>, Failure> {
        self.whole(self.http.post(format!("{}{path}", self.url)).json(body)).await
    }

    /// One attempt: the body of a success, or the refusal.
    async fn whole(&self, request: RequestBuilder) -> Result<Vec<u8>, Failure> {
        let (status, body) = exchange(request).await.map_err(|error| self.unreachable(&error))?;
        success(status, body)
    }

    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        let url = self.url.clone();
        if error.is_timeout() && !error.is_connect() {
            return Failure::Slow { url, patience: self.patience };
        }
        Failure::Unreachable { url, reason: crate::push::chain(error) }
    }
}

/// The whole answer: a connection may also break while the body is read.
async fn exchange(request: RequestBuilder) -> Result<(StatusCode, Vec<u8>), reqwest::Error> {
    let response: Response = request.send().await?;
    let status = response.status();
    Ok((status, response.bytes().await?.into()))
}

fn success(status: StatusCode, body: Vec<u8>) -> Result<Vec<u8>, Failure> {
    if status.is_success() {
        return Ok(body);
    }
    let problem = serde_json::from_slice(&body);
    Err(problem.map_or_else(
        |_| Failure::Answer(format!("status {status}")),
        |problem| Failure::Refused(Box::new(problem)),
    ))
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(body).map_err(|error| Failure::Answer(error.to_string()))
}

#[cfg(test)]
mod tests;
