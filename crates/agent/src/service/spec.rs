//! What a service is: which program, as whom, with which rights, files and limits, and when it counts as ready.
//!
//! Guarantees: what is not said is not there. A service of ours is this same binary with the control channel of
//! [`super::protocol`]; a daemon of others is any program, which is ready when it listens on a socket of its own.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sluice_sys::packet::{ARP, ETHERNET, EthernetSender, FrameSocket};
use sluice_sys::process::{Capability, Handed, Limits, Profile, View, as_file_user};

use crate::appliance::ServiceName;

/// How long a service may take to bring a slice into force; ten thousand guests take milliseconds.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Below it each service that has one has a folder of its own, in RAM.
const STATE: &str = "/run/sluice/services";

/// A service as the agent starts it.
#[derive(Clone, Debug)]
pub struct ServiceSpec {
    /// What runs.
    pub program: Program,
    /// Environment; nothing is inherited.
    pub environment: Vec<(OsString, OsString)>,
    /// User and group id; not 0 for a service of ours. Nothing else on the machine has it, unless two services are to
    /// share their files.
    pub user: u32,
    /// Groups besides: the user number of another service whose socket this one opens.
    pub groups: Vec<u32>,
    /// Capabilities kept.
    pub capabilities: Vec<Capability>,
    /// System calls allowed.
    pub profile: Profile,
    /// Most descriptors, memory, processes.
    pub limits: Limits,
    /// Files and folders that it may read, besides its program and that one's libraries.
    pub reads: Vec<PathBuf>,
    /// Files and folders that it may write.
    pub writes: Vec<PathBuf>,
    /// Sockets that it is given, since it has no right to open them.
    pub sockets: Vec<OpenedSocket>,
    /// Its own folder: made before it starts, writable by it alone, gone with the machine's RAM. See [`state_folder`].
    pub state: bool,
    /// Files that are written into its folder before it starts; it may read them and not change them.
    pub files: Vec<(PathBuf, String)>,
    /// When it is ready.
    pub readiness: Readiness,
    /// How long it may take to bring a slice into force, its own start included; [`PATIENCE`] unless said otherwise.
    pub patience: Duration,
    /// It hands its listening sockets on: the agent keeps copies ([`super::Service::listening`]), which a process that is
    /// started after a crash finds ([`super::kept`]); and a process of another build serves on until this one has taken
    /// its sockets over, and ends with its last connection. A service that says this takes over by itself.
    pub hands_over: bool,
}

/// What runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Program {
    /// The appliance's own binary, as `service NAME`.
    Own,
    /// Another program, with its arguments and the libraries of the system.
    Foreign(PathBuf, Vec<OsString>),
}

/// A socket that the agent opens for a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenedSocket {
    /// Sends IPv4 packets to given Ethernet addresses and hears nothing ([`EthernetSender`]).
    Ethernet,
    /// Hears ARP on a device that it is bound to, and nothing else ([`FrameSocket`]); as many at once as are given.
    Arp,
}

impl OpenedSocket {
    /// Opens it as `user`'s: what is sent by it counts as that user's, whom packet rules know.
    pub(crate) fn open(self, user: u32) -> std::io::Result<Handed> {
        as_file_user(user, || self.open_here())
    }

    fn open_here(self) -> std::io::Result<Handed> {
        match self {
            Self::Ethernet => {
                let socket = EthernetSender::deaf_socket()?.into();
                Ok(Handed { name: ETHERNET, socket })
            }
            Self::Arp => Ok(Handed { name: ARP, socket: FrameSocket::arp_socket()?.into() }),
        }
    }
}

/// When a service is ready, and how it is told what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// It takes slices over the control channel and says of each when it is in force.
    Protocol,
    /// It is ready when it listens on this socket. It is told nothing: its files are all the configuration it gets from us, and
    /// some service of ours speaks to the socket. Another slice does not restart it.
    Socket(PathBuf),
}

/// The folder of a service that has [`ServiceSpec::state`].
pub fn state_folder(name: ServiceName) -> PathBuf {
    Path::new(STATE).join(name.0)
}

impl ServiceSpec {
    /// A service of ours: a network service without rights or files.
    pub fn own(user: u32) -> Self {
        Self {
            program: Program::Own,
            environment: Vec::new(),
            user,
            groups: Vec::new(),
            capabilities: Vec::new(),
            profile: Profile::NetworkService,
            limits: Limits::default(),
            reads: Vec::new(),
            writes: Vec::new(),
            sockets: Vec::new(),
            state: false,
            files: Vec::new(),
            readiness: Readiness::Protocol,
            patience: PATIENCE,
            hands_over: false,
        }
    }

    /// A daemon of others, ready when `socket` exists; it has a folder of its own.
    pub fn foreign(program: impl Into<PathBuf>, user: u32, socket: impl Into<PathBuf>) -> Self {
        Self {
            program: Program::Foreign(program.into(), Vec::new()),
            profile: Profile::ForeignDaemon,
            state: true,
            readiness: Readiness::Socket(socket.into()),
            ..Self::own(user)
        }
    }

    /// With these capabilities.
    #[must_use]
    pub fn with_capabilities(mut self, capabilities: impl Into<Vec<Capability>>) -> Self {
        self.capabilities = capabilities.into();
        self
    }

    /// What the process sees of the file system, apart from its program.
    ///
    /// Errors: the kernel does not say which libraries we have loaded.
    pub(crate) fn view(&self, name: ServiceName) -> std::io::Result<View> {
        let libraries = match self.program {
            Program::Own => View::own_libraries()?,
            Program::Foreign(..) => View::libraries(),
        };
        let state = self.state.then(|| state_folder(name));
        Ok(libraries.reading(self.reads.clone()).writing(self.writes.clone()).writing(state))
    }
}
