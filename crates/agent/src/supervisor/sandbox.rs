//! Starting services for real, each in its sandbox, and taking over those of a former agent.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{fs, iter};

use async_trait::async_trait;
use sluice_sys::process::{Handed, Sandbox, Watched, spawn, spawn_outliving};
use tracing::{info, warn};

use super::child::{Launch, Launched, ended, forward_log};
use super::kept::{Begun, Kept, Left, fingerprint, service_of};
use crate::appliance::{Appliance, ServiceName};
use crate::service::keeper::{self, KEEPER, KEPT};
use crate::service::{Program, Readiness, ServiceSpec, state_folder};

/// How long the kernel may take to end a process.
const DYING: Duration = Duration::from_secs(5);

/// Starts services as the appliance specifies them.
pub struct SandboxLaunch<A> {
    appliance: Arc<A>,
    program: PathBuf,
    /// Where they are noted; without it they end with this process.
    kept: Option<Kept>,
    /// Copies of what services listen on, for the process after a crash.
    sockets: Mutex<BTreeMap<ServiceName, Vec<OwnedFd>>>,
}

impl<A: Appliance> SandboxLaunch<A> {
    /// Launches from the binary that is running.
    pub fn of_this_binary(appliance: Arc<A>) -> io::Result<Self> {
        // a path, not /proc/self/exe: the child has another user
        let program = std::env::current_exe()?;
        Ok(Self { appliance, program, kept: None, sockets: Mutex::default() })
    }

    /// Services outlive this process, and the next one that has the same `folder` takes them over. It is in RAM: a
    /// machine that was off has none.
    ///
    /// Errors: the folder cannot be made.
    pub fn keeping(self, folder: PathBuf) -> io::Result<Self> {
        Ok(Self { kept: Some(Kept::open(folder)?), ..self })
    }

    fn program_of<'a>(&'a self, spec: &'a ServiceSpec) -> &'a Path {
        match &spec.program {
            Program::Own => &self.program,
            Program::Foreign(program, _) => program,
        }
    }

    fn sandbox(&self, name: ServiceName, spec: &ServiceSpec) -> io::Result<Sandbox> {
        let arguments = match &spec.program {
            Program::Own => vec!["service".into(), name.0.into()],
            Program::Foreign(_, arguments) => arguments.clone(),
        };
        let sockets = spec.sockets.iter().map(|socket| socket.open(spec.user));
        Ok(Sandbox {
            name: name.to_string(),
            program: self.program_of(spec).to_owned(),
            arguments,
            environment: spec.environment.clone(),
            user: spec.user,
            groups: spec.groups.clone(),
            capabilities: spec.capabilities.clone(),
            profile: spec.profile,
            view: spec.view(name)?,
            limits: spec.limits,
            sockets: sockets.collect::<io::Result<_>>()?,
        })
    }

    /// A process that ends with this one.
    fn attached(&self, name: ServiceName, spec: &ServiceSpec) -> io::Result<Launched> {
        let (control, theirs) = UnixStream::pair()?;
        let stdin = match spec.readiness {
            Readiness::Protocol => OwnedFd::from(theirs).into(),
            Readiness::Socket(_) => Stdio::null(),
        };
        let mut child = spawn(&self.sandbox(name, spec)?, stdin)?;
        let process = Arc::new(Watched::child(child.id().unwrap_or_default())?);
        let log = child.stderr.take().ok_or_else(|| io::Error::other("no standard error"))?;
        // dropping the future drops the child, which kills it
        let exit = async move { ended(child.wait().await) };
        Ok(launched(&process, control, log, exit, false))
    }

