//! Secondary storage: what examples/storage.toml says, on machines.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use sluice_lab::Wait;

use super::script::Stage;
use super::shown::Shown;
use crate::storage::{SSVM, server};

/// Emulated machines on a busy host boot within this.
const BOOT: Duration = Duration::from_mins(4);
/// From power-on to the first configuration in force.
const CONFIGURED_S: u32 = 240;
/// What takes a minute on an emulated machine.
const LONG: Duration = Duration::from_mins(4);
/// Bytes of the disk that is sent in.
const DISK: usize = 3 << 20;

/// Plays it.
pub(super) async fn play(stage: &Stage, shown: &mut Shown) -> Result<()> {
    let template = shown.step("a file server and a web server have booted", server(stage)).await?;
    shown.step("the storage VM has its first configuration", configured(stage)).await?;
    shown.step("its store over NFS 4.2 is ready", store(stage)).await?;
    shown.step("the template itself comes in, verified", comes_in(stage, &template)).await?;
    let url = shown.step("the manager makes a link to it", async { link(stage) }).await?;
    shown.step("curl fetches it by the link", fetched(stage, &url, &template)).await?;
    shown.step("curl sends a volume in, by a grant", sent_in(stage)).await?;
    shown.step("it is copied within the store, compared on the way", copied(stage)).await
}

/// The digest of the template on the web server.
async fn server(stage: &Stage) -> Result<(String, String)> {
    server::set_up(&stage.lab, BOOT).await?;
    let template = server::has_the_template(&stage.lab).await?;
    server::makes_a_disk(&stage.lab, "disk.gz", DISK).await?;
    Ok((format!("sluice.qcow2 is sha256:{}...", start(&template)), template))
}

fn start(digest: &str) -> String {
    digest.chars().take(12).collect()
}

async fn configured(stage: &Stage) -> Result<(String, ())> {
    let status = stage.lab.status().await?;
    let ssvm = status.machines.iter().find(|machine| machine.name.as_str() == SSVM);
    let endpoint = ssvm.and_then(|ssvm| ssvm.endpoint);
    stage.cloud.endpoint(SSVM, endpoint.context("the storage VM has no control link")?)?;
    in_sync(stage)?;
    Ok((format!("in force {:.1} s after power-on", stage.started.elapsed().as_secs_f64()), ()))
}

fn in_sync(stage: &Stage) -> Result<()> {
    tokio::task::block_in_place(|| stage.cloud.in_sync(CONFIGURED_S)).map(drop)
}

/// What the manager shows of an object once `holds` is true of what was observed of it.
async fn until(
    stage: &Stage,
    word: &str,
    name: &str,
    holds: impl Fn(&Value) -> bool,
) -> Result<Value> {
    let look = || async {
        match stage.cloud.manager.ask::<Value>([word, "show", name]) {
            Ok(shown) if shown["observed"]["state"] == "failed" => {
                Some(Err(anyhow::anyhow!("{name} failed: {shown:#}")))
            }
            Ok(shown) => {
                Some(Ok(shown["observed"].clone())).filter(|seen| seen.as_ref().is_ok_and(&holds))
            }
            Err(error) => Some(Err(error)),
        }
    };
    Wait::until_async(LONG, &format!("{word} {name}"), look).await?
}

async fn done(stage: &Stage, name: &str) -> Result<Value> {
    until(stage, "image", name, |seen| seen["state"] == "done").await
}

async fn store(stage: &Stage) -> Result<(String, ())> {
    let seen = until(stage, "image-store", "nfs1", |seen| seen["state"] == "ready").await?;
    Ok((format!("{} MiB free", seen["free"].as_u64().unwrap_or(0) >> 20), ()))
}

/// With the percentages that `sluice image show` told on the way.
async fn comes_in(stage: &Stage, template: &str) -> Result<(String, ())> {
    let begun = Instant::now();
    let told = std::sync::Mutex::new(Vec::new());
    let seen = until(stage, "image", "debian-13", |seen| {
        if let (Some(percent), Ok(mut told)) = (seen["percent"].as_u64(), told.lock())
            && told.last() != Some(&percent)
        {
            told.push(percent);
        }
        seen["state"] == "done"
    })
    .await?;
    ensure!(seen["sha256"] == template, "another digest: {seen:#}");
    let told: Vec<String> = told
        .into_inner()
        .unwrap_or_default()
        .iter()
        .map(|percent| format!("{percent} %"))
        .collect();
    let (last, size) = (told.last().cloned().unwrap_or_default(), seen["size"].as_u64());
    let first = told.first().filter(|first| **first != last).map(|first| format!("{first} to "));
    let megabytes = size.unwrap_or(0) >> 20;
    let seconds = begun.elapsed().as_secs_f64();
    Ok((
        format!("{megabytes} MiB in {seconds:.1} s, told as {}{last}", first.unwrap_or_default()),
        (),
    ))
}

fn link(stage: &Stage) -> Result<(String, String)> {
    let link: Value = stage.cloud.manager.ask(["image", "download-link", "debian-13"])?;
    in_sync(stage)?;
    let url = link["url"].as_str().context("no address")?.to_owned();
    Ok(("good for four hours".to_owned(), url))
}

async fn fetched(stage: &Stage, url: &str, template: &str) -> Result<(String, ())> {
    let line = format!("curl -sSfk {url} | sha256sum | cut -c1-64");
    let whole = server::done(&stage.lab, &line).await?;
    ensure!(whole.trim() == template, "curl got sha256:{whole}");
    Ok((format!("the same sha256:{}...", start(template)), ()))
}

async fn sent_in(stage: &Stage) -> Result<(String, ())> {
    let link: Value = stage.cloud.manager.ask(["image", "upload-link", "own"])?;
    in_sync(stage)?;
    let (url, token) = (text(&link, "url")?, text(&link, "token")?);
    let id = stage.cloud.manager.ask::<Value>(["image", "show", "own"])?;
    let headers = format!("-H 'Authorization: Bearer {token}' -H 'Tus-Resumable: 1.0.0'");
    let line = format!(
        "set -e; curl -sSfk -X POST {headers} -H 'Upload-Length: {DISK}' {url}
         curl -sSfk -X PATCH {headers} -H 'Upload-Offset: 0' \
           -H 'Content-Type: application/offset+octet-stream' --data-binary @/srv/plain {url}/{}",
        text(&id, "id")?
    );
    server::done(&stage.lab, &line).await?;
    let (seen, sent) = (done(stage, "own").await?, server::sha256(&stage.lab, "/srv/plain").await?);
    ensure!(seen["sha256"] == sent.as_str(), "another digest: {seen:#}");
    Ok((format!("{} MiB, verified on both ends", DISK >> 20), ()))
}

fn text(answer: &Value, field: &str) -> Result<String> {
    answer[field].as_str().map(str::to_owned).with_context(|| format!("no {field} in {answer:#}"))
}

async fn copied(stage: &Stage) -> Result<(String, ())> {
    let words = ["image", "create", "own-template", "--image-store", "nfs1", "--copy-of", "own"];
    stage.cloud.manager.ask::<Value>(words)?;
    in_sync(stage)?;
    let seen = done(stage, "own-template").await?;
    Ok((format!("a template of a volume, sha256:{}...", start(&text(&seen, "sha256")?)), ()))
}
