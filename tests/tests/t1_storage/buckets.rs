//! Object stores: S3 and Swift, both of one server.

use serde_json::{Value, json};
use sluice_ssvm::slice::TokenHash;

use super::bench::{BOUND, Bench, HERE, WEB, import, noise};
use super::swift::{CONTAINER, KEY, SWIFT, Swift, TEMP_URL_KEY, USER};

const TOKEN: &str = "a-token-that-nobody-guesses";
/// Larger than one piece of an object, so that it is sent in several.
const LARGE: usize = 20 << 20;
/// Several pieces of an object, so that one is met on its way.
const LARGEST: usize = 60 << 20;

fn s3() -> Value {
    json!({ "s3": { "endpoint": SWIFT, "region": "us-east-1", "bucket": CONTAINER,
        "user": USER, "secret": KEY } })
}

fn swift() -> Value {
    json!({ "swift": { "endpoint": format!("{SWIFT}/auth/v1.0"), "container": CONTAINER,
        "user": USER, "secret": KEY, "temp_url_key": TEMP_URL_KEY } })
}

/// A bench with a store `far` of this kind behind the one that is there.
fn with(name: &str, service: &Value, cache_bytes: u64) -> Bench {
    let mut bench = Bench::new(name);
    bench.change(|slice| {
        slice["stores"].as_array_mut().unwrap().push(json!({ "id": "far", "kind": { "bucket": {
            "service": service, "staging": "local", "cache_bytes": cache_bytes } } }));
    });
    bench
}

fn far(mut job: Value) -> Value {
    job["what"]["import"]["store"] = "far".into();
    job
}

fn place(id: u64) -> Value {
    json!({ "template": { "account": 2, "id": id, "name": "web" } })
}

fn delete(job: &str, id: u64) -> Value {
    json!({ "id": job, "what": { "delete": { "store": "far", "place": place(id) } } })
}

fn grant(id: u64, redirect: Option<u32>) -> Value {
    json!([{ "id": "g-1", "token": TokenHash::of(TOKEN), "expires": 4_102_444_800_u64,
        "permission": { "download": { "store": "far", "place": place(id),
            "redirect_seconds": redirect } } }])
}

/// Names in the container but for what is ours and for segments, which the store keeps in its own way.
fn objects(swift: &Swift, bench: &Bench) -> Vec<String> {
    let mut names = swift.names(bench);
    names.retain(|name| !name.starts_with('.'));
    names
}

/// One server for all of it: its start is the dear part. The same container by both protocols is one store, and has one mark.
#[test]
fn an_image_goes_through_s3_and_through_swift_and_comes_back() {
    let mut bench = with("buckets", &s3(), 64 << 20);
    let swift = Swift::start(&bench);
    let disk = noise(LARGE);
    bench.serve("disk", &disk);
    bench.start();
    round_trip(&mut bench, &swift, &disk, 1);
    bench.change(|slice| slice["stores"][1]["kind"]["bucket"]["service"] = self::swift());
    round_trip(&mut bench, &swift, &disk, 2);
    a_flipped_byte_is_found(&mut bench, &swift);
    another_stores_bucket_is_not_taken_for_ours(&mut bench, &swift);
    let log = bench.log();
    assert!(!log.contains(KEY) && !log.contains(TEMP_URL_KEY), "{log}");
}

/// In, out by our link, out by the store's own, gone; nothing of it stays but the image in front.
fn round_trip(bench: &mut Bench, swift: &Swift, disk: &[u8], id: u64) {
    let url = format!("http://{WEB}/disk");
    let job = format!("j-{id}1");
    bench.change(|slice| {
        slice["jobs"] = json!([far(import(&job, id, &url))]);
        slice["grants"] = grant(id, None);
    });
    let done = bench.done(&job);
    assert_eq!(done["sent"], LARGE, "{done:#}");
    let folder = format!("template/tmpl/2/{id}/web");
    let names = [format!("{folder}/.web.sluice.json"), format!("{folder}/web.raw")];
    assert_eq!(objects(swift, bench), names);
    let file = bench.path("fetched");
    swift.fetch(bench, &names[1], &file);
    assert!(std::fs::read(&file).unwrap() == disk, "what the store has is what was imported");
    assert_eq!(bench.parts(), Vec::<String>::new());
    let link = format!("http://{HERE}/download/{TOKEN}");
    by_our_link(bench, disk, &link);
    assert_eq!(stays(bench), [done["object"]["sha256"].as_str().unwrap()], "and it stays again");
    bench.change(|slice| slice["grants"] = grant(id, Some(60)));
    by_its_own(bench, disk, &link);
    let job = format!("j-{id}2");
    bench.change(|slice| {
        slice["jobs"] = json!([delete(&job, id)]);
        slice["grants"] = json!([]);
    });
    bench.done(&job);
    assert_eq!(objects(swift, bench), Vec::<String>::new());
}

