//! A set of namespaces and the veth pairs between them.

use sluice_api::types::{LinkName, MacAddr};

use super::command::NsCommand;
use super::error::NetnsError;
use super::namespace::Namespace;
use super::stale;

/// The namespaces of one test. Dropping it takes them away.
#[derive(Debug)]
pub struct Topology {
    namespaces: Vec<Namespace>,
}

/// One end of a veth pair.
#[derive(Debug, Clone)]
pub struct VethEnd<'a> {
    namespace: &'a Namespace,
    link: LinkName,
    mac: Option<MacAddr>,
}

impl<'a> VethEnd<'a> {
    /// The end `link` in `namespace`, with a MAC of the kernel's choice.
    pub fn new(namespace: &'a Namespace, link: LinkName) -> Self {
        Self { namespace, link, mac: None }
    }

    /// Gives it this hardware address.
    #[must_use]
    pub fn mac(mut self, mac: MacAddr) -> Self {
        self.mac = Some(mac);
        self
    }

    fn words(&self) -> Vec<String> {
        let mut words = vec!["name".to_owned(), self.link.to_string()];
        if let Some(mac) = self.mac {
            words.extend(["address".to_owned(), mac.to_string()]);
        }
        words.extend(["netns".to_owned(), self.namespace.full_name().to_owned()]);
        words
    }
}

impl Topology {
    /// An empty topology. Refuses when not root, and takes away what killed processes left.
    pub fn new() -> Result<Self, NetnsError> {
        if !nix::unistd::geteuid().is_root() {
            return Err(NetnsError::NotRoot);
        }
        stale::sweep();
        Ok(Self { namespaces: Vec::new() })
    }

    /// Makes a namespace with its loopback up. Lower-case letters, digits and hyphens; unique in
    /// this process.
    pub fn namespace(&mut self, name: &str) -> Result<Namespace, NetnsError> {
        let made = Namespace::create(name)?;
        self.namespaces.push(made.clone());
        Ok(made)
    }

    /// Joins two namespaces by a veth pair, both ends up.
    pub fn veth(&self, left: &VethEnd<'_>, right: &VethEnd<'_>) -> Result<(), NetnsError> {
        let mut words: Vec<String> = ["ip", "link", "add"].map(str::to_owned).into();
        words.extend(left.words());
        words.extend(["type", "veth", "peer"].map(str::to_owned));
        words.extend(right.words());
        NsCommand::new("", words).check()?;
        [left, right].into_iter().try_for_each(|end| end.namespace.up(&end.link))
    }

    /// The state of every namespace.
    pub fn state(&self) -> String {
        self.namespaces.iter().map(Namespace::state).collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Topology {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.state());
        }
        self.namespaces.iter().for_each(|namespace| stale::delete(namespace.full_name()));
    }
}
