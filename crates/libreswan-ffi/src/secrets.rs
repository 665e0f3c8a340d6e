//! Pre-shared keys as ipsec.secrets(5) has them.

use std::fmt::Write as _;

use crate::name::Peer;

/// A key and who has it.
pub struct Psk<'a> {
    /// Our id.
    pub local: Peer,
    /// The peer's ids and addresses; none: anybody's.
    pub remotes: Vec<Peer>,
    /// The key.
    pub key: &'a [u8],
}

impl Psk<'_> {
    /// The file's content: one line for each peer. The key is written in hexadecimal, in which nothing can end it early.
    pub fn render(&self) -> String {
        let mut key = String::with_capacity(self.key.len() * 2);
        for byte in self.key {
            // writing into a string cannot fail
            let _ = write!(key, "{byte:02x}");
        }
        let line = |remote: &str| format!("{} {remote} : PSK 0x{key}\n", self.local);
        if self.remotes.is_empty() {
            return line("%any");
        }
        self.remotes.iter().map(|remote| line(&remote.to_string())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_cannot_end_its_line() {
        let local: Peer = "198.51.100.10".parse().unwrap();
        let psk = Psk { local: local.clone(), remotes: Vec::new(), key: b"a\"\n: PSK" };
        assert_eq!(psk.render(), "198.51.100.10 %any : PSK 0x61220a3a2050534b\n");
        let remotes = vec!["branch".parse().unwrap(), "203.0.113.9".parse().unwrap()];
        let psk = Psk { local, remotes, key: b"k" };
        let expected = "198.51.100.10 @branch : PSK 0x6b\n198.51.100.10 203.0.113.9 : PSK 0x6b\n";
        assert_eq!(psk.render(), expected);
    }
}
