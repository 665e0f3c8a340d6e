//! What services ask, through the supervisor.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sluice_api::report::{Question, Verdict};
use tokio::sync::{mpsc, oneshot};

use super::{NAME, as_task, give, left_at};
use crate::appliance::ServiceName;
use crate::engine::Services as _;
use crate::questions::{self, Questions};
use crate::service::Asking;
use crate::supervisor::{Launch, Launched, Supervisor};

/// Takes any slice, and asks what it is told to.
struct Curious(Option<mpsc::Receiver<Asking>>);

impl crate::service::Service for Curious {
    type Slice = String;
    async fn apply(&mut self, _: sluice_api::types::Generation, _: String) -> Result<(), String> {
        Ok(())
    }
    fn counters(&self) -> std::collections::BTreeMap<String, u64> {
        std::collections::BTreeMap::new()
    }
    fn questions(&mut self) -> Option<mpsc::Receiver<Asking>> {
        self.0.take()
    }
}

/// Starts it once.
struct Once(Mutex<Option<Curious>>);

impl Launch for Once {
    fn launch(&self, _: ServiceName) -> io::Result<Launched> {
        let curious = self.0.lock().unwrap().take().ok_or(io::ErrorKind::NotFound)?;
        as_task(false, move |control| crate::service::serve(control, curious))
    }
}

#[tokio::test]
async fn what_a_service_asks_reaches_managers_and_the_answer_the_asker() {
    let (asker, queue) = mpsc::channel(8);
    let supervisor = Supervisor::new(Arc::new(Once(Mutex::new(Some(Curious(Some(queue)))))));
    give(&supervisor, 1, "good").await.unwrap();
    let questions = supervisor.questions();
    let mut answers = Vec::new();
    for number in 0..3 {
        let (reply, answer) = oneshot::channel();
        asker.send(Asking { question: number.into(), reply }).await.unwrap();
        answers.push(answer);
    }
    let waiting = async {
        loop {
            let waiting = questions.coming(Duration::from_secs(10)).await;
            if waiting.len() == 3 {
                return waiting;
            }
            tokio::task::yield_now().await;
        }
    };
    let waiting = tokio::time::timeout(Duration::from_secs(10), waiting).await.unwrap();
    for question in waiting.iter().filter(|question| question.question != 1) {
        assert!(questions.answer(question.id, Verdict::no(question.question.to_string())));
    }
    let mut said = Vec::new();
    for answer in answers {
        said.push(answer.await.ok().and_then(|verdict| verdict.reason));
    }
    assert_eq!(said, [Some("0".to_owned()), None, Some("2".to_owned())], "nobody answered one");
    // slices and answers go the same way
    give(&supervisor, 2, "good").await.unwrap();
    supervisor.stop(NAME).await;
}

/// Asks `question` through `asker`; the answer, if there is one.
async fn ask(asker: &mpsc::Sender<Asking>, question: serde_json::Value) -> Option<Verdict> {
    let (reply, answer) = oneshot::channel();
    asker.send(Asking { question, reply }).await.unwrap();
    answer.await.ok()
}

/// The only question that waits, once there is one.
async fn the_question(questions: &Questions) -> Question {
    let mut waiting = questions.coming(Duration::from_secs(10)).await;
    assert_eq!(waiting.len(), 1, "{waiting:?}");
    waiting.remove(0)
}

/// The clock is virtual: what is not asked is answered before any time has gone by.
#[tokio::test(start_paused = true)]
async fn a_question_that_is_too_long_is_not_asked() {
    let (asker, queue) = mpsc::channel(8);
    let supervisor = Supervisor::new(Arc::new(Once(Mutex::new(Some(Curious(Some(queue)))))));
    give(&supervisor, 1, "good").await.unwrap();
    let questions = supervisor.questions();
    let of_length = |length: usize| serde_json::Value::from("x".repeat(length - 2));
    let begun = tokio::time::Instant::now();
    assert_eq!(ask(&asker, of_length(questions::LONGEST + 1)).await, None);
    assert!(begun.elapsed() < Duration::from_secs(1), "it was asked: {:?}", begun.elapsed());
    let answered = async {
        let question = the_question(&questions).await;
        assert_eq!(question.question, of_length(questions::LONGEST), "nothing else was asked");
        questions.answer(question.id, Verdict::yes())
    };
    let (verdict, answered) = tokio::join!(ask(&asker, of_length(questions::LONGEST)), answered);
    assert_eq!((verdict, answered), (Some(Verdict::yes()), true));
    supervisor.stop(NAME).await;
}

