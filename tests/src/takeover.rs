//! An agent as far as services are concerned, which kills itself at a chosen step: of starting a balancer, of taking one
//! over, of putting one of another build in its place.
//!
//! A step is a call of the launcher, a word to the service or one of it; each counts twice, before and after.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use nix::sys::signal::{Signal, raise};
use sluice_agent::engine::Services;
use sluice_agent::service::{Readiness, ServiceSpec};
use sluice_agent::supervisor::{Launch, Launched, SandboxLaunch, Supervisor};
use sluice_agent::{Appliance, Blobs, ServiceName, ServiceSlice};
use sluice_api::RouterDocument;
use sluice_api::boot::Role;
use sluice_api::report::balancing::SERVICE;
use sluice_sys::model::Desired;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The service.
const BALANCER: ServiceName = ServiceName(SERVICE);

/// What an agent does and when it dies.
#[derive(Clone, Debug)]
pub struct Course {
    /// Where services are noted.
    pub folder: PathBuf,
    /// The balancer's user: nobody else's, since processes are told by it.
    pub user: u32,
    /// What its environment calls its build; another one is another specification.
    pub build: String,
    /// The balancer's slice, as JSON.
    pub slice: PathBuf,
    /// The step at which the agent dies; 0: never.
    pub dies_at: u64,
}

impl Course {
    /// As arguments of a child, which [`Course::read`] reads.
    pub fn words(&self) -> [String; 5] {
        let path = |path: &PathBuf| path.display().to_string();
        let number = |number: u64| number.to_string();
        let user = self.user.to_string();
        [path(&self.folder), user, self.build.clone(), path(&self.slice), number(self.dies_at)]
    }

    /// The course that these words tell.
    pub fn read(words: &[&str]) -> Option<Self> {
        let &[folder, user, build, slice, dies_at] = words else { return None };
        Some(Self {
            folder: folder.into(),
            user: user.parse().ok()?,
            build: build.to_owned(),
            slice: slice.into(),
            dies_at: dies_at.parse().ok()?,
        })
    }
}

/// An appliance with a balancer and nothing else.
struct Balancing(Course);

impl Appliance for Balancing {
    type Config = RouterDocument;
    const ROLE: Role = Role::Router;

    fn desired(&self, _: &RouterDocument) -> Desired {
        Desired::default()
    }

    fn services(&self, _: &RouterDocument, _: &Blobs) -> BTreeMap<ServiceName, ServiceSlice> {
        BTreeMap::new()
    }

    fn service(&self, _: ServiceName) -> ServiceSpec {
        let environment = vec![("BUILD".into(), self.0.build.clone().into())];
        ServiceSpec { environment, hands_over: true, ..ServiceSpec::own(self.0.user) }
    }
}

/// Counts steps, and ends the process at the last.
#[derive(Clone)]
struct Steps(Arc<AtomicU64>, u64);

impl Steps {
    fn step(&self) {
        if self.0.fetch_add(1, Ordering::SeqCst) + 1 == self.1 {
            let _dead = raise(Signal::SIGKILL);
        }
    }
}

/// A launcher whose every call is a step.
struct Mortal {
    launch: SandboxLaunch<Balancing>,
    steps: Steps,
}

impl Mortal {
    fn tapped(&self, mut launched: Launched) -> io::Result<Launched> {
        let (near, far) = UnixStream::pair()?;
        let service = std::mem::replace(&mut launched.control, near);
        let tokio = |stream: UnixStream| {
            stream.set_nonblocking(true)?;
            tokio::net::UnixStream::from_std(stream)
        };
        let (heard, told) = tokio(service)?.into_split();
        let (words, answers) = tokio(far)?.into_split();
        tokio::spawn(pass(heard, answers, self.steps.clone()));
        tokio::spawn(pass(words, told, self.steps.clone()));
        Ok(launched)
    }
}

async fn pass(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    steps: Steps,
) -> io::Result<()> {
    let mut bytes = vec![0; 1 << 16];
    loop {
        let length = from.read(&mut bytes).await?;
        let Some(read) = bytes.get(..length).filter(|read| !read.is_empty()) else {
            return Ok(());
        };
        steps.step();
        to.write_all(read).await?;
        steps.step();
    }
}

#[async_trait]
impl Launch for Mortal {
    fn launch(&self, name: ServiceName) -> io::Result<Launched> {
        self.steps.step();
        let launched = self.launch.launch(name)?;
        self.steps.step();
        self.tapped(launched)
    }

    fn readiness(&self, name: ServiceName) -> Readiness {
        self.launch.readiness(name)
    }

    fn patience(&self, name: ServiceName) -> std::time::Duration {
        self.launch.patience(name)
    }

    async fn take_over(&self, name: ServiceName) -> Option<Launched> {
        self.steps.step();
        let launched = self.launch.take_over(name).await;
        self.steps.step();
        launched.and_then(|launched| self.tapped(launched).ok())
    }

    async fn end_others(&self, wanted: &BTreeSet<ServiceName>) {
        self.steps.step();
        self.launch.end_others(wanted).await;
        self.steps.step();
    }

    async fn end_predecessors(&self, name: ServiceName) -> bool {
        self.steps.step();
        let ended = self.launch.end_predecessors(name).await;
        self.steps.step();
        ended
    }

    async fn keep_sockets(&self, name: ServiceName) {
        self.steps.step();
        self.launch.keep_sockets(name).await;
        self.steps.step();
    }

    fn release_sockets(&self, name: ServiceName) {
        self.launch.release_sockets(name);
    }
}

/// Brings the balancer's slice into force as an agent does that comes up, or dies on the way. The service is left running
/// however this ends: the caller ends the process without further ado.
///
/// Errors: the slice did not come into force.
pub async fn run(course: Course) -> anyhow::Result<()> {
    let slice: serde_json::Value = serde_json::from_slice(&std::fs::read(&course.slice)?)?;
    let steps = Steps(Arc::default(), course.dies_at);
    let folder = course.folder.clone();
    let launch = SandboxLaunch::of_this_binary(Arc::new(Balancing(course)))?.keeping(folder)?;
    let supervisor = Supervisor::new(Arc::new(Mortal { launch, steps }));
    supervisor.keep_only(&BTreeSet::from([BALANCER])).await;
    let done = supervisor.configure(BALANCER, 1.try_into()?, ServiceSlice::of(&slice)).await;
    // a supervisor that is dropped dismisses its services
    std::mem::forget(supervisor);
    Ok(done?)
}
