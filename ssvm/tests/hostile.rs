//! Images from outside: the fuzz corpus replayed and mutated; nothing panics.
//!
//! The fuzz targets run the same harness for longer.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)] // a test that cannot be set up fails

#[path = "../../fuzz/harness/image.rs"]
mod image;

use std::path::PathBuf;

use sluice_ssvm::image::{Format, samples};

fn folder(target: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target)
}

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let mut files: Vec<_> =
        std::fs::read_dir(folder(target)).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| std::fs::read(file).unwrap()).collect()
}

/// Some cuts, and each byte at its extremes.
fn mutations(seed: &[u8], every: usize) -> impl Iterator<Item = Vec<u8>> {
    let cuts = (0..=seed.len()).step_by(every * 8).map(|length| seed[..length].to_vec());
    let bytes = (0..seed.len()).step_by(every).flat_map(|at| {
        [0, 1, 0x7f, 0x80, 0xff].map(|value| {
            let mut changed = seed.to_vec();
            changed[at] = value;
            changed
        })
    });
    cuts.chain(bytes)
}

fn replay(format: Format, every: usize) {
    let seeds = corpus(&format!("image_{format}"));
    assert!(!seeds.is_empty(), "{format} has a corpus");
    for seed in &seeds {
        image::image(format, seed);
    }
    for mutation in seeds.iter().flat_map(|seed| mutations(seed, every)) {
        image::image(format, &mutation);
    }
}

#[test]
fn qcow2() {
    replay(Format::Qcow2, 1);
}

#[test]
fn vhd() {
    replay(Format::Vhd, 97);
}

#[test]
fn vhdx() {
    replay(Format::Vhdx, 1499);
}

#[test]
fn vmdk() {
    replay(Format::Vmdk, 3);
}

#[test]
fn ova() {
    replay(Format::Ova, 7);
}

#[test]
fn iso() {
    replay(Format::Iso, 1);
}

#[test]
fn raw() {
    replay(Format::Raw, 1);
}

#[test]
fn zip() {
    for seed in corpus("unpack_zip") {
        mutations(&seed, 1).for_each(|mutation| image::zip(&mutation));
    }
}

#[test]
fn zstd() {
    let seeds = corpus("unpack_zstd");
    assert!(seeds.len() >= 4);
    for seed in &seeds {
        image::zstd(seed);
        mutations(seed, seed.len() / 200 + 1).for_each(|mutation| image::zstd(&mutation));
    }
}

/// Writes the corpus anew from the samples: `cargo test -p sluice-ssvm --test hostile -- --ignored`.
#[test]
#[ignore = "writes files into the source tree"]
fn write_the_corpus() {
    for sample in samples::sound().into_iter().chain(samples::hostile()) {
        let word = sample.name.split('-').next().unwrap();
        let Ok(format) = word.parse::<Format>() else { continue };
        let recipe = image::recipe(&sample.bytes);
        if recipe.len() > 8192 {
            continue;
        }
        let folder = folder(&format!("image_{format}"));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(sample.name), recipe).unwrap();
    }
}
