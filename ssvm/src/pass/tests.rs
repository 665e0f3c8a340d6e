use super::*;
use crate::disk::{Disk, FaultyDisk, RealDisk};
use crate::image::{Format, RefusalCode, samples};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use tokio::sync::mpsc;

fn plan(folder: &Path, disk: Arc<dyn Disk>) -> Plan {
    Plan {
        workspace: Workspace { disk, folder: folder.to_owned() },
        source: "j.source".to_owned(),
        unpacked: "j.unpacked".to_owned(),
        taken: 0,
        wanted: Wanted::default(),
        checksum: None,
        most: 64 << 20,
        unpack_bytes: 160 << 20,
        checkpoint_bytes: 100_000,
        gauge: Arc::new(Gauge { keep: AtomicBool::new(true), ..Gauge::default() }),
    }
}

/// Feeds `bytes` in `step`s; `end` says that they are all.
fn pass(plan: Plan, bytes: &[u8], step: usize, end: bool) -> (Result<Passed, PassError>, Vec<u64>) {
    let (sender, receiver) = mpsc::channel(bytes.len() / step + 3);
    for piece in bytes.chunks(step) {
        sender.try_send(Feed::Bytes(Bytes::copy_from_slice(piece))).unwrap();
    }
    if end {
        sender.try_send(Feed::End).unwrap();
    }
    drop(sender);
    let mut noted = Vec::new();
    let result = run(plan, receiver, &mut |durable| {
        noted.extend(durable);
        Ok(())
    });
    (result, noted)
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    use async_compression::codecs::{EncodeV2, ZstdEncoder};
    use async_compression::core::util::{PartialBuffer, WriteBuffer};
    let mut room = vec![0; bytes.len() + 4096];
    let mut out = WriteBuffer::new_initialized(&mut room);
    let mut encoder = ZstdEncoder::new(3);
    let mut input = PartialBuffer::new(bytes);
    while !input.unwritten().is_empty() {
        encoder.encode(&mut input, &mut out).unwrap();
    }
    while !encoder.finish(&mut out).unwrap() {}
    out.written().to_vec()
}

#[test]
fn a_plain_image_is_its_own_part_with_holes_where_it_is_zero() {
    let folder = tempfile::tempdir().unwrap();
    let mut image = vec![0; 8 << 20];
    image[..samples::raw().len()].copy_from_slice(&samples::raw());
    let (passed, noted) = pass(plan(folder.path(), Arc::new(RealDisk)), &image, 70_000, true);
    let passed = passed.unwrap();
    assert_eq!(passed.part, "j.source");
    assert_eq!((passed.size, passed.source_size, passed.compression), (8 << 20, 8 << 20, None));
    assert_eq!(passed.image.format, Format::Raw);
    assert_eq!(passed.source_digest.hex(), passed.sha256);
    let path = folder.path().join("j.source");
    assert!(std::fs::read(&path).unwrap() == image);
    let on_disk = std::fs::metadata(&path).unwrap().blocks() * 512;
    assert!(on_disk < 2 << 20, "{on_disk} bytes for one MiB of data");
    assert!(noted.len() > 50 && noted.is_sorted(), "{noted:?}");
}

#[test]
fn a_packed_image_is_unpacked_and_both_are_hashed() {
    let folder = tempfile::tempdir().unwrap();
    let image = samples::raw();
    let packed = zstd(&image);
    let checksum = {
        let mut hasher = crate::checksum::Hasher::new(Algorithm::Md5);
        hasher.update(&packed);
        Checksum::new(Algorithm::Md5, hasher.hex())
    };
    let with_checksum =
        Plan { checksum: Some(checksum.clone()), ..plan(folder.path(), Arc::new(RealDisk)) };
    let passed = pass(with_checksum, &packed, 999, true).0.unwrap();
    assert_eq!(passed.part, "j.unpacked");
    assert_eq!(passed.compression, Some(Compression::Zstd));
    assert_eq!(passed.source_digest, checksum);
    assert_eq!(passed.source_size, packed.len() as u64);
    assert!(std::fs::read(folder.path().join("j.unpacked")).unwrap() == image);
    assert!(std::fs::read(folder.path().join("j.source")).unwrap() == packed, "kept for a restart");
}

