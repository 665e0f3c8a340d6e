//! Debian's strongSwan on a test host.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use anyhow::Result;

use super::soon;
use crate::cloud::Shell;

/// charon without systemd, with its log in a file.
const START: &str = r"cat > /etc/strongswan.conf <<'END'
charon-systemd {
  journal {
    default = -1
  }
  filelog {
    f {
      path = /run/charon.log
      default = 1
      flush_line = yes
    }
  }
  plugins {
    include strongswan.d/charon/*.conf
  }
}
END
(charon-systemd >/run/charon.out 2>&1 </dev/null &)";

/// One end of a site-to-site tunnel, as its administrator writes it down.
#[derive(Clone, Debug)]
pub struct Site {
    /// Its own address.
    pub address: Ipv4Addr,
    /// The router's.
    pub router: Ipv4Addr,
    /// The network behind it.
    pub network: String,
    /// The router's networks.
    pub remote: String,
    /// Version of IKE; 0: either.
    pub version: u8,
    /// Algorithms of the first phase.
    pub ike: String,
    /// Algorithms of the second.
    pub esp: String,
    /// The pre-shared key.
    pub key: String,
}

impl Site {
    /// The file, as swanctl.conf(5) has it.
    pub fn swanctl(&self) -> String {
        let Self { address, router, network, remote, version, ike, esp, key } = self;
        let mut text = String::new();
        // writing into a string cannot fail
        let _ = write!(
            text,
            "connections {{\n r {{\n  version = {version}\n  local_addrs = {address}\n  remote_addrs = {router}\n  \
             proposals = {ike}\n  local {{\n   auth = psk\n  }}\n  remote {{\n   id = {router}\n   auth = psk\n  }}\n  children {{\n   n {{\n    \
             local_ts = {network}\n    remote_ts = {remote}\n    esp_proposals = {esp}\n   }}\n  }}\n }}\n}}\n\
             secrets {{\n ike-r {{\n  id = {router}\n  secret = \"{key}\"\n }}\n}}"
        );
        text
    }
}

/// Starts charon.
pub async fn start(shell: &dyn Shell, host: &str) -> Result<()> {
    shell.done(host, START).await?;
    soon(shell, host, "swanctl --stats >/dev/null 2>&1").await
}

/// Ends it without a word to anybody, as a power cut does.
pub async fn kill(shell: &dyn Shell, host: &str) -> Result<()> {
    let line = "kill -9 $(pidof charon-systemd); rm -f /run/charon.vici; ip xfrm state flush; ip xfrm policy flush";
    shell.done(host, line).await.map(drop)
}

/// Loads a configuration in place of the one before.
pub async fn load(shell: &dyn Shell, host: &str, swanctl: &str) -> Result<()> {
    let line = format!(
        "cat > /etc/swanctl/swanctl.conf <<'END'\n{swanctl}\nEND\nswanctl --load-all --clear >/run/load 2>&1 || (cat /run/load; exit 1)"
    );
    shell.done(host, &line).await.map(drop)
}
