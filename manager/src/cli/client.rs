//! Client of the manager's API.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use reqwest::{Certificate, Method, RequestBuilder, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use super::exit;
use crate::code::ErrorCode;
use crate::error::{Problem, bare, leading};

/// Attempts at a change whose connection breaks; the request id makes a repetition harmless.
const ATTEMPTS: u32 = 3;

/// How long a manager that is being started is waited for, and how often it is looked for.
const STARTING: Duration = Duration::from_secs(5);
const AGAIN: Duration = Duration::from_millis(50);
/// Longest time for an answer that is as long as the store.
const LONG: Duration = Duration::from_hours(1);
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
    /// An image did not come in.
    #[error("error: image {name} did not come in: {reason}")]
    Image {
        /// Its name.
        name: String,
        /// Why.
        reason: String,
    },
    /// An image store cannot be used by its appliance.
    #[error("error: image store {name} was not added: {reason}")]
    ImageStore {
        /// Its name.
        name: String,
        /// Why.
        reason: String,
    },
    /// The manager answered something that this build does not understand.
    #[error("error: the manager's answer is not understood: {0}")]
    Answer(String),
}

/// The message, and below it what it does not say itself.
fn told(problem: &Problem) -> String {
    let said = leading(&problem.findings).filter(|it| problem.message.ends_with(&bare(it)));
    let others =
        problem.findings.iter().filter(|it| said.is_none_or(|said| !std::ptr::eq(said, *it)));
    let lines = others.map(|finding| format!("\n  {finding}"));
    [problem.message.clone()].into_iter().chain(lines).collect()
}

impl Failure {
    /// What to do next.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Refused(problem) => return problem.hint.clone(),
            Self::Unreachable { .. } => {
                "start `sluice-manager`, or name its socket or URL with --manager or SLUICE_MANAGER"
                    .to_owned()
            }
            Self::Slow { .. } => {
                "see the manager's log; a change may still take effect: look before you repeat it"
                    .to_owned()
            }
            Self::NobodyToAsk => "say --yes".to_owned(),
            Self::Unknown(_) => "`sluice appliance list` shows what there is".to_owned(),
            Self::Image { .. } => {
                "`sluice image retry` tries again once the reason is gone".to_owned()
            }
            Self::File { .. } | Self::Declined | Self::Lab(_) => return None,
            Self::ImageStore { .. } => {
                "once the reason is gone, create it again, or without --wait: then it is used when it is ready".to_owned()
            }
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

    /// The failure as the manager would tell it, for programs.
    pub(super) fn problem(&self) -> Problem {
        if let Self::Refused(problem) = self {
            return (**problem).clone();
        }
        let code = match self {
            Self::Unreachable { .. } | Self::Slow { .. } => "unreachable",
            Self::Unknown(_) => "not-found",
            Self::File { .. } => "invalid",
            _ => "failed",
        };
        let text = self.to_string();
        let message = text.strip_prefix("error: ").unwrap_or(&text).to_owned();
        let code = code.to_owned();
        Problem { code, message, field: None, hint: self.hint(), findings: Vec::new() }
    }

    /// The exit code that says so.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Refused(problem) => ErrorCode::of(&problem.code).exit(),
            Self::Unreachable { .. } | Self::Slow { .. } => exit::UNREACHABLE,
            Self::File { .. } => exit::INVALID,
            Self::Unknown(_) => exit::NOT_FOUND,
            Self::NobodyToAsk => exit::USAGE,
            Self::ImageStore { .. } => exit::REFUSED,
            Self::Declined | Self::Answer(_) | Self::Lab(_) | Self::Image { .. } => exit::FAILED,
        }
    }
}

/// Where the manager is, and as whom it is asked.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Place {
    /// The manager: `unix:` and its socket, or an http or https URL.
    #[arg(
        long,
        global = true,
        env = "SLUICE_MANAGER",
        hide_env_values = true,
        default_value = "unix:sluice.sock"
    )]
    pub(super) manager: String,
    /// File with the token to show to a URL.
    #[arg(long, global = true, env = "SLUICE_TOKEN_FILE", value_name = "FILE")]
    #[arg(hide_env_values = true)]
    pub(super) caller_token: Option<PathBuf>,
    /// File with the authorities (PEM) that may vouch for an https URL. Default: those of this computer.
    #[arg(long, global = true, env = "SLUICE_TRUST", hide_env_values = true, value_name = "FILE")]
    pub(super) trust: Option<PathBuf>,
}

/// The manager.
#[derive(Clone, Debug)]
pub(super) struct Client {
    /// Where it is, for a person.
    place: String,
    /// What paths are put behind.
    base: String,
    token: Option<String>,
    http: reqwest::Client,
    patience: Duration,
    wait: Option<Duration>,
}

impl Client {
    pub(super) fn new(place: &Place) -> Result<Self, Failure> {
        Self::patient(place, WHOLE)
    }

