//! Option numbers and sets of them.
//!
//! Numbers are those of RFC 2132 unless the line says otherwise.

pub(crate) const PAD: u8 = 0;
pub(crate) const SUBNET_MASK: u8 = 1;
pub(crate) const ROUTER: u8 = 3;
pub(crate) const RESOLVERS: u8 = 6;
pub(crate) const HOST_NAME: u8 = 12;
pub(crate) const DOMAIN: u8 = 15;
pub(crate) const MTU: u8 = 26;
pub(crate) const BROADCAST: u8 = 28;
pub(crate) const REQUESTED_ADDRESS: u8 = 50;
pub(crate) const LEASE_TIME: u8 = 51;
pub(crate) const OVERLOAD: u8 = 52;
pub(crate) const MESSAGE_TYPE: u8 = 53;
pub(crate) const SERVER_ID: u8 = 54;
pub(crate) const PARAMETER_LIST: u8 = 55;
pub(crate) const MESSAGE: u8 = 56;
pub(crate) const MAX_SIZE: u8 = 57;
pub(crate) const RENEWAL_TIME: u8 = 58;
pub(crate) const REBINDING_TIME: u8 = 59;
pub(crate) const CLIENT_ID: u8 = 61;
/// RFC 3046.
pub(crate) const RELAY_INFO: u8 = 82;
/// RFC 3442.
pub(crate) const CLASSLESS_ROUTES: u8 = 121;
/// What Windows before 7 asks for instead of 121; the content is the same (MS-DHCPE 2.2.8).
pub(crate) const CLASSLESS_ROUTES_MS: u8 = 249;
pub(crate) const END: u8 = 255;

/// A set of option numbers: a client's parameter request list, where neither order nor repetition matters to us.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OptionSet([u64; 4]);

impl OptionSet {
    /// Adds `code`.
    pub fn insert(&mut self, code: u8) {
        if let Some(word) = self.0.get_mut(usize::from(code >> 6)) {
            *word |= 1 << (code & 63);
        }
    }

    /// True when `code` is in the set.
    pub fn contains(&self, code: u8) -> bool {
        self.0.get(usize::from(code >> 6)).is_some_and(|word| word >> (code & 63) & 1 == 1)
    }
}
