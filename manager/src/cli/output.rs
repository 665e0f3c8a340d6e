//! The two streams. A reader that went away (a closed pipe) is no error.

use std::io::{IsTerminal as _, Write as _, stderr, stdin, stdout};

/// Writes text to standard output as it is.
pub(super) fn print(text: &str) {
    let _ = stdout().write_all(text.as_bytes());
}

/// Writes bytes to standard output.
pub(super) fn bytes(bytes: &[u8]) {
    let _ = stdout().write_all(bytes);
    let _ = stdout().flush();
}

/// Writes a line to standard output.
pub(super) fn line(text: &str) {
    print(&format!("{text}\n"));
}

/// Writes a line to standard error.
pub(super) fn error(text: &str) {
    let _ = writeln!(stderr(), "{text}");
}

/// Asks a person; `None` when there is none to ask.
pub(super) fn ask(question: &str) -> Option<bool> {
    if !stdin().is_terminal() {
        return None;
    }
    let _ = write!(stderr(), "{question} [y/N] ");
    let mut answer = String::new();
    stdin().read_line(&mut answer).ok()?;
    Some(matches!(answer.trim(), "y" | "Y" | "yes"))
}
