//! A road warrior: Debian's xl2tpd and pppd over its strongSwan, as docs/vpn.md sets a Linux client up.

use std::net::Ipv4Addr;

use anyhow::Result;

use super::{soon, strongswan};
use crate::cloud::Shell;

/// MS-CHAPv2 alone, as a line of pppd's options.
pub const MS_CHAP: &str = "require-mschap-v2";
/// PAP alone.
pub const PAP: &str = "refuse-chap\\nrefuse-mschap\\nrefuse-mschap-v2\\nrefuse-eap";
/// CHAP with MD5 alone.
pub const CHAP: &str = "refuse-pap\\nrefuse-mschap\\nrefuse-mschap-v2\\nrefuse-eap";

/// Whom it calls, and as whom.
#[derive(Clone, Debug)]
pub struct Warrior {
    /// The address of the remote access.
    pub router: Ipv4Addr,
    /// The key of all clients.
    pub key: String,
    /// Who it is.
    pub user: String,
    /// How it proves that.
    pub password: String,
    /// Which way: [`MS_CHAP`], [`CHAP`] or [`PAP`].
    pub method: &'static str,
}

impl Warrior {
    /// IKEv1 in transport mode, as every L2TP client does it.
    pub fn swanctl(&self) -> String {
        let Self { router, key, .. } = self;
        format!(
            "connections {{\n r {{\n  version = 1\n  remote_addrs = {router}\n  proposals = aes256-sha256-modp2048\n  \
             local {{\n   auth = psk\n  }}\n  remote {{\n   auth = psk\n  }}\n  children {{\n   l {{\n    mode = transport\n    \
             local_ts = dynamic[17/1701]\n    remote_ts = dynamic[17/1701]\n    esp_proposals = aes256-sha256,aes256-sha1\n   }}\n  \
             }}\n }}\n}}\nsecrets {{\n ike-r {{\n  secret = \"{key}\"\n }}\n}}"
        )
    }

    /// Files of xl2tpd and pppd, and xl2tpd itself.
    fn daemon(&self) -> String {
        let Self { router, user, password, method, .. } = self;
        format!(
            "mkdir -p /run/xl2tpd /etc/ppp; printf '[global]\\naccess control = no\\n[lac r]\\nlns = {router}\\n\
             pppoptfile = /run/ppp.options\\nlength bit = yes\\nredial = no\\n' >/run/xl2tpd.conf; \
             printf 'name {user}\\npassword \"{password}\"\\n{method}\\nnoauth\\nnoccp\\nnodefaultroute\\nusepeerdns\\n\
             mtu 1400\\nmru 1400\\nlogfile /run/ppp.log\\nlcp-echo-interval 5\\nlcp-echo-failure 4\\n' >/run/ppp.options; \
             (xl2tpd -D -c /run/xl2tpd.conf -p /run/xl2tpd.pid -C /run/xl2tpd/control >/run/xl2tpd.log 2>&1 </dev/null &)"
        )
    }

    /// IPsec first, then L2TP in it. What comes of it shows in [`is_up`].
    pub async fn dial(&self, shell: &dyn Shell, host: &str) -> Result<()> {
        strongswan::start(shell, host).await?;
        strongswan::load(shell, host, &self.swanctl()).await?;
        soon(shell, host, "swanctl --initiate --child l >/run/initiate 2>&1").await?;
        self.call(shell, host).await
    }

    /// L2TP alone, within IPsec that stands.
    pub async fn call(&self, shell: &dyn Shell, host: &str) -> Result<()> {
        shell.done(host, &self.daemon()).await?;
        soon(shell, host, "[ -p /run/xl2tpd/control ]").await?;
        shell.done(host, "echo 'c r' >/run/xl2tpd/control").await.map(drop)
    }
}

/// Waits until the link carries packets: it has its address before it is up, and takes no route in between.
pub async fn is_up(shell: &dyn Shell, host: &str, server: Ipv4Addr) -> Result<()> {
    soon(shell, host, &format!("ip -4 addr show up dev ppp0 | grep -q 'peer {server}'")).await
}

/// A DHCPINFORM over the link, as Windows sends one; prints each route of the answer's options 121 and 249.
const INFORM: &str = r"python3 - <<'END'
import socket, struct, subprocess
said = subprocess.check_output(['ip', '-4', '-o', 'addr', 'show', 'dev', 'ppp0'], text=True)
own = socket.inet_aton(said.split('inet ')[1].split()[0].split('/')[0])
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b'ppp0\0')
s.bind(('0.0.0.0', 68))
s.settimeout(5)
none = bytes(4)
head = struct.pack('!BBBBIHH4s4s4s4s16s64s128s', 1, 8, 6, 0, 7, 0, 0x8000, own, none, none, none, b'', b'', b'')
s.sendto(head + b'c\x82Sc' + bytes([53, 1, 8, 55, 3, 6, 121, 249, 255]), ('255.255.255.255', 67))
reply = s.recv(1500)
at = 240
assert bytes([53, 1, 5]) in reply[at:], reply.hex()
while reply[at] != 255:
    code, length = reply[at], reply[at + 1]
    value = reply[at + 2:at + 2 + length]
    at += 2 + length
    while code in (121, 249) and value:
        octets = (value[0] + 7) // 8
        network = socket.inet_ntoa((value[1:1 + octets] + none)[:4])
        hop = socket.inet_ntoa(value[1 + octets:5 + octets])
        print(code, network + '/' + str(value[0]), hop)
        value = value[5 + octets:]
END";

/// The routes of the router's answer to a DHCPINFORM, each with the number of its option, such as `249 10.1.1.0/24 10.1.9.1`.
pub async fn informed(shell: &dyn Shell, host: &str) -> Result<Vec<String>> {
    Ok(shell.done(host, INFORM).await?.lines().map(str::to_owned).collect())
}

/// Ends the call, as a person does.
pub async fn hang_up(shell: &dyn Shell, host: &str) -> Result<()> {
    shell.done(host, "echo 'd r' >/run/xl2tpd/control").await?;
    is_down(shell, host).await
}

/// Waits until there is no link any more.
pub async fn is_down(shell: &dyn Shell, host: &str) -> Result<()> {
    soon(shell, host, "! ip link show dev ppp0 >/dev/null 2>&1").await
}

/// Ends the daemons, so that [`Warrior::call`] can start them with other files.
pub async fn forget(shell: &dyn Shell, host: &str) -> Result<()> {
    let line = "for p in $(pidof xl2tpd pppd); do kill $p; done; rm -f /run/ppp.log";
    shell.done(host, line).await?;
    soon(shell, host, "! pidof xl2tpd pppd >/dev/null").await?;
    shell.done(host, "rm -f /run/xl2tpd/control").await.map(drop)
}
