//! Proof of what resolvers say (DNSSEC, RFC 4033 to 4035), where the operator wants it: hickory-net's validator judges, and
//! asks for the keys that it needs by way of the resolvers that the question went to.
//!
//! Guarantees: an answer that ought to be signed and is not, or wrongly, is never given to a guest that lets us check (CD
//! clear): it hears SERVFAIL with extended error 6; a proved answer carries AD. What is given is what was proved: the
//! validator's own reading of the answer, written anew, DNSSEC's records left out for who did not ask for them. Keys and
//! delegations are remembered for as long as their time lasts.
//!
//! Resolvers are asked with CD: what they think of a signature is not what counts here.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::stream::{self, Stream, StreamExt as _};
use hickory_net::dnssec::DnssecDnsHandle;
use hickory_net::proto::dnssec::{Proof, TrustAnchors};
use hickory_net::proto::op::{
    DnsRequest, DnsRequestOptions, DnsResponse, Message, MessageType, OpCode, Query,
};
use hickory_net::proto::rr::{Record, RecordType};
use hickory_net::runtime::TokioRuntimeProvider;
use hickory_net::{DnsError, DnsHandle, NetError};

use super::cache::Key;
use super::message::{Manner, Question};
use super::reply::Transport;
use super::slice::Settings;
use super::stored::{Asked, Stored, Vetted};
use super::upstream::Upstreams;
use super::wildcard;
use super::wire::ede;

/// Answers about keys and delegations that are remembered.
const REMEMBERED: usize = 512;
/// Most links between an answer and an anchor: a delegation takes two.
const DEPTH: usize = 26;

/// Whom to believe, and what was learned of keys.
pub(super) struct Prover {
    anchors: Arc<TrustAnchors>,
    known: Arc<Known>,
}

/// Answers about keys by question, each with the end of its time.
#[derive(Default)]
struct Known(Mutex<HashMap<Key, (Instant, Arc<Vec<u8>>)>>);

impl Known {
    fn get(&self, key: &Key) -> Option<Arc<Vec<u8>>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(key).filter(|(until, _)| Instant::now() < *until).map(|(_, bytes)| bytes.clone())
    }

    fn keep(&self, key: &Key, lifetime: u32, bytes: &Arc<Vec<u8>>) {
        let now = Instant::now();
        let Some(until) = now.checked_add(Duration::from_secs(lifetime.into())) else { return };
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED {
            known.retain(|_, (until, _)| now < *until);
        }
        if known.len() < REMEMBERED {
            known.insert(key.clone(), (until, bytes.clone()));
        }
    }
}

impl Prover {
    /// Believes these keys, as DNSKEY records in the form of zone files; none: those of the root that IANA publishes.
    pub(super) fn new(anchors: &str) -> Result<Self, String> {
        let anchors = if anchors.is_empty() {
            TrustAnchors::default()
        } else if anchors.contains("DNSKEY") {
            anchors.parse().map_err(|error| format!("the trust anchors cannot be read: {error}"))?
        } else {
            // the reader takes a text without records for an empty list
            return Err("the trust anchors hold no DNSKEY record".to_owned());
        };
        Ok(Self { anchors: Arc::new(anchors), known: Arc::default() })
    }

    /// What `upstreams` say of `key`, proved.
    pub(super) async fn prove(&self, upstreams: &Arc<Upstreams>, key: &Key) -> Stored {
        let resolvers = Resolvers { upstreams: upstreams.clone(), known: self.known.clone() };
        let handle = DnssecDnsHandle::with_trust_anchor(resolvers, self.anchors.clone());
        let Some(query) = key.query() else { return unproved("the name cannot be read") };
        let mut options = DnsRequestOptions::default();
        (options.edns_set_dnssec_ok, options.max_request_depth) = (true, DEPTH);
        let request = DnsRequest::from_query(query.clone(), options);
        let judged = match handle.send(request).next().await {
            Some(Ok(response)) => judge(&response),
            Some(Err(NetError::Dns(DnsError::Nsec { response, proof, .. }))) => {
                let proof = if wildcard::proved(&response) { Proof::Secure } else { proof };
                Verdict::of([proof]).map(|verdict| (verdict, *response))
            }
            Some(Err(NetError::Message(text))) if text == UNREACHABLE => return unreachable(),
            Some(Err(_)) | None => None,
        };
        let Some((verdict, response)) = judged else {
            return unproved("the answer's signatures do not hold");
        };
        written(key, query, &response, verdict, upstreams.settings())
            .unwrap_or_else(|| unproved("the answer cannot be written anew"))
    }
}

/// What was found of an answer that may be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// Signed by a chain from an anchor.
    Secure,
    /// Proved to be under no chain.
    Insecure,
}

