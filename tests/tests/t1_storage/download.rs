//! Downloads by curl: whole, in ranges, counted, slowed down, and ended.

use super::bench::{Bench, HERE, WEB, import, noise};
use serde_json::{Value, json};
use sluice_ssvm::slice::TokenHash;

fn grant(id: &str, token: &str, change: impl FnOnce(&mut Value)) -> Value {
    let mut grant = json!({ "id": id, "token": TokenHash::of(token),
        "expires": 4_102_444_800_u64, "permission": { "download": { "store": "local",
            "place": { "template": { "account": 2, "id": 1, "name": "web" } } } } });
    change(&mut grant);
    grant
}

fn ready(test: &str, grants: Vec<Value>) -> Bench {
    let mut bench = Bench::new(test);
    bench.serve("disk", &noise(2 << 20));
    bench.change(|slice| {
        slice["jobs"] = vec![import("j-1", 1, &format!("http://{WEB}/disk"))].into();
        slice["grants"] = grants.into();
    });
    bench.start();
    bench.done("j-1");
    bench
}

fn status(bench: &Bench, words: &[&str]) -> String {
    let all = [&["-o", "/dev/null", "-w", "%{http_code}"], words].concat();
    bench.curl(&all).stdout
}

#[test]
fn curl_fetches_the_whole_and_goes_on_with_ranges() {
    let named = grant("g-1", "t-1", |grant| {
        grant["permission"]["download"]["file_name"] = "web \"server\".raw".into();
    });
    let bench = ready("down", vec![named]);
    let disk = noise(2 << 20);
    let url = format!("http://{HERE}/download/t-1/web.raw");
    let file = bench.path("fetched");
    let file_text = file.to_str().unwrap();
    let heads = bench.curl(&["-D", "-", "-o", file_text, &url]).stdout;
    assert!(std::fs::read(&file).unwrap() == disk);
    for line in
        ["accept-ranges: bytes", "content-length: 2097152", "x-content-type-options: nosniff"]
    {
        assert!(heads.lines().any(|other| other.trim() == line), "{line} in {heads}");
    }
    assert!(heads.contains("filename=\"web__server_.raw\""), "{heads}");
    let digest = heads.lines().find_map(|line| line.strip_prefix("repr-digest: sha-256=:"));
    let sum = format!("sha256sum {file_text} | cut -c1-64 | xxd -r -p | base64 -w0");
    let sum = sluice_programs::command("sh").unwrap().args(["-c", &sum]).output().unwrap().stdout;
    let sum = String::from_utf8(sum).unwrap();
    assert!(digest.unwrap().starts_with(&sum), "{heads}");
    // curl -C goes on where a file ends
    std::fs::write(&file, &disk[..700_000]).unwrap();
    assert!(bench.curl(&["-C", "-", "-o", file_text, &url]).ok());
    assert!(std::fs::read(&file).unwrap() == disk);
    assert_eq!(status(&bench, &["-r", "0-99", &url]), "206");
    assert_eq!(status(&bench, &["-r", "2097152-", &url]), "416");
    assert_eq!(status(&bench, &["-r", "0-99", "-H", "If-Range: \"other\"", &url]), "200");
    let etag = heads.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap().trim();
    assert_eq!(status(&bench, &["-H", &format!("If-None-Match: {etag}"), &url]), "304");
    assert_eq!(status(&bench, &["-I", &url]), "200");
    assert_eq!(status(&bench, &["-X", "DELETE", &url]), "405");
}

