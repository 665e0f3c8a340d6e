//! The typed nft model against the real kernel: what is loaded is listed back as equal, whatever the expression, and a
//! change touches what differs and nothing else.

#![allow(clippy::too_many_lines, clippy::manual_is_multiple_of, clippy::ignored_unit_patterns)] // tables and scripts of a test
#![allow(
    clippy::semicolon_if_nothing_returned,
    clippy::single_match,
    clippy::cast_possible_truncation
)] // likewise
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // a test may fail loudly anywhere, its helpers included

mod agree;
mod chains;
mod echo;
mod everything;
mod explained;
mod flows;
mod foreign;
mod sets;
mod whole;
mod world;