impl Verdict {
    /// `None` for what must not be given.
    fn of(proofs: impl IntoIterator<Item = Proof>) -> Option<Self> {
        let mut verdict = Self::Secure;
        for proof in proofs {
            match proof {
                Proof::Secure => {}
                Proof::Insecure => verdict = Self::Insecure,
                Proof::Bogus | Proof::Indeterminate => return None,
            }
        }
        Some(verdict)
    }
}

/// The verdict on a response: on its answers, or where there are none on what says so.
fn judge(response: &DnsResponse) -> Option<(Verdict, DnsResponse)> {
    let of = |records: &[Record]| {
        let judged = records.iter().filter(|record| record.record_type() != RecordType::RRSIG);
        judged.map(|record| record.proof).collect::<Vec<_>>()
    };
    let mut proofs = of(&response.answers);
    if proofs.is_empty() {
        proofs = of(&response.authorities);
    }
    let verdict = if proofs.is_empty() { Some(Verdict::Insecure) } else { Verdict::of(proofs) };
    verdict.map(|verdict| (verdict, response.clone()))
}

/// The response as a client's question is answered from it.
fn written(
    key: &Key,
    query: Query,
    response: &DnsResponse,
    verdict: Verdict,
    settings: &Settings,
) -> Option<Stored> {
    let wanted = |record: &&Record| {
        let rtype = record.record_type();
        let proof = matches!(rtype, RecordType::RRSIG | RecordType::NSEC | RecordType::NSEC3);
        key.dnssec_ok() || !proof || rtype == query.query_type()
    };
    let mut message = Message::new(0, MessageType::Response, OpCode::Query);
    message.metadata.response_code = response.metadata.response_code;
    message.metadata.authentic_data = verdict == Verdict::Secure;
    message.answers = response.answers.iter().filter(wanted).cloned().collect();
    message.authorities = response.authorities.iter().filter(wanted).cloned().collect();
    message.add_query(query);
    let bytes = message.to_vec().ok()?;
    let question = Question::write(key, PLAIN)?;
    let asked = Asked { id: 0, question: question.question(), exact_case: false };
    match Stored::vet(&bytes, asked, settings).ok()? {
        Vetted::Whole(stored) => Some(stored),
        Vetted::Truncated(_) => None,
    }
}

const PLAIN: Manner = Manner { edns: true, mixed_case: false };
/// What the validator hears when no resolver says anything.
const UNREACHABLE: &str = "no resolver answered";

fn unproved(text: &str) -> Stored {
    Stored::failure(ede::DNSSEC_BOGUS, text)
}

fn unreachable() -> Stored {
    Stored::failure(ede::NO_REACHABLE_AUTHORITY, UNREACHABLE)
}

/// The resolvers as the validator asks them.
#[derive(Clone)]
struct Resolvers {
    upstreams: Arc<Upstreams>,
    known: Arc<Known>,
}

impl Resolvers {
    async fn answer(self, request: DnsRequest) -> Result<DnsResponse, NetError> {
        let query = request.queries.first().ok_or("no question")?;
        let key = Key::to_prove(query).ok_or("a name that cannot be written")?;
        let is_chain = matches!(query.query_type(), RecordType::DNSKEY | RecordType::DS);
        if let Some(bytes) = self.known.get(&key).filter(|_| is_chain) {
            return Ok(DnsResponse::from_buffer(bytes.to_vec())?);
        }
        let stored = self.upstreams.race(&key).await;
        if !stored.is_conclusive() {
            return Err(UNREACHABLE.into());
        }
        let question = Question::write(&key, PLAIN).ok_or("a name that cannot be written")?;
        let mut bytes = vec![0; usize::from(u16::MAX)];
        let length = stored.complete(&question.bytes, Transport::Tcp, &mut bytes);
        bytes.truncate(length);
        let bytes = Arc::new(bytes);
        if is_chain {
            self.known.keep(&key, stored.lifetime, &bytes);
        }
        Ok(DnsResponse::from_buffer(bytes.to_vec())?)
    }
}

impl DnsHandle for Resolvers {
    type Response = Pin<Box<dyn Stream<Item = Result<DnsResponse, NetError>> + Send>>;
    type Runtime = TokioRuntimeProvider;

    fn send(&self, request: DnsRequest) -> Self::Response {
        Box::pin(stream::once(self.clone().answer(request)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_broken_record_spoils_an_answer_and_one_unsigned_takes_its_seal() {
        use Proof::{Bogus, Indeterminate, Insecure, Secure};
        assert_eq!(Verdict::of([Secure, Secure]), Some(Verdict::Secure));
        assert_eq!(Verdict::of([Secure, Insecure]), Some(Verdict::Insecure));
        assert_eq!(Verdict::of([Secure, Bogus]), None);
        assert_eq!(Verdict::of([Insecure, Indeterminate]), None);
    }

    #[test]
    fn anchors_are_the_root_s_unless_others_are_given() {
        assert!(Prover::new("").is_ok());
        assert!(Prover::new("nonsense").is_err());
    }
}
