//! Questions of services that only a manager can answer, such as whether a screen is still its VM's.
//!
//! Guarantees: a question that nobody answers is over after [`PATIENCE`], and one whose service ended at once; the first
//! answer counts; an answer to a question of an earlier life of the agent answers none of this one's; what services ask takes
//! a bounded memory. Managers come for the questions, so nothing is opened towards them. Not known here: for whom a service
//! asks; when he is gone, his question waits to its end.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ring::rand::{SecureRandom as _, SystemRandom};
use serde_json::Value;
use sluice_api::report::{Question, Verdict};
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, timeout, timeout_at};

use crate::appliance::ServiceName;

/// How long a question waits for its answer.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// Most questions that wait at the same time; what is asked beyond stays without an answer.
pub const MOST: usize = 1024;
/// Longest question of a service as JSON, in bytes; a longer one stays without an answer.
pub const LONGEST: usize = 1024;
/// Most questions that a manager is told at once, the oldest first; it comes again for the rest.
pub const AT_ONCE: usize = 64;

/// The questions that wait.
#[derive(Debug, Default)]
pub struct Questions {
    open: Mutex<Open>,
    news: Notify,
}

#[derive(Debug)]
struct Open {
    /// Number of the question that was asked last.
    last: u64,
    waiting: BTreeMap<u64, (Question, oneshot::Sender<Verdict>)>,
}

/// A question's place among those that wait; it is free when this goes.
struct Place {
    questions: Arc<Questions>,
    id: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.questions.open().waiting.remove(&self.id);
    }
}

impl Questions {
    /// Asks for `service`; comes to the first answer, or to none.
    pub async fn ask(self: Arc<Self>, service: ServiceName, question: Value) -> Option<Verdict> {
        let (reply, answer) = oneshot::channel();
        let id = self.open().add(service, question, reply)?;
        let place = Place { questions: self, id };
        place.questions.news.notify_waiters();
        timeout(PATIENCE, answer).await.ok()?.ok()
    }

    /// What waits now, the oldest first, [`AT_ONCE`] at most.
    pub fn waiting(&self) -> Vec<Question> {
        let open = self.open();
        open.waiting.values().take(AT_ONCE).map(|(question, _)| question.clone()).collect()
    }

    /// The same, as soon as anything waits, and after `patience` in any case.
    pub async fn coming(&self, patience: Duration) -> Vec<Question> {
        let deadline = Instant::now() + patience;
        loop {
            // before looking, so that what comes in between is not missed
            let mut news = std::pin::pin!(self.news.notified());
            news.as_mut().enable();
            let waiting = self.waiting();
            if !waiting.is_empty() || timeout_at(deadline, news).await.is_err() {
                return waiting;
            }
        }
    }

    /// Answers question `id`; false when it was answered already or nobody waits for it any more.
    pub fn answer(&self, id: u64, verdict: Verdict) -> bool {
        let waiting = self.open().waiting.remove(&id);
        waiting.is_some_and(|(_, reply)| reply.send(verdict).is_ok())
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Open {
    fn default() -> Self {
        Self { last: first(), waiting: BTreeMap::new() }
    }
}

impl Open {
    fn add(
        &mut self,
        service: ServiceName,
        question: Value,
        reply: oneshot::Sender<Verdict>,
    ) -> Option<u64> {
        if self.waiting.len() >= MOST {
            return None;
        }
        self.last += 1;
        let id = self.last;
        let question = Question { id, service: service.to_string(), question };
        self.waiting.insert(id, (question, reply));
        Some(id)
    }
}

/// Where the numbers of an agent's life begin: anywhere below 2^52, so that no other life of it had the same, whatever the
/// clock says, and every JSON reader holds them exactly.
fn first() -> u64 {
    let mut bytes = [0; 8];
    match SystemRandom::new().fill(&mut bytes) {
        Ok(()) => u64::from_le_bytes(bytes) >> 12,
        // a kernel without random numbers
        Err(_) => microseconds(),
    }
}

/// Since 1970.
fn microseconds() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const CONSOLE: ServiceName = ServiceName("console");

    #[tokio::test(start_paused = true)]
    async fn the_first_answer_counts_and_silence_is_none() {
        let questions = Arc::new(Questions::default());
        assert_eq!(questions.coming(Duration::from_secs(1)).await, []);
        let one = tokio::spawn(Arc::clone(&questions).ask(CONSOLE, json!("one")));
        let two = tokio::spawn(Arc::clone(&questions).ask(CONSOLE, json!("two")));
        let coming = questions.coming(Duration::from_mins(1)).await;
        let coming = if coming.len() < 2 { questions.waiting() } else { coming };
        let [first, second] = &coming[..] else { panic!("{coming:?}") };
        assert!(first.id < second.id && first.service == "console");
        assert!(questions.answer(first.id, Verdict::yes()));
        assert!(!questions.answer(first.id, Verdict::no("late")), "it was answered");
        let (answered, other) =
            if first.question == json!("one") { (one, two) } else { (two, one) };
        assert_eq!(answered.await.unwrap(), Some(Verdict::yes()));
        assert_eq!(other.await.unwrap(), None, "within its patience");
        assert_eq!(questions.waiting(), [], "nobody answered the other");
        assert!(!questions.answer(second.id, Verdict::yes()));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_is_gone_takes_its_question_along_and_there_are_not_too_many() {
        let questions = Arc::new(Questions::default());
        let asker = tokio::spawn(Arc::clone(&questions).ask(CONSOLE, json!(0)));
        let coming = questions.coming(PATIENCE).await;
        asker.abort();
        assert!(asker.await.unwrap_err().is_cancelled());
        assert!(!questions.answer(coming[0].id, Verdict::yes()));
        let all: Vec<_> = (0..=MOST)
            .map(|n| tokio::spawn(Arc::clone(&questions).ask(CONSOLE, json!(n))))
            .collect();
        while questions.open().waiting.len() < MOST {
            tokio::task::yield_now().await;
        }
        let mut told = Vec::new();
        while told.len() < MOST {
            let next = questions.waiting();
            assert_eq!(next.len(), AT_ONCE, "the rest when these are answered");
            for question in &next {
                assert!(questions.answer(question.id, Verdict::yes()));
            }
            told.extend(next.into_iter().map(|question| question.id));
        }
        assert!(told.is_sorted(), "the oldest first");
        let mut without = 0;
        for one in all {
            without += usize::from(one.await.unwrap().is_none());
        }
        assert_eq!(without, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_to_an_earlier_life_answers_nothing_of_this_one() {
        let mut ids = Vec::new();
        for _ in 0..3 {
            let life = Arc::new(Questions::default());
            let asker = tokio::spawn(Arc::clone(&life).ask(CONSOLE, json!(0)));
            let id = life.coming(PATIENCE).await[0].id;
            assert!(id < 1 << 53, "exact in every JSON reader");
            assert!(ids.iter().all(|other| !life.answer(*other, Verdict::yes())));
            assert!(life.answer(id, Verdict::no("this life's")));
            assert_eq!(asker.await.unwrap(), Some(Verdict::no("this life's")));
            ids.push(id);
        }
        // within a second, and still nowhere near each other
        let apart = |a: u64, b: u64| a.abs_diff(b) > 1 << 24;
        assert!(apart(ids[0], ids[1]) && apart(ids[1], ids[2]), "{ids:?}");
    }
}
