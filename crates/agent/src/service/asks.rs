//! What a service asks its manager, by way of the agent.
//!
//! Guarantees: whoever asks gets an answer or learns that there is none, also when the agent goes; nothing is asked for
//! somebody who has lost patience.

use std::collections::BTreeMap;

use serde_json::Value;
use sluice_api::report::Verdict;
use tokio::sync::{mpsc, oneshot};

use super::protocol::{Answered, FromService};

/// A question of a service.
#[derive(Debug)]
pub struct Asking {
    /// What is asked, in a form that the manager knows of that service.
    pub question: Value,
    /// Where the answer goes; dropped when there is none.
    pub reply: oneshot::Sender<Verdict>,
}

/// The questions of a service that are not answered.
pub(super) struct Asks {
    queue: Option<mpsc::Receiver<Asking>>,
    last: u64,
    open: BTreeMap<u64, oneshot::Sender<Verdict>>,
}

impl Asks {
    pub(super) fn of(queue: Option<mpsc::Receiver<Asking>>) -> Self {
        Self { queue, last: 0, open: BTreeMap::new() }
    }

    /// The next question; may be dropped without losing one.
    pub(super) async fn next(&mut self) -> FromService {
        loop {
            let Some(queue) = &mut self.queue else { return std::future::pending().await };
            let Some(asking) = queue.recv().await else {
                self.queue = None;
                continue;
            };
            if asking.reply.is_closed() {
                continue;
            }
            self.open.retain(|_, reply| !reply.is_closed());
            self.last += 1;
            self.open.insert(self.last, asking.reply);
            return FromService::Asks { id: self.last, question: asking.question };
        }
    }

    /// The agent has an answer, or none.
    pub(super) fn answered(&mut self, answered: Answered) {
        if let (Some(reply), Some(verdict)) =
            (self.open.remove(&answered.answered), answered.verdict)
        {
            // whoever asked may have lost patience
            let _ = reply.send(verdict);
        }
    }

    /// The agent is gone: it brings no answers any more.
    pub(super) fn forget(&mut self) {
        self.open.clear();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn answers_go_to_whoever_asked() {
        let (sender, queue) = mpsc::channel(8);
        let mut asks = Asks::of(Some(queue));
        let mut replies = Vec::new();
        for question in ["given up", "yes", "no answer", "agent gone"] {
            let (reply, answer) = oneshot::channel();
            sender.send(Asking { question: json!(question), reply }).await.unwrap();
            replies.push(answer);
        }
        drop(replies.remove(0));
        for (id, expected) in [(1, "yes"), (2, "no answer"), (3, "agent gone")] {
            assert_eq!(asks.next().await, FromService::Asks { id, question: json!(expected) });
        }
        asks.answered(Answered { answered: 1, verdict: Some(Verdict::yes()) });
        asks.answered(Answered { answered: 1, verdict: Some(Verdict::no("twice")) });
        asks.answered(Answered { answered: 2, verdict: None });
        asks.forget();
        let mut said = Vec::new();
        for reply in replies {
            said.push(reply.await.ok());
        }
        assert_eq!(said, [Some(Verdict::yes()), None, None]);
    }
}
