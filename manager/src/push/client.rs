//! Typed client of the agent's API.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::Method;
use hyper::body::Bytes;
use rustls::pki_types::ServerName;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sluice_api::ApplianceConfig;
use sluice_api::boot::Identity;
use sluice_api::config::Part;
use sluice_api::report::{
    Answer, AnswerList, AnswersTaken, ArpingRequest, CaptureRequest, Confirm, ConfirmAnswer,
    DiagnosticOutput, DryRun, FlowsReport, FlowsRequest, Health, LogPage, PingRequest, PowerAction,
    PowerRequest, QuestionList, StatusReport, TracerouteRequest, UsageReport,
};
use sluice_api::types::{ApplianceId, BlobDigest, Generation};

use super::exchange::{Body, Call, MAX_ANSWER, Peer, PushError, Shown};
use super::tls::ClientIdentity;

/// The capability of appliances that take packed documents.
const GZIP: &str = "gzip";
/// Longest wait for a question.
const ASK: Duration = Duration::from_secs(10);
/// Longest wait for what services may ask within 5 s: an appliance that died without a word is given up then.
const LISTEN: Duration = Duration::from_secs(8);
/// Most bytes of what services ask at once: 64 questions of 1 KiB, and what is around them.
const ASKED: usize = 1 << 18;
/// Longest wait for a change or a diagnostic.
const CHANGE: Duration = Duration::from_mins(2);

/// What an appliance says of itself, and the certificate it says that with.
#[derive(Clone, Debug)]
pub struct Look {
    /// Its report.
    pub status: StatusReport,
    /// The certificate that it shows; none when that cannot be read.
    pub shown: Option<Shown>,
}

/// Client of one appliance's agent. Every call is a new connection.
#[derive(Clone, Debug)]
pub struct PushClient {
    peer: Peer,
    /// The appliance takes packed documents.
    packs: bool,
}

impl PushClient {
    /// For the appliance `id` at `address`; its certificate must be for that id.
    pub fn new(
        id: &ApplianceId,
        address: SocketAddr,
        identity: &ClientIdentity,
    ) -> Result<Self, PushError> {
        let name = ServerName::try_from(id.as_str().to_owned())
            .map_err(|error| PushError::Identity(error.to_string()))?;
        Ok(Self { peer: Peer { tls: Arc::clone(&identity.tls), name, address }, packs: false })
    }

    /// The same, which packs large configurations when an appliance says that it takes such.
    #[must_use]
    pub fn packing_for(&self, status: &StatusReport) -> Self {
        let packs = status.capabilities.iter().any(|word| word == GZIP);
        Self { packs, ..self.clone() }
    }

    /// Where the appliance is asked.
    pub fn address(&self) -> SocketAddr {
        self.peer.address
    }

    /// `GET /v1/status`.
    pub async fn status(&self) -> Result<StatusReport, PushError> {
        self.get("/v1/status").await
    }

    /// The same, with the end of the certificate that the appliance shows.
    pub async fn look(&self) -> Result<Look, PushError> {
        let call = Call {
            method: Method::GET,
            path: "/v1/status",
            body: Body::Json(Vec::new()),
            patience: ASK,
            most: MAX_ANSWER,
        };
        let answered = self.peer.exchange(call).await?;
        let status = serde_json::from_slice(&answered.body)
            .map_err(|_| self.unexpected(answered.status.as_u16(), &answered.body))?;
        Ok(Look { status, shown: answered.shown })
    }

    /// `GET /v1/health`; an unhealthy answer is an answer.
    pub async fn health(&self) -> Result<Health, PushError> {
        self.get("/v1/health").await
    }

    /// `GET /v1/config`: the committed configuration.
    pub async fn config<P: Part>(&self) -> Result<ApplianceConfig<P>, PushError> {
        self.get("/v1/config").await
    }

    /// The same byte for byte, which is what its digest is of.
    pub async fn config_text(&self) -> Result<String, PushError> {
        let (status, body) = self.raw(Method::GET, "/v1/config", Vec::new(), ASK).await?;
        let text = String::from_utf8(body.to_vec()).ok().filter(|_| status == 200);
        text.ok_or_else(|| self.unexpected(status, &body))
    }

