//! Ping and traceroute: echo requests with their hop limits, sent at a pace, and what comes back.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use sluice_api::report::{DiagnosticOutput, Probe, ProbeOutcome};
use sluice_api::types::{HopLimit, LinkName, ProbeCount};
use sluice_sys::packet::IcmpSocket;
use tokio::time::{Instant, sleep_until};

use super::DiagnosticError;
use super::echo::Family;
use super::reader::Reader;
use super::task::{Said, Task};

/// Hop limit of a ping.
const HOPS: u8 = 64;
/// Between two requests of a ping.
const PING_PACE: Duration = Duration::from_millis(200);
/// Between two requests of a trace.
const TRACE_PACE: Duration = Duration::from_millis(10);
/// Wait after the last request.
const PATIENCE: Duration = Duration::from_secs(1);
/// Times that a hop is asked which does not answer; routers answer only so many a second.
const ROUNDS: u16 = 3;
/// Sequence numbers of one round of a trace.
const ROUND: u16 = 32;
/// A request to be sent.
#[derive(Clone, Copy)]
struct Request {
    sequence: u16,
    hops: u8,
}

/// What came of the requests, by sequence number.
type Answers = BTreeMap<u16, Probe>;

/// Sends and collects for one peer, with an identifier of its own.
struct Session {
    peer: IpAddr,
    family: Family,
    id: u16,
    socket: IcmpSocket,
    reader: Reader,
    sent: BTreeMap<u16, Instant>,
    answers: Answers,
}

pub(super) async fn ping(
    peer: IpAddr,
    count: ProbeCount,
    link: Option<&LinkName>,
) -> Result<DiagnosticOutput, DiagnosticError> {
    let mut session = Session::open(peer, link).await?;
    let sequences = 1..=u16::from(count.get());
    let requests: Vec<_> =
        sequences.clone().map(|sequence| Request { sequence, hops: HOPS }).collect();
    session.ask(&requests, PING_PACE).await?;
    let probes = sequences.filter_map(|sequence| {
        let number = u8::try_from(sequence).ok()?;
        Some(Probe { number, ..session.answers.remove(&sequence).unwrap_or(silent()) })
    });
    Ok(output(probes.collect()))
}

pub(super) async fn traceroute(
    peer: IpAddr,
    hops: HopLimit,
    link: Option<&LinkName>,
) -> Result<DiagnosticOutput, DiagnosticError> {
    let mut session = Session::open(peer, link).await?;
    let mut found = BTreeMap::new();
    for round in 0..ROUNDS {
        let missing = missing(&found, hops.get());
        if missing.is_empty() {
            break;
        }
        let request =
            |hops: &u8| Request { sequence: round * ROUND + u16::from(*hops), hops: *hops };
        let requests: Vec<_> = missing.iter().map(request).collect();
        session.ask(&requests, TRACE_PACE).await?;
        for (sequence, answer) in std::mem::take(&mut session.answers) {
            if let Ok(number) = u8::try_from(sequence % ROUND) {
                found.entry(number).or_insert(Probe { number, ..answer });
            }
        }
    }
    Ok(output(path(found, hops.get())))
}

/// Hops that did not answer and lie before the end of the path, as far as it is known.
fn missing(found: &BTreeMap<u8, Probe>, limit: u8) -> Vec<u8> {
    (1..=end(found, limit)).filter(|hop| !found.contains_key(hop)).collect()
}

/// The first hop that is no way station, or the limit.
fn end(found: &BTreeMap<u8, Probe>, limit: u8) -> u8 {
    let last = found.values().find(|probe| probe.outcome != ProbeOutcome::Expired);
    last.map_or(limit, |probe| probe.number)
}

/// Every hop up to the end, the silent ones too.
fn path(mut found: BTreeMap<u8, Probe>, limit: u8) -> Vec<Probe> {
    let hops = 1..=end(&found, limit);
    hops.map(|number| Probe { number, ..found.remove(&number).unwrap_or(silent()) }).collect()
}

fn output(probes: Vec<Probe>) -> DiagnosticOutput {
    let reached = probes.iter().any(|probe| probe.outcome == ProbeOutcome::Reply);
    DiagnosticOutput { reached, probes }
}

