use super::*;
use crate::checksum::{Checksum, HashFunction, Hasher};
use crate::disk::{Disk, FaultyDisk, RealDisk};
use crate::image::samples;
use crate::slice::{Job, StorageSlice, check};
use bytes::Bytes;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

const BOUND: Duration = Duration::from_mins(2);

fn job(id: &str, name: &str) -> Value {
    json!({ "id": id, "what": { "import": { "source": "upload", "store": "local",
        "place": { "template": { "account": 2, "id": 201, "name": name } } } } })
}

fn slice(folder: &Path, jobs: &[Value]) -> StorageSlice {
    let slice = serde_json::from_value(json!({
        "owner": "s-1",
        "journal": folder.join("journal"),
        "stores": [{ "id": "local", "full_percent": 100,
            "kind": { "directory": { "path": folder.join("store") } } }],
        "jobs": jobs,
    }));
    let slice: StorageSlice = slice.unwrap();
    assert_eq!(check(&slice), Vec::<String>::new());
    slice
}

struct World {
    folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("store")).unwrap();
        Self { folder }
    }

    async fn engine(&self, jobs: &[Value]) -> Engine {
        self.engine_on(Arc::new(RealDisk), jobs).await
    }

    async fn engine_on(&self, disk: Arc<dyn Disk>, jobs: &[Value]) -> Engine {
        let slice = slice(self.folder.path(), jobs);
        let engine = Engine::new(&slice, disk).unwrap();
        engine.apply(&slice).await.unwrap();
        engine
    }

    fn parts(&self) -> Vec<String> {
        RealDisk.list(&self.folder.path().join("store/.sluice/parts/s-1")).unwrap()
    }

    fn object(&self, name: &str) -> PathBuf {
        self.folder.path().join("store/template/tmpl/2/201").join(name)
    }
}

