//! Packet rules as the kernel boundary uses them; the model is [`sluice_rules`], what runs nft is in `kernel`.

pub use sluice_rules::*;
