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
        restart: None,
        wanted: Wanted::default(),
        checksum: None,
        most: 64 << 20,
        unpack_bytes: 160 << 20,
        checkpoint_bytes: 100_000,
        gauge: Arc::new(Gauge { keep: AtomicBool::new(true), ..Gauge::default() }),
    }
}

/// Feeds `bytes` in `step`s; `end` says that they are all.
fn pass(
    plan: Plan,
    bytes: &[u8],
    step: usize,
    end: bool,
) -> (Result<Passed, PassError>, Vec<Durable>) {
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
        noted.push(durable);
        Ok(())
    });
    (result, noted)
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    use async_compression::codecs::ZstdEncoder;
    packed(ZstdEncoder::new(3), bytes)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    use async_compression::codecs::GzipEncoder;
    packed(GzipEncoder::new(async_compression::Level::Default.into()), bytes)
}

fn packed(mut encoder: impl async_compression::codecs::EncodeV2, bytes: &[u8]) -> Vec<u8> {
    use async_compression::core::util::{PartialBuffer, WriteBuffer};
    let mut room = vec![0; bytes.len() + 65_536];
    let mut out = WriteBuffer::new_initialized(&mut room);
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
    let kept: Vec<u64> = noted.iter().map(source_of).collect();
    assert!(kept.len() > 50 && kept.is_sorted(), "{kept:?}");
}

#[test]
fn a_packed_image_is_unpacked_and_both_are_hashed() {
    let folder = tempfile::tempdir().unwrap();
    let image = samples::raw();
    let packed = zstd(&image);
    let checksum = {
        let mut hasher = crate::checksum::Hasher::new(HashFunction::Md5);
        hasher.update(&packed);
        Checksum::of(HashFunction::Md5, &hasher.bytes())
    };
    let with_checksum =
        Plan { checksum: Some(checksum.clone()), ..plan(folder.path(), Arc::new(RealDisk)) };
    let passed = pass(with_checksum, &packed, 999, true).0.unwrap();
    assert_eq!(passed.part, "j.unpacked");
    assert_eq!(passed.compression, Some(Compression::Zstd));
    assert_eq!(passed.source_digest, checksum);
    assert_eq!(passed.source_size, packed.len() as u64);
    assert!(std::fs::read(folder.path().join("j.unpacked")).unwrap() == image);
}

/// Bytes of the source before what a checkpoint told.
fn source_of(durable: &Durable) -> u64 {
    match durable {
        Durable::Nothing => 0,
        Durable::Kept(length) => *length,
        Durable::Restart(restart) => restart.source,
    }
}

/// `plan`, taken up at a checkpoint.
fn taken_up(plan: Plan, durable: &Durable) -> Plan {
    match durable {
        Durable::Restart(restart) => Plan { restart: Some(restart.clone()), ..plan },
        other => Plan { taken: source_of(other), ..plan },
    }
}

/// An image of which a third is left when it is compressed, everywhere alike; long enough for many blocks of zstd.
fn mixed() -> Vec<u8> {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8 & 7
    };
    let noise = (0..3 << 20).map(|_| next()).collect::<Vec<_>>();
    let mut image = samples::raw();
    let length = image.len();
    image.extend(noise.iter().skip(length));
    image
}

#[test]
fn a_pass_that_was_cut_off_is_taken_up_at_its_last_checkpoint() {
    let image = mixed();
    for source in [image.clone(), zstd(&image), gzip(&image)] {
        let step = source.len() / 40;
        let small = |folder: &Path| Plan {
            checkpoint_bytes: step as u64 * 2,
            ..plan(folder, Arc::new(RealDisk))
        };
        let folder = tempfile::tempdir().unwrap();
        let first = source.get(..step * 30).unwrap();
        let (result, noted) = pass(small(folder.path()), first, step, false);
        assert!(matches!(result, Err(PassError::Abandoned)), "{result:?}");
        let durable = noted.last().expect("a checkpoint");
        let taken = source_of(durable);
        assert!(taken as usize >= step * 15, "{taken} of {}", first.len());
        let text = serde_json::to_string(&noted.iter().map(source_of).collect::<Vec<_>>()).unwrap();
        let rest = source.get(taken as usize..).unwrap();
        let passed = pass(taken_up(small(folder.path()), durable), rest, step, true).0;
        let passed = passed.unwrap_or_else(|error| panic!("{error} after {text}"));
        assert_eq!(passed.source_size, source.len() as u64);
        assert!(std::fs::read(folder.path().join(&passed.part)).unwrap() == image);
        let digest = |bytes: &[u8]| {
            let digest = <sha2::Sha256 as sha2::Digest>::digest(bytes);
            Checksum::of(HashFunction::Sha256, &digest)
        };
        assert_eq!(passed.sha256, digest(&image).hex());
        assert_eq!(passed.source_digest, digest(&source));
    }
}

#[test]
fn only_what_cannot_be_entered_in_its_middle_is_kept_as_it_comes() {
    let image = samples::raw();
    for (source, kept) in [(zstd(&image), false), (gzip(&image), true)] {
        let folder = tempfile::tempdir().unwrap();
        pass(plan(folder.path(), Arc::new(RealDisk)), &source, 5000, true).0.unwrap();
        let part = std::fs::read(folder.path().join("j.source")).unwrap();
        assert!(if kept { part == source } else { part.is_empty() }, "{} bytes", part.len());
    }
}

#[test]
fn a_place_that_does_not_fit_its_part_is_no_place() {
    let source = zstd(&mixed());
    let folder = tempfile::tempdir().unwrap();
    let fresh = || Plan { checkpoint_bytes: 20_000, ..plan(folder.path(), Arc::new(RealDisk)) };
    let (_, noted) = pass(fresh(), &source, 5000, true);
    let durable = noted.iter().find(|durable| matches!(durable, Durable::Restart(_))).unwrap();
    let other: Checksum = "00".repeat(16).parse().unwrap();
    let other = Plan { checksum: Some(other), ..taken_up(fresh(), durable) };
    let result = pass(other, &[], 1, true).0;
    assert!(matches!(result, Err(PassError::Lost)), "the hash of another job: {result:?}");
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
    let wanted = Wanted { most_virtual, ..Wanted::default() };
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
    let packed = gzip(&samples::raw());
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
