//! Questions of services that only a manager can answer, such as whether a screen is still its VM's.
//!
//! Guarantees: a question that nobody answers is over after [`PATIENCE`], one whose asker is gone at once; the first answer
//! counts; what services ask takes a bounded memory. Managers come for the questions, so nothing is opened towards them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use sluice_api::report::{Question, Verdict};
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, timeout, timeout_at};

use crate::appliance::ServiceName;

/// How long a question waits for its answer.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// Most questions that wait at the same time; what is asked beyond stays without an answer.
const MOST: usize = 1024;

/// The questions that wait.
#[derive(Debug, Default)]
pub struct Questions {
    open: Mutex<Open>,
    news: Notify,
}

#[derive(Debug, Default)]
struct Open {
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

    /// What waits now, the oldest first.
    pub fn waiting(&self) -> Vec<Question> {
        self.open().waiting.values().map(|(question, _)| question.clone()).collect()
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
        // an answer to an agent that is gone answers none of this one's questions
        let id = (self.last + 1).max(microseconds());
        self.last = id;
        let question = Question { id, service: service.to_string(), question };
        self.waiting.insert(id, (question, reply));
        Some(id)
    }
}

/// Since 1970, which every JSON reader holds exactly.
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
        tokio::task::yield_now().await;
        while questions.waiting().len() < MOST {
            tokio::task::yield_now().await;
        }
        for question in questions.waiting() {
            questions.answer(question.id, Verdict::yes());
        }
        let mut without = 0;
        for one in all {
            without += usize::from(one.await.unwrap().is_none());
        }
        assert_eq!(without, 1);
    }
}