    /// `GET /v1/logs` after entry number `after`, at most `limit` entries.
    pub async fn logs(&self, after: u64, limit: u32) -> Result<LogPage, PushError> {
        self.get(&format!("/v1/logs?after={after}&limit={limit}")).await
    }

    /// `GET /metrics` as text.
    pub async fn metrics(&self) -> Result<String, PushError> {
        let (_, body) = self.raw(Method::GET, "/metrics", Vec::new(), ASK).await?;
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    /// `PUT /v1/config`.
    pub async fn push<P: Part>(&self, config: &ApplianceConfig<P>) -> Result<Answer, PushError> {
        self.push_bytes(json(config)?).await
    }

    /// `PUT /v1/config?confirm_seconds=N`: reverts unless confirmed within so many seconds; 0 commits at once.
    pub async fn push_confirming<P: Part>(
        &self,
        config: &ApplianceConfig<P>,
        seconds: u32,
    ) -> Result<Answer, PushError> {
        let path = format!("/v1/config?confirm_seconds={seconds}");
        self.put_config(&path, json(config)?).await
    }

    async fn put_config<T: DeserializeOwned>(
        &self,
        path: &str,
        body: Vec<u8>,
    ) -> Result<T, PushError> {
        let body = if self.packs { Body::packed(body) } else { Body::Json(body) };
        let call = Call { method: Method::PUT, path, body, patience: CHANGE, most: MAX_ANSWER };
        let answered = self.peer.exchange(call).await?;
        serde_json::from_slice(&answered.body)
            .map_err(|_| self.unexpected(answered.status.as_u16(), &answered.body))
    }

    /// `PUT /v1/config` with whatever bytes: for documents that are stored, and for tests of refusals.
    pub async fn push_bytes(&self, body: Vec<u8>) -> Result<Answer, PushError> {
        self.put_config("/v1/config", body).await
    }

    /// `PUT /v1/config?dry_run=true`: what the push would do, without doing it.
    pub async fn dry_run<P: Part>(&self, config: &ApplianceConfig<P>) -> Result<DryRun, PushError> {
        self.dry_run_bytes(json(config)?).await
    }

    /// The same with whatever bytes.
    pub async fn dry_run_bytes(&self, body: Vec<u8>) -> Result<DryRun, PushError> {
        self.put_config("/v1/config?dry_run=true", body).await
    }

    /// `POST /v1/config/confirm`.
    pub async fn confirm(&self, generation: Generation) -> Result<ConfirmAnswer, PushError> {
        self.post("/v1/config/confirm", &Confirm { generation }, ASK).await
    }

    /// `POST /v1/identity`: a new certificate before the old one ends.
    pub async fn renew(&self, identity: &Identity) -> Result<(), PushError> {
        let (status, body) = self.raw(Method::POST, "/v1/identity", json(identity)?, ASK).await?;
        if (200..300).contains(&status) { Ok(()) } else { Err(self.unexpected(status, &body)) }
    }

    /// `POST /v1/diagnostics/ping`.
    pub async fn ping(&self, request: &PingRequest) -> Result<DiagnosticOutput, PushError> {
        self.post("/v1/diagnostics/ping", request, CHANGE).await
    }

    /// `POST /v1/diagnostics/traceroute`.
    pub async fn traceroute(
        &self,
        request: &TracerouteRequest,
    ) -> Result<DiagnosticOutput, PushError> {
        self.post("/v1/diagnostics/traceroute", request, CHANGE).await
    }

    /// `POST /v1/diagnostics/arping`.
    pub async fn arping(&self, request: &ArpingRequest) -> Result<DiagnosticOutput, PushError> {
        self.post("/v1/diagnostics/arping", request, CHANGE).await
    }

    /// `GET /v1/usage`: bytes and packets by what they are of.
    pub async fn usage(&self) -> Result<UsageReport, PushError> {
        self.get("/v1/usage").await
    }

    /// `POST /v1/diagnostics/flows`: connections that are tracked now.
    pub async fn flows(&self, request: &FlowsRequest) -> Result<FlowsReport, PushError> {
        self.post("/v1/diagnostics/flows", request, ASK).await
    }

    /// `POST /v1/diagnostics/capture`: a pcap file.
    pub async fn capture(&self, request: &CaptureRequest) -> Result<Vec<u8>, PushError> {
        let path = "/v1/diagnostics/capture";
        let (status, body) = self.raw(Method::POST, path, json(request)?, CHANGE).await?;
        if status == 200 { Ok(body.to_vec()) } else { Err(self.unexpected(status, &body)) }
    }

    /// `GET /v1/questions`: what services ask, as soon as they do; nothing when they did not within 5 s.
    pub async fn questions(&self) -> Result<QuestionList, PushError> {
        let call = Call {
            method: Method::GET,
            path: "/v1/questions?wait=5",
            body: Body::Json(Vec::new()),
            patience: LISTEN,
            most: ASKED,
        };
        let answered = self.peer.exchange(call).await?;
        serde_json::from_slice(&answered.body)
            .map_err(|_| self.unexpected(answered.status.as_u16(), &answered.body))
    }

    /// `POST /v1/questions`.
    pub async fn answer(&self, answers: &AnswerList) -> Result<AnswersTaken, PushError> {
        self.post("/v1/questions", answers, ASK).await
    }

    /// `POST /v1/power`.
    pub async fn power(&self, action: PowerAction) -> Result<(), PushError> {
        let body = json(&PowerRequest { action })?;
        let (status, body) = self.raw(Method::POST, "/v1/power", body, ASK).await?;
        if (200..300).contains(&status) { Ok(()) } else { Err(self.unexpected(status, &body)) }
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, PushError> {
        self.typed(Method::GET, path, Vec::new(), ASK).await
    }

    async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        patience: Duration,
    ) -> Result<T, PushError> {
        self.typed(Method::POST, path, json(body)?, patience).await
    }

    /// Whatever the status: the contract's answers say in the body what they are.
    async fn typed<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
        patience: Duration,
    ) -> Result<T, PushError> {
        let (status, body) = self.raw(method, path, body, patience).await?;
        serde_json::from_slice(&body).map_err(|_| self.unexpected(status, &body))
    }