async fn until(
    engine: &Engine,
    id: &str,
    what: &str,
    holds: impl Fn(&JobReport) -> bool,
) -> JobReport {
    let waiting = async {
        loop {
            let report = engine.report().jobs.into_iter().find(|job| job.id.as_str() == id);
            if let Some(report) = report.filter(|report| holds(report)) {
                return report;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let Ok(report) = tokio::time::timeout(BOUND, waiting).await else {
        panic!("waited in vain for {what}: {:?}", engine.report())
    };
    report
}

fn stream(bytes: &[u8]) -> impl futures_util::Stream<Item = Result<Bytes, ()>> + Unpin + use<> {
    futures_util::stream::iter([Ok(Bytes::copy_from_slice(bytes))])
}

async fn send(engine: &Engine, id: &str, bytes: &[u8]) -> Result<u64, UploadError> {
    let upload = engine.upload(&id.parse().unwrap()).expect("it waits for an upload");
    let at = upload.begin(bytes.len() as u64, u64::MAX).await?;
    let piece = Piece { offset: at.offset, digest: None, quota: u64::MAX };
    upload.piece(piece, stream(&bytes[at.offset as usize..])).await
}

#[tokio::test]
async fn an_upload_becomes_an_object_and_stays_done() {
    let world = World::new();
    let jobs = [job("j-1", "web")];
    let engine = world.engine(&jobs).await;
    let image = samples::raw();
    assert_eq!(send(&engine, "j-1", &image).await.unwrap(), image.len() as u64);
    let done = until(&engine, "j-1", "the end", |job| job.state == "done").await;
    assert!(std::fs::read(world.object("web.raw")).unwrap() == image);
    assert_eq!(done.object.unwrap().size, image.len() as u64);
    assert_eq!(world.parts(), Vec::<String>::new());
    drop(engine);
    let engine = world.engine(&jobs).await;
    until(&engine, "j-1", "that it is still done", |job| job.state == "done").await;
    engine.apply(&slice(world.folder.path(), &[])).await.unwrap();
    assert!(engine.report().jobs.is_empty());
    assert!(world.object("web.raw").exists(), "what a job made stays");
}

#[tokio::test]
async fn an_upload_that_is_complete_before_its_job_listens_is_not_waited_for_in_vain() {
    let world = World::new();
    let engine = world.engine(&[job("j-1", "web")]).await;
    let upload = engine.upload(&"j-1".parse().unwrap()).unwrap();
    // with its job nobody listens any more
    engine.apply(&slice(world.folder.path(), &[])).await.unwrap();
    let image = samples::raw();
    let length = image.len() as u64;
    upload.begin(length, u64::MAX).await.unwrap();
    let piece = Piece { offset: 0, digest: None, quota: u64::MAX };
    assert_eq!(upload.piece(piece, stream(&image)).await.unwrap(), length);
    let complete = tokio::time::timeout(BOUND, upload.complete()).await;
    assert_eq!(complete.unwrap().unwrap(), length);
}

#[tokio::test]
async fn a_job_that_was_done_and_taken_away_finds_what_it_made_when_it_comes_again() {
    let world = World::new();
    let jobs = [job("j-1", "web")];
    let engine = world.engine(&jobs).await;
    send(&engine, "j-1", &samples::raw()).await.unwrap();
    until(&engine, "j-1", "the end", |job| job.state == "done").await;
    assert!(engine.upload(&"j-1".parse().unwrap()).is_none(), "nothing more is uploaded to it");
    engine.apply(&slice(world.folder.path(), &[])).await.unwrap();
    assert!(!world.folder.path().join("journal/jobs/j-1.json").exists(), "it is forgotten at once");
    engine.apply(&slice(world.folder.path(), &jobs)).await.unwrap();
    until(&engine, "j-1", "the end", |job| job.state == "done").await;
    engine.apply(&slice(world.folder.path(), &[job("j-2", "web")])).await.unwrap();
    let failed = until(&engine, "j-2", "the end", |job| job.state == "failed").await;
    assert_eq!(failed.failure.unwrap().code, "object-exists", "it is not what another made");
}

#[tokio::test]
async fn pieces_are_kept_over_restarts_and_bad_ones_dropped() {
    let world = World::new();
    let jobs = [job("j-1", "web")];
    let image = samples::raw();
    let (first, rest) = image.split_at(300_000);
    {
        let engine = world.engine(&jobs).await;
        let upload = engine.upload(&"j-1".parse().unwrap()).unwrap();
        let unsaid = Piece { offset: 0, digest: None, quota: u64::MAX };
        let refused = upload.piece(unsaid.clone(), stream(first)).await;
        assert!(matches!(refused, Err(UploadError::Length { .. })), "{refused:?}");
        upload.begin(image.len() as u64, u64::MAX).await.unwrap();
        let wrong = (HashFunction::Sha256, vec![0; 32]);
        let flipped = Piece { digest: Some(wrong), ..unsaid.clone() };
        let refused = upload.piece(flipped, stream(first)).await;
        assert!(matches!(refused, Err(UploadError::Digest)), "{refused:?}");
        let elsewhere = Piece { offset: 5, ..unsaid.clone() };
        let refused = upload.piece(elsewhere, stream(first)).await;
        assert!(matches!(refused, Err(UploadError::Offset { offset: 0 })), "{refused:?}");
        let small = Piece { quota: 100, ..unsaid.clone() };
        let refused = upload.piece(small, stream(first)).await;
        assert!(matches!(refused, Err(UploadError::TooLarge { .. })), "{refused:?}");
        assert_eq!(upload.piece(unsaid, stream(first)).await.unwrap(), 300_000);
        let other = upload.begin(7, u64::MAX).await;
        assert!(matches!(other, Err(UploadError::Length { .. })), "{other:?}");
    }
    let engine = world.engine(&jobs).await;
    let upload = engine.upload(&"j-1".parse().unwrap()).unwrap();
    let length = Some(image.len() as u64);
    assert_eq!(upload.position().await.unwrap(), Position { offset: 300_000, length });
    let cut = futures_util::stream::iter([Ok(Bytes::copy_from_slice(&rest[..1000])), Err(())]);
    let piece = Piece { offset: 300_000, digest: None, quota: u64::MAX };
    let refused = upload.piece(piece, cut).await;
    assert!(matches!(refused, Err(UploadError::CutOff)), "{refused:?}");
    assert_eq!(upload.position().await.unwrap().offset, 301_000, "what came is kept");
    send(&engine, "j-1", &image).await.unwrap();
    until(&engine, "j-1", "the end", |job| job.state == "done").await;
    assert!(std::fs::read(world.object("web.raw")).unwrap() == image);
}

#[tokio::test]
async fn a_hostile_upload_is_refused_with_its_first_piece() {
    let world = World::new();
    let jobs = [job("j-1", "web")];
    let engine = world.engine(&jobs).await;
    let hostile = samples::hostile().into_iter().find(|s| s.name == "qcow2-backing-file").unwrap();
    let mut long = hostile.bytes;
    long.resize(1 << 20, 1);
    let upload = engine.upload(&"j-1".parse().unwrap()).unwrap();
    upload.begin(long.len() as u64 * 2, u64::MAX).await.unwrap();
    let piece = Piece { offset: 0, digest: None, quota: u64::MAX };
    let refused = upload.piece(piece, stream(&long)).await;
    let Err(UploadError::Refused(failure)) = refused else { panic!("{refused:?}") };
    assert_eq!(failure.code, "backing-file");
    let failed = until(&engine, "j-1", "its failure", |job| job.state == "failed").await;
    assert_eq!(failed.failure.unwrap().code, "backing-file");
    assert_eq!(world.parts(), Vec::<String>::new());
    drop(engine);
    let engine = world.engine(&jobs).await;
    until(&engine, "j-1", "that it is still failed", |job| job.state == "failed").await;
}

/// Right and wrong, of every function, with its name and without, in any case.
#[tokio::test]
async fn an_upload_is_compared_with_whatever_digest_was_given() {
    let (world, image) = (World::new(), samples::raw());
    let mut jobs = Vec::new();
    for (n, function) in HashFunction::ALL.into_iter().enumerate() {
        let mut hasher = Hasher::new(function);
        hasher.update(&image);
        let right = Checksum::of(function, &hasher.bytes()).hex().to_owned();
        let named = format!("{{{}}}{}", function.as_str(), right.to_uppercase());
        let wrong = "0".repeat(function.digits());
        for (at, (sort, text)) in
            [("named", named), ("bare", right), ("wrong", wrong)].into_iter().enumerate()
        {
            let mut job = job(&format!("j-{n}-{sort}"), "web");
            job["what"]["import"]["place"]["template"]["id"] = (10 * n + at).into();
            job["what"]["import"]["checksum"] = text.into();
            jobs.push(job);
        }
    }
    let engine = world.engine(&jobs).await;
    for job in &jobs {
        let id = job["id"].as_str().unwrap();
        send(&engine, id, &image).await.unwrap();
        let ended = |job: &JobReport| matches!(job.state, "done" | "failed");
        let ended = until(&engine, id, "the end", ended).await;
        let code = ended.failure.map(|failure| failure.code);
        let wanted = id.ends_with("wrong").then(|| "checksum".to_owned());
        assert_eq!(code, wanted, "{id}");
    }
}

#[tokio::test]
async fn fifty_uploads_at_once_land_in_their_own_places() {
    let world = World::new();
    let jobs: Vec<Value> = (0..50)
        .map(|n| {
            let mut job = job(&format!("j-{n}"), "web");
            job["what"]["import"]["place"]["template"]["id"] = n.into();
            job
        })
        .collect();
    let engine = Arc::new(world.engine(&jobs).await);
    let image = |n: u32| {
        let mut bytes = samples::raw();
        bytes[4096..4100].copy_from_slice(&n.to_be_bytes());
        bytes
    };
    let sending: Vec<_> = (0..50_u32)
        .map(|n| {
            let (engine, bytes) = (Arc::clone(&engine), image(n));
            tokio::spawn(async move { send(&engine, &format!("j-{n}"), &bytes).await.unwrap() })
        })
        .collect();
    for task in sending {
        task.await.unwrap();
    }
    for n in 0..50 {
        until(&engine, &format!("j-{n}"), "the end", |job| job.state == "done").await;
        let path = world.folder.path().join(format!("store/template/tmpl/2/{n}/web.raw"));
        assert!(std::fs::read(path).unwrap() == image(n), "{n}");
    }
}

#[tokio::test]
async fn a_job_that_is_no_longer_wanted_leaves_nothing() {
    let world = World::new();
    let engine = world.engine(&[job("j-1", "web"), job("j-2", "db")]).await;
    let upload = engine.upload(&"j-1".parse().unwrap()).unwrap();
    upload.begin(1 << 20, u64::MAX).await.unwrap();
    let piece = Piece { offset: 0, digest: None, quota: u64::MAX };
    upload.piece(piece, stream(&samples::raw()[..100_000])).await.unwrap();
    assert_eq!(world.parts(), ["j-1.source"]);
    engine.apply(&slice(world.folder.path(), &[job("j-2", "db")])).await.unwrap();
    let gone =
        || world.parts().is_empty() && !world.folder.path().join("journal/jobs/j-1.json").exists();
    let waiting = async {
        while !gone() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(BOUND, waiting).await.expect("its part and its record are gone");
}

#[tokio::test]
async fn a_deletion_is_done_when_the_store_did_it() {
    let world = World::new();
    let engine = world.engine(&[job("j-1", "web")]).await;
    send(&engine, "j-1", &samples::raw()).await.unwrap();
    until(&engine, "j-1", "the end", |job| job.state == "done").await;
    let aside = world.folder.path().join("aside");
    std::fs::rename(world.folder.path().join("store"), &aside).unwrap();
    std::fs::create_dir(world.folder.path().join("store")).unwrap();
    let delete = json!({ "id": "j-2", "what": { "delete": { "store": "local",
        "place": { "template": { "account": 2, "id": 201, "name": "web" } } } } });
    engine.apply(&slice(world.folder.path(), &[delete])).await.unwrap();
    let waits = until(&engine, "j-2", "that it waits", |job| job.state == "retrying").await;
    assert_eq!(waits.failure.unwrap().code, "store-gone");
    std::fs::remove_dir(world.folder.path().join("store")).unwrap();
    std::fs::rename(&aside, world.folder.path().join("store")).unwrap();
    until(&engine, "j-2", "the end", |job| job.state == "done").await;
    assert!(!world.object("web.raw").exists());
}

#[test]
fn a_record_that_cannot_be_read_is_set_aside_and_said() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(folder.path()).unwrap();
    let job: Job = serde_json::from_value(job("j-1", "web")).unwrap();
    let record = Record::begin(&job, sluice_api::Digest::of(&job).unwrap());
    journal.keep(&record).unwrap();
    std::fs::write(folder.path().join("jobs/j-2.json"), "{").unwrap();
    assert_eq!(journal.load().unwrap(), [record]);
    assert!(folder.path().join("jobs/j-2.json.unreadable").exists());
    journal.forget(&"j-1".parse().unwrap()).unwrap();
    assert_eq!(journal.load().unwrap(), []);
}

/// An object to copy and to delete, which stands on the store of a new world.
async fn with_an_object() -> World {
    let world = World::new();
    let mut base = job("j-0", "base");
    base["what"]["import"]["place"]["template"]["id"] = 200.into();
    let engine = world.engine(&[base]).await;
    send(&engine, "j-0", &samples::raw()).await.unwrap();
    until(&engine, "j-0", "the end", |job| job.state == "done").await;
    engine.apply(&slice(world.folder.path(), &[])).await.unwrap();
    world
}

/// What is to be done until the disk is lost; an upload ends when its sender is told that it is.
async fn work(engine: &Engine, bytes: Option<&[u8]>) {
    if let Some(bytes) = bytes
        && engine.upload(&"j-1".parse().unwrap()).is_some()
        && send(engine, "j-1", bytes).await.is_err()
    {
        return;
    }
    let ended = |job: &JobReport| matches!(job.state, "done" | "retrying");
    until(engine, "j-1", "its end, or that it waits for the disk", ended).await;
}

/// The disk is lost at each change in turn while `job` is at work, and the service starts anew on one that works: `half` holds
/// in between, `whole` in the end, and nothing is left over. Returns how many changes there are.
async fn lost_at_every_change(
    job: Value,
    bytes: Option<&[u8]>,
    half: impl Fn(&World),
    whole: impl Fn(&World) -> bool,
) -> u64 {
    let (jobs, mut good) = ([job], 0);
    loop {
        let world = with_an_object().await;
        let disk = Arc::new(FaultyDisk::new(Arc::new(RealDisk), good));
        let engine = world.engine_on(disk.clone(), &jobs).await;
        work(&engine, bytes).await;
        drop(engine);
        half(&world);
        let engine = world.engine(&jobs).await;
        work(&engine, bytes).await;
        until(&engine, "j-1", "the end", |job| job.state == "done").await;
        assert!(whole(&world), "lost after {good} changes");
        assert_eq!(world.parts(), Vec::<String>::new(), "lost after {good} changes");
        if !disk.failed() {
            return good;
        }
        good += 1;
    }
}

/// What is visible under its name is whole.
fn web_is_whole_or_not_there(world: &World) {
    let found = std::fs::read(world.object("web.raw"));
    assert!(found.is_err() || found.unwrap() == samples::raw(), "half of it is visible");
}

fn web_is_there(world: &World) -> bool {
    let record = world.object(".web.sluice.json").exists();
    record && std::fs::read(world.object("web.raw")).is_ok_and(|bytes| bytes == samples::raw())
}

#[tokio::test]
async fn an_upload_survives_the_loss_of_its_disk_at_any_change() {
    let image = samples::raw();
    let upload = job("j-1", "web");
    let changes =
        lost_at_every_change(upload, Some(&image), web_is_whole_or_not_there, web_is_there).await;
    assert!(changes >= 8, "{changes} changes");
}

#[tokio::test]
async fn a_copy_survives_the_loss_of_its_disk_at_any_change() {
    let base = json!({ "template": { "account": 2, "id": 200, "name": "base" } });
    let mut copy = job("j-1", "web");
    copy["what"]["import"]["source"] = json!({ "object": { "store": "local", "place": base } });
    let changes = lost_at_every_change(copy, None, web_is_whole_or_not_there, web_is_there).await;
    assert!(changes >= 8, "{changes} changes");
}

#[tokio::test]
async fn a_deletion_survives_the_loss_of_its_disk_at_any_change() {
    let delete = json!({ "id": "j-1", "what": { "delete": { "store": "local",
        "place": { "template": { "account": 2, "id": 200, "name": "base" } } } } });
    let base = |world: &World| world.folder.path().join("store/template/tmpl/2/200/base.raw");
    let half = |world: &World| {
        let found = std::fs::read(base(world));
        assert!(found.is_err() || found.unwrap() == samples::raw(), "half of it is visible");
    };
    let gone = |world: &World| !base(world).parent().unwrap().exists();
    let changes = lost_at_every_change(delete, None, half, gone).await;
    assert!(changes >= 3, "{changes} changes");
}
