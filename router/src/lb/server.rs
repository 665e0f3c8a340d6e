//! The running service: threads, listening sockets, rules, checks; and changes of them.
//!
//! Guarantees: [`Server::apply`] brings a slice into force whole or not at all; when it returns, every address is
//! listened on and every new connection (in HTTP: every new request) is handled by it. What a change does not name is not
//! touched: sockets, connections, counters, health, bindings of clients.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;

use sluice_api::check::balancer::alone;
use sluice_api::config::balancer::{Balancer, Health, ProxyProtocol};
use sluice_api::types::ObjectId;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::{AbortHandle, JoinHandle};
use tracing::info;

use super::accept::Listening;
use super::health;
use super::http::pool;
use super::live::{LiveMember, Policy, Rule};
use super::memory::Memory;
use super::report::Report;
use super::session::{SWEEP, Sessions};
use super::slice::LbSlice;
use super::tls::ServerTls;

/// Most threads by default: a router has better uses for further processors.
const MAX_WORKERS: usize = 4;

/// The service.
pub struct Server {
    workers: Vec<Worker>,
    rules: BTreeMap<ObjectId, Arc<Rule>>,
    listening: BTreeMap<SocketAddr, Open>,
    checks: BTreeMap<(ObjectId, u64, SocketAddr), Checked>,
}

/// A thread that serves connections.
struct Worker {
    handle: Handle,
    sessions: Arc<Sessions>,
    /// Ends the thread when dropped.
    _stop: oneshot::Sender<()>,
}

/// A socket and the tasks that accept from it.
struct Open {
    listening: Arc<Listening>,
    tasks: Vec<JoinHandle<()>>,
}

/// A member's checks: how, and the task.
struct Checked {
    health: Health,
    proxy: Option<ProxyProtocol>,
    task: AbortHandle,
}

impl Drop for Checked {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// Starts `workers` threads, or as many as there are processors for 0; nothing is served before [`Server::apply`].
    ///
    /// Errors: the system has no room for a thread.
    pub fn start(workers: usize) -> io::Result<Self> {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        let number = if workers == 0 { processors.min(MAX_WORKERS) } else { workers };
        let workers = (0..number).map(Worker::start).collect::<io::Result<_>>()?;
        let (rules, listening, checks) = Default::default();
        Ok(Self { workers, rules, listening, checks })
    }

    /// Brings `slice` into force.
    ///
    /// Errors, after which the former one is still in force: a rule contradicts itself or another, a certificate is
    /// missing or unusable, an address cannot be listened on.
    pub async fn apply(&mut self, slice: &LbSlice) -> Result<(), String> {
        let findings = alone(&slice.balancers);
        if !findings.is_empty() {
            let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
            return Err(lines.join("; "));
        }
        let policies = self.policies(slice)?;
        let rules = self.rules_for(policies);
        let opened = self.open(&rules)?;
        self.commit(rules, opened).await;
        info!(rules = self.rules.len(), "load balancing in force");
        Ok(())
    }

    /// What is in force, and how it goes.
    pub fn report(&self) -> Report {
        Report::of(self.rules.values().map(Arc::as_ref))
    }

    fn policies(&self, slice: &LbSlice) -> Result<Vec<Policy>, String> {
        let each = slice.balancers.iter().map(|spec| {
            let former = self.rules.get(&spec.id).map(|rule| rule.policy());
            policy(spec, slice, former.as_deref())
        });
        each.collect()
    }

    /// Rules that stay keep what they are; their policies are not in force yet.
    fn rules_for(&self, policies: Vec<Policy>) -> Vec<(Arc<Rule>, Option<Policy>)> {
        let each = policies.into_iter().map(|policy| {
            let id = policy.spec.id.clone();
            match self.rules.get(&id) {
                Some(rule) => (Arc::clone(rule), Some(policy)),
                None => (Arc::new(Rule::new(id, policy)), None),
            }
        });
        each.collect()
    }

    /// Opens what is not open yet; all of it or, with the reason, nothing.
    fn open(
        &self,
        rules: &[(Arc<Rule>, Option<Policy>)],
    ) -> Result<BTreeMap<SocketAddr, Arc<Listening>>, String> {
        let mut opened = BTreeMap::new();
        for (rule, policy) in rules {
            let Some(address) = address_of(rule, policy.as_ref()) else { continue };
            if !self.listening.contains_key(&address) {
                let listening = Listening::open(address, Arc::clone(rule)).map_err(|error| {
                    format!("rule {}: cannot listen on {address}: {error}", rule.id)
                })?;
                opened.insert(address, Arc::new(listening));
            }
        }
        Ok(opened)
    }

