//! The server's side of the RFB handshake, towards the browser. Who the browser is was settled before by its grant, so
//! the only security type offered is None (RFC 6143 7.1, version 3.8 alone: noVNC speaks nothing older by choice).

use super::VERSION_LENGTH;

/// The one version.
const VERSION: &[u8; VERSION_LENGTH] = b"RFB 003.008\n";
/// One security type: None.
const TYPES: [u8; 2] = [1, 1];
/// Security result: done.
const DONE: [u8; 4] = [0; 4];

/// A browser that does not speak RFB 3.8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BrowserError {
    /// Its version is another.
    #[error("the browser does not speak RFB 3.8")]
    Version,
    /// It chose a security type that was not offered.
    #[error("the browser chose security type {0}, which was not offered")]
    Type(u8),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Version,
    Type,
    Init,
    Done,
}

/// A handshake under way.
#[derive(Clone, Debug)]
pub struct BrowserHandshake {
    state: State,
    version: Vec<u8>,
}

impl Default for BrowserHandshake {
    fn default() -> Self {
        Self { state: State::Version, version: Vec::with_capacity(VERSION_LENGTH) }
    }
}

impl BrowserHandshake {
    /// What a server says first.
    pub fn greeting() -> &'static [u8] {
        VERSION
    }

    /// Whether the browser has sent all that it has to; the screen's description may follow.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Takes bytes of the browser, appends what is to be sent to `out`, and returns what belongs to the session already.
    pub fn feed<'a>(
        &mut self,
        mut bytes: &'a [u8],
        out: &mut Vec<u8>,
    ) -> Result<&'a [u8], BrowserError> {
        while let Some((byte, rest)) = bytes.split_first() {
            match self.state {
                State::Version => self.version(*byte, out)?,
                State::Type if *byte == 1 => {
                    out.extend_from_slice(&DONE);
                    self.state = State::Init;
                }
                State::Type => return Err(BrowserError::Type(*byte)),
                // whether to share is not the browser's to decide
                State::Init => self.state = State::Done,
                State::Done => return Ok(bytes),
            }
            bytes = rest;
        }
        Ok(bytes)
    }

    fn version(&mut self, byte: u8, out: &mut Vec<u8>) -> Result<(), BrowserError> {
        self.version.push(byte);
        if !VERSION.starts_with(&self.version) {
            return Err(BrowserError::Version);
        }
        if self.version.len() == VERSION_LENGTH {
            out.extend_from_slice(&TYPES);
            self.state = State::Type;
        }
        Ok(())
    }
}
