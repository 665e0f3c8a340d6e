//! What in the kernel is ours: the one table of every number and name by which we know our own objects (design section 4).
//!
//! Guarantees: nothing outside these ranges is ever changed or removed by this crate.
//!
//! | kind | value | constant |
//! | --- | --- | --- |
//! | route protocol | 201 | [`ROUTE_PROTOCOL`] |
//! | link group | 201 | [`LINK_GROUP`] |
//! | policy rule priorities | 20000 to 20999 | [`RULE_PRIORITIES`] |
//! | nft tables | `inet sluice`, `inet sluice_usage`, `inet sluice_early` | [`TABLE`], [`USAGE_TABLE`], [`EARLY_TABLE`] |
//! | mark bits 0 to 7 | uplink the connection came in by, 0 = none | [`MARK_UPLINK`] |
//! | mark bit 8 | came out of an IPsec tunnel | [`MARK_VPN`] |
//! | mark bit 9 | hairpin: from a guest to one of our own public addresses | [`MARK_HAIRPIN`] |
//! | mark bits 10 to 15 | free, always zero | |
//! | mark bits 16 to 31 | IKE engine's per-client ids | [`MARK_CLIENT`] |

use std::ops::RangeInclusive;

/// Routes of ours carry this protocol number; every other route is left alone.
pub const ROUTE_PROTOCOL: u8 = 201;

/// Links that we named or made are in this group (`ip link show group 201`).
pub const LINK_GROUP: u32 = 201;

/// Policy routing rules of ours have these priorities.
pub const RULE_PRIORITIES: RangeInclusive<u32> = 20_000..=20_999;

/// The kernel's main routing table (`RT_TABLE_MAIN`).
pub const MAIN_TABLE: u32 = 254;

/// Filter, NAT and marks.
pub const TABLE: &str = "sluice";

/// Counters that survive rule changes.
pub const USAGE_TABLE: &str = "sluice_usage";

/// Drops everything until the first configuration; see [`crate::nft::early`].
pub const EARLY_TABLE: &str = "sluice_early";

/// Mark bits: number of the uplink, 1 to 255; 0 for none.
pub const MARK_UPLINK: u32 = 0x0000_00ff;

/// Mark bit: the packet came out of an IPsec tunnel.
pub const MARK_VPN: u32 = 0x0000_0100;

/// Mark bit: a guest reaches one of the router's own public addresses.
pub const MARK_HAIRPIN: u32 = 0x0000_0200;

/// Mark bits: the client behind a NAT that an IPsec association belongs to.
pub const MARK_CLIENT: u32 = 0xffff_0000;