/// From the store in front, then from the object store, whole and in part.
fn by_our_link(bench: &Bench, disk: &[u8], link: &str) {
    let file = bench.path("fetched");
    let fetch = |words: &[&str]| {
        let all = [&["-f", "-o", file.to_str().unwrap()], words, &[link]].concat();
        let said = bench.curl(&all);
        assert!(said.ok(), "{said:?}");
        std::fs::read(&file).unwrap()
    };
    let part = ["-r", "9000000-9000999"];
    assert!(fetch(&[]) == disk, "from the store in front");
    assert!(fetch(&part) == disk[9_000_000..9_001_000]);
    std::fs::remove_dir_all(bench.path("store/.sluice/cache")).unwrap();
    assert!(fetch(&part) == disk[9_000_000..9_001_000]);
    assert!(fetch(&[]) == disk, "from the object store");
}

/// By an address that the store itself made, which is good for this object alone.
fn by_its_own(bench: &Bench, disk: &[u8], link: &str) {
    let said = bench.curl(&["-f", "-D", "-", "-o", "/dev/null", link]).stdout;
    let address = said.lines().find_map(|line| line.strip_prefix("location: ")).unwrap().trim();
    assert!(address.starts_with(SWIFT), "{said}");
    let file = bench.path("fetched");
    let said = bench.curl(&["-f", "-L", "-o", file.to_str().unwrap(), link]);
    assert!(said.ok() && std::fs::read(&file).unwrap() == disk, "{said:?}");
    let forged = address.replace("web.raw", ".web.sluice.json");
    assert!(!bench.curl(&["-f", "-o", "/dev/null", &forged]).ok(), "good for another object too");
}

/// Images that stay on the store in front, by digest.
fn stays(bench: &Bench) -> Vec<String> {
    let entries = std::fs::read_dir(bench.path("store/.sluice/cache/far")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name != "index.json").collect()
}

/// The servers are away at first; then the service is killed while it sends. Nothing is half-visible, and it is done at the end.
#[test]
fn an_object_store_that_goes_away_is_waited_for_over_a_kill() {
    let mut bench = with("s3-away", &s3(), 0);
    let disk = noise(LARGEST);
    bench.serve("disk", &disk);
    bench.change(|slice| slice["fetch"]["pause_milliseconds"] = 100.into());
    let job = far(import("j-1", 1, &format!("http://{WEB}/disk")));
    bench.change(|slice| slice["jobs"] = json!([job]));
    bench.start();
    let waits = bench.until("j-1", "that it waits", |job| job["state"] == "retrying");
    assert_eq!(waits["failure"]["code"], "store-io", "{waits:#}");
    bench.kill();
    let swift = Swift::start(&bench);
    bench.start();
    killed_while_it_sends(&mut bench, "j-1");
    let record = "template/tmpl/2/1/web/.web.sluice.json".to_owned();
    assert!(!objects(&swift, &bench).contains(&record), "it is an object before it is done");
    bench.start();
    // at any moment of sending and comparing
    for _ in 0..3 {
        let moves = |job: &Value| job["sent"].as_u64() > Some(0) || job["state"] == "done";
        if bench.until("j-1", "that it is sent", moves)["state"] == "done" {
            break;
        }
        bench.kill();
        // its record makes it an object: then all of it is there
        if objects(&swift, &bench).contains(&record) {
            swift.fetch(&bench, "template/tmpl/2/1/web/web.raw", &bench.path("fetched"));
            assert!(std::fs::read(bench.path("fetched")).unwrap() == disk, "half of it is visible");
        }
        bench.start();
    }
    let done = bench.done("j-1");
    assert!(done["fetched"].as_u64() <= Some(0), "nothing is fetched again to be sent: {done:#}");
    let file = bench.path("fetched");
    swift.fetch(&bench, "template/tmpl/2/1/web/web.raw", &file);
    assert!(std::fs::read(&file).unwrap() == disk);
    assert_eq!(bench.parts(), Vec::<String>::new());
}

/// What is on its way, as the note beside the part says: what the server calls it, and how many pieces went.
fn on_its_way(bench: &Bench, job: &str) -> Option<(String, usize)> {
    let bytes = std::fs::read(bench.path(&format!("store/.sluice/parts/s-1/{job}.upload"))).ok()?;
    let note: Value = serde_json::from_slice(&bytes).unwrap();
    let upload = note["upload"].as_str().unwrap().to_owned();
    Some((upload, note["parts"].as_array().unwrap().len()))
}

/// Kills the service when the first pieces of `job` went; returns what was on its way.
fn killed_while_it_sends(bench: &mut Bench, job: &str) -> (String, usize) {
    let sends = sluice_lab::Wait::until(BOUND, "a piece", || {
        on_its_way(bench, job).is_some_and(|(_, pieces)| pieces > 0)
    });
    sends.unwrap_or_else(|error| panic!("{error}: {}", bench.log()));
    bench.kill();
    on_its_way(bench, job).expect("killed before it was all there")
}

