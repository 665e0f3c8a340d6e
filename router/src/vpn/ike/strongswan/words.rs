//! What charon's log says of failures. Its words have been the same for many releases; a test holds those of each engine
//! version that was tried.

use super::message::LogLine;
use crate::vpn::ike::{ConnectionName, Trouble, TroubleKind};

/// Parts of charon's messages and what they mean; the first that fits counts.
const WORDS: [(&str, TroubleKind); 24] = [
    ("CHILD_SA rekeying failed", TroubleKind::Pfs),
    ("received AUTHENTICATION_FAILED", TroubleKind::Authentication),
    ("but MAC mismatched", TroubleKind::Authentication),
    ("no shared key found", TroubleKind::Authentication),
    ("no matching peer config found", TroubleKind::Authentication),
    ("constraint check failed: identity", TroubleKind::Authentication),
    ("could not decrypt payloads", TroubleKind::Authentication),
    ("calculated HASH does not match", TroubleKind::Authentication),
    ("IDir", TroubleKind::Authentication),
    ("no CHILD_SA built", TroubleKind::EspProposal),
    ("no acceptable proposal found", TroubleKind::EspProposal),
    ("no matching proposal found, sending NO_PROPOSAL_CHOSEN", TroubleKind::EspProposal),
    ("received NO_PROPOSAL_CHOSEN", TroubleKind::IkeProposal),
    ("received proposals unacceptable", TroubleKind::IkeProposal),
    ("no proposal found", TroubleKind::IkeProposal),
    ("no IKE config found", TroubleKind::IkeProposal),
    ("received TS_UNACCEPTABLE", TroubleKind::Networks),
    ("traffic selectors", TroubleKind::Networks),
    ("no matching CHILD_SA config found", TroubleKind::Networks),
    ("received INVALID_ID_INFORMATION", TroubleKind::Networks),
    ("giving up after", TroubleKind::NoAnswer),
    ("peer not responding", TroubleKind::NoAnswer),
    ("received DELETE for IKE_SA", TroubleKind::Gone),
    ("DPD check timed out", TroubleKind::Gone),
];

/// What went wrong, if this line is about that.
pub(super) fn trouble(line: &LogLine) -> Option<Trouble> {
    let msg = &line.msg;
    let kind = match WORDS.iter().find(|(words, _)| msg.contains(words))? {
        // the same words for refused networks and for refused algorithms, with the notify in front
        (_, TroubleKind::EspProposal) if msg.contains("TS_UNACCEPTABLE") => TroubleKind::Networks,
        (_, TroubleKind::Networks) if msg.contains("traffic selectors") => {
            if msg.contains("unacceptable") {
                TroubleKind::Networks
            } else {
                return None;
            }
        }
        (_, kind) => *kind,
    };
    let name = line.name().and_then(ConnectionName::of_daemon);
    Some(Trouble { name, kind, words: msg.chars().take(200).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_strongswan_6_0_1() {
        for (words, kind) in [
            ("received AUTHENTICATION_FAILED notify error", TroubleKind::Authentication),
            (
                "tried 1 shared key for '198.51.100.10' - '203.0.113.9', but MAC mismatched",
                TroubleKind::Authentication,
            ),
            ("received NO_PROPOSAL_CHOSEN notify error", TroubleKind::IkeProposal),
            ("received NO_PROPOSAL_CHOSEN notify, no CHILD_SA built", TroubleKind::EspProposal),
            ("received TS_UNACCEPTABLE notify, no CHILD_SA built", TroubleKind::Networks),
            ("giving up after 5 retransmits", TroubleKind::NoAnswer),
            ("CHILD_SA rekeying failed, trying again in 11 seconds", TroubleKind::Pfs),
        ] {
            let trouble = trouble(&LogLine::new(Some("s2s-c-1"), words)).unwrap();
            assert_eq!((trouble.kind, trouble.words.as_str()), (kind, words));
            assert_eq!(trouble.name.unwrap().as_str(), "s2s-c-1");
        }
    }

    #[test]
    fn other_lines_are_no_trouble() {
        for words in [
            "IKE_SA s2s-c-1[1] established between 198.51.100.10[a]...203.0.113.9[b]",
            "selected proposal: ESP:AES_CBC_256/HMAC_SHA2_256_128/NO_EXT_SEQ",
            "CHILD_SA s2s-c-1-1{1} established with SPIs c1 c2 and TS 10.1.1.0/24 === 172.16.1.0/24",
        ] {
            assert_eq!(trouble(&LogLine::new(None, words)), None, "{words}");
        }
    }
}
