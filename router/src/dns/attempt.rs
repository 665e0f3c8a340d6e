//! One question to one resolver, from the best way to ask to the plainest: sans-I/O, what was heard comes in, what to do
//! next goes out.
//!
//! Guarantees: ends after a handful of steps; a resolver that cannot read EDNS, does not keep the case or has no TCP is
//! still asked in a way that it can answer; an error in answer to a forged-looking message is worth no more than "ask
//! another". Sources: RFC 6891 7 (no EDNS), draft-vixie-dnsext-dns0x20 (case), RFC 7766 5 and RFC 2181 9 (TCP, truncation),
//! RFC 5452 9.1 (what may be believed).

use std::time::Duration;

use super::habits::Habits;
use super::message::Manner;
use super::stored::Stored;
use super::wire::{ede, rcode};

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Ask in a datagram.
    Udp(Manner),
    /// Ask over a connection.
    Tcp(Manner),
}

/// What came of it.
#[derive(Debug)]
pub(super) enum Heard<E> {
    /// An answer to the question.
    Answer(Stored),
    /// An answer that did not fit, as far as it did.
    Truncated(Stored),
    /// An answer to the question in letters of another case.
    OtherCase,
    /// An error with this code and nothing else, not even the question.
    NoQuestion(u16),
    /// No answer, or none that can be read.
    Nothing(E),
}

/// What follows.
#[derive(Debug)]
pub(super) enum Next<E> {
    /// Ask again.
    Ask(Step),
    /// That is the answer.
    Done(Stored),
    /// There is none.
    Failed(E),
}

/// How far one attempt is.
#[derive(Debug)]
pub(super) struct Attempt {
    step: Step,
    /// It said that it cannot read EDNS.
    edns_refused: bool,
    /// It was silent to the same question with EDNS.
    edns_unheard: bool,
    case_changed: bool,
    tcp_failed: bool,
    /// What is answered when nothing better comes.
    kept: Option<Stored>,
}

impl Attempt {
    /// The first step, as `habits` advise; `plain` for one that was silent to the same question with EDNS.
    pub(super) fn start(habits: &Habits, now: Duration, mixed_case: bool, plain: bool) -> Self {
        let mut manner = habits.manner(now, mixed_case);
        let edns_unheard = plain && manner.edns;
        manner.edns &= !plain;
        Self {
            step: Step::Udp(manner),
            edns_refused: false,
            edns_unheard,
            case_changed: false,
            tcp_failed: false,
            kept: None,
        }
    }

    /// What to do first.
    pub(super) fn step(&self) -> Step {
        self.step
    }

    fn manner(&self) -> Manner {
        match self.step {
            Step::Udp(manner) | Step::Tcp(manner) => manner,
        }
    }

    fn is_tcp(&self) -> bool {
        matches!(self.step, Step::Tcp(_))
    }

    fn ask<E>(&mut self, step: Step) -> Next<E> {
        self.step = step;
        Next::Ask(step)
    }

    /// The same once more without EDNS.
    fn without_edns<E>(&mut self) -> Next<E> {
        self.edns_refused = true;
        let manner = Manner { edns: false, ..self.manner() };
        self.ask(if self.is_tcp() { Step::Tcp(manner) } else { Step::Udp(manner) })
    }

    /// Takes what was heard to the last step, and learns from it.
    pub(super) fn heard<E>(
        &mut self,
        heard: Heard<E>,
        habits: &mut Habits,
        now: Duration,
    ) -> Next<E> {
        match heard {
            Heard::Answer(answer) if self.manner().edns && answer.blames_edns() => {
                self.kept = Some(answer.for_clients());
                self.without_edns()
            }
            Heard::Answer(answer) => {
                self.learn(habits, now, answer.is_conclusive());
                Next::Done(answer.for_clients())
            }
            Heard::NoQuestion(code) if self.manner().edns && blames_edns(code) => {
                self.kept = Some(unasked());
                self.without_edns()
            }
            Heard::NoQuestion(_) => self.nothing(|| Next::Done(unasked())),
            Heard::Truncated(answer) if self.is_tcp() || self.tcp_failed => {
                Next::Done(answer.for_clients())
            }
            Heard::Truncated(answer) => {
                self.kept = Some(answer.for_clients());
                self.over_tcp()
            }
            Heard::OtherCase => {
                self.case_changed = true;
                self.over_tcp()
            }
            Heard::Nothing(error) => self.nothing(|| Next::Failed(error)),
        }
    }

