//! The stable words for what can go wrong, each with its HTTP status and the exit code of `sluice`: one table.

/// What kind of error it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ErrorCode {
    /// Not JSON.
    Malformed,
    /// A value breaks a rule.
    Invalid,
    /// The configuration that follows would be refused.
    Rejected,
    /// The body is too large.
    TooLarge,
    /// No such object or route.
    NotFound,
    /// A name fits several objects.
    Ambiguous,
    /// Somebody else has it.
    Conflict,
    /// Others depend on it.
    InUse,
    /// The request id was used for something else.
    RequestReused,
    /// What would change is not what was shown.
    Moved,
    /// The object is not as it was when it was looked at.
    Changed,
    /// Nothing is left in a pool.
    Exhausted,
    /// The appliance cannot be asked.
    Unreachable,
    /// The appliance could not do it.
    Appliance,
    /// Try again in a moment.
    Busy,
    /// It is not known who asks.
    Unauthorized,
    /// Whoever asks may not.
    Forbidden,
    /// The route does not have that method.
    Method,
    /// The body is not JSON by its own word.
    ContentType,
    /// The host is none that is served.
    Host,
    /// See the manager's log.
    Internal,
}

/// Exit codes of `sluice`, so that scripts need not read messages.
pub mod exit {
    /// It failed in a way that has no code of its own.
    pub const FAILED: u8 = 1;
    /// The command line itself is wrong; clap's own.
    pub const USAGE: u8 = 2;
    /// A value was refused; nothing was changed.
    pub const INVALID: u8 = 3;
    /// There is no such object.
    pub const NOT_FOUND: u8 = 4;
    /// Taken by, or in use by, somebody else; nothing was changed.
    pub const CONFLICT: u8 = 5;
    /// A pool is exhausted; nothing was changed.
    pub const EXHAUSTED: u8 = 6;
    /// The manager or the appliance cannot be reached.
    pub const UNREACHABLE: u8 = 7;
    /// `--wait`: not in force in time.
    pub const NOT_IN_SYNC: u8 = 8;
    /// `--wait`: an appliance refused the change or undid it.
    pub const REFUSED: u8 = 9;
    /// `diff`: there is a difference.
    pub const DIFFERENT: u8 = 10;
    /// Whoever asks is unknown, or may not.
    pub const FORBIDDEN: u8 = 11;
}

/// Code, word, HTTP status, exit code.
type Line = (ErrorCode, &'static str, u16, u8);

const TABLE: &[Line] = &[
    (ErrorCode::Malformed, "malformed", 400, exit::INVALID),
    (ErrorCode::Invalid, "invalid", 422, exit::INVALID),
    (ErrorCode::Rejected, "rejected", 422, exit::INVALID),
    (ErrorCode::TooLarge, "too-large", 413, exit::INVALID),
    (ErrorCode::NotFound, "not-found", 404, exit::NOT_FOUND),
    (ErrorCode::Ambiguous, "ambiguous", 409, exit::CONFLICT),
    (ErrorCode::Conflict, "conflict", 409, exit::CONFLICT),
    (ErrorCode::InUse, "in-use", 409, exit::CONFLICT),
    (ErrorCode::RequestReused, "request-reused", 409, exit::CONFLICT),
    (ErrorCode::Moved, "moved", 409, exit::CONFLICT),
    (ErrorCode::Changed, "changed", 412, exit::CONFLICT),
    (ErrorCode::Exhausted, "exhausted", 507, exit::EXHAUSTED),
    (ErrorCode::Unreachable, "unreachable", 502, exit::UNREACHABLE),
    (ErrorCode::Appliance, "appliance", 502, exit::FAILED),
    (ErrorCode::Busy, "busy", 503, exit::UNREACHABLE),
    (ErrorCode::Unauthorized, "unauthorized", 401, exit::FORBIDDEN),
    (ErrorCode::Forbidden, "forbidden", 403, exit::FORBIDDEN),
    (ErrorCode::Method, "method", 405, exit::FAILED),
    (ErrorCode::ContentType, "content-type", 415, exit::FAILED),
    (ErrorCode::Host, "host", 421, exit::FAILED),
    (ErrorCode::Internal, "internal", 500, exit::FAILED),
];

impl ErrorCode {
    fn line(self) -> &'static Line {
        const UNKNOWN: Line = (ErrorCode::Internal, "internal", 500, exit::FAILED);
        TABLE.iter().find(|line| line.0 == self).unwrap_or(&UNKNOWN)
    }

    /// The word, as it is sent.
    pub fn word(self) -> &'static str {
        self.line().1
    }

    /// The HTTP status that carries it.
    pub fn status(self) -> u16 {
        self.line().2
    }

    /// The exit code of `sluice` that says so.
    pub fn exit(self) -> u8 {
        self.line().3
    }

    /// The code with this word; a word of a newer manager is `internal`.
    pub fn of(word: &str) -> Self {
        TABLE.iter().find(|line| line.1 == word).map_or(Self::Internal, |line| line.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_one_word() {
        for (code, word, status, _) in TABLE {
            assert_eq!((ErrorCode::of(word), code.status()), (*code, *status));
        }
        assert_eq!(ErrorCode::of("news"), ErrorCode::Internal);
    }
}
