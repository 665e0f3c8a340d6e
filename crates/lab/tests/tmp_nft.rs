#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#[path = "../../../tests/tests/t1_nft/agree/mod.rs"]
mod agree;
#[path = "../../../tests/tests/t1_nft/chains.rs"]
mod chains;
#[path = "../../../tests/tests/t1_nft/echo.rs"]
mod echo;
#[path = "../../../tests/tests/t1_nft/everything.rs"]
mod everything;
#[path = "../../../tests/tests/t1_nft/foreign.rs"]
mod foreign;
#[path = "../../../tests/tests/t1_nft/sets.rs"]
mod sets;
#[path = "../../../tests/tests/t1_nft/world.rs"]
mod world;
#[path = "../../../tests/tests/t1_nft/flows.rs"]
mod flows;
