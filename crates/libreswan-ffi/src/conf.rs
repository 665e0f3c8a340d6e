//! Connections as ipsec.conf(5) has them.

use std::fmt;
use std::net::IpAddr;

use crate::name::{Name, Peer};

/// IKE of a connection. libreswan's connections have one version each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// 1, main mode.
    V1,
    /// 2.
    V2,
}

/// What a connection carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Traffic {
    /// Packets between two networks, such as `10.1.1.0/24`, whole.
    Tunnel {
        /// Ours.
        local: Subnet,
        /// The peer's.
        remote: Subnet,
    },
    /// UDP of the ends themselves, in transport mode: L2TP. Our port; the peer's is any.
    Transport {
        /// Our UDP port.
        port: u16,
    },
}

/// A network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subnet {
    /// Its address.
    pub address: IpAddr,
    /// Its length in bits.
    pub prefix: u8,
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// Encryption algorithms by libreswan's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cipher {
    /// AES-CBC with so many bits.
    Aes(u16),
    /// AES-GCM, 16 octets of integrity, with so many bits.
    AesGcm(u16),
    /// 3DES-CBC.
    TripleDes,
}

/// Hash algorithms by libreswan's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Integrity {
    /// MD5.
    Md5,
    /// SHA-1.
    Sha1,
    /// SHA-2 of so many bits.
    Sha2(u16),
}

/// One set of algorithms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// Encryption.
    pub cipher: Cipher,
    /// Integrity or, with GCM in the first phase, the pseudo-random function.
    pub integrity: Option<Integrity>,
    /// Diffie-Hellman group by number.
    pub group: Option<u8>,
}

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.cipher {
            Cipher::Aes(bits) => write!(f, "aes{bits}")?,
            Cipher::AesGcm(bits) => write!(f, "aes_gcm{bits}")?,
            Cipher::TripleDes => f.write_str("3des")?,
        }
        match self.integrity {
            Some(Integrity::Md5) => f.write_str("-md5")?,
            Some(Integrity::Sha1) => f.write_str("-sha1")?,
            Some(Integrity::Sha2(bits)) => write!(f, "-sha2_{bits}")?,
            None => (),
        }
        self.group.map_or(Ok(()), |group| write!(f, ";dh{group}"))
    }
}

/// A connection: one tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conn {
    /// Its name.
    pub name: Name,
    /// IKE.
    pub version: Version,
    /// Our address.
    pub local: IpAddr,
    /// How we name ourselves.
    pub local_id: Peer,
    /// The peer's address; `None`: any.
    pub remote: Option<IpAddr>,
    /// How the peer names itself; `None`: as it likes.
    pub remote_id: Option<Peer>,
    /// What it carries.
    pub traffic: Traffic,
    /// First phase, the best first; at least one.
    pub ike: Vec<Proposal>,
    /// Second phase; the group of the first one is that of perfect forward secrecy.
    pub esp: Vec<Proposal>,
    /// Lifetimes in seconds.
    pub ike_lifetime: u32,
    /// Of the second phase.
    pub esp_lifetime: u32,
    /// Silence after which the peer is asked, and after which it is given up, in seconds.
    pub dpd: Option<(u32, u32)>,
    /// Wrap ESP in UDP always.
    pub force_encapsulation: bool,
}

impl Conn {
    /// The file that holds this connection and nothing else.
    pub fn render(&self) -> String {
        let mut out = format!("conn {}\n", self.name);
        for (key, value) in self.settings() {
            out.push_str(&format!("\t{key}={value}\n"));
        }
        out
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        let any = || "%any".to_owned();
        let version = match self.version {
            Version::V1 => "ikev1",
            Version::V2 => "ikev2",
        };
        let mut all = vec![
            ("keyexchange", version.to_owned()),
            ("authby", "secret".to_owned()),
            // loaded by name and begun from outside
            ("auto", "ignore".to_owned()),
            // routes follow from policies, and there is no shell to run the usual program
            ("leftupdown", "%disabled".to_owned()),
            ("left", self.local.to_string()),
            ("leftid", self.local_id.to_string()),
            ("right", self.remote.map_or_else(any, |address| address.to_string())),
        ];
        if let Some(id) = &self.remote_id {
            all.push(("rightid", id.to_string()));
        }
        all.extend(self.carried());
        all.extend([
            ("ike", joined(&self.ike)),
            ("esp", joined(&self.esp)),
            ("pfs", yes(self.esp.first().is_some_and(|esp| esp.group.is_some()))),
            ("ikelifetime", format!("{}s", self.ike_lifetime)),
            ("salifetime", format!("{}s", self.esp_lifetime)),
            ("rekeymargin", format!("{}s", self.margin())),
            ("rekeyfuzz", "0%".to_owned()),
            ("encapsulation", if self.force_encapsulation { "yes" } else { "auto" }.to_owned()),
        ]);
        if let Some((delay, timeout)) = self.dpd {
            all.push(("dpddelay", format!("{delay}s")));
            if self.version == Version::V1 {
                all.push(("dpdtimeout", format!("{timeout}s")));
            }
        }
        all
    }

