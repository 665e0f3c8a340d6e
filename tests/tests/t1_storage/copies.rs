//! Copies from one store to another.

use serde_json::{Value, json};

use super::bench::{Bench, WEB, import, noise};

fn place(id: u64) -> Value {
    json!({ "template": { "account": 2, "id": id, "name": "web" } })
}

fn copy(job: &str, from: u64, to: u64) -> Value {
    json!({ "id": job, "what": { "import": { "store": "other", "place": place(to),
        "source": { "object": { "store": "local", "place": place(from) } } } } })
}

/// With an object of 8 MiB, half of it a hole, on the first of two stores.
fn ready(name: &str) -> (Bench, Vec<u8>) {
    let mut bench = Bench::new(name);
    std::fs::create_dir(bench.path("other")).unwrap();
    let path = bench.path("other");
    let mut disk = noise(8 << 20);
    disk[1 << 20..5 << 20].fill(0);
    bench.serve("disk", &disk);
    bench.change(|slice| {
        slice["stores"].as_array_mut().unwrap().push(json!({ "id": "other", "full_percent": 100,
            "kind": { "directory": { "path": path } } }));
        slice["jobs"] = json!([import("j-1", 1, &format!("http://{WEB}/disk"))]);
    });
    bench.start();
    bench.done("j-1");
    (bench, disk)
}

fn copied(bench: &Bench, id: u64) -> std::path::PathBuf {
    bench.path("other").join(format!("template/tmpl/2/{id}/web.raw"))
}

#[test]
fn a_copy_is_compared_and_keeps_its_holes() {
    let (mut bench, disk) = ready("copy");
    bench.change(|slice| slice["jobs"] = json!([copy("j-2", 1, 2)]));
    let done = bench.done("j-2");
    assert!(std::fs::read(copied(&bench, 2)).unwrap() == disk);
    assert_eq!(done["object"]["origin"]["from"], "local:template/tmpl/2/1/web");
    let room =
        std::os::unix::fs::MetadataExt::blocks(&std::fs::metadata(copied(&bench, 2)).unwrap());
    assert!(room * 512 <= 5 << 20, "{} bytes on the disk", room * 512);
}

#[test]
fn a_flipped_byte_is_found_and_nothing_of_it_stays() {
    let (mut bench, mut disk) = ready("copy-flipped");
    disk[7_000_000] ^= 1;
    std::fs::write(bench.object(1, "web.raw"), &disk).unwrap();
    bench.change(|slice| slice["jobs"] = json!([copy("j-2", 1, 2)]));
    assert_eq!(bench.failed("j-2").0, "checksum");
    assert!(!copied(&bench, 2).exists());
    assert!(!bench.path("other/.sluice/parts/s-1/j-2.source").exists());
}

/// Whoever could write to a store could write its record too: what a copy brings is judged like everything else.
#[test]
fn a_hostile_image_does_not_come_in_by_a_copy() {
    let (mut bench, _) = ready("copy-hostile");
    tampered(&bench, 1);
    bench.change(|slice| slice["jobs"] = json!([copy("j-2", 1, 2)]));
    let (code, reason) = bench.failed("j-2");
    assert_eq!(code, "backing-file", "{reason}");
    assert!(!copied(&bench, 2).exists());
}

/// Puts an image that names another file in the place of object `id`, with a record that agrees; returns its digest.
pub(crate) fn tampered(bench: &Bench, id: u64) -> String {
    replaced(&bench.object(id, "web.raw"), &bench.object(id, ".web.sluice.json"))
}

/// The same in the place of the file of any object, given its record.
pub(crate) fn replaced(object: &std::path::Path, record_file: &std::path::Path) -> String {
    let hostile = sluice_ssvm::image::samples::hostile();
    let backed = hostile.into_iter().find(|sample| sample.name == "qcow2-backing-file").unwrap();
    let digest = sluice_api::types::BlobDigest::of(&backed.bytes).to_string();
    let digest = digest.trim_start_matches("sha256:").to_owned();
    let mut record: Value = serde_json::from_slice(&std::fs::read(record_file).unwrap()).unwrap();
    (record["size"], record["sha256"]) = (backed.bytes.len().into(), digest.clone().into());
    std::fs::write(record_file, record.to_string()).unwrap();
    std::fs::write(object, &backed.bytes).unwrap();
    digest
}

#[test]
fn what_is_not_there_is_not_copied() {
    let (mut bench, _) = ready("copy-none");
    bench.change(|slice| slice["jobs"] = json!([copy("j-2", 7, 2)]));
    assert_eq!(bench.failed("j-2").0, "object-not-found");
}

/// The kernel kills it where the copy has so many bytes: nothing is visible, and what is durable is not read again.
#[test]
fn a_copy_goes_on_where_it_was_killed() {
    let (mut bench, disk) = ready("copy-killed");
    bench.kill();
    bench.change(|slice| slice["jobs"] = json!([copy("j-2", 1, 2)]));
    for stop in [6 << 20, 7 << 20] {
        bench.start_until_it_wrote(stop);
        assert!(!copied(&bench, 2).exists(), "nothing is half-visible");
        let kept = bench.kept("j-2");
        assert!((stop - (1 << 20)..=stop).contains(&kept), "killed at {stop}: {kept} are kept");
    }
    let kept = bench.kept("j-2");
    bench.start();
    let done = bench.done("j-2");
    assert_eq!(done["fetched"], disk.len() as u64 - kept, "what is behind the checkpoint, once");
    assert!(std::fs::read(copied(&bench, 2)).unwrap() == disk);
    assert!(!bench.path("other/.sluice/parts/s-1/j-2.source").exists());
}

/// More than one job may have, whatever the service as a whole lets in.
#[test]
fn an_image_larger_than_its_job_allows_is_refused() {
    let (mut bench, _) = ready("copy-most");
    let mut job = copy("j-2", 1, 2);
    job["what"]["import"]["most_bytes"] = (4 << 20).into();
    bench.change(|slice| slice["jobs"] = json!([job]));
    assert_eq!(bench.failed("j-2").0, "too-large");
}
