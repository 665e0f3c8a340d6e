//! `sluice-ssvm token`: a new token and the hash that a grant has of it.

use anyhow::Result;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sluice_sys::stdout;

use crate::slice::TokenHash;

/// Bytes of a token: nobody guesses 256 bits.
const LENGTH: usize = 32;

/// Makes one and prints it as JSON.
pub fn token() -> Result<()> {
    let bytes: [u8; LENGTH] = rand::random();
    let token = URL_SAFE_NO_PAD.encode(bytes);
    let made = serde_json::json!({ "token": token, "hash": TokenHash::of(&token) });
    Ok(stdout::line(made)?)
}