    /// A connection cannot be forged as easily as a datagram, so the case need not be mixed.
    fn over_tcp<E>(&mut self) -> Next<E> {
        let manner = Manner { mixed_case: false, ..self.manner() };
        self.ask(Step::Tcp(manner))
    }

    fn nothing<E>(&mut self, last: impl FnOnce() -> Next<E>) -> Next<E> {
        if let Step::Tcp(manner) = self.step {
            self.tcp_failed = true;
            if self.case_changed {
                return self.ask(Step::Udp(manner));
            }
        }
        self.kept.take().map_or_else(last, Next::Done)
    }

    fn learn(&self, habits: &mut Habits, now: Duration, conclusive: bool) {
        let manner = self.manner();
        if manner.edns {
            habits.read_edns();
        } else if self.edns_refused && conclusive {
            habits.refused_edns(now);
        } else if self.edns_unheard && conclusive {
            habits.silent_to_edns(now);
        }
        match (self.case_changed, self.tcp_failed) {
            (true, true) => habits.cannot_keep_case(now),
            (true, false) => habits.changed_case(now),
            (false, _) if manner.mixed_case => habits.kept_case(),
            (false, _) => {}
        }
    }
}

/// Codes by which resolvers say that they cannot read EDNS (RFC 6891 7).
pub(super) fn blames_edns(code: u16) -> bool {
    matches!(code, rcode::FORMERR | rcode::NOTIMP | rcode::BADVERS)
}