    /// Any request: status and body as they come.
    pub async fn raw(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
        patience: Duration,
    ) -> Result<(u16, Bytes), PushError> {
        let call = Call { method, path, body: Body::Json(body), patience, most: MAX_ANSWER };
        let answered = self.peer.exchange(call).await?;
        Ok((answered.status.as_u16(), answered.body))
    }

    /// `PUT /v1/blobs/sha256:DIGEST`: bytes that a configuration names.
    pub async fn put_blob(&self, digest: &BlobDigest, bytes: Vec<u8>) -> Result<(), PushError> {
        let path = format!("/v1/blobs/{digest}");
        let body = Body::Bytes(bytes);
        let (method, patience, most) = (Method::PUT, CHANGE, MAX_ANSWER);
        let call = Call { method, path: &path, body, patience, most };
        let answered = self.peer.exchange(call).await?;
        let status = answered.status.as_u16();
        if (200..300).contains(&status) {
            return Ok(());
        }
        Err(self.unexpected(status, &answered.body))
    }

    /// `GET /v1/status` as it comes, with what this build does not know.
    pub async fn status_json(&self) -> Result<serde_json::Value, PushError> {
        self.get("/v1/status").await
    }

    /// A refusal is one in every call; what else was not asked for is not understood.
    fn unexpected(&self, status: u16, body: &[u8]) -> PushError {
        if let Ok(Answer::Rejected { findings }) = serde_json::from_slice(body) {
            return PushError::Refused { address: self.peer.address, status, findings };
        }
        let body = String::from_utf8_lossy(body).chars().take(200).collect();
        PushError::Answer { address: self.peer.address, status, body }
    }
}

fn json<T: Serialize>(value: &T) -> Result<Vec<u8>, PushError> {
    serde_json::to_vec(value).map_err(PushError::Encode)
}
