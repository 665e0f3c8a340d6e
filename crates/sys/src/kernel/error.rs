//! Why the kernel was not as asked.

use std::fmt;
use std::io;

use sluice_api::types::InterfaceAddress;
use thiserror::Error;

use crate::model::{PolicyEntry, RouteEntry, Step, SysctlKey};

/// The thing that an operation was about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Object {
    /// An interface.
    Link(String),
    /// An address on an interface.
    Address(String, InterfaceAddress),
    /// A route.
    Route(Box<RouteEntry>),
    /// A policy rule.
    Policy(Box<PolicyEntry>),
    /// A kernel setting.
    Sysctl(SysctlKey),
    /// The packet tables.
    Rules,
    /// All links, addresses, routes or what else is listed.
    All(&'static str),
}

impl Object {
    /// What a step is about.
    pub fn of(step: &Step) -> Self {
        let link = |name: &dyn fmt::Display| Self::Link(name.to_string());
        match step {
            Step::Rename { from, .. } => link(from),
            Step::DeleteLink { link: name } | Step::SetDown { link: name } => link(name),
            Step::CreateVlan { link: name, .. }
            | Step::SetMac { link: name, .. }
            | Step::SetMtu { link: name, .. }
            | Step::SetUp { link: name } => link(name),
            Step::AddAddress { link, address } => Self::Address(link.to_string(), *address),
            Step::RemoveAddress { link, address } => Self::Address(link.clone(), *address),
            Step::AddRoute(route)
            | Step::RemoveRoute(route)
            | Step::ChangeRoute { to: route, .. } => Self::Route(route.clone().into()),
            Step::AddPolicy(rule) | Step::RemovePolicy(rule) => Self::Policy(rule.clone().into()),
            Step::SetSysctl { key, .. } => Self::Sysctl(key.clone()),
            Step::Rules(_) => Self::Rules,
        }
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link(name) => write!(f, "link {name}"),
            Self::Address(link, address) => write!(f, "address {address} on {link}"),
            Self::Route(route) => write!(f, "route {route}"),
            Self::Policy(rule) => write!(f, "policy rule {rule}"),
            Self::Sysctl(key) => write!(f, "kernel setting {key}"),
            Self::Rules => f.write_str("packet rules"),
            Self::All(what) => f.write_str(what),
        }
    }
}

/// Why an operation failed.
#[derive(Debug, Error)]
pub enum KernelError {
    /// The kernel said no.
    #[error("cannot {action} {object}")]
    Refused {
        /// What was tried: `add`, `set up`.
        action: &'static str,
        /// On what.
        object: Object,
        /// The kernel's reason.
        source: io::Error,
    },
    /// What the step is about, or depends on, is not there.
    #[error("cannot {action} {object}: there is no {missing}")]
    Missing {
        /// What was tried.
        action: &'static str,
        /// On what.
        object: Object,
        /// What is missing.
        missing: Object,
    },
    /// `nft` refused the script; it is our mistake, or the rules changed between looking and changing.
    #[error("nft refused the rules: {said}")]
    Nft {
        /// nft's own words, cut to a screenful.
        said: String,
    },
    /// `nft` could not be run.
    #[error("cannot run {program}")]
    Run {
        /// The program.
        program: String,
        /// Why not.
        source: io::Error,
    },
    /// `nft` or the kernel answered in a way that we do not understand.
    #[error("cannot understand what {from} says about {object}: {detail}")]
    Answer {
        /// Who answered.
        from: &'static str,
        /// About what.
        object: Object,
        /// What was wrong.
        detail: String,
    },
}

impl KernelError {
    /// True when looking again and trying again can help: the state changed meanwhile, or the kernel was short of
    /// something. False when the same request would be refused again.
    pub fn retryable(&self) -> bool {
        match self {
            Self::Refused { source, .. } | Self::Run { source, .. } => passing(source),
            Self::Missing { .. } | Self::Nft { .. } => true,
            Self::Answer { .. } => false,
        }
    }

    /// The kernel's error number, if it gave one.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Refused { source, .. } | Self::Run { source, .. } => source.raw_os_error(),
            _ => None,
        }
    }
}

fn passing(error: &io::Error) -> bool {
    const PASSING: &[i32] = &[
        libc::EAGAIN,
        libc::EBUSY,
        libc::EEXIST,
        libc::EINTR,
        libc::ENETDOWN,
        libc::ENETUNREACH,
        libc::ENOBUFS,
        libc::ENODEV,
        libc::ENOENT,
        libc::ENOMEM,
        libc::ESRCH,
        libc::ETIMEDOUT,
    ];
    error.raw_os_error().is_some_and(|errno| PASSING.contains(&errno))
}