/// By either protocol: a process that is killed while it sends goes on at the piece that it was at; a job that is taken away
/// leaves nothing in the bucket.
#[test]
fn what_was_sent_is_not_sent_again_and_what_is_not_wanted_any_more_is_given_up() {
    let mut bench = with("pieces", &s3(), 0);
    let swift = Swift::start(&bench);
    let disk = noise(LARGEST);
    bench.serve("disk", &disk);
    let url = format!("http://{WEB}/disk");
    for (id, service) in [(1, s3()), (2, self::swift())] {
        let (job, other) = (format!("j-{id}1"), format!("j-{id}2"));
        bench.change(|slice| {
            slice["stores"][1]["kind"]["bucket"]["service"] = service;
            slice["jobs"] = json!([far(import(&job, id, &url))]);
        });
        bench.start();
        let (upload, pieces) = killed_while_it_sends(&mut bench, &job);
        bench.start();
        let said = format!("pieces={pieces}");
        bench.done(&job);
        let log = bench.log();
        let goes_on = log.lines().find(|line| line.contains("sending goes on"));
        assert!(goes_on.is_some_and(|line| line.contains(&said)), "{upload}, {pieces}: {log}");
        let file = bench.path("fetched");
        swift.fetch(&bench, &format!("template/tmpl/2/{id}/web/web.raw"), &file);
        assert!(std::fs::read(&file).unwrap() == disk);
        assert_eq!(on_its_way(&bench, &job), None);
        // another one is taken away in the middle
        bench.change(|slice| slice["jobs"] = json!([far(import(&other, id + 10, &url))]));
        killed_while_it_sends(&mut bench, &other);
        bench.change(|slice| slice["jobs"] = json!([]));
        bench.start();
        let gone = || on_its_way(&bench, &other).is_none();
        sluice_lab::Wait::until(BOUND, "that it is given up", gone).unwrap();
        let left = swift.everything(&bench);
        let of_other = format!("/{}/web/", id + 10);
        assert!(left.iter().all(|name| !name.contains(&of_other)), "{left:#?}");
        // and what is deleted leaves no pieces either
        let job = format!("j-{id}3");
        bench.change(|slice| slice["jobs"] = json!([delete(&job, id)]));
        bench.done(&job);
        let left = swift.everything(&bench);
        assert!(left.iter().all(|name| !name.contains("template/")), "{left:#?}");
        bench.kill();
    }
}

/// One byte flipped in the bucket is found by whoever copies it or reads all of it.
fn a_flipped_byte_is_found(bench: &mut Bench, swift: &Swift) {
    let mut disk = noise(3 << 20);
    bench.serve("disk", &disk);
    let job = far(import("j-31", 3, &format!("http://{WEB}/disk")));
    bench.change(|slice| {
        slice["stores"][1]["kind"]["bucket"]["cache_bytes"] = 0.into();
        slice["jobs"] = json!([job]);
        slice["grants"] = grant(3, None);
    });
    bench.done("j-31");
    disk[2_000_000] ^= 1;
    std::fs::write(bench.path("flipped"), &disk).unwrap();
    swift.overwrite(bench, "template/tmpl/2/3/web/web.raw", &bench.path("flipped"));
    let copy = json!({ "id": "j-32", "what": { "import": { "store": "local", "place": place(4),
        "source": { "object": { "store": "far", "place": place(3) } } } } });
    bench.change(|slice| slice["jobs"] = json!([copy]));
    assert_eq!(bench.failed("j-32").0, "checksum");
    assert!(!bench.object(4, "web.raw").exists());
    let link = format!("http://{HERE}/download/{TOKEN}");
    assert!(!bench.curl(&["-f", "-o", "/dev/null", &link]).ok(), "it is handed out whole");
}

/// A bucket that has become the store of somebody else is not written to.
fn another_stores_bucket_is_not_taken_for_ours(bench: &mut Bench, swift: &Swift) {
    let mark = json!({ "store": "theirs", "uuid": "67e55044-10b1-426f-9247-bb680e5fe0c8" });
    std::fs::write(bench.path("mark"), mark.to_string()).unwrap();
    swift.overwrite(bench, ".sluice/store.json", &bench.path("mark"));
    let before = swift.names(bench);
    let job = far(import("j-41", 5, &format!("http://{WEB}/disk")));
    bench.change(|slice| slice["jobs"] = json!([job]));
    let waits = bench.until("j-41", "that it waits", |job| job["state"] == "retrying");
    assert_eq!(waits["failure"]["code"], "store-gone", "{waits:#}");
    assert_eq!(swift.names(bench), before);
}