#[tokio::test(start_paused = true)]
async fn of_more_questions_than_may_wait_the_rest_is_answered_at_once() {
    let most = questions::MOST;
    let (asker, queue) = mpsc::channel(2 * most);
    let supervisor = Supervisor::new(Arc::new(Once(Mutex::new(Some(Curious(Some(queue)))))));
    give(&supervisor, 1, "good").await.unwrap();
    let begun = tokio::time::Instant::now();
    let mut asked: tokio::task::JoinSet<_> = (0..most + 10)
        .map(|number| {
            let asker = asker.clone();
            async move {
                let verdict = ask(&asker, number.into()).await;
                (verdict, begun.elapsed() < Duration::from_secs(4))
            }
        })
        .collect();
    let (mut refused, mut late) = (0, 0);
    while let Some(one) = asked.join_next().await {
        match one.unwrap() {
            (None, true) => refused += 1,
            (None, false) => late += 1,
            (Some(verdict), _) => panic!("nobody said {verdict:?}"),
        }
    }
    assert_eq!((refused, late), (10, most));
    assert_eq!(supervisor.status()[0].restarts, 0);
    supervisor.stop(NAME).await;
}

/// The process outlives its agents, and asks the one that it has. Nobody waits here for a question to be over.
#[tokio::test(start_paused = true)]
async fn what_was_asked_of_an_agent_that_is_gone_is_asked_again_of_the_next() {
    struct Lasting(std::path::PathBuf, Mutex<Option<Curious>>);

    #[async_trait::async_trait]
    impl Launch for Lasting {
        fn launch(&self, _: ServiceName) -> io::Result<Launched> {
            let curious = self.1.lock().unwrap().take().ok_or(io::ErrorKind::NotFound)?;
            let agents = tokio::net::UnixListener::bind(&self.0)?;
            tokio::spawn(crate::service::outlive(agents, None, curious));
            left_at(&self.0)
        }

        async fn take_over(&self, _: ServiceName) -> Option<Launched> {
            left_at(&self.0).ok()
        }
    }

    let folder = tempfile::tempdir().unwrap();
    let (asker, queue) = mpsc::channel(8);
    let curious = Mutex::new(Some(Curious(Some(queue))));
    let lasting = Arc::new(Lasting(folder.path().join("socket"), curious));
    let first = Supervisor::new(Arc::clone(&lasting) as Arc<dyn Launch>);
    give(&first, 1, "one").await.unwrap();
    let begun = tokio::time::Instant::now();
    let open = tokio::spawn({
        let asker = asker.clone();
        async move { ask(&asker, "of the first".into()).await }
    });
    let old = first.questions();
    let id = the_question(&old).await.id;
    drop(first);
    assert_eq!(open.await.unwrap(), None, "nobody can answer it any more");
    assert_eq!(old.waiting(), [], "and no manager is told of it");
    assert!(begun.elapsed() < questions::PATIENCE, "{:?}", begun.elapsed());

    let second = Supervisor::new(Arc::clone(&lasting) as Arc<dyn Launch>);
    give(&second, 1, "one").await.unwrap();
    let new = second.questions();
    let answered = async {
        let question = the_question(&new).await;
        assert_eq!(question.question, "of the second");
        // what a manager says late to the first agent's question
        assert!(!new.answer(id, Verdict::yes()));
        new.answer(question.id, Verdict::no("moved"))
    };
    let (verdict, answered) = tokio::join!(ask(&asker, "of the second".into()), answered);
    assert_eq!((verdict, answered), (Some(Verdict::no("moved")), true));
    assert_eq!(second.status()[0].restarts, 0);
}
