//! How a proxy and a guest's screen may be sure of each other, and which of several ways is taken.

pub use sluice_api::config::Unencrypted;

/// A way to authenticate, the strongest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Security {
    /// VeNCrypt: TLS with a certificate, then user and password.
    X509Plain,
    /// VeNCrypt: TLS with a certificate, then VNC authentication.
    X509Vnc,
    /// VeNCrypt: TLS with a certificate, and nothing more.
    X509None,
    /// VNC authentication, unencrypted.
    VncAuthentication,
    /// Nothing at all.
    None,
}

/// All of them, the strongest first.
pub(crate) const ALL: [Security; 5] = [
    Security::X509Plain,
    Security::X509Vnc,
    Security::X509None,
    Security::VncAuthentication,
    Security::None,
];

/// Number of the security type VeNCrypt, which has subtypes.
pub(super) const VENCRYPT: u8 = 19;

/// Numbers of types and of VeNCrypt's subtypes, with the names that people know, for a log.
pub(super) fn named(offered: impl Iterator<Item = u32>) -> String {
    let one = |number: u32| {
        let name = match number {
            1 => "none",
            2 => "VNC authentication",
            19 => "VeNCrypt",
            256 => "Plain",
            257 => "TLSNone",
            258 => "TLSVnc",
            259 => "TLSPlain",
            260 => "X509None",
            261 => "X509Vnc",
            262 => "X509Plain",
            _ => return number.to_string(),
        };
        format!("{number} ({name})")
    };
    offered.map(one).collect::<Vec<_>>().join(", ")
}

impl Security {
    /// Its number among the security types; those inside VeNCrypt share one.
    pub(super) fn number(self) -> u8 {
        match self {
            Self::X509Plain | Self::X509Vnc | Self::X509None => VENCRYPT,
            Self::VncAuthentication => 2,
            Self::None => 1,
        }
    }

    /// Its number among VeNCrypt's subtypes. TLSNone, TLSVnc and TLSPlain (257 to 259) use TLS without a certificate,
    /// which proves nothing to anybody, so they have no place here.
    pub(super) fn subtype(self) -> Option<u32> {
        match self {
            Self::X509None => Some(260),
            Self::X509Vnc => Some(261),
            Self::X509Plain => Some(262),
            Self::VncAuthentication | Self::None => None,
        }
    }

    /// As people know it.
    pub fn name(self) -> &'static str {
        match self {
            Self::X509Plain => "X509Plain",
            Self::X509Vnc => "X509Vnc",
            Self::X509None => "X509None",
            Self::VncAuthentication => "VNC authentication",
            Self::None => "none",
        }
    }

    /// Whether the connection is encrypted and the server's certificate proved.
    pub fn is_encrypted(self) -> bool {
        self.subtype().is_some()
    }
}

/// What is allowed towards one server.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Rules {
    /// Its certificate can be checked, so TLS may be used.
    pub tls: bool,
    /// What may be done without TLS.
    pub unencrypted: Unencrypted,
    /// User name of X509Plain.
    pub user: Option<Vec<u8>>,
    /// Password of X509Plain, X509Vnc and VNC authentication.
    pub password: Option<Vec<u8>>,
}

impl std::fmt::Debug for Rules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Rules(tls {}, unencrypted {:?})", self.tls, self.unencrypted)
    }
}

impl Rules {
    /// Whether `security` may be used: the policy allows it, and what it asks for is known.
    pub fn allow(&self, security: Security) -> bool {
        match security {
            Security::X509Plain => self.tls && self.user.is_some() && self.password.is_some(),
            Security::X509Vnc => self.tls && self.password.is_some(),
            Security::X509None => self.tls,
            Security::VncAuthentication => {
                self.unencrypted >= Unencrypted::Password && self.password.is_some()
            }
            Security::None => self.unencrypted == Unencrypted::Anything,
        }
    }

    /// The strongest allowed whose number is offered.
    pub(super) fn strongest(&self, offered: impl Fn(Security) -> bool) -> Option<Security> {
        ALL.into_iter().find(|security| self.allow(*security) && offered(*security))
    }
}