fn silent() -> Probe {
    Probe {
        number: 0,
        outcome: ProbeOutcome::Silent,
        from: None,
        mac: None,
        rtt_us: None,
        detail: None,
    }
}

impl Session {
    async fn open(peer: IpAddr, link: Option<&LinkName>) -> Result<Self, DiagnosticError> {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        // another program's pings have the identifier of its process, which is not near ours for long
        let start = u16::try_from(std::process::id() & 0xffff).unwrap_or(0);
        let id = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed).wrapping_mul(257));
        let socket = IcmpSocket::open(peer, link)?;
        let family = if peer.is_ipv4() { Family::V4 } else { Family::V6 };
        let reader = Reader::start(&Task::Echo { peer, id }, socket.duplicate()?).await;
        let reader = reader.map_err(DiagnosticError::Reader)?;
        let (sent, answers) = (BTreeMap::new(), Answers::new());
        Ok(Self { peer, family, id, socket, reader, sent, answers })
    }

    /// Sends `requests` one after the other and returns when all are answered, or some time after the last.
    async fn ask(&mut self, requests: &[Request], pace: Duration) -> Result<(), DiagnosticError> {
        let mut waiting = requests.iter();
        let mut due = Instant::now();
        loop {
            let all_sent = waiting.len() == 0;
            let open = |request: &Request| !self.answers.contains_key(&request.sequence);
            if all_sent && !requests.iter().any(open) {
                return Ok(());
            }
            tokio::select! {
                () = sleep_until(due) => match waiting.next() {
                    Some(request) => {
                        self.send(*request);
                        due += if waiting.len() == 0 { PATIENCE } else { pace };
                    }
                    None => return Ok(()),
                },
                said = self.reader.next() => self.hear(said.map_err(DiagnosticError::Reader)?),
            }
        }
    }

    fn send(&mut self, request: Request) {
        let message = self.family.echo(self.id, request.sequence);
        self.sent.insert(request.sequence, Instant::now());
        if let Err(error) = self.socket.send(&message, request.hops) {
            let detail = Some(error.to_string());
            let probe = Probe { outcome: ProbeOutcome::NotSent, detail, ..silent() };
            self.answers.insert(request.sequence, probe);
        }
    }

    /// The first answer to a request counts.
    fn hear(&mut self, said: Said) {
        let Said::Echo { sequence, outcome, reason, from } = said else { return };
        let Some(sent) = self.sent.get(&sequence) else { return };
        if outcome == ProbeOutcome::Reply && from != self.peer {
            return;
        }
        let rtt_us = u64::try_from(sent.elapsed().as_micros()).ok();
        let probe = Probe { outcome, from: Some(from), rtt_us, detail: reason, ..silent() };
        self.answers.entry(sequence).or_insert(probe);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(hops: &[(u8, ProbeOutcome)]) -> BTreeMap<u8, Probe> {
        let probe = |(number, outcome): &(u8, ProbeOutcome)| {
            (*number, Probe { number: *number, outcome: *outcome, ..silent() })
        };
        hops.iter().map(probe).collect()
    }

    #[test]
    fn a_path_ends_where_somebody_answers_for_good() {
        use ProbeOutcome::{Expired, Reply, Unreachable};
        let all = found(&[(1, Expired), (3, Reply), (4, Reply), (5, Reply)]);
        assert_eq!(missing(&all, 15), [2]);
        let path = path(all, 15);
        assert_eq!(path.len(), 3);
        assert_eq!(path[1].outcome, ProbeOutcome::Silent);
        assert!(output(path).reached);
        assert_eq!(missing(&found(&[(1, Expired), (2, Unreachable)]), 15), [0_u8; 0]);
    }

    #[test]
    fn a_path_without_an_end_goes_to_the_limit() {
        let path = path(found(&[(1, ProbeOutcome::Expired)]), 4);
        assert_eq!(path.iter().map(|probe| probe.number).collect::<Vec<_>>(), [1, 2, 3, 4]);
        assert!(!output(path).reached);
    }
}
