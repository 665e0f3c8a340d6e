//! The codes that an agent's API answers on its own account, beside those of [`crate::finding::CODES`].
//!
//! Guarantees: one table gives code, meaning and remedy, so a code that the API can answer cannot go without them; the
//! agent has no other way to make a finding. Not here: what is wrong inside a document, which decoding and checking say.

use crate::{Finding, Severity};

macro_rules! codes {
    ($($name:ident = $code:literal, $meaning:literal, $remedy:literal;)*) => {
        /// Why a request to an agent was refused, or what is doubtful about it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum ApiCode {
            $(#[doc = $meaning] $name,)*
        }

        impl ApiCode {
            /// All of them, by code.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The stable word that programs can match.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// What it means, for a person.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$name => $meaning,)* }
            }

            /// What to do about it.
            pub const fn remedy(self) -> &'static str {
                match self { $(Self::$name => $remedy,)* }
            }
        }
    };
}

codes! {
    BlobDigest = "blob-digest", "the bytes of a blob do not have the digest that they were sent under",
        "see that they are sent as they are, neither compressed nor encoded";
    BlobsFull = "blobs-full", "there is no room for another blob",
        "what the configuration in force does not name goes away by itself after a quarter of an hour; else send fewer or smaller ones";
    BrokenBody = "broken-body", "the body broke off before its end",
        "send it again; if it happens again, look at the control network";
    Busy = "busy", "as many diagnostics run as may run at the same time",
        "wait for them to end, at most a minute, and ask again";
    Diagnostic = "diagnostic", "the kernel refused the socket or the packets of a diagnostic",
        "the reason says which; see that the link is up and has an address of that family";
    DryRun = "dry-run", "the configuration is sound but the kernel would not take it now",
        "the reason names the object; the appliance's log has more";
    Encoding = "encoding", "the body is packed in a way that is not taken, or does not unpack",
        "send it as it is, or as gzip with `Content-Encoding: gzip`";
    Family = "family", "an IPv6 link-local address without its link, or an address of a family that is not asked that way",
        "name the link of an IPv6 link-local address";
    Generation = "generation", "a push of this number would be refused: it is too old, or was sent with other content, or must wait",
        "the reason says which; a new number is above all that were sent to the appliance";
    Identity = "identity", "the new certificate, key or authority cannot be used; the old one stays in use",
        "issue another one for this appliance; the reason says which part is wrong";
    Internal = "internal", "a defect of ours: what was decoded cannot be written down again",
        "keep the request and report it";
    Method = "method", "the path exists but does not take that method",
        "see the OpenAPI document, docs/openapi/agent.json";
    MissingBlob = "missing-blob", "the configuration names a blob that is not here",
        "send it: `PUT /v1/blobs/` and its digest";
    NoNic = "no-nic", "a link names a MAC address that no NIC of the machine has",
        "plug the NIC in, or see that the address is the right one's";
    NotKept = "not-kept", "the disk did not take it",
        "the reason says why; the appliance's log has more";
    Query = "query", "a parameter behind the `?` is unknown or out of its range",
        "the reason names it; see the OpenAPI document, docs/openapi/agent.json";
    Stopped = "stopped", "the engine has stopped and decides nothing any more",
        "the appliance restarts its agent by itself; ask again in a second";
    TooLarge = "too-large", "the body has more bytes than are taken, as it was sent or unpacked",
        "send a large configuration as gzip; the reason says how much this appliance takes, which follows its memory";
    TooSlow = "too-slow", "the body did not come within a minute",
        "look at the path between manager and appliance, and send it again";
    Unconfigured = "unconfigured", "there is no configuration yet",
        "push one";
    UnknownLink = "unknown-link", "a link is named that does not exist",
        "`GET /v1/config` lists the links; before the first configuration there may be the control link only";
    UnknownPath = "unknown-path", "there is nothing at that path",
        "see the OpenAPI document, docs/openapi/agent.json";
    WrongAppliance = "wrong-appliance", "the configuration is for another appliance",
        "see that the address is the right one's: two appliances may have been mixed up";
}

impl ApiCode {
    /// An error of this code at `path`.
    pub fn at(self, path: impl Into<String>, reason: impl Into<String>) -> Finding {
        Finding {
            path: path.into(),
            severity: Severity::Error,
            code: self.as_str().to_owned(),
            reason: reason.into(),
        }
    }

    /// An error of this code about the request as a whole.
    pub fn of_request(self, reason: impl Into<String>) -> Finding {
        self.at("", reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_sorted_and_said_once() {
        let words: Vec<_> = ApiCode::ALL.iter().map(|code| code.as_str()).collect();
        let mut sorted = words.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(words, sorted);
    }
}
