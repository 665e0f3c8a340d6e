use super::*;
use samples::Sample;

fn judged(sample: &Sample) -> Result<Inspection, Judgement> {
    inspect(&sample.bytes, &Wanted { format: sample.declared, ..Wanted::default() })
}

#[test]
fn every_format_is_told_by_its_bytes() {
    for sample in samples::sound() {
        let found = judged(&sample).unwrap_or_else(|error| panic!("{}: {error}", sample.name));
        assert_eq!(Ok(found.format), sample.expected, "{}", sample.name);
        let whole = matches!(found.format, Format::Iso);
        let disk = if whole { sample.bytes.len() as u64 } else { samples::DISK };
        assert_eq!(found.virtual_size, disk, "{}", sample.name);
    }
}

#[test]
fn every_hostile_image_is_refused_for_its_own_reason() {
    for sample in samples::hostile() {
        let Err(expected) = sample.expected else { panic!("{} is not hostile", sample.name) };
        match judged(&sample) {
            Err(Judgement::Refused(refusal)) => {
                assert_eq!(refusal.code, expected, "{}: {refusal}", sample.name);
            }
            other => panic!("{}: {other:?}", sample.name),
        }
    }
}

#[test]
fn a_disk_larger_than_allowed_is_refused() {
    let wanted = &Wanted { most_virtual: Some(samples::DISK - 1), ..Wanted::default() };
    match inspect(&samples::qcow2(3), wanted) {
        Err(Judgement::Refused(refusal)) => assert_eq!(refusal.code, RefusalCode::VirtualSize),
        other => panic!("{other:?}"),
    }
}

/// What has arrived so far never leads to a refusal of an image that is sound as a whole, nor to a verdict on one that is
/// not there yet.
#[test]
fn a_part_of_a_sound_image_is_not_judged() {
    for sample in samples::sound() {
        for length in [1, 63, 511, 512, 513, 4096, 65_536] {
            let bytes = sample.bytes.get(..length.min(sample.bytes.len() - 1)).unwrap();
            match inspect(&Head { bytes }, &Wanted::default()) {
                Err(Judgement::NotYet) => {}
                // an archive is judged by its description and its disk's header; the end is the archive reader's business
                Ok(found) if found.format == Format::Ova && length > 4096 => {}
                other => panic!("{} at {length}: {other:?}", sample.name),
            }
        }
    }
}

/// The sooner the better: what names another file is refused before more than its header has arrived.
#[test]
fn what_is_refused_for_its_header_is_refused_by_its_head() {
    for name in [
        "qcow2-backing-file",
        "qcow2-external-data",
        "vhd-differencing",
        "vmdk-extent-path",
        "page-as-long-as-a-disk",
    ] {
        let sample = samples::hostile().into_iter().find(|sample| sample.name == name).unwrap();
        let bytes = sample.bytes.get(..sample.bytes.len().min(1 << 16)).unwrap();
        let found = inspect(&Head { bytes }, &Wanted::default());
        assert!(matches!(found, Err(Judgement::Refused(_))), "{name}: {found:?}");
    }
}
