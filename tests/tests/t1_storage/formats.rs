//! Real images of every format and compression arrive bit by bit as they were.

use super::bench::{Bench, WEB, import, noise, run};
use sha2_hex::sha256;

mod sha2_hex {
    /// By the tool that everybody compares with.
    pub(super) fn sha256(path: &std::path::Path) -> String {
        let output = sluice_programs::command("sha256sum").unwrap().arg(path).output().unwrap();
        String::from_utf8(output.stdout).unwrap().split_whitespace().next().unwrap().to_owned()
    }
}

/// What `qemu-img convert` is asked for, and the extension of the result.
const FORMATS: [(&[&str], &str); 7] = [
    (&["-O", "qcow2"], "qcow2"),
    (&["-O", "qcow2", "-c", "-o", "compression_type=zstd"], "qcow2"),
    (&["-O", "vpc", "-o", "subformat=dynamic"], "vhd"),
    (&["-O", "vpc", "-o", "subformat=fixed"], "vhd"),
    (&["-O", "vhdx"], "vhdx"),
    (&["-O", "vmdk"], "vmdk"),
    (&["-O", "vmdk", "-o", "subformat=streamOptimized"], "vmdk"),
];

fn convert(bench: &Bench, number: usize, options: &[&str]) -> std::path::PathBuf {
    let (from, to) = (bench.path("disk.raw"), bench.path(&format!("web/image-{number}")));
    let mut command = sluice_programs::command("qemu-img").unwrap();
    command.args(["convert", "-f", "raw"]).args(options).args([&from, &to]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    to
}

#[test]
fn images_of_qemu_img_arrive_whole_and_are_told_by_their_bytes() {
    let mut bench = Bench::new("formats");
    let mut disk = noise(3 << 20);
    disk.resize(8 << 20, 0);
    std::fs::write(bench.path("disk.raw"), &disk).unwrap();
    let files: Vec<_> =
        FORMATS.iter().enumerate().map(|(n, (options, _))| convert(&bench, n, options)).collect();
    let jobs: Vec<_> = (0..FORMATS.len())
        .map(|n| import(&format!("j-{n}"), n as u64, &format!("http://{WEB}/image-{n}")))
        .collect();
    bench.change(|slice| slice["jobs"] = jobs.into());
    bench.start();
    for (n, (options, format)) in FORMATS.iter().enumerate() {
        let done = bench.done(&format!("j-{n}"));
        let object = bench.object(n as u64, &format!("web.{format}"));
        assert_eq!(done["object"]["image"]["format"], *format, "{options:?}");
        assert_eq!(done["object"]["sha256"], sha256(&files[n]), "{options:?}");
        assert_eq!(sha256(&object), sha256(&files[n]), "{options:?}");
        let virtual_size = done["object"]["image"]["virtual_size"].as_u64().unwrap();
        // VHD rounds to its cylinders
        assert!((8 << 20..9 << 20).contains(&virtual_size), "{options:?}: {virtual_size}");
    }
    assert_eq!(bench.parts(), Vec::<String>::new());
}

#[test]
fn every_compression_is_undone_in_one_pass_and_both_checksums_are_right() {
    let mut bench = Bench::new("packed");
    let mut disk = noise(1 << 20);
    disk.resize(6 << 20, 0);
    let file = bench.path("disk.raw");
    std::fs::write(&file, &disk).unwrap();
    let packers: [(&str, &[&str]); 7] = [
        ("gzip", &["-c"]),
        ("bzip2", &["-c"]),
        ("xz", &["-c", "-T1"]),
        ("xz", &["-c", "-T2", "--block-size=1MiB"]),
        ("zstd", &["-c"]),
        ("zstd", &["-c", "--long=27", "--no-check"]),
        ("zip", &["-q", "-", "-"]),
    ];
    let mut jobs = Vec::new();
    for (n, (program, words)) in packers.iter().enumerate() {
        bench.serve(&format!("packed-{n}"), &run(program, words, &file));
        let mut job = import(&format!("j-{n}"), n as u64, &format!("http://{WEB}/packed-{n}"));
        let sum = sha256(&bench.path("web").join(format!("packed-{n}"))).to_ascii_uppercase();
        job["what"]["import"]["checksum"] = format!("{{SHA-256}}{sum}").into();
        job["what"]["import"]["format"] = "raw".into();
        jobs.push(job);
    }
    bench.change(|slice| slice["jobs"] = jobs.into());
    bench.start();
    for (n, (program, words)) in packers.iter().enumerate() {
        let done = bench.done(&format!("j-{n}"));
        assert_eq!(done["object"]["origin"]["compression"], *program, "{words:?}");
        assert_eq!(done["object"]["sha256"], sha256(&file), "{program} {words:?}");
        let object = bench.object(n as u64, "web.raw");
        assert!(std::fs::read(&object).unwrap() == disk, "{program} {words:?}");
        use std::os::unix::fs::MetadataExt;
        let room = std::fs::metadata(&object).unwrap().blocks() * 512;
        assert!(room < 2 << 20, "{room} bytes on disk for one MiB of data");
    }
}

#[test]
fn a_wrong_checksum_is_refused_and_leaves_nothing() {
    let mut bench = Bench::new("checksum");
    bench.serve("disk", &noise(2 << 20));
    let mut job = import("j-1", 1, &format!("http://{WEB}/disk"));
    job["what"]["import"]["checksum"] = "00".repeat(16).into();
    bench.change(|slice| slice["jobs"] = vec![job].into());
    bench.start();
    let (code, reason) = bench.failed("j-1");
    assert_eq!(code, "checksum");
    assert!(reason.contains("{MD5}"), "{reason}");
    assert!(!bench.object(1, "web.raw").exists());
    assert_eq!(bench.parts(), Vec::<String>::new());
}
