//! What a server says of its screen when a session begins (RFC 6143 7.3.2).

/// Length of the part before the name.
pub(super) const HEAD: usize = 24;
/// Longest name of a screen, in bytes; QEMU's are a few dozen.
pub(super) const MAX_NAME: usize = 4096;
/// Where the name's length stands, after width, height and pixel format.
const NAME_LENGTH_AT: usize = 20;

/// Size, pixel format and name of a screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerInit {
    bytes: Vec<u8>,
}

impl ServerInit {
    /// Takes the part before the name; tells how long the name is.
    pub(super) fn head(bytes: &[u8]) -> (Self, usize) {
        let length = bytes.get(NAME_LENGTH_AT..).and_then(|rest| rest.first_chunk::<4>());
        let length = length.map_or(0, |length| u32::from_be_bytes(*length));
        (Self { bytes: bytes.to_vec() }, usize::try_from(length).unwrap_or(usize::MAX))
    }

    /// The description of no screen at all.
    pub(crate) fn nothing() -> Self {
        Self { bytes: vec![0; HEAD] }
    }

    pub(super) fn name(&mut self, name: &[u8]) {
        self.bytes.extend_from_slice(name);
    }

    /// The message as it came.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Width and height in pixels.
    pub fn size(&self) -> (u16, u16) {
        let number = |at: usize| {
            let bytes = self.bytes.get(at..).and_then(|rest| rest.first_chunk::<2>());
            bytes.map_or(0, |bytes| u16::from_be_bytes(*bytes))
        };
        (number(0), number(2))
    }

    /// The screen's name as the server says it; bytes that are not UTF-8 are replaced.
    pub fn desktop_name(&self) -> String {
        String::from_utf8_lossy(self.bytes.get(HEAD..).unwrap_or_default()).into_owned()
    }
}
