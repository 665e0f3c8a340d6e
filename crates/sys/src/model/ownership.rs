//! What is ours in the kernel (design section 4): one table of every number by which we know our own.
//!
//! | object | ours is |
//! | --- | --- |
//! | nft tables | `inet sluice` (filter, NAT, marks), `inet sluice_usage` (counters), `inet sluice_early` (before the first configuration), `netdev sluice_frames` (frames of services) |
//! | links | link group 201 |
//! | routes | route protocol 201 |
//! | policy rules | priorities 20000 to 20999 |
//! | packet marks | the low 16 bits: 1 to 64 for the uplinks |
//! | routing tables | 1000 to 1999, the last 64 for the uplinks |

use std::ops::RangeInclusive;

/// Protocol number of our routes; anything else in a routing table belongs to somebody else.
pub const ROUTE_PROTOCOL: u8 = 201;

/// Number of the main routing table (RT_TABLE_MAIN).
pub const MAIN_TABLE: u32 = 254;

/// Priorities of our policy routing rules.
pub const RULE_PRIORITIES: RangeInclusive<u32> = 20_000..=20_999;

/// Marks of connections that came in by an uplink or leave by it, and of their packets: one for each, from 1.
pub const UPLINK_MARKS: RangeInclusive<u16> = 1..=64;

/// Routing tables of uplinks, in the same order: the last that a configuration may name, which it leaves to them.
pub const UPLINK_TABLES: RangeInclusive<u32> = 1936..=1999;

pub use sluice_rules::early::EARLY_TABLE;
pub use sluice_rules::{TABLE_NAME, USAGE_TABLE};

/// Links that we named or made are in this group (`ip link show group 201`).
pub const LINK_GROUP: u32 = 201;