    /// A process that goes on without this one.
    fn outliving(
        &self,
        kept: &Kept,
        name: ServiceName,
        spec: &ServiceSpec,
    ) -> io::Result<Launched> {
        let mut sandbox = self.sandbox(name, spec)?;
        let Begun { note, agents, keeper, stderr, log } =
            kept.begin(name.0, &fingerprint(spec, &sandbox.program)?)?;
        if spec.hands_over {
            let handed = |name, socket| Handed { name, socket: Arc::new(socket) };
            // they are this process's no longer: should the new one fail, its ports refuse
            let sockets = self.sockets().remove(&name).unwrap_or_default();
            sandbox.sockets.extend(sockets.into_iter().map(|socket| handed(KEPT, socket)));
            sandbox.sockets.push(handed(KEEPER, keeper.into()));
        }
        let stdin = match spec.readiness {
            Readiness::Protocol => OwnedFd::from(agents).into(),
            Readiness::Socket(_) => Stdio::null(),
        };
        let mut child = spawn_outliving(&sandbox, stdin, stderr, note)?;
        let reached = || {
            let process = Watched::child(child.id().unwrap_or_default())?;
            let control = match spec.readiness {
                // it need not be accepting yet: connections wait
                Readiness::Protocol => kept.connect(name.0)?.0,
                Readiness::Socket(_) => UnixStream::pair()?.0,
            };
            io::Result::Ok((Arc::new(process), control))
        };
        let (process, control) = reached().inspect_err(|_| {
            // nothing runs that nobody supervises
            let _ended = child.start_kill();
        })?;
        let exit = async move { ended(child.wait().await) };
        Ok(launched(&process, control, log, exit, true))
    }

    fn sockets(&self) -> MutexGuard<'_, BTreeMap<ServiceName, Vec<OwnedFd>>> {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn resumed(&self, kept: &Kept, name: ServiceName, process: Watched) -> io::Result<Launched> {
        let (control, log) = match self.appliance.service(name).readiness {
            Readiness::Protocol => kept.connect(name.0)?,
            Readiness::Socket(_) => (UnixStream::pair()?.0, kept.log(name.0)?),
        };
        let process = Arc::new(process);
        let watched = Arc::clone(&process);
        let exit = async move {
            match watched.ended().await {
                Ok(()) => "it ended; only its parent knows how".to_owned(),
                Err(error) => error.to_string(),
            }
        };
        Ok(launched(&process, control, log, exit, true))
    }

    /// Whether a process that runs is what `name` is now; why not.
    fn is_current(&self, name: ServiceName, left: &Left) -> Result<(), String> {
        let spec = self.appliance.service(name);
        match fingerprint(&spec, self.program_of(&spec)) {
            Ok(now) if now == left.fingerprint => Ok(()),
            Ok(_) => Err("it is of another build or specified otherwise".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }
}

fn launched(
    process: &Arc<Watched>,
    control: UnixStream,
    log: impl tokio::io::AsyncRead + Send + Unpin + 'static,
    exit: impl Future<Output = String> + Send + 'static,
    greets: bool,
) -> Launched {
    let killed = Arc::clone(process);
    Launched {
        pid: process.pid(),
        control,
        greets,
        log: Box::new(log),
        kill: Box::new(move || killed.kill()),
        exit: Launched::exit(exit),
    }
}

/// Ends a process of a former agent and everything of it.
async fn end(kept: &Kept, name: &str, process: &Watched) {
    // a daemon's children are in its group
    super::foreign::signal_group(process.pid(), nix::sys::signal::Signal::SIGKILL);
    process.kill();
    if tokio::time::timeout(DYING, process.ended()).await.is_err() {
        warn!(service = name, pid = process.pid(), "a process of a former agent does not end");
    }
    forget(kept, name);
}

fn forget(kept: &Kept, name: &str) {
    if let Err(error) = kept.forget(name) {
        warn!(service = name, %error, "cannot take away the note of a service");
    }
}

/// Makes the folder of a service and writes its files.
fn furnish(name: ServiceName, spec: &ServiceSpec) -> io::Result<()> {
    let folder = state_folder(name);
    folder.parent().map_or(Ok(()), fs::create_dir_all)?;
    match fs::DirBuilder::new().mode(0o750).create(&folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => chown(&folder, Some(spec.user), Some(spec.user))?,
    }
    spec.files.iter().try_for_each(|(path, text)| write(&folder, path, text, spec.user))
}

/// A file that root owns and the service's group may read.
fn write(folder: &Path, path: &Path, text: &str, group: u32) -> io::Result<()> {
    let file = folder.join(path);
    file.parent().map_or(Ok(()), fs::create_dir_all)?;
    fs::write(&file, text)?;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640))?;
    let folders = file.ancestors().skip(1).take_while(|above| *above != folder);
    for made in folders.chain(iter::once(file.as_path())) {
        chown(made, Some(0), Some(group))?;
    }
    Ok(())
}

