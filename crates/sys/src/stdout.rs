//! Standard output of commands that talk to a person or a script.
//!
//! Guarantees: a reader that went away (a closed pipe, as behind `| head -1`) is no error and no panic: the command ends
//! quietly, with the exit code that it has anyway. Whatever else keeps the text from being written is an error.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

/// Writes `text` as it is.
pub fn print(text: impl Display) -> io::Result<()> {
    write(&mut io::stdout().lock(), &text.to_string())
}

/// Writes `text` and the end of the line.
pub fn line(text: impl Display) -> io::Result<()> {
    print(format_args!("{text}\n"))
}

fn write(to: &mut impl Write, text: &str) -> io::Result<()> {
    match to.write_all(text.as_bytes()).and_then(|()| to.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Failing(ErrorKind);

    impl Write for Failing {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_went_away_is_no_error_and_a_full_disk_is_one() {
        assert!(write(&mut Failing(ErrorKind::BrokenPipe), "text").is_ok());
        let full = write(&mut Failing(ErrorKind::StorageFull), "text").unwrap_err();
        assert_eq!(full.kind(), ErrorKind::StorageFull);
        let mut written = Vec::new();
        write(&mut written, "text").unwrap();
        assert_eq!(written, b"text");
    }
}