#[test]
fn a_pass_that_was_cut_off_is_taken_up_at_its_last_checkpoint() {
    for (image, packed) in [(samples::raw(), false), (samples::raw(), true)] {
        let source = if packed { zstd(&image) } else { image.clone() };
        let step = source.len() / 20;
        let small = |folder: &Path, taken| Plan {
            taken,
            checkpoint_bytes: step as u64 * 2,
            ..plan(folder, Arc::new(RealDisk))
        };
        let folder = tempfile::tempdir().unwrap();
        let first = source.get(..step * 15).unwrap();
        let (result, noted) = pass(small(folder.path(), 0), first, step, false);
        assert!(matches!(result, Err(PassError::Abandoned)));
        let taken = *noted.last().unwrap();
        assert!(taken as usize >= step * 12, "{noted:?}");
        let rest = source.get(taken as usize..).unwrap();
        let passed = pass(small(folder.path(), taken), rest, step, true).0.unwrap();
        assert_eq!(passed.source_size, source.len() as u64);
        assert!(std::fs::read(folder.path().join(&passed.part)).unwrap() == image);
        assert_eq!(
            passed.sha256,
            crate::checksum::hex(&<sha2::Sha256 as sha2::Digest>::digest(&image))
        );
    }
}

#[test]
fn what_is_wrong_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let fresh = || plan(folder.path(), Arc::new(RealDisk));
    let code = |plan: Plan, bytes: &[u8]| pass(plan, bytes, 50_000, true).0.unwrap_err().code();
    let checksum: Checksum = "00".repeat(32).parse().unwrap();
    assert_eq!(code(Plan { checksum: Some(checksum), ..fresh() }, &samples::raw()), "checksum");
    assert_eq!(code(Plan { most: 1 << 19, ..fresh() }, &samples::raw()), "too-large");
    let bomb = zstd(&vec![0; 32 << 20]);
    assert!(bomb.len() < 4096);
    assert_eq!(code(Plan { most: 8 << 20, ..fresh() }, &bomb), "too-large");
    let page = samples::hostile().into_iter().find(|s| s.expected == Err(RefusalCode::WebPage));
    assert_eq!(code(fresh(), &page.unwrap().bytes), "web-page");
    assert_eq!(code(fresh(), b""), "too-small");
    let twice = zstd(&zstd(&samples::raw()));
    assert_eq!(code(fresh(), &twice), "compressed");
    let most_virtual = Some(samples::DISK - 1);
    let wanted = Wanted { format: None, most_virtual };
    assert_eq!(code(Plan { wanted, ..fresh() }, &samples::qcow2(3)), "virtual-size");
}

#[test]
fn a_hostile_image_is_refused_before_it_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let hostile = samples::hostile().into_iter().find(|s| s.name == "qcow2-backing-file").unwrap();
    let mut long = hostile.bytes;
    long.resize(20 << 20, 1);
    let (result, _) = pass(plan(folder.path(), Arc::new(RealDisk)), &long, 1 << 16, false);
    assert!(matches!(result, Err(PassError::Refused(_))), "{result:?}");
    let written = std::fs::metadata(folder.path().join("j.source")).unwrap().len();
    assert!(written <= 1 << 18, "{written} bytes were taken");
}

/// Each change of the disk fails in turn: the pass ends with an error of the disk, and is done when none fails.
#[test]
fn every_failure_of_the_disk_ends_the_pass() {
    let packed = zstd(&samples::raw());
    let mut good = 0;
    loop {
        let folder = tempfile::tempdir().unwrap();
        let disk = Arc::new(FaultyDisk::new(Arc::new(RealDisk), good));
        let result = pass(plan(folder.path(), disk.clone()), &packed, 5_000, true).0;
        match result {
            Ok(_) => break,
            Err(PassError::Disk { .. }) => assert!(disk.failed()),
            Err(other) => panic!("after {good} changes: {other}"),
        }
        good += 1;
    }
    assert!(good >= 5, "{good} changes");
}