#[async_trait]
impl<A: Appliance> Launch for SandboxLaunch<A> {
    fn launch(&self, name: ServiceName) -> io::Result<Launched> {
        let spec = self.appliance.service(name);
        if spec.state {
            furnish(name, &spec)?;
        }
        match &self.kept {
            Some(kept) => self.outliving(kept, name, &spec),
            None => self.attached(name, &spec),
        }
    }

    fn readiness(&self, name: ServiceName) -> Readiness {
        self.appliance.service(name).readiness
    }

    fn patience(&self, name: ServiceName) -> Duration {
        self.appliance.service(name).patience
    }

    async fn take_over(&self, name: ServiceName) -> Option<Launched> {
        let kept = self.kept.as_ref()?;
        let left = kept.left(name.0)?;
        let pid = left.process.pid();
        if let Err(reason) = self.is_current(name, &left) {
            info!(service = %name, pid, reason, "the process of a former agent is replaced");
            if !self.appliance.service(name).hands_over || !leave(kept, name, pid) {
                end(kept, name.0, &left.process).await;
            }
            return None;
        }
        let reason = match self.resumed(kept, name, left.process) {
            Ok(launched) => return Some(launched),
            Err(error) => error.to_string(),
        };
        warn!(service = %name, pid, reason, "the process of a former agent cannot be reached");
        if let Some(left) = kept.left(name.0) {
            end(kept, name.0, &left.process).await;
        }
        None
    }

    async fn end_others(&self, wanted: &BTreeSet<ServiceName>) {
        let Some(kept) = &self.kept else { return };
        let is_wanted = |name: &str| wanted.iter().any(|known| known.0 == service_of(name));
        for name in kept.names() {
            match kept.left(&name) {
                Some(_) if is_wanted(&name) => {}
                Some(left) => {
                    info!(service = name, "nobody needs the process of a former agent any more");
                    end(kept, &name, &left.process).await;
                }
                // one that was started this moment has no whole note yet
                None if is_wanted(&name) && service_of(&name) == name => {}
                None => forget(kept, &name),
            }
        }
    }

    async fn end_predecessors(&self, name: ServiceName) -> bool {
        let Some(kept) = &self.kept else { return false };
        let mut ended = false;
        for aside in kept.aside(name.0) {
            if let Some(left) = kept.left(&aside) {
                warn!(service = %name, pid = left.process.pid(), "a process is in the way of the next");
                end(kept, &aside, &left.process).await;
                ended = true;
            }
        }
        ended
    }

    async fn keep_sockets(&self, name: ServiceName) {
        let Some(kept) = &self.kept else { return };
        if !self.appliance.service(name).hands_over {
            return;
        }
        let path = kept.keeper(name.0);
        let fetched = tokio::task::spawn_blocking(move || keeper::fetch(&path)).await;
        match fetched.map_err(io::Error::other).flatten() {
            Ok(sockets) => drop(self.sockets().insert(name, sockets)),
            Err(error) => {
                self.release_sockets(name);
                warn!(service = %name, %error, "connections would be refused after a crash");
            }
        }
    }

    fn release_sockets(&self, name: ServiceName) {
        self.sockets().remove(&name);
    }
}

/// Leaves a process to itself: it serves until the next one has taken its sockets over, and then its last connections. False
/// when it cannot be left.
fn leave(kept: &Kept, name: ServiceName, pid: u32) -> bool {
    match kept.set_aside(name.0, pid) {
        Ok(aside) => {
            match kept.log(&aside) {
                Ok(log) => drop(tokio::spawn(forward_log(name, Box::new(log)))),
                Err(error) => warn!(service = %name, pid, %error, "its log is lost"),
            }
            true
        }
        Err(error) => {
            warn!(service = %name, pid, %error, "it cannot hand over");
            false
        }
    }
}