    /// How long before the end of its keys pluto asks for new ones, in seconds; it has one figure for both phases. Two fifths of the
    /// shorter lifetime: as the side that answered last time it waits until half of that is left, which is still sooner than the
    /// last fifth, when others ask. For when pluto is asked, packets can be lost: it sends by the new keys before its answer has
    /// reached the peer. When it asks none is.
    fn margin(&self) -> u32 {
        self.ike_lifetime.min(self.esp_lifetime) / 5 * 2
    }

    fn carried(&self) -> Vec<(&'static str, String)> {
        match &self.traffic {
            Traffic::Tunnel { local, remote } => vec![
                ("type", "tunnel".to_owned()),
                ("leftsubnet", local.to_string()),
                ("rightsubnet", remote.to_string()),
            ],
            Traffic::Transport { port } => vec![
                ("type", "transport".to_owned()),
                ("leftprotoport", format!("17/{port}")),
                ("rightprotoport", "17/%any".to_owned()),
            ],
        }
    }
}

fn yes(is: bool) -> String {
    if is { "yes" } else { "no" }.to_owned()
}

fn joined(proposals: &[Proposal]) -> String {
    proposals.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// The daemon's own settings: nothing but the connections that are loaded by name, IKEv1 allowed, several peers of one id. No
/// records for the kernel's audit: pluto may not write them, and aborts at the first one that fails, which is when a peer has
/// proved itself.
pub fn setup() -> &'static str {
    "config setup\n\tikev1-policy=accept\n\tuniqueids=no\n\taudit-log=no\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proposal(group: Option<u8>) -> Proposal {
        Proposal { cipher: Cipher::Aes(256), integrity: Some(Integrity::Sha2(256)), group }
    }

    #[test]
    fn a_tunnel_as_the_manual_writes_it() {
        let network = |text: &str, prefix| Subnet { address: text.parse().unwrap(), prefix };
        let conn = Conn {
            name: "s2s-c-1-1".parse().unwrap(),
            version: Version::V2,
            local: "198.51.100.10".parse().unwrap(),
            local_id: "198.51.100.10".parse().unwrap(),
            remote: Some("203.0.113.9".parse().unwrap()),
            remote_id: Some("branch".parse().unwrap()),
            traffic: Traffic::Tunnel {
                local: network("10.1.1.0", 24),
                remote: network("172.16.1.0", 24),
            },
            ike: vec![proposal(Some(14)), proposal(Some(19))],
            esp: vec![proposal(Some(14))],
            ike_lifetime: 86400,
            esp_lifetime: 3600,
            dpd: Some((30, 120)),
            force_encapsulation: false,
        };
        let expected = "conn s2s-c-1-1\n\tkeyexchange=ikev2\n\tauthby=secret\n\tauto=ignore\n\
            \tleftupdown=%disabled\n\tleft=198.51.100.10\n\tleftid=198.51.100.10\n\
            \tright=203.0.113.9\n\trightid=@branch\n\ttype=tunnel\n\tleftsubnet=10.1.1.0/24\n\
            \trightsubnet=172.16.1.0/24\n\tike=aes256-sha2_256;dh14,aes256-sha2_256;dh19\n\
            \tesp=aes256-sha2_256;dh14\n\tpfs=yes\n\tikelifetime=86400s\n\tsalifetime=3600s\n\
            \trekeymargin=1440s\n\trekeyfuzz=0%\n\tencapsulation=auto\n\tdpddelay=30s\n";
        assert_eq!(conn.render(), expected);
        let clients = Conn {
            version: Version::V1,
            remote: None,
            remote_id: None,
            traffic: Traffic::Transport { port: 1701 },
            esp: vec![proposal(None)],
            ..conn
        };
        let text = clients.render();
        for line in [
            "right=%any",
            "type=transport",
            "leftprotoport=17/1701",
            "rightprotoport=17/%any",
            "pfs=no",
            "esp=aes256-sha2_256",
            "dpdtimeout=120s",
        ] {
            assert!(text.lines().any(|found| found.trim() == line), "{line} in\n{text}");
        }
    }

    #[test]
    fn proposals_by_their_names() {
        let text = |cipher, integrity, group| Proposal { cipher, integrity, group }.to_string();
        assert_eq!(text(Cipher::TripleDes, Some(Integrity::Md5), Some(5)), "3des-md5;dh5");
        assert_eq!(text(Cipher::AesGcm(128), None, None), "aes_gcm128");
        assert_eq!(text(Cipher::Aes(192), Some(Integrity::Sha1), None), "aes192-sha1");
    }
}