/// Nobody can say what an error without a question is an answer to.
fn unasked() -> Stored {
    Stored::failure(ede::OTHER, "the resolver answered with an error and no question")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::wire::rcode::{FORMERR, NOERROR, NXDOMAIN, REFUSED, SERVFAIL};

    const NOW: Duration = Duration::from_secs(1000);
    const BEST: Manner = Manner { edns: true, mixed_case: true };

    type Said = Heard<&'static str>;

    fn answer(code: u16) -> Said {
        Heard::Answer(Stored::with_code(code))
    }

    fn cut() -> Said {
        let mut stored = Stored::with_code(NOERROR);
        stored.truncated = true;
        Heard::Truncated(stored)
    }

    /// Tells an attempt what is heard in turn; answers the steps after the first and the end.
    fn play(habits: &mut Habits, heard: Vec<Said>) -> (Vec<Step>, Result<Stored, &'static str>) {
        let mut attempt = Attempt::start(habits, NOW, true, false);
        let mut steps = Vec::new();
        for one in heard {
            match attempt.heard(one, habits, NOW) {
                Next::Ask(step) => steps.push(step),
                Next::Done(answer) => return (steps, Ok(answer)),
                Next::Failed(error) => return (steps, Err(error)),
            }
        }
        panic!("not at its end: {steps:?}");
    }

    fn ends(heard: Vec<Said>) -> (Vec<Step>, Result<u16, &'static str>) {
        let (steps, end) = play(&mut Habits::default(), heard);
        (steps, end.map(|answer| answer.code()))
    }

    const NO_EDNS: Manner = Manner { edns: false, mixed_case: true };
    const SAME_CASE: Manner = Manner { edns: true, mixed_case: false };

    #[test]
    fn a_resolver_without_edns_is_asked_without_and_remembered() {
        for refusal in
            [answer(FORMERR), Heard::NoQuestion(FORMERR), Heard::NoQuestion(4), answer(16)]
        {
            let mut habits = Habits::default();
            let (steps, end) = play(&mut habits, vec![refusal, answer(NXDOMAIN)]);
            assert_eq!(steps, [Step::Udp(NO_EDNS)]);
            assert_eq!(end.unwrap().code(), NXDOMAIN);
            assert!(!habits.manner(NOW, true).edns);
        }
    }

    #[test]
    fn an_error_without_a_question_is_worth_asking_another() {
        for code in [SERVFAIL, REFUSED] {
            assert_eq!(ends(vec![Heard::NoQuestion(code)]), (vec![], Ok(SERVFAIL)));
        }
        let (steps, end) = ends(vec![Heard::NoQuestion(FORMERR), Heard::NoQuestion(FORMERR)]);
        assert_eq!((steps, end), (vec![Step::Udp(NO_EDNS)], Ok(SERVFAIL)));
        let mut habits = Habits::default();
        let _end = play(&mut habits, vec![answer(FORMERR), answer(FORMERR)]);
        assert!(habits.manner(NOW, true).edns, "it has other troubles than EDNS");
    }

    #[test]
    fn what_is_cut_comes_over_tcp_and_as_it_is_when_that_is_closed() {
        let (steps, end) = ends(vec![cut(), answer(NOERROR)]);
        assert_eq!((steps, end), (vec![Step::Tcp(SAME_CASE)], Ok(NOERROR)));
        let (steps, end) = play(&mut Habits::default(), vec![cut(), Heard::Nothing("refused")]);
        assert_eq!(steps, [Step::Tcp(SAME_CASE)]);
        assert!(end.unwrap().truncated);
    }

    #[test]
    fn another_case_is_asked_about_over_tcp_and_then_plainly() {
        let (steps, end) = ends(vec![Heard::OtherCase, answer(NOERROR)]);
        assert_eq!((steps, end), (vec![Step::Tcp(SAME_CASE)], Ok(NOERROR)));
        let mut habits = Habits::default();
        let heard = vec![Heard::OtherCase, Heard::Nothing("refused"), answer(NOERROR)];
        let (steps, end) = play(&mut habits, heard);
        assert_eq!(steps, [Step::Tcp(SAME_CASE), Step::Udp(SAME_CASE)]);
        assert_eq!(end.unwrap().code(), NOERROR);
        assert_eq!(habits.manner(NOW, true), SAME_CASE, "remembered at once: TCP is closed");
    }

    #[test]
    fn with_tcp_three_changes_of_the_case_are_remembered() {
        let mut habits = Habits::default();
        for _ in 0..3 {
            assert_eq!(habits.manner(NOW, true), BEST);
            let _end = play(&mut habits, vec![Heard::OtherCase, answer(NOERROR)]);
        }
        assert_eq!(habits.manner(NOW, true), SAME_CASE);
    }

    #[test]
    fn silence_to_edns_is_remembered_after_three_answers_without() {
        let mut habits = Habits::default();
        for _ in 0..3 {
            let mut attempt = Attempt::start(&habits, NOW, true, true);
            assert_eq!(attempt.step(), Step::Udp(NO_EDNS));
            let next = attempt.heard(answer(NOERROR), &mut habits, NOW);
            assert!(matches!(next, Next::Done(_)));
        }
        assert!(!habits.manner(NOW, true).edns);
    }

    #[test]
    fn every_way_ends() {
        // the worst a resolver can do, again and again
        type Kind = fn() -> Said;
        let kinds: [Kind; 6] = [
            || answer(FORMERR),
            cut,
            || Heard::OtherCase,
            || Heard::NoQuestion(FORMERR),
            || Heard::Nothing("nothing"),
            || answer(SERVFAIL),
        ];
        for number in 0..6_usize.pow(6) {
            let mut habits = Habits::default();
            let mut attempt = Attempt::start(&habits, NOW, true, false);
            let ended = (0..6_u32).any(|step| {
                let kind = kinds[number / 6_usize.pow(step) % 6];
                // a question in its own case cannot come back in another
                let heard = match kind() {
                    Heard::OtherCase if !attempt.manner().mixed_case => answer(SERVFAIL),
                    other => other,
                };
                !matches!(attempt.heard(heard, &mut habits, NOW), Next::Ask(_))
            });
            assert!(ended, "{number}");
        }
    }
}
