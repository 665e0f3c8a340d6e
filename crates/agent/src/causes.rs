//! An error with all its causes on one line, as answers, logs and the console show it.

/// `error: its cause: the cause of that`, without an end.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot start")]
    struct Start(#[source] std::io::Error);

    #[test]
    fn causes_follow_what_they_caused() {
        let gone = || std::io::Error::other("gone");
        assert_eq!(chain(&gone()), "gone");
        assert_eq!(chain(&Start(gone())), "cannot start: gone");
    }
}
