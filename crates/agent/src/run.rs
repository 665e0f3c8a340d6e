//! The agent as a program: from the boot document to a served API.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use sluice_api::boot::BootDocument;
use sluice_api::report::PowerAction;
use sluice_sys::kernel::{NftProgram, RealKernel};
use tokio::sync::mpsc;
use tracing::{error, info};

use crate::appliance::Appliance;
use crate::engine::{Handle, Parts};
use crate::guard::Guard;
use crate::ledger::Files;
use crate::supervisor::{SandboxLaunch, Supervisor};
use crate::{logs, server};

/// PID 1 is to power the machine off.
const POWER_OFF: u8 = 65;
/// PID 1 is to restart the machine.
const REBOOT: u8 = 66;

/// Options of `sluice-ROLE agent`.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// The boot document
    #[arg(long)]
    pub boot: PathBuf,
    /// Directory of the ledger, on a disk that survives
    #[arg(long)]
    pub data: PathBuf,
    /// Directory in RAM where services are noted, so that they outlive the agent and the next one takes them over. Without
    /// it they end with the agent
    #[arg(long)]
    pub run: Option<PathBuf>,
    /// The program that loads packet rules
    #[arg(long, default_value = "/usr/sbin/nft")]
    pub nft: PathBuf,
}

/// Runs the agent of `appliance` until it is told to power off or to restart, or cannot go on.
pub fn run<A: Appliance>(appliance: A, options: &Options) -> ExitCode {
    match start(appliance, options) {
        Ok(PowerAction::Off) => ExitCode::from(POWER_OFF),
        Ok(PowerAction::Reboot) => ExitCode::from(REBOOT),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start<A: Appliance>(appliance: A, options: &Options) -> Result<PowerAction> {
    sluice_sys::process::share_heap();
    let boot = read_boot(&options.boot)?;
    if boot.role != A::ROLE {
        bail!("the boot document is for a {}, this is a {}", boot.role.as_str(), A::ROLE.as_str());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let appliance = Arc::new(appliance);
    let services = Arc::new(Supervisor::new(Arc::new(launch(Arc::clone(&appliance), options)?)));
    let ended = runtime.block_on(serve(appliance, Arc::clone(&services), boot, options));
    // the runtime goes first: services that nobody supervises any more are not dismissed, the next agent takes them over
    drop(runtime);
    drop(services);
    ended
}

fn launch<A: Appliance>(appliance: Arc<A>, options: &Options) -> Result<SandboxLaunch<A>> {
    let launch = SandboxLaunch::of_this_binary(appliance).context("cannot find our own binary")?;
    match &options.run {
        Some(folder) => launch.keeping(folder.clone()).context("cannot note services"),
        None => Ok(launch),
    }
}

fn read_boot(path: &Path) -> Result<BootDocument> {
    let bytes = std::fs::read(path)
        .with_context(|| format!("cannot read boot document {}", path.display()))?;
    BootDocument::decode(&bytes).map_err(|findings| {
        let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("boot document {} is not sound: {}", path.display(), lines.join("; "))
    })
}

async fn serve<A: Appliance>(
    appliance: Arc<A>,
    services: Arc<Supervisor>,
    boot: BootDocument,
    options: &Options,
) -> Result<PowerAction> {
    let ring = logs::install().context("cannot set up logging")?;
    if let Err(error) = sluice_sys::process::outlive_others() {
        tracing::warn!(%error, "the kernel may end the agent before its services for want of memory");
    }
    info!(appliance = %boot.appliance, role = boot.role.as_str(), "agent started");
    if let Err(error) = sluice_sys::process::raise_open_files() {
        tracing::warn!(%error, "few sockets of services can be kept over their crash");
    }
    let kernel = RealKernel::with_nft(NftProgram(options.nft.clone()));
    let kernel = kernel.context("cannot open the kernel")?;
    let kernel = Arc::new(kernel);
    let kept_out = appliance.kept_from_control();
    let guard = Guard::put_up(Arc::clone(&kernel), boot.control.mac, kept_out).await;
    if let Some(guard) = guard {
        tokio::spawn(guard.keep());
    }
    let questions = services.questions();
    let handle = Handle::start(Parts {
        appliance,
        boot: boot.clone(),
        kernel,
        services,
        files: Arc::new(DataDir(options.data.clone())),
    })
    .await;
    info!(phase = ?handle.status().phase, "agent ready");
    handle.keep_usage();
    let (power, mut wishes) = mpsc::channel(1);
    let api = server::serve(server::Parts {
        listen: handle.listen(),
        handle,
        identity: boot.identity,
        appliance: boot.appliance,
        boot_file: Some(options.boot.clone()),
        logs: ring,
        questions,
        on_loopback: false,
        power,
        handshake: server::HANDSHAKE,
    });
    tokio::select! {
        ended = api => {
            ended.context("cannot serve the API")?;
            error!("the API ended");
            bail!("the API ended");
        }
        wish = wishes.recv() => wish.context("nobody is left to ask for power"),
    }
}

/// The ledger's files on disk.
struct DataDir(PathBuf);

impl Files for DataDir {
    fn read(&self, name: &str) -> std::io::Result<Option<Vec<u8>>> {
        sluice_sys::files::read(&self.0, name)
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> std::io::Result<()> {
        sluice_sys::files::replace(&self.0, name, bytes)
    }

    fn remove(&self, name: &str) -> std::io::Result<()> {
        sluice_sys::files::remove(&self.0, name)
    }

    fn list(&self) -> std::io::Result<Vec<String>> {
        sluice_sys::files::list(&self.0)
    }
}