    async fn commit(
        &mut self,
        rules: Vec<(Arc<Rule>, Option<Policy>)>,
        opened: BTreeMap<SocketAddr, Arc<Listening>>,
    ) {
        let mut kept = BTreeSet::new();
        let mut named = BTreeMap::new();
        for (rule, policy) in rules {
            let address = address_of(&rule, policy.as_ref());
            if let Some(policy) = policy {
                rule.replace(policy);
            }
            if let Some(address) = address {
                kept.insert(address);
                if let Some(open) = self.listening.get(&address) {
                    open.listening.give_to(Arc::clone(&rule));
                }
            }
            named.insert(rule.id.clone(), rule);
        }
        for (address, listening) in opened {
            let tasks = self.workers.iter().map(|worker| worker.accept(&listening)).collect();
            self.listening.insert(address, Open { listening, tasks });
        }
        let former = std::mem::replace(&mut self.rules, named);
        for (_, rule) in former.iter().filter(|(id, _)| !self.rules.contains_key(*id)) {
            rule.remove();
        }
        self.close_all_but(&kept).await;
        self.follow_checks();
    }

    /// When this returns, what is closed accepts nothing any more.
    async fn close_all_but(&mut self, kept: &BTreeSet<SocketAddr>) {
        let closed: Vec<SocketAddr> =
            self.listening.keys().filter(|address| !kept.contains(*address)).copied().collect();
        for open in closed.iter().filter_map(|address| self.listening.remove(address)) {
            for task in open.tasks {
                task.abort();
                // it ends by the abort, which is no error here
                let _aborted = task.await;
            }
        }
    }

    /// Begins and ends checks, and begins those anew whose manner changed; health that was found stays.
    fn follow_checks(&mut self) {
        let Some(worker) = self.workers.first() else { return };
        let mut wanted = BTreeMap::new();
        for rule in self.rules.values() {
            let policy = rule.policy();
            for member in &policy.members {
                if !health::is_checked(&policy.spec) {
                    member.state.health.trust();
                    continue;
                }
                let key = (rule.id.clone(), member.state.serial, member.state.endpoint);
                let checked = self.checks.remove(&key).filter(|it| it.is_as(&policy.spec));
                let checked =
                    checked.unwrap_or_else(|| Checked::begin(worker, &policy.spec, member));
                wanted.insert(key, checked);
            }
        }
        // what is left of the former ones ends here
        self.checks = wanted;
    }
}

impl Checked {
    fn begin(worker: &Worker, spec: &Balancer, member: &Arc<LiveMember>) -> Self {
        let (health, proxy) = (spec.health.clone(), spec.proxy_protocol);
        let watch = health::watch(spec.id.clone(), Arc::clone(member), health.clone(), proxy);
        let task = worker.handle.spawn(watch).abort_handle();
        Self { health, proxy, task }
    }

    fn is_as(&self, spec: &Balancer) -> bool {
        self.health == spec.health && self.proxy == spec.proxy_protocol
    }
}

impl Worker {
    fn start(number: usize) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let sessions = Arc::<Sessions>::default();
        let swept = Arc::clone(&sessions);
        let (stop, stopped) = oneshot::channel::<()>();
        thread::Builder::new().name(format!("lb-{number}")).spawn(move || {
            runtime.block_on(async {
                let mut tick = tokio::time::interval(SWEEP);
                tokio::pin!(stopped);
                loop {
                    tokio::select! {
                        _ = &mut stopped => return,
                        _ = tick.tick() => {
                            swept.sweep();
                            pool::sweep();
                        }
                    }
                }
            });
        })?;
        Ok(Self { handle, sessions, _stop: stop })
    }

    fn accept(&self, listening: &Arc<Listening>) -> JoinHandle<()> {
        self.handle.spawn(Arc::clone(listening).accept(Arc::clone(&self.sessions)))
    }
}

/// Where `rule` listens, under `policy` if it is about to change; UDP rules are the packet rules' own.
fn address_of(rule: &Rule, policy: Option<&Policy>) -> Option<SocketAddr> {
    let of = |spec: &Balancer| {
        (!spec.is_in_kernel()).then(|| SocketAddr::new(spec.address, spec.port.get()))
    };
    policy.map_or_else(|| of(&rule.peek().spec), |policy| of(&policy.spec))
}

fn policy(spec: &Balancer, slice: &LbSlice, former: Option<&Policy>) -> Result<Policy, String> {
    let tls = spec.tls.as_ref().map(|tls| {
        let former = former.and_then(|former| former.tls.as_ref());
        ServerTls::new(tls, spec.mode, &slice.certificates, former)
            .map_err(|reason| format!("rule {}: {reason}", spec.id))
    });
    let members = spec
        .members
        .iter()
        .map(|member| Arc::new(LiveMember::new(&spec.id, member.clone(), former)));
    let same = former.filter(|former| former.spec.stickiness == spec.stickiness);
    let memory = same.map_or_else(
        || Arc::new(Memory::of(spec.stickiness.as_ref())),
        |former| Arc::clone(&former.memory),
    );
    Ok(Policy { members: members.collect(), tls: tls.transpose()?, memory, spec: spec.clone() })
}
