//! Whether a configuration may be tried at all, by its number and digest alone.

use sluice_api::Digest;
use sluice_api::report::{Answer, Busy};
use sluice_api::types::Generation;

use crate::ledger::State;

/// `Some` answer when `generation` with `digest` is not to be applied.
pub(super) fn verdict<C>(
    state: &State<C>,
    generation: Generation,
    digest: &Digest,
) -> Option<Answer> {
    let changed =
        |seen: &Digest| Answer::Changed { generation, seen: seen.clone(), sent: digest.clone() };
    if let Some(pending) = &state.pending {
        if pending.generation() != generation {
            let reason = "waits for its confirmation".to_owned();
            return Some(Answer::Busy(Busy { generation: pending.generation(), reason }));
        }
        let same = pending.digest() == digest;
        return Some(if same { Answer::Already { generation } } else { changed(pending.digest()) });
    }
    if let Some(committed) = &state.committed {
        if generation < committed.generation() {
            return Some(Answer::Stale { current: committed.generation() });
        }
        if generation == committed.generation() {
            let same = committed.digest() == digest;
            return Some(if same {
                Answer::Already { generation }
            } else {
                changed(committed.digest())
            });
        }
    }
    // what is committed and cannot be read is healed by the same again
    if let Some(unreadable) = &state.unreadable {
        if generation < unreadable.generation {
            return Some(Answer::Stale { current: unreadable.generation });
        }
        if generation == unreadable.generation {
            return (unreadable.digest != *digest).then(|| changed(&unreadable.digest));
        }
    }
    // a number that failed before may be tried again, but not with other content
    let seen = state.tried.iter().find(|seen| seen.generation == generation)?;
    (seen.digest != *digest).then(|| changed(&seen.digest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{Entry, Seen};

    fn number(number: u64) -> Generation {
        number.try_into().unwrap()
    }

    fn digest(text: &str) -> Digest {
        Digest::of_bytes(text.as_bytes())
    }

    fn entry(generation: u64, text: &str) -> Entry<String> {
        Entry::new(number(generation), text.to_owned(), text.as_bytes())
    }

    fn judged(state: &State<String>, generation: u64, text: &str) -> Option<&'static str> {
        verdict(state, number(generation), &digest(text)).map(|answer| match answer {
            Answer::Already { .. } => "already",
            Answer::Stale { .. } => "stale",
            Answer::Changed { .. } => "changed",
            Answer::Busy(_) => "busy",
            _ => "other",
        })
    }

    #[test]
    fn numbers_rise_and_content_stays() {
        let failed = |tried| Seen { generation: number(tried), digest: digest("failed") };
        let tried = vec![failed(9), failed(8)];
        let state = State { committed: Some(entry(7, "seven")), tried, ..State::default() };
        assert_eq!(judged(&state, 6, "six"), Some("stale"));
        assert_eq!(judged(&state, 7, "seven"), Some("already"));
        assert_eq!(judged(&state, 7, "other"), Some("changed"));
        assert_eq!(judged(&state, 8, "eight"), Some("changed"));
        assert_eq!(judged(&state, 8, "failed"), None);
        assert_eq!(judged(&state, 9, "failed"), None);
        assert_eq!(judged(&state, 9, "other"), Some("changed"));
        assert_eq!(judged(&state, 10, "ten"), None);
    }

    #[test]
    fn what_cannot_be_read_is_healed_by_the_same_again_and_by_nothing_older() {
        let unreadable = Some(Seen { generation: number(7), digest: digest("seven") });
        let state = State { committed: Some(entry(5, "five")), unreadable, ..State::default() };
        assert_eq!(judged(&state, 5, "five"), Some("already"));
        assert_eq!(judged(&state, 6, "six"), Some("stale"));
        assert_eq!(judged(&state, 7, "other"), Some("changed"));
        assert_eq!(judged(&state, 7, "seven"), None);
        assert_eq!(judged(&state, 8, "eight"), None);
    }

    #[test]
    fn nothing_overtakes_what_waits_for_its_confirmation() {
        let state = State {
            committed: Some(entry(7, "seven")),
            pending: Some(entry(8, "eight")),
            ..State::default()
        };
        assert_eq!(judged(&state, 8, "eight"), Some("already"));
        assert_eq!(judged(&state, 8, "other"), Some("changed"));
        assert_eq!(judged(&state, 9, "nine"), Some("busy"));
    }
}
