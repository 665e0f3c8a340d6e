//! The running service: threads, listening sockets, rules, checks; and changes of them.
//!
//! Guarantees: [`Server::apply`] brings a slice into force whole or not at all; when it returns, every address is
//! listened on and every new connection (in HTTP: every new request) is handled by it. What a change does not name is not
//! touched: sockets, connections, counters, health, bindings of clients.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread;

use sluice_api::Finding;
use sluice_api::check::balancer::alone;
use sluice_api::config::balancer::Balancer;
use sluice_api::report::balancing::Report;
use sluice_api::types::ObjectId;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::{AbortHandle, JoinHandle};
use tracing::{info, warn};

use super::accept::Listening;
use super::handover::{Counted, Former, Inheritance, Legacy};
use super::health::{self, Manner};
use super::http::pool;
use super::live::{LiveMember, Policy, Rule};
use super::memory::Memory;
use super::park;
use super::report;
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
    /// What a process before this one left, until the first slice is in force.
    inheritance: Option<Inheritance>,
    /// Sockets of a process that ended, until the first slice is in force.
    found: BTreeMap<SocketAddr, OwnedFd>,
    /// That process, which may still have connections.
    former: Option<Former>,
    /// Another process accepts in place of this one.
    retired: bool,
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
    manner: Manner,
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
        let (inheritance, found, former, retired) = Default::default();
        Ok(Self { workers, rules, listening, checks, inheritance, found, former, retired })
    }

    /// The first slice goes on from what another process left.
    pub(super) fn inherit(&mut self, inheritance: Option<Inheritance>) {
        self.inheritance = inheritance;
    }

    /// The first slice goes on with these sockets, where connections have been queueing since the process before ended.
    pub(super) fn find(&mut self, sockets: Vec<OwnedFd>) {
        let each = sockets.into_iter().filter_map(|socket| {
            let at = socket2::SockRef::from(&socket).local_addr().ok()?.as_socket()?;
            Some((at, socket))
        });
        self.found = each.collect();
    }

    /// Copies of what is listened on.
    pub(super) fn copies(&self) -> Vec<OwnedFd> {
        let open = self.listening.values();
        open.filter_map(|open| open.listening.as_fd().try_clone_to_owned().ok()).collect()
    }

    /// Brings `slice` into force.
    ///
    /// Errors, after which the former one is still in force: a rule contradicts itself or another, a certificate is
    /// missing or unusable, an address cannot be listened on.
    pub async fn apply(&mut self, slice: &LbSlice) -> Result<(), String> {
        let findings = alone(&slice.balancers);
        if Finding::any_error(&findings) {
            let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
            return Err(lines.join("; "));
        }
        let policies = self.policies(slice)?;
        let rules = self.rules_for(policies);
        let opened = self.open(&rules)?;
        if let Some(inheritance) = &mut self.inheritance {
            for (rule, _) in &rules {
                inheritance.pass_to(rule);
            }
        }
        self.commit(rules, opened).await;
        // where no rule listens any more nobody may wait
        self.found.clear();
        self.tell_former(slice);
        info!(rules = self.rules.len(), "load balancing in force");
        Ok(())
    }

    /// The process before this one accepts no more, and serves what it has as this slice says.
    fn tell_former(&mut self, slice: &LbSlice) {
        if let Some(inheritance) = self.inheritance.take() {
            self.former = inheritance.take();
        }
        self.former = self.former.take().filter(|former| former.follow(slice).is_ok());
    }

    /// Adds up what the process before this one still counts.
    fn take_in(&self, counted: &Counted) {
        let Some(rule) = self.rules.get(&counted.rule) else { return };
        let Some(id) = &counted.member else { return rule.counters.take_in(&counted.counts) };
        if let Some(member) = rule.peek().members.iter().find(|member| member.spec.id == *id) {
            member.state.counters.take_in(&counted.counts);
        }
    }

    /// What is in force, and how it goes.
    pub fn report(&self) -> Report {
        self.former.iter().flat_map(Former::counted).for_each(|it| self.take_in(&it));
        report::of(self.rules.values().map(Arc::as_ref))
    }

    /// All that another process needs to go on.
    pub(super) fn legacy(&self) -> (Legacy, Vec<Arc<Listening>>) {
        let sockets = self.listening.values().map(|open| Arc::clone(&open.listening));
        let bindings = self
            .rules
            .values()
            .filter_map(|rule| Some((rule.id.clone(), rule.peek().memory.bindings()?)));
        let listening = self.listening.keys().copied().collect();
        let legacy = Legacy { listening, report: self.report(), bindings: bindings.collect() };
        (legacy, sockets.collect())
    }

    /// Another process accepts from now on. When this returns, this one does not.
    pub(super) async fn stop_accepting(&mut self) {
        self.retired = true;
        self.close_all_but(&BTreeSet::new()).await;
    }

    /// Connections of clients that are open.
    pub(super) fn open_connections(&self) -> usize {
        self.workers.iter().map(|worker| worker.sessions.open()).sum()
    }

    /// The process that accepts in place of this one has `slice` in force: connections that are open follow it.
    pub(super) async fn follow(&mut self, mut slice: LbSlice) {
        slice.balancers.retain(|rule| self.rules.contains_key(&rule.id));
        if let Err(reason) = self.apply(&slice).await {
            warn!(reason, "open connections keep to the configuration before");
        }
    }

    /// No rule is left: connections that are open have what time their rules leave them.
    pub(super) fn remove_all(&mut self) {
        for rule in std::mem::take(&mut self.rules).values() {
            rule.remove();
        }
        self.checks.clear();
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
            if !self.retired && !self.listening.contains_key(&address) {
                let listening = self.listen(address, rule).map_err(|error| {
                    format!("rule {}: cannot listen on {address}: {error}", rule.id)
                })?;
                opened.insert(address, Arc::new(listening));
            }
        }
        Ok(opened)
    }

    fn listen(&self, address: SocketAddr, rule: &Arc<Rule>) -> io::Result<Listening> {
        let left = self.inheritance.as_ref().and_then(|left| left.socket(&address));
        let found = || self.found.get(&address).map(OwnedFd::try_clone);
        match left.or_else(found) {
            Some(socket) => Ok(Listening::adopt(socket?, Arc::clone(rule))),
            None => Listening::open(address, Arc::clone(rule)),
        }
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
            if !self.retired {
                open.listening.shut();
            }
        }
    }

    /// Begins and ends checks, and begins those anew whose manner changed; health that was found stays.
    fn follow_checks(&mut self) {
        let Some(worker) = self.workers.first() else { return };
        let mut wanted = BTreeMap::new();
        for rule in self.rules.values() {
            let policy = rule.policy();
            let Some(manner) = Manner::of(&policy.spec) else {
                policy.members.iter().for_each(|member| member.state.health.trust());
                continue;
            };
            for member in &policy.members {
                let key = (rule.id.clone(), member.state.serial, member.state.endpoint);
                let checked = self.checks.remove(&key).filter(|it| it.manner == manner);
                let begin = || Checked::begin(worker, &rule.id, &manner, member);
                wanted.insert(key, checked.unwrap_or_else(begin));
            }
        }
        // what is left of the former ones ends here
        self.checks = wanted;
    }
}

impl Checked {
    fn begin(worker: &Worker, rule: &ObjectId, manner: &Manner, member: &Arc<LiveMember>) -> Self {
        let watch = health::watch(rule.clone(), Arc::clone(member), manner.clone());
        Self { manner: manner.clone(), task: worker.handle.spawn(watch).abort_handle() }
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
                            park::sweep();
                        }
                        called = park::called() => park::wake(called),
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
