//! Secondary storage that was there before: files in CloudStack's places, without a record of ours.

use serde_json::{Value, json};
use sluice_ssvm::slice::TokenHash;

use super::bench::{Bench, HERE, noise};

const TOKEN: &str = "a-token-that-nobody-guesses";

fn adopt(job: &str, id: u64, checksum: Option<&str>) -> Value {
    json!({ "id": job, "what": { "import": { "source": "in-place", "store": "local",
        "place": place(id), "checksum": checksum } } })
}

fn place(id: u64) -> Value {
    json!({ "template": { "account": 2, "id": id, "name": "web" } })
}

/// As CloudStack leaves a template: the file, and its properties.
fn left_behind(bench: &Bench, id: u64, file: &str, bytes: &[u8]) {
    let path = bench.object(id, file);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, bytes).unwrap();
    std::fs::write(path.with_file_name("template.properties"), "filename=web.raw\n").unwrap();
}

#[test]
fn what_stands_there_is_taken_over_where_it_is() {
    let mut bench = Bench::new("adopt");
    let disk = noise(3 << 20);
    left_behind(&bench, 1, "web.raw", &disk);
    bench.change(|slice| {
        slice["jobs"] = json!([adopt("j-1", 1, None)]);
        slice["grants"] = json!([{ "id": "g-1", "token": TokenHash::of(TOKEN),
            "expires": 4_102_444_800_u64,
            "permission": { "download": { "store": "local", "place": place(1) } } }]);
    });
    bench.start();
    let done = bench.done("j-1");
    assert_eq!(done["object"]["size"], 3 << 20, "{done:#}");
    let properties = bench.object(1, "template.properties");
    assert_eq!(std::fs::read_to_string(properties).unwrap(), "filename=web.raw\n", "as it was");
    let out = bench.path("fetched");
    let link = format!("http://{HERE}/download/{TOKEN}");
    let said = bench.curl(&["-f", "-o", out.to_str().unwrap(), &link]);
    assert!(said.ok() && std::fs::read(&out).unwrap() == disk, "{said:?}");
    bench.change(|slice| slice["jobs"] = json!([adopt("j-2", 1, None)]));
    assert_eq!(bench.done("j-2")["object"]["sha256"], done["object"]["sha256"], "once is enough");
}

#[test]
fn what_is_not_let_in_is_not_taken_over() {
    let mut bench = Bench::new("adopt-refused");
    let hostile = sluice_ssvm::image::samples::hostile();
    let backed = hostile.into_iter().find(|sample| sample.name == "qcow2-backing-file").unwrap();
    left_behind(&bench, 1, "web.qcow2", &backed.bytes);
    left_behind(&bench, 2, "web.vhd", &noise(2 << 20));
    left_behind(&bench, 3, "web.raw", &noise(2 << 20));
    let wrong = "00".repeat(32);
    bench.change(|slice| {
        slice["jobs"] = json!([
            adopt("j-1", 1, None),
            adopt("j-2", 2, None),
            adopt("j-3", 3, Some(&wrong)),
            adopt("j-4", 4, None)
        ]);
    });
    bench.start();
    for (job, wanted) in [
        ("j-1", "backing-file"),
        ("j-2", "format-mismatch"),
        ("j-3", "checksum"),
        ("j-4", "object-not-found"),
    ] {
        let (code, reason) = bench.failed(job);
        assert_eq!(code, wanted, "{job}: {reason}");
    }
    for id in 1..=3 {
        assert!(!bench.object(id, ".web.sluice.json").exists(), "{id} has a record");
    }
}
