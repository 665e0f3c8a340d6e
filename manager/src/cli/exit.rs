//! Exit codes; the table is [`crate::code`].

pub use crate::code::exit::*;

/// The same for `--help`.
pub const HELP: &str = "\
Exit codes: 0 done, 1 failed, 2 usage, 3 a value was refused, 4 no such object, 5 conflict or in use,
6 a pool is exhausted, 7 manager or appliance not reached, 8 not in force in time, 9 an appliance refused
or undid it, 10 diff found a difference, 11 not allowed";
