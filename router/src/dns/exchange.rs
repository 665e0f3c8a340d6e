//! One question to one resolver, carried out: what [`super::attempt`] decides, [`super::carry`] carries.
//!
//! Guarantees: number, source port and (unless switched off) the case of the name are random for each question, so a
//! forger must guess some 32 bits and more (RFC 5452); messages that do not match are ignored and the wait goes on.

use std::io;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::timeout;

use super::attempt::{Attempt, Heard, Next, Step};
use super::cache::Key;
use super::carry::{Tls, over_tcp, over_tls, over_udp};
use super::habits::Habits;
use super::line::Line;
use super::message::{Manner, Question};
use super::slice::Settings;
use super::stored::{Asked, Refusal, Stored, Vetted};

/// Time for a whole exchange over TCP.
const TCP_TIME: Duration = Duration::from_secs(2);

/// Why one resolver gave no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum ExchangeError {
    /// The system refused; another resolver may be reachable.
    #[error("cannot reach the resolver")]
    Io(#[from] io::Error),
    /// What came cannot be read. It is there, but of no use for this question.
    #[error("the resolver's answer is not usable")]
    Unusable,
    /// Nothing came while another resolver answered, or for too long.
    #[error("the resolver did not answer in time")]
    Slow,
}

/// One resolver and its ways.
#[derive(Debug)]
pub(super) struct Resolver {
    pub address: SocketAddr,
    habits: Mutex<Habits>,
    /// Asked over TLS alone, on one connection for as many questions as there are.
    tls: Option<Tls>,
    line: Line,
}

impl Resolver {
    pub(super) fn new(address: SocketAddr, tls: Option<Tls>) -> Self {
        Self { address, habits: Mutex::default(), tls, line: Line::default() }
    }

    fn habits<T>(&self, with: impl FnOnce(&mut Habits) -> T) -> T {
        with(&mut self.habits.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Asks for `key` and waits for the answer, for ever if need be: the caller bounds the time. `now` is the time since the
    /// service's start; `plain` asks without EDNS, for a resolver that was silent to the same with it.
    pub(super) async fn ask(
        &self,
        key: &Key,
        settings: &Settings,
        now: Duration,
        plain: bool,
    ) -> Result<Stored, ExchangeError> {
        let mut attempt =
            self.habits(|habits| Attempt::start(habits, now, settings.mixed_case, plain));
        let mut step = attempt.step();
        loop {
            let heard = self.carry_out(step, key, settings).await;
            match self.habits(|habits| attempt.heard(heard, habits, now)) {
                Next::Ask(next) => step = next,
                Next::Done(answer) => return Ok(answer),
                Next::Failed(error) => return Err(error),
            }
        }
    }

    async fn carry_out(&self, step: Step, key: &Key, settings: &Settings) -> Heard<ExchangeError> {
        let heard = match (step, &self.tls) {
            // a wrong answer cannot come by this way, and whoever asks for it wants no other
            (Step::Udp(manner) | Step::Tcp(manner), Some(tls)) => {
                let manner = Manner { mixed_case: false, ..manner };
                timeout(TCP_TIME, self.tls(key, manner, tls, settings))
                    .await
                    .unwrap_or(Err(ExchangeError::Slow))
            }
            (Step::Udp(manner), None) => self.udp(key, manner, settings).await,
            (Step::Tcp(manner), None) => timeout(TCP_TIME, self.tcp(key, manner, settings))
                .await
                .unwrap_or(Err(ExchangeError::Slow)),
        };
        heard.unwrap_or_else(Heard::Nothing)
    }

    async fn udp(
        &self,
        key: &Key,
        manner: Manner,
        settings: &Settings,
    ) -> Result<Said, ExchangeError> {
        let question = Question::write(key, manner).ok_or(ExchangeError::Unusable)?;
        let mut answers = over_udp(self.address, question.bytes.clone()).await?;
        loop {
            let message = answers.next().await?;
            if let Some(said) = said(&message, &question, manner, settings) {
                return Ok(said);
            }
        }
    }

    async fn tls(
        &self,
        key: &Key,
        manner: Manner,
        tls: &Tls,
        settings: &Settings,
    ) -> Result<Said, ExchangeError> {
        let question = Question::write(key, manner).ok_or(ExchangeError::Unusable)?;
        let open = || over_tls(self.address, tls.clone());
        let message = self.line.ask(&question.bytes, open).await?;
        said(&message, &question, manner, settings).ok_or(ExchangeError::Unusable)
    }

    async fn tcp(
        &self,
        key: &Key,
        manner: Manner,
        settings: &Settings,
    ) -> Result<Said, ExchangeError> {
        let question = Question::write(key, manner).ok_or(ExchangeError::Unusable)?;
        let mut wire = over_tcp(self.address).await?;
        wire.send(question.bytes.clone())?;
        loop {
            let message = wire.next().await?;
            if let Some(said) = said(&message, &question, manner, settings) {
                return Ok(said);
            }
        }
    }
}

type Said = Heard<ExchangeError>;

/// What `message` is to `question`; `None` for an answer to something else.
fn said(message: &[u8], question: &Question, manner: Manner, settings: &Settings) -> Option<Said> {
    let asked =
        Asked { id: question.id, question: question.question(), exact_case: manner.mixed_case };
    Some(match Stored::vet(message, asked, settings) {
        Ok(Vetted::Whole(answer)) => Heard::Answer(answer),
        Ok(Vetted::Truncated(answer)) => Heard::Truncated(answer),
        Err(Refusal::Foreign) => return None,
        Err(Refusal::Case) => Heard::OtherCase,
        Err(Refusal::NoQuestion(code)) => Heard::NoQuestion(code),
        Err(Refusal::Malformed) => Heard::Nothing(ExchangeError::Unusable),
    })
}
