//! What the WebSocket fuzz target and the stable test that replays its corpus do with bytes.

use std::io::{Cursor, Read, Result, Write};

use sluice_proxy::rfb::{ClientStream, Rule};
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Message, WebSocket};

/// Longest message and frame that the proxy takes.
const LONGEST: usize = 128 * 1024;

/// A browser that says its bytes and reads whatever it is told.
struct Browser<'a> {
    says: Cursor<&'a [u8]>,
    told: usize,
}

impl Read for Browser<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        self.says.read(buffer)
    }
}

impl Write for Browser<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        self.told += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

/// A browser's side of a WebSocket, as the proxy reads it: messages are bounded, what RFB is passed on is no longer than what
/// came, a viewer's input is left out, and answers (pongs, the close) are no longer than what asked for them.
pub(crate) fn bytes(input: &[u8]) {
    let config = WebSocketConfig::default()
        .read_buffer_size(8 * 1024)
        .write_buffer_size(0)
        .max_message_size(Some(LONGEST))
        .max_frame_size(Some(LONGEST));
    let browser = Browser { says: Cursor::new(input), told: 0 };
    let mut socket = WebSocket::from_raw_socket(browser, Role::Server, Some(config));
    let rule = Rule { view_only: true, clipboard_bytes: 4096 };
    let (mut stream, mut came, mut passed) = (ClientStream::default(), 0, Vec::new());
    while let Ok(message) = socket.read() {
        if let Message::Binary(bytes) = message {
            assert!(bytes.len() <= LONGEST, "{} bytes in a message", bytes.len());
            came += bytes.len();
            if stream.feed(&bytes, rule, &mut passed).is_err() {
                break;
            }
        }
    }
    assert!(came <= input.len() && passed.len() <= came);
    let mut again = ClientStream::default();
    let seen = again.feed(&passed, rule, &mut Vec::new());
    assert!(seen.is_ok_and(|seen| seen.inputs == 0 && seen.left_out == 0));
    let told = socket.get_ref().told;
    assert!(told <= input.len() + 125, "{told} bytes of answers to {}", input.len());
}
