//! The slice of `examples/store.toml`.

#![allow(clippy::unwrap_used)] // a test that cannot be set up fails

use sluice_ssvm::slice::{StorageSlice, TokenHash, check};

#[test]
fn the_example_is_sound_and_its_tokens_are_those_that_it_names() {
    let slice: StorageSlice = toml::from_str(include_str!("../../examples/store.toml")).unwrap();
    assert_eq!(check(&slice), Vec::<String>::new());
    let tokens: Vec<_> = slice.grants.iter().map(|grant| grant.token).collect();
    assert_eq!(tokens, ["example-token", "other-token"].map(TokenHash::of));
}
