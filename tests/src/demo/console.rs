//! A VM's screen: a link of the manager's, the proxy as built, a machine that prints what is typed, and the link revoked.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use sluice_lab::spec::{Firmware, LabSpec};

use super::script::Stage;
use super::shown::Shown;
use crate::cloud::Cloud;
use crate::console::lab::{self, PROXY, VM};
use crate::console::viewer::{Refused, Viewer};

/// From power-on to the first configuration in force.
const CONFIGURED_S: u32 = 240;
/// The machine greets and shows what was typed within this.
const PICTURE: Duration = Duration::from_mins(1);
/// Pixels of a letter, and more than a blinking cursor has.
const LETTER: usize = 24;
const WORD: &str = "hello";

/// The proxy and the machine with the screen.
pub(super) fn machines(cloud: &Cloud, folder: &Path) -> Result<LabSpec> {
    lab::machines(cloud, super::LAB, Firmware::Bios, folder)
}

/// Shows the scene.
pub(super) async fn play(stage: &Stage, folder: &Path, shown: &mut Shown) -> Result<()> {
    let scene = Scene { stage, authority: lab::authority(folder)? };
    shown.step("the proxy has its first configuration", scene.configured()).await?;
    let link = shown.step("`sluice console vm1` makes a link", async { scene.link() }).await?;
    let mut viewer =
        shown.step("a browser opens it and sees the screen", scene.open(&link)).await?;
    shown.step("what it types appears on the screen", scene.types(&mut viewer)).await?;
    shown.step("a second browser cannot use the link", scene.stranger(&link)).await?;
    shown.step("the manager knows who is there", scene.who()).await?;
    shown.step("the link is revoked while it is open", scene.revoked(viewer, &link)).await?;
    Ok(())
}

struct Scene<'a> {
    stage: &'a Stage,
    authority: String,
}

impl Scene<'_> {
    async fn configured(&self) -> Result<(String, ())> {
        let status = self.stage.lab.status().await?;
        let proxy = status.machines.iter().find(|machine| machine.name.as_str() == PROXY);
        let endpoint = proxy.and_then(|proxy| proxy.endpoint);
        self.stage.cloud.endpoint(PROXY, endpoint.context("the proxy has no control link")?)?;
        tokio::task::block_in_place(|| self.stage.cloud.in_sync(CONFIGURED_S))?;
        let since = self.stage.started.elapsed().as_secs_f64();
        Ok((format!("in force {since:.1} s after power-on"), ()))
    }

    fn link(&self) -> Result<(String, String)> {
        let link = self.sluice(&["console", VM, "--print", "--user", "demo", "--wait", "60"])?;
        let link = link.trim().to_owned();
        let (place, token) = link.split_once('#').context("no link was printed")?;
        Ok((format!("{place}#, and {} random characters", token.len()), link))
    }

    async fn open(&self, link: &str) -> Result<(String, Viewer)> {
        let mut viewer = match Viewer::open(link, &self.authority).await? {
            Ok(viewer) => viewer,
            Err(refused) => bail!("{refused:?}"),
        };
        lit(&mut viewer, LETTER).await?;
        let (width, height) = viewer.size();
        let security = viewer.note["security"].as_str().unwrap_or_default().to_owned();
        Ok((format!("{width} x {height} pixels of QEMU's, security {security}"), viewer))
    }

    async fn types(&self, viewer: &mut Viewer) -> Result<(String, ())> {
        let before = viewer.lit().await?;
        viewer.type_text(WORD).await?;
        let after = lit(viewer, before + WORD.len() * LETTER).await?;
        Ok((format!("{WORD:?}: {} pixels more are lit", after - before), ()))
    }

    async fn stranger(&self, link: &str) -> Result<(String, ())> {
        match Viewer::open(link, &self.authority).await? {
            Err(Refused::Link(403, answer)) => {
                Ok((answer["message"].as_str().unwrap_or_default().to_owned(), ()))
            }
            other => bail!("{other:?}"),
        }
    }

    async fn who(&self) -> Result<(String, ())> {
        let ask = || async {
            let all: Vec<Value> = self.stage.cloud.manager.ask(["console", "--who", VM]).ok()?;
            all.into_iter().next()
        };
        let session = sluice_lab::Wait::until_async(PICTURE, "the session", ask).await?;
        let text = |field: &str| session[field].as_str().unwrap_or("?").to_owned();
        Ok((format!("{} from {} since {}", text("user"), text("from"), text("since")), ()))
    }

    async fn revoked(&self, viewer: Viewer, link: &str) -> Result<(String, ())> {
        self.sluice(&["console", VM, "--revoke", "--wait", "60"])?;
        let (code, reason) = viewer.end().await;
        ensure!(code == 4210, "the session ended with {code} {reason}");
        match Viewer::open(link, &self.authority).await? {
            Err(Refused::Link(410, _)) => Ok((reason, ())),
            other => bail!("{other:?}"),
        }
    }

    fn sluice(&self, words: &[&str]) -> Result<String> {
        tokio::task::block_in_place(|| self.stage.cloud.manager.done(words.iter().copied()))
    }
}

/// Waits until more pixels than `least` are lit.
async fn lit(viewer: &mut Viewer, least: usize) -> Result<usize> {
    let until = std::time::Instant::now() + PICTURE;
    loop {
        let now = viewer.lit().await?;
        if now > least {
            return Ok(now);
        }
        ensure!(std::time::Instant::now() < until, "{now} pixels are lit, not more than {least}");
    }
}
