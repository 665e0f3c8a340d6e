//! Sets of option numbers, and options as bytes.

use dhcproto::Encodable as _;
use dhcproto::v4::{DhcpOption, OptionCode, UnknownOption};

/// What Windows before 7 asks for instead of 121; the content is the same (MS-DHCPE 2.2.8).
pub(crate) const CLASSLESS_ROUTES_MS: u8 = 249;

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

/// One option as it is on the wire, in several parts of the same code where it is long (RFC 3396). Made once by dhcproto
/// when a configuration comes, and copied into each reply: encoding it for each would be most of a reply's cost.
#[derive(Clone, Debug)]
pub(crate) struct Encoded {
    pub(crate) code: u8,
    pub(crate) bytes: Box<[u8]>,
}

impl Encoded {
    /// `option` on the wire; `None` for one without content, which would say something else than no option.
    pub(crate) fn new(option: &DhcpOption) -> Option<Self> {
        let bytes = option.to_vec().ok().filter(|bytes| bytes.len() > 2)?;
        Some(Self { code: OptionCode::from(option).into(), bytes: bytes.into() })
    }

    /// An option of a number that dhcproto has no type for.
    pub(crate) fn raw(code: u8, value: &[u8]) -> Self {
        let parts = value.chunks(usize::from(u8::MAX)).filter_map(|part| {
            let option = UnknownOption::new(OptionCode::Unknown(code), part.to_vec());
            DhcpOption::Unknown(option).to_vec().ok()
        });
        Self { code, bytes: parts.flatten().collect() }
    }

    /// What is behind code and length of each part.
    pub(crate) fn value(&self) -> Vec<u8> {
        let mut value = Vec::new();
        let mut rest = &self.bytes[..];
        while let [_, length, tail @ ..] = rest {
            let (part, behind) = tail.split_at_checked(usize::from(*length)).unwrap_or((tail, &[]));
            value.extend_from_slice(part);
            rest = behind;
        }
        value
    }
}
