//! Hostile and broken images of every format, by URL and from the desk.

use super::bench::{Bench, WEB, import};
use sluice_ssvm::image::samples;

fn code(expected: &samples::Sample) -> String {
    let code = expected.expected.expect_err("it is hostile");
    serde_json::to_value(code).unwrap().as_str().unwrap().to_owned()
}

#[test]
fn each_is_refused_with_its_reason_and_leaves_nothing() {
    let mut bench = Bench::new("hostile");
    // what is still compressed is unpacked first here, and refused for what comes out
    let samples: Vec<_> =
        samples::hostile().into_iter().filter(|s| !s.name.starts_with("still-")).collect();
    let mut jobs = Vec::new();
    for (n, sample) in samples.iter().enumerate() {
        bench.serve(sample.name, &sample.bytes);
        let mut job = import(sample.name, n as u64, &format!("http://{WEB}/{}", sample.name));
        if let Some(declared) = sample.declared {
            job["what"]["import"]["format"] = declared.as_str().into();
        }
        jobs.push(job);
    }
    bench.change(|slice| slice["jobs"] = jobs.into());
    bench.start();
    for sample in &samples {
        let (found, reason) = bench.failed(sample.name);
        assert_eq!(found, code(sample), "{}: {reason}", sample.name);
    }
    assert_eq!(bench.parts(), Vec::<String>::new());
    let objects = std::fs::read_dir(bench.path("store")).unwrap().count();
    assert_eq!(objects, 1, "nothing but our own folder");
}

/// One of every format and variant comes in as what it is, under the name that hosts look for.
#[test]
fn each_sound_one_comes_in_as_what_it_is() {
    let mut bench = Bench::new("sound");
    let samples = samples::sound();
    let mut jobs = Vec::new();
    for (n, sample) in samples.iter().enumerate() {
        bench.serve(sample.name, &sample.bytes);
        jobs.push(import(sample.name, n as u64, &format!("http://{WEB}/{}", sample.name)));
    }
    bench.change(|slice| slice["jobs"] = jobs.into());
    bench.start();
    let mut formats = std::collections::BTreeSet::new();
    for (n, sample) in samples.iter().enumerate() {
        let format = sample.expected.unwrap();
        let done = bench.done(sample.name);
        assert_eq!(done["object"]["image"]["format"], format.as_str(), "{}", sample.name);
        let file = bench.object(n as u64, &format!("web.{format}"));
        assert!(std::fs::read(file).unwrap() == sample.bytes, "{}", sample.name);
        formats.insert(format);
    }
    assert_eq!(formats.len(), 7, "{formats:?}");
    assert_eq!(bench.parts(), Vec::<String>::new());
}

#[test]
fn the_desk_says_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image");
    for sample in samples::hostile().iter().chain(&samples::sound()) {
        std::fs::write(&path, &sample.bytes).unwrap();
        let mut command = std::process::Command::new(sluice_tests::bin("sluice-ssvm"));
        command.arg("inspect").arg(&path);
        if let Some(declared) = sample.declared {
            command.args(["--format", declared.as_str()]);
        }
        let output = command.output().unwrap();
        assert_eq!(output.status.success(), sample.expected.is_ok(), "{}", sample.name);
    }
}
