//! The router of examples/router.json alone, with an authority and a client but no manager: for configurations that
//! are pushed by hand.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use sluice_api::RouterDocument;
use sluice_api::boot::BootDocument;
use sluice_api::report::StatusReport;
use sluice_api::report::{Answer, ConfirmAnswer};
use sluice_api::types::ApplianceId;
use sluice_lab::spec::{ControlSpec, Firmware, MachineSpec, NicSpec};
use sluice_lab::{Lab, LabBuilder, Wait};
use sluice_manager::ca::Authority;
use sluice_manager::{ClientIdentity, PushClient};

use super::{PUBLIC, TRUNK};
use crate::{faults, image};

/// Name of the machine.
pub const ROUTER: &str = "r-1";
/// How long a configuration waits for its confirmation.
const CONFIRM_S: u32 = 60;
/// An agent that is up answers within this; one that is not is asked again.
const ANSWER: Duration = Duration::from_secs(2);

/// A lab with that router, and the client for its API.
#[derive(Debug)]
pub struct Single {
    /// The lab.
    pub lab: Lab,
    /// The client.
    pub client: PushClient,
    _folder: tempfile::TempDir,
}

impl Single {
    /// Starts the lab; `more` adds to it or changes it.
    pub async fn start(
        name: &str,
        machine: MachineSpec,
        more: impl FnOnce(LabBuilder) -> LabBuilder,
    ) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let id: ApplianceId = ROUTER.parse().context("an id")?;
        let authority =
            Authority::open(&folder.path().join("manager.db"), Duration::from_hours(24))?;
        let identity = authority.appliance(&id)?.identity;
        let boot = BootDocument { identity, ..faults::boot() };
        let document = folder.path().join("boot.json");
        std::fs::write(&document, serde_json::to_vec(&boot)?)?;
        let control =
            ControlSpec { address: boot.control.address, mac: boot.control.mac, host_port: None };
        let machine = machine
            .boot(&document, control)
            .nic(NicSpec::on(PUBLIC.parse()?).mac("02:00:c6:33:64:0a".parse()?))
            .nic(NicSpec::on(TRUNK.parse()?).mac("02:00:0a:01:01:01".parse()?));
        let disk = image("sluice.qcow2");
        let images = disk.parent().unwrap_or(Path::new("."));
        let lab = Lab::builder(name).images(images).wire(PUBLIC).wire(TRUNK);
        let lab = more(lab.machine(ROUTER, machine)).start().await?;
        let client = ClientIdentity::new(&authority.client()?.identity)?;
        let client = PushClient::new(&id, lab.endpoint(ROUTER)?, &client)?;
        Ok(Self { lab, client, _folder: folder })
    }

    /// The template as the kernel and initrd boot it.
    pub fn direct() -> MachineSpec {
        MachineSpec::template().firmware(Firmware::Direct)
    }

    /// Waits until the agent answers.
    pub async fn status(&self, bound: Duration) -> Result<StatusReport> {
        let ask = || async { tokio::time::timeout(ANSWER, self.client.status()).await.ok()?.ok() };
        match Wait::until_async(bound, "the agent's status", ask).await {
            Ok(status) => Ok(status),
            Err(late) => bail!("{late}\n{}", self.lab.state().await),
        }
    }

    /// The way the manager does it: push, then confirm over a new connection; one that brought no answer in time is
    /// followed by another, as long as the configuration waits for it.
    pub async fn push_and_confirm(&self, config: &RouterDocument) -> Result<()> {
        let answer = self.client.push_confirming(config, CONFIRM_S).await?;
        if !matches!(answer, Answer::Applied { .. }) {
            bail!("{answer:#?}\n{}", self.lab.state().await);
        }
        let confirm = || async { self.client.confirm(config.generation).await.ok() };
        let bound = Duration::from_secs(CONFIRM_S.into());
        match Wait::until_async(bound, "the confirmation's answer", confirm).await? {
            ConfirmAnswer::Committed { .. } => Ok(()),
            ConfirmAnswer::NotPending { current } => {
                bail!("not pending, but {current:?}\n{}", self.lab.state().await)
            }
            ConfirmAnswer::Failed { reason } => bail!("cannot commit: {reason}"),
            ConfirmAnswer::Unknown => bail!("an answer of a newer appliance"),
        }
    }
}
