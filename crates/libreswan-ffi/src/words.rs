//! What pluto's words say of failures, from its log or from a program that waits. Tests hold those of libreswan 5.2.

/// What a line means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// The keys differ, or the ids.
    Authentication,
    /// The first phase has no algorithms in common.
    IkeProposal,
    /// The second phase has none.
    EspProposal,
    /// The ends name different networks.
    Networks,
    /// Nobody answers.
    NoAnswer,
    /// The peer went away.
    Gone,
}

const WORDS: [(&str, Meaning); 18] = [
    ("AUTHENTICATION_FAILED", Meaning::Authentication),
    ("authentication failed", Meaning::Authentication),
    ("no PSK found", Meaning::Authentication),
    ("probable authentication failure", Meaning::Authentication),
    ("IKE_SA_INIT response containing NO_PROPOSAL_CHOSEN", Meaning::IkeProposal),
    ("no acceptable Oakley Transform", Meaning::IkeProposal),
    ("no local proposal matches remote proposals 1:ESP", Meaning::EspProposal),
    ("no local proposal matches remote proposals", Meaning::IkeProposal),
    ("NO_PROPOSAL_CHOSEN", Meaning::EspProposal),
    ("no acceptable proposal", Meaning::EspProposal),
    ("TS_UNACCEPTABLE", Meaning::Networks),
    ("INVALID_ID_INFORMATION", Meaning::Networks),
    ("no connection is known", Meaning::Networks),
    ("seconds timeout exceeded after", Meaning::NoAnswer),
    ("No route to host", Meaning::NoAnswer),
    ("Connection refused", Meaning::NoAnswer),
    ("DPD action", Meaning::Gone),
    ("received Delete SA payload", Meaning::Gone),
];

/// What went wrong, and with which connection, if the line is about that.
pub fn meaning(line: &str) -> Option<(Option<&str>, Meaning)> {
    let (_, meaning) = WORDS.iter().find(|(words, _)| line.contains(words))?;
    let name = line.split_once('"').and_then(|(_, rest)| rest.split_once('"'));
    Some((name.map(|(name, _)| name), *meaning))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_libreswan_5_2() {
        for (line, expected) in [
            (
                "\"a\" #1: authentication failed: no PSK found for '198.51.100.10'",
                Meaning::Authentication,
            ),
            (
                "\"a\" #2: ignoring IKE_SA_INIT response containing NO_PROPOSAL_CHOSEN notification (Message ID 0; message payloads N, missing SA,KE,Ni)",
                Meaning::IkeProposal,
            ),
            (
                "\"a\" #1: ERROR: asynchronous network error report on eth0 (198.51.100.10:500), complainant 198.51.100.20: Connection refused [errno 111, origin ICMP type 3 code 3 (not authenticated)]",
                Meaning::NoAnswer,
            ),
            (
                "\"a\" #5: IKE_SA_INIT_I: 60 seconds timeout exceeded after 7 retransmits.",
                Meaning::NoAnswer,
            ),
        ] {
            assert_eq!(meaning(line), Some((Some("a"), expected)), "{line}");
        }
        for line in [
            "\"a\" #1: initiating IKEv2 connection to 198.51.100.20 using UDP",
            "\"a\" #1: STATE_MAIN_I1: retransmission; will wait 0.5 seconds for response",
        ] {
            assert_eq!(meaning(line), None, "{line}");
        }
    }
}
