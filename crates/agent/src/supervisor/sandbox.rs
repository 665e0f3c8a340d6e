//! Starting services for real, each in its sandbox.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::{fs, iter};

use sluice_sys::process::{Sandbox, spawn};

use super::child::{Launch, Launched};
use crate::appliance::{Appliance, ServiceName};
use crate::service::{Program, Readiness, ServiceSpec, state_folder};

/// Starts services as the appliance specifies them.
pub struct SandboxLaunch<A> {
    appliance: Arc<A>,
    program: PathBuf,
}

impl<A> SandboxLaunch<A> {
    /// Launches from the binary that is running.
    pub fn of_this_binary(appliance: Arc<A>) -> io::Result<Self> {
        // a path, not /proc/self/exe: the child has another user
        Ok(Self { appliance, program: std::env::current_exe()? })
    }

    fn sandbox(&self, name: ServiceName, spec: &ServiceSpec) -> io::Result<Sandbox> {
        let (program, arguments) = match &spec.program {
            Program::Own => (self.program.clone(), vec!["service".into(), name.0.into()]),
            Program::Foreign(program, arguments) => (program.clone(), arguments.clone()),
        };
        Ok(Sandbox {
            name: name.to_string(),
            program,
            arguments,
            environment: spec.environment.clone(),
            user: spec.user,
            groups: spec.groups.clone(),
            capabilities: spec.capabilities.clone(),
            profile: spec.profile,
            view: spec.view(name)?,
            limits: spec.limits,
        })
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

impl<A: Appliance> Launch for SandboxLaunch<A> {
    fn launch(&self, name: ServiceName, control: UnixStream) -> io::Result<Launched> {
        let spec = self.appliance.service(name);
        if spec.state {
            furnish(name, &spec)?;
        }
        let stdin = match spec.readiness {
            Readiness::Protocol => OwnedFd::from(control).into(),
            Readiness::Socket(_) => Stdio::null(),
        };
        let mut child = spawn(&self.sandbox(name, &spec)?, stdin)?;
        let pid = child.id().unwrap_or_default();
        let log = child.stderr.take().ok_or_else(|| io::Error::other("no standard error"))?;
        // dropping the future drops the child, which kills it
        let exit = Box::pin(async move { child.wait().await });
        Ok(Launched { pid, log: Box::new(log), exit })
    }

    fn readiness(&self, name: ServiceName) -> Readiness {
        self.appliance.service(name).readiness
    }
}