    /// One that waits so long for a whole answer.
    fn patient(place: &Place, patience: Duration) -> Result<Self, Failure> {
        // one is in force already where several clients are made
        let _ = rustls::crypto::ring::default_provider().install_default();
        // the manager is asked directly: a proxy for the Internet has no business here
        let mut http =
            reqwest::Client::builder().no_proxy().connect_timeout(CONNECT).timeout(patience);
        let url = place.manager.trim_end_matches('/').to_owned();
        let mut base = url.clone();
        if let Some(socket) = url.strip_prefix("unix:") {
            http = http.unix_socket(PathBuf::from(socket));
            "http://localhost".clone_into(&mut base);
        }
        if let Some(trust) = &place.trust {
            http = http.tls_certs_only(authorities(trust)?);
        }
        let http = http.build().map_err(|error| Failure::Answer(crate::push::chain(&error)))?;
        let token = match &place.caller_token {
            Some(path) => Some(read_file(path)?.trim().to_owned()),
            None => None,
        };
        Ok(Self { place: url, base, token, http, patience, wait: None })
    }

    /// A call of `path`, as whoever has the token.
    fn call(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// One whose changes are waited for so long.
    pub(super) fn waiting(self, wait: Option<Duration>) -> Self {
        Self { wait, ..self }
    }

    /// How long a change is waited for; none: it is not.
    pub(super) fn wait(&self) -> Option<Duration> {
        self.wait
    }

    /// A change without body and answer.
    pub(super) async fn done(&self, method: Method, path: &str) -> Result<(), Failure> {
        self.changed(method, path, None::<&()>).await.map(drop)
    }

    /// Where the manager is.
    pub(super) fn url(&self) -> &str {
        &self.place
    }

    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        read(&self.whole(self.call(Method::GET, path)).await?)
    }

    /// An answer that is too long to be kept, as it comes.
    pub(super) async fn stream(&self, path: &str) -> Result<Response, Failure> {
        let request = self.call(Method::GET, path).timeout(LONG);
        let response = self.send(request).await.map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = response.bytes().await.map_err(|error| self.unreachable(&error))?;
        Err(success(status, body.into()).err().unwrap_or(Failure::Declined))
    }

    /// An answer that is a text.
    pub(super) async fn text(&self, path: &str) -> Result<String, Failure> {
        let body = self.whole(self.call(Method::GET, path)).await?;
        String::from_utf8(body).map_err(|error| Failure::Answer(error.to_string()))
    }

    /// A change: tried again with the same request id when the connection breaks.
    pub(super) async fn change<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&(impl Serialize + Sync)>,
    ) -> Result<T, Failure> {
        read(&self.changed(method, path, body).await?)
    }

    async fn changed(
        &self,
        method: Method,
        path: &str,
        body: Option<&(impl Serialize + Sync)>,
    ) -> Result<Vec<u8>, Failure> {
        let id = uuid::Uuid::new_v4().to_string();
        let mut attempt = 1;
        loop {
            let mut request = self.call(method.clone(), path).header("idempotency-key", &id);
            if let Some(body) = body {
                request = request.json(body);
            }
            match self.exchange(request).await {
                Ok((status, body)) => return success(status, body),
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
        self.whole(self.call(Method::POST, path).json(body)).await
    }

    /// One attempt: the body of a success, or the refusal.
    async fn whole(&self, request: RequestBuilder) -> Result<Vec<u8>, Failure> {
        let answer = self.exchange(request).await;
        let (status, body) = answer.map_err(|error| self.unreachable(&error))?;
        success(status, body)
    }

    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        let url = self.place.clone();
        if error.is_timeout() && !error.is_connect() {
            return Failure::Slow { url, patience: self.patience };
        }
        Failure::Unreachable { url, reason: crate::push::chain(error) }
    }

    /// The whole answer: a connection may also break while the body is read.
    async fn exchange(
        &self,
        request: RequestBuilder,
    ) -> Result<(StatusCode, Vec<u8>), reqwest::Error> {
        let response = self.send(request).await?;
        let status = response.status();
        Ok((status, response.bytes().await?.into()))
    }

    /// Sends it; a manager that is being started is waited for.
    async fn send(&self, request: RequestBuilder) -> Result<Response, reqwest::Error> {
        let until = Instant::now() + STARTING;
        loop {
            // bodies are kept whole, so that each request can be sent again
            let Some(again) = request.try_clone() else { return request.send().await };
            match again.send().await {
                Err(error) if error.is_connect() && Instant::now() < until => {
                    tokio::time::sleep(AGAIN).await;
                }
                answer => return answer,
            }
        }
    }
}

fn read_file(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|error| Failure::File {
        path: path.display().to_string(),
        reason: error.to_string(),
    })
}

fn authorities(path: &Path) -> Result<Vec<Certificate>, Failure> {
    let text = read_file(path)?;
    Certificate::from_pem_bundle(text.as_bytes()).map_err(|error| Failure::File {
        path: path.display().to_string(),
        reason: crate::push::chain(&error),
    })
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