/// What is fetched by a link comes in again unchanged, as the format that its name says; as another one it does not.
#[test]
fn what_was_fetched_by_a_link_is_registered_again_as_it_is_named() {
    let mut bench = Bench::new("again");
    let web = bench.path("web");
    std::fs::write(web.join("disk"), noise(2 << 20)).unwrap();
    let mut convert = sluice_programs::command("qemu-img").unwrap();
    let words = ["convert", "-f", "raw", "-O", "qcow2", "disk", "first"];
    assert!(convert.args(words).current_dir(&web).status().unwrap().success());
    bench.change(|slice| {
        slice["jobs"] = json!([import("j-1", 1, &format!("http://{WEB}/first"))]);
        slice["grants"] = json!([grant("g-1", "t-1", |_| ())]);
    });
    bench.start();
    let first = bench.done("j-1")["object"].clone();
    let link = format!("http://{HERE}/download/t-1");
    let folder = bench.path("web");
    let said = bench.curl(&["-f", "-O", "-J", "--output-dir", folder.to_str().unwrap(), &link]);
    assert!(said.ok(), "{said:?}");
    assert!(folder.join("web.qcow2").exists(), "the name says the format that it has");
    let url = format!("http://{WEB}/web.qcow2");
    let (mut again, mut other) = (import("j-2", 2, &url), import("j-3", 3, &url));
    again["what"]["import"]["format"] = "qcow2".into();
    other["what"]["import"]["format"] = "raw".into();
    bench.change(|slice| slice["jobs"] = json!([again, other]));
    assert_eq!(bench.done("j-2")["object"]["sha256"], first["sha256"]);
    let (code, reason) = bench.failed("j-3");
    assert!(code == "format-mismatch" && reason.contains("found qcow2"), "{code}: {reason}");
}

#[test]
fn links_end_and_are_counted_and_tell_nothing_to_others() {
    let twice = grant("g-1", "t-1", |grant| {
        grant["permission"]["download"]["most_downloads"] = 2.into();
    });
    let old = grant("g-2", "t-2", |grant| grant["expires"] = 5.into());
    let nothing = grant("g-3", "t-3", |grant| {
        grant["permission"]["download"]["place"]["template"]["id"] = 77.into();
    });
    let mut bench = ready("links", vec![twice, old, nothing]);
    let url = |token: &str| format!("http://{HERE}/download/{token}");
    assert_eq!(status(&bench, &["-I", &url("t-1")]), "200");
    assert_eq!(status(&bench, &[&url("t-1")]), "200");
    assert_eq!(status(&bench, &["-r", "0-", &url("t-1")]), "206");
    assert_eq!(status(&bench, &[&url("t-1")]), "410", "used up");
    assert_eq!(status(&bench, &["-r", "100-", &url("t-1")]), "206", "to go on is no new one");
    assert_eq!(status(&bench, &[&url("t-2")]), "410", "expired");
    assert_eq!(status(&bench, &[&url("t-3")]), "404", "no such object");
    assert_eq!(status(&bench, &[&url("t-4")]), "404", "no such grant");
    assert_eq!(status(&bench, &["--path-as-is", &url("../../etc/passwd")]), "404");
    assert!(!bench.log().contains("t-1"), "{}", bench.log());
}

#[test]
fn a_link_keeps_to_its_rate_over_all_connections() {
    let slow = grant("g-1", "t-1", |grant| {
        grant["permission"]["download"]["bytes_per_second"] = (4 << 20).into();
    });
    let bench = ready("rate", vec![slow]);
    let url = format!("http://{HERE}/download/t-1");
    let begin = std::time::Instant::now();
    let both = format!("curl -sS -o /dev/null {url} & curl -sS -o /dev/null {url}; wait");
    bench.ns.sh(&both).check().unwrap();
    // 4 MiB at 4 MiB a second, of which the first block is not waited for
    assert!(begin.elapsed() >= std::time::Duration::from_millis(850), "{:?}", begin.elapsed());
}

#[test]
fn a_flipped_byte_on_the_store_is_found_by_the_digest_that_comes_with_it() {
    let bench = ready("flip", vec![grant("g-1", "t-1", |_| ())]);
    let object = bench.object(1, "web.raw");
    let mut bytes = std::fs::read(&object).unwrap();
    bytes[1_000_000] ^= 1;
    std::fs::write(&object, &bytes).unwrap();
    let file = bench.path("fetched");
    let url = format!("http://{HERE}/download/t-1");
    let heads = bench.curl(&["-D", "-", "-o", file.to_str().unwrap(), &url]).stdout;
    let sum = format!("sha256sum {} | cut -c1-64 | xxd -r -p | base64 -w0", file.display());
    let sum = sluice_programs::command("sh").unwrap().args(["-c", &sum]).output().unwrap().stdout;
    assert!(!heads.contains(String::from_utf8(sum).unwrap().trim()), "{heads}");
}
