//! The example is a slice, sound and with the link that it says.

use sluice_proxy::slice::ConsoleSlice;
use sluice_proxy::values::TokenHash;

#[test]
fn the_example_is_sound_and_its_link_is_the_one_it_names() {
    let text = include_str!("../../examples/console.toml");
    let slice: ConsoleSlice = toml::from_str(text).expect("the example is a slice");
    assert_eq!(slice.complaint(), None);
    let hashes: Vec<TokenHash> = slice.grants.iter().map(|grant| grant.token).collect();
    assert_eq!(hashes.first(), Some(&TokenHash::of("example-link")));
    let printed = format!("{slice:?}");
    assert!(!printed.contains("secret"), "{printed}");
}
