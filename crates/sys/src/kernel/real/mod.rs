//! The Linux kernel: links, addresses and routes by netlink, rules by `nft`, settings by `/proc/sys`.
//!
//! Guarantees: one netlink request for each step, so a step takes effect or not; rules are listed anew only when somebody
//! else changed them since our own last commit. Works on the network namespace of the thread that opens it.

mod addresses;
mod announcer;
mod counted;
mod dump;
mod elements;
mod events;
mod generation;
mod guard;
mod links;
mod nft;
mod policy;
mod routes;
mod settings;

use std::collections::BTreeSet;
use std::io;

use async_trait::async_trait;
use rtnetlink::Handle;

use super::{Changes, Kernel, KernelError, Object};
use crate::conntrack::{self, TrackingCounts};
use crate::model::{Keys, Observed, Pulse, Step, SysctlKey};
use crate::nft::eval::Flow;
use crate::nft::{Counters, Script, TableId};

const CONNECTIONS: Object = Object::All("the tracked connections");

pub use guard::Guarded;
pub use nft::NftProgram;

/// The network state of one network namespace.
#[derive(Debug)]
pub struct RealKernel {
    handle: Handle,
    rules: nft::Rules,
    announcer: announcer::Announcer,
}

impl RealKernel {
    /// Opens the kernel of the calling thread's network namespace, with `nft` from the usual places. Needs
    /// `CAP_NET_ADMIN` for everything but looking.
    ///
    /// # Panics
    /// Outside of a tokio runtime with I/O.
    pub fn open() -> Result<Self, KernelError> {
        Self::with_nft(NftProgram::default())
    }

    /// As [`RealKernel::open`], with another `nft`.
    ///
    /// # Panics
    /// Outside of a tokio runtime with I/O.
    pub fn with_nft(program: NftProgram) -> Result<Self, KernelError> {
        let (connection, handle, _) = rtnetlink::new_connection()
            .map_err(|source| failed("open", Object::All("the routing socket"), source))?;
        // it ends when the last handle is dropped
        tokio::spawn(connection);
        let announcer = announcer::Announcer::start(handle.clone());
        Ok(Self { handle, rules: nft::Rules::new(program), announcer })
    }
}

/// A refusal by an operating system call.
fn failed(action: &'static str, object: Object, source: io::Error) -> KernelError {
    KernelError::Refused { action, object, source }
}

/// A refusal by netlink, for `map_err`.
fn refused(action: &'static str, object: Object) -> impl FnOnce(rtnetlink::Error) -> KernelError {
    move |error| KernelError::Refused { action, object, source: io_error(&error) }
}

fn io_error(error: &rtnetlink::Error) -> io::Error {
    match error {
        rtnetlink::Error::NetlinkError(answer) => answer.to_io(),
        other => io::Error::other(other.to_string()),
    }
}

/// `Ok` when the kernel said that there was nothing to remove.
fn gone(answer: Result<(), rtnetlink::Error>, gone: &[i32]) -> Result<(), rtnetlink::Error> {
    match answer {
        Err(error) if io_error(&error).raw_os_error().is_some_and(|no| gone.contains(&no)) => {
            Ok(())
        }
        answer => answer,
    }
}

#[async_trait]
impl Kernel for RealKernel {
    async fn observe(&self, keys: &Keys) -> Result<Observed, KernelError> {
        let rules = async { self.rules.observe(&keys.tables, keys.anew).await };
        let network = async {
            let links = links::list(&self.handle).await?;
            let addresses = addresses::list(&self.handle, &links.names).await?;
            let routes = routes::list(&self.handle, &links.names).await?;
            let policy = policy::list(&self.handle).await?;
            Ok::<_, KernelError>((links.links, addresses, routes, policy))
        };
        let (rules, network) = tokio::join!(rules, network);
        let (nft_generation, tables) = rules?;
        let (links, addresses, routes, policy_rules) = network?;
        let sysctls = settings::read(&keys.sysctls)?;
        Ok(Observed { links, addresses, routes, policy_rules, sysctls, tables, nft_generation })
    }

    async fn pulse(&self, sysctls: &BTreeSet<SysctlKey>) -> Result<Pulse, KernelError> {
        let nft_generation = nft::now()?;
        Ok(Pulse { nft_generation, sysctls: settings::read(sysctls)? })
    }

    async fn check(&self, script: &Script) -> Result<(), KernelError> {
        self.rules.check(script).await
    }

    async fn apply(&self, step: &Step) -> Result<(), KernelError> {
        match step {
            Step::AddAddress { link, address } => {
                addresses::add(&self.handle, link.as_str(), *address).await?;
                self.announcer.tell(link.clone(), address.ip());
                Ok(())
            }
            Step::RemoveAddress { link, address } => {
                addresses::remove(&self.handle, link, *address).await
            }
            Step::AddRoute(route) => routes::add(&self.handle, route).await,
            Step::ChangeRoute { from, to } => routes::change(&self.handle, from, to).await,
            Step::RemoveRoute(route) => routes::remove(&self.handle, route).await,
            Step::AddPolicy(rule) => policy::add(&self.handle, rule).await,
            Step::RemovePolicy(rule) => policy::remove(&self.handle, rule).await,
            Step::SetSysctl { key, to, .. } => settings::write(key, to),
            Step::Rules(script) => self.rules.commit(script).await,
            _ => links::apply(&self.handle, step).await,
        }
    }

    fn changes(&self) -> Result<Changes, KernelError> {
        events::listen()
    }

    async fn counters(&self, table: &TableId) -> Result<Counters, KernelError> {
        self.rules.counters(table).await
    }

    async fn rule_counters(&self, table: &TableId) -> Result<Counters, KernelError> {
        let counted = counted::of_rules(table).await;
        counted.map_err(|source| failed("count", Object::Rules, source))
    }

    async fn leaving(&self, script: &Script, table: &TableId) -> Result<Counters, KernelError> {
        let changes = || script.changes.iter().filter(|(of, _)| of == table).map(|(_, one)| one);
        let everything = |one| counted::leaving(table, one) == counted::Leaving::Everything;
        if changes().any(everything) {
            return self.counters(table).await;
        }
        let mut counters = Counters::default();
        for change in changes() {
            if counted::leaving(table, change) == counted::Leaving::Some {
                let added = counted::add(&mut counters, table, change).await;
                added.map_err(|source| failed("count", Object::Rules, source))?;
            }
        }
        Ok(counters)
    }

    async fn flows(&self) -> Result<Vec<Flow>, KernelError> {
        conntrack::list().await.map_err(|source| failed("list", CONNECTIONS, source))
    }

    async fn end(&self, flow: &Flow) -> Result<(), KernelError> {
        conntrack::end(flow).await.map_err(|source| failed("end one of", CONNECTIONS, source))
    }

    async fn tracking(&self) -> Result<TrackingCounts, KernelError> {
        conntrack::counts().await.map_err(|source| failed("count", CONNECTIONS, source))
    }
}
