//! Exit codes, so that scripts need not read messages.

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
/// `status --wait`: not in sync in time.
pub const NOT_IN_SYNC: u8 = 8;
/// `diff`: there is a difference.
pub const DIFFERENT: u8 = 10;

/// The same for `--help`.
pub const HELP: &str = "\
Exit codes: 0 done, 1 failed, 2 usage, 3 a value was refused, 4 no such object, 5 conflict or in use,
6 a pool is exhausted, 7 manager or appliance not reached, 8 not in sync in time, 10 diff found a difference";
