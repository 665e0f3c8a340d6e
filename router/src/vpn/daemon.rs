//! The daemons of the tunnels as the agent starts them.
//!
//! Which IKE daemon there is follows from the image: it has the programs of one.
//!
//! charon holds the keys and puts associations into the kernel, so it has CAP_NET_ADMIN, and nothing else has its socket but
//! the process that drives it. The L2TP server reads what clients send and makes links for them; it has CAP_NET_ADMIN too,
//! for the kernel knows no smaller right for that, and a file system that holds `/dev/ppp` and nothing besides. pluto is no
//! service of its own: its control socket asks nobody who he is, its files hold the keys, and it wants a database before it
//! starts. So it is a child of the process that drives it, which has its rights.

use std::path::{Path, PathBuf};
use std::time::Duration;

use libreswan_ffi::Programs;
use sluice_agent::service::state_folder;
use sluice_agent::{ServiceName, ServiceSpec};
use sluice_sys::process::{Capability, Profile, View};

use super::ike::service::FAILURES;
use super::ike::strongswan::Strongswan;
use super::ike::{IkeEngine, Libreswan};

/// The IKE daemon.
pub const CHARON: ServiceName = ServiceName("charon");
/// The process that drives it.
pub const IKE: ServiceName = ServiceName("ike");
/// The L2TP server.
pub const L2TP: ServiceName = ServiceName("l2tp");

/// Users of the image; nothing else on the box has them.
pub(crate) const CHARON_USER: u32 = 64_020;
pub(crate) const IKE_USER: u32 = 64_021;
pub(crate) const L2TP_USER: u32 = 64_022;

/// Debian's charon with plugins, all of which are in the image (image/lists/files.txt).
const PROGRAM: &str = "/usr/sbin/charon-systemd";
const PLUGINS: &str = "/usr/lib/ipsec";
/// charon's settings, in its folder.
const SETTINGS: &str = "strongswan.conf";
/// Plugins: the kernel, sockets, VICI, and OpenSSL for all algorithms.
const LOADED: &str = "random nonce openssl kernel-netlink socket-default vici";

/// Debian's libreswan, and what pluto looks at besides its files: random numbers, and whether the kernel has IPsec.
const PLUTO: &str = "/usr/libexec/ipsec";
const CERTUTIL: &str = "/usr/bin/certutil";
const PLUTO_READS: [&str; 2] = ["/dev/urandom", "/proc/sys/net/core/xfrm_acq_expires"];
/// Its first start makes a database, and NSS and pluto test each of their ciphers before they answer: a second on hardware, more
/// than ten on an emulated machine. The process that drives it waits for it for 30 s, and says why when that was not enough.
const PLUTO_PATIENCE: Duration = Duration::from_secs(40);

/// Devices of clients' links: the kernel's, and those that stand in for them where the kernel has no L2TP.
const DEVICES: [&str; 2] = ["/dev/ppp", "/dev/net/tun"];

/// The IKE daemon of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// strongSwan's charon.
    Strongswan,
    /// libreswan's pluto.
    Libreswan,
}

impl Engine {
    /// The one whose programs are here.
    pub fn here() -> Self {
        if Path::new(PLUTO).exists() { Self::Libreswan } else { Self::Strongswan }
    }

    /// How an appliance names it among its capabilities.
    pub const fn capability(self) -> &'static str {
        match self {
            Self::Strongswan => "ike-strongswan",
            Self::Libreswan => "ike-libreswan",
        }
    }

    /// Drives it; called within the process [`IKE`].
    pub fn drive(self) -> std::io::Result<Box<dyn IkeEngine>> {
        Ok(match self {
            Self::Strongswan => Box::new(Strongswan::new(&socket())),
            Self::Libreswan => Box::new(Libreswan::new(pluto(), &state_folder(IKE).join("pluto"))?),
        })
    }
}

fn pluto() -> Programs {
    Programs { folder: PLUTO.into(), certutil: CERTUTIL.into() }
}

/// charon's control socket.
pub fn socket() -> PathBuf {
    state_folder(CHARON).join("charon.vici")
}

/// The specification of `name`, if it is one of ours.
pub fn service(name: ServiceName) -> Option<ServiceSpec> {
    match name {
        CHARON => Some(charon()),
        IKE => Some(ike(Engine::here())),
        L2TP => Some(ServiceSpec {
            profile: Profile::TunnelService,
            writes: DEVICES.map(PathBuf::from).into_iter().filter(|path| path.exists()).collect(),
            ..ServiceSpec::own(L2TP_USER)
                .with_capabilities([Capability::NetAdmin, Capability::NetBindService])
        }),
        _ => None,
    }
}

fn ike(engine: Engine) -> ServiceSpec {
    let counts = Some(PathBuf::from(FAILURES)).filter(|path| path.exists());
    match engine {
        Engine::Strongswan => ServiceSpec {
            groups: vec![CHARON_USER],
            reads: counts.into_iter().chain([state_folder(CHARON)]).collect(),
            ..ServiceSpec::own(IKE_USER)
        },
        Engine::Libreswan => {
            let programs = [PLUTO, CERTUTIL].into_iter().chain(PLUTO_READS).map(PathBuf::from);
            ServiceSpec {
                profile: Profile::ForeignDaemon,
                reads: View::libraries().read.into_iter().chain(programs).chain(counts).collect(),
                state: true,
                patience: PLUTO_PATIENCE,
                ..ServiceSpec::own(IKE_USER)
            }
            .with_capabilities([Capability::NetAdmin, Capability::NetBindService])
        }
    }
}

fn charon() -> ServiceSpec {
    let settings = state_folder(CHARON).join(SETTINGS);
    ServiceSpec {
        environment: vec![("STRONGSWAN_CONF".into(), settings.into())],
        files: vec![(SETTINGS.into(), settings_of_charon())],
        reads: vec![PLUGINS.into()],
        ..ServiceSpec::foreign(PROGRAM, CHARON_USER, socket())
            .with_capabilities([Capability::NetAdmin, Capability::NetBindService])
    }
}

/// strongswan.conf(5). Routes follow from the policies; a peer that does not answer is given up after half a minute, and
/// whoever drives the daemon tries again; the log goes by VICI, which names the connection.
fn settings_of_charon() -> String {
    let lines = [
        "charon-systemd {".to_owned(),
        format!("  load = {LOADED}"),
        "  install_routes = no".to_owned(),
        "  install_virtual_ip = no".to_owned(),
        "  threads = 16".to_owned(),
        "  ikesa_table_size = 256".to_owned(),
        "  retransmit_tries = 4".to_owned(),
        "  retransmit_timeout = 2.0".to_owned(),
        "  retransmit_base = 1.6".to_owned(),
        "  half_open_timeout = 30".to_owned(),
        // clients behind one NAT are many peers of one address
        "  block_threshold = 50".to_owned(),
        "  cookie_threshold = 100".to_owned(),
        "  send_vendor_id = no".to_owned(),
        "  journal {".to_owned(),
        "    default = -1".to_owned(),
        "  }".to_owned(),
        "  filelog {".to_owned(),
        "    stderr {".to_owned(),
        "      default = -1".to_owned(),
        "      lib = 0".to_owned(),
        "      dmn = 0".to_owned(),
        "    }".to_owned(),
        "  }".to_owned(),
        "  plugins {".to_owned(),
        "    vici {".to_owned(),
        format!("      socket = unix://{}", socket().display()),
        "    }".to_owned(),
        "  }".to_owned(),
        "}".to_owned(),
    ];
    lines.join("\n") + "\n"
}
