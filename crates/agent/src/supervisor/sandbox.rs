//! Starting services for real: the same binary, sandboxed.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use sluice_sys::process::{Sandbox, spawn};

use super::child::{Launch, Launched};
use crate::appliance::{Appliance, ServiceName};

/// Starts `PROGRAM service NAME` with the privileges that the appliance states.
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
}

impl<A: Appliance> Launch for SandboxLaunch<A> {
    fn launch(
        &self,
        name: ServiceName,
        control: std::os::unix::net::UnixStream,
    ) -> io::Result<Launched> {
        let privileges = self.appliance.privileges(name);
        let sandbox = Sandbox {
            program: self.program.clone(),
            arguments: vec!["service".into(), name.0.into()],
            user: privileges.user,
            capabilities: privileges.capabilities,
        };
        let mut child = spawn(&sandbox, OwnedFd::from(control))?;
        let pid = child.id().unwrap_or_default();
        let log = child.stderr.take().ok_or_else(|| io::Error::other("no standard error"))?;
        // dropping the future drops the child, which kills it
        let exit = Box::pin(async move { child.wait().await });
        Ok(Launched { pid, log: Box::new(log), exit })
    }
}
