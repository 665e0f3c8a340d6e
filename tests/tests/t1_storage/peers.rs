//! Copies from one storage service to another: two processes, certificates of one copy on both sides.

use serde_json::{Value, json};
use sluice_lab::Wait;
use sluice_lab::netns::Process;
use sluice_manager::ca::{CopyIdentities, for_copy};

use super::bench::{BOUND, Bench, WEB, import, noise};
use super::copies::tampered;

/// Where the first one gives, and the names that it has: one for a copy, one that has ended.
const GIVES: &str = "192.0.2.20:8443";
const GIFT: &str = "im-7";
const ENDED: &str = "im-8";
const YEARS: u64 = 4_102_444_800;
const DISK: usize = 24 << 20;
/// What of it is empty.
const HOLE: std::ops::Range<usize> = 1 << 20..9 << 20;

fn place(id: u64) -> Value {
    json!({ "template": { "account": 2, "id": id, "name": "web" } })
}

/// Digest of a blob that is not there; the slice has its text.
fn digest(text: &str) -> String {
    sluice_api::types::BlobDigest::of(text.as_bytes()).to_string()
}

/// One service has an object with a hole, and gives it; the bench is the other one, not started yet.
struct Two {
    giver: Process,
    bench: Bench,
    disk: Vec<u8>,
    sha256: String,
    made: CopyIdentities,
}

impl Two {
    fn new(name: &str) -> Self {
        let mut bench = Bench::new(name);
        let mut disk = noise(DISK);
        disk[HOLE].fill(0);
        bench.serve("disk", &disk);
        let job = import("j-1", 1, &format!("http://{WEB}/disk"));
        bench.change(|slice| slice["jobs"] = json!([job]));
        bench.start();
        let sha256 = bench.done("j-1")["object"]["sha256"].as_str().unwrap().to_owned();
        bench.kill();
        let (made, other) = (for_copy(GIFT).unwrap(), for_copy(ENDED).unwrap());
        let gift = |id: &str, pem: &str, expires: u64| {
            json!({ "id": id, "identity": pem, "expires": expires,
                "store": "local", "place": place(1) })
        };
        let mut giver = bench.slice().clone();
        giver["listen"] = json!([]);
        giver["peers"] = json!([{ "address": GIVES,
            "gifts": [gift(GIFT, &made.giving, YEARS), gift(ENDED, &other.giving, 5)] }]);
        let giver = start(&bench, &giver);
        let (store, journal) = (bench.path("store2"), bench.path("journal2"));
        std::fs::create_dir(&store).unwrap();
        std::fs::create_dir(&journal).unwrap();
        bench.change(|slice| {
            slice["owner"] = "s-2".into();
            slice["journal"] = journal.to_str().into();
            slice["stores"][0]["kind"]["directory"]["path"] = store.to_str().into();
            slice["stores"][0]["id"] = "there".into();
            slice["jobs"] = json!([]);
            slice["identities"] = json!([
                { "digest": digest(&made.taking), "pem": made.taking },
                { "digest": digest(&other.taking), "pem": other.taking },
            ]);
        });
        Self { giver, bench, disk, sha256, made }
    }

    /// A job that takes `gift` and shows the identity `taking`.
    fn take(&self, job: &str, id: u64, gift: &str, taking: &str) -> Value {
        json!({ "id": job, "what": { "import": { "store": "there", "place": place(id),
            "checksum": format!("sha256:{}", self.sha256),
            "source": { "peer": { "gift": gift, "address": GIVES, "identity": digest(taking) } } } } })
    }

    /// Bytes of a job that the other one's journal says are durable.
    fn kept(&self, job: &str) -> u64 {
        let text = std::fs::read(self.bench.path(&format!("journal2/jobs/{job}.json"))).unwrap();
        let record: Value = serde_json::from_slice(&text).unwrap();
        record["state"]["fetching"]["taken"].as_u64().unwrap()
    }

    fn copied(&self, id: u64) -> std::path::PathBuf {
        self.bench.path("store2").join(format!("template/tmpl/2/{id}/web.raw"))
    }
}

fn start(bench: &Bench, slice: &Value) -> Process {
    let file = bench.path("giver.json");
    std::fs::write(&file, slice.to_string()).unwrap();
    let program = sluice_tests::bin("sluice-ssvm");
    let words = [program.as_os_str(), "serve".as_ref(), "--slice".as_ref(), file.as_os_str()];
    let mut giver = bench.ns.spawn(words).unwrap();
    giver.says("storage started", BOUND).unwrap();
    giver
}

/// Killed on either side; what is there at the end is the same, with its holes, and what was durable did not go twice.
#[test]
fn an_object_goes_from_one_service_to_the_other_over_kills_of_both() {
    let mut two = Two::new("peers");
    let job = two.take("j-2", 2, GIFT, &two.made.taking);
    two.bench.change(|slice| {
        slice["jobs"] = json!([job]);
        slice["fetch"]["streams"] = 1.into();
    });
    let mut kept = 0;
    // where the copy has so many bytes the kernel kills it
    for stop in [12 << 20, 18 << 20] {
        two.bench.start_until_it_wrote(stop);
        assert!(!two.copied(2).exists(), "nothing is half-visible");
        kept = two.kept("j-2");
        assert!((stop - (1 << 20)..=stop).contains(&kept), "killed at {stop}: {kept} are kept");
    }
    two.bench.start();
    let done = two.bench.done("j-2");
    assert_eq!(done["fetched"], DISK as u64 - kept, "what is behind the checkpoint, once");
    assert!(std::fs::read(two.copied(2)).unwrap() == two.disk);
    assert_eq!(done["object"]["sha256"], two.sha256.as_str());
    let room = std::os::unix::fs::MetadataExt::blocks(&std::fs::metadata(two.copied(2)).unwrap());
    let most = (DISK - HOLE.len() + (1 << 20)) as u64;
    assert!(room * 512 <= most, "{} bytes on the disk", room * 512);
    // the giver goes away and comes back
    two.giver.kill();
    let again = two.take("j-3", 3, GIFT, &two.made.taking);
    two.bench.change(|slice| {
        slice["jobs"] = json!([again]);
        slice["fetch"]["attempts"] = 100.into();
    });
    let waits = two.bench.until("j-3", "that it waits", |job| job["state"] == "retrying");
    assert_eq!(waits["failure"]["code"], "source-broken", "{waits:#}");
    let file = two.bench.path("giver.json");
    let slice: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    two.giver = start(&two.bench, &slice);
    two.bench.done("j-3");
}

/// What went over the namespace's loopback so far, in bytes.
fn on_the_wire(bench: &Bench) -> u64 {
    let text = bench.ns.sh("cat /proc/net/dev").check().unwrap();
    let counted = text.lines().find_map(|line| line.trim().strip_prefix("lo:"));
    counted.unwrap().split_whitespace().next().unwrap().parse().unwrap()
}

/// What is empty does not go over the network, in one stream or in ranges side by side; what arrives is the same.
#[test]
fn holes_are_not_sent() {
    let mut two = Two::new("peers-holes");
    two.bench.start();
    let data = (DISK - HOLE.len()) as u64;
    for (id, streams) in [(2, 1), (3, 4)] {
        let job = two.take(&format!("j-{id}"), id, GIFT, &two.made.taking);
        let before = on_the_wire(&two.bench);
        two.bench.change(|slice| {
            slice["fetch"]["streams"] = streams.into();
            slice["jobs"] = json!([job]);
        });
        let done = two.bench.done(&format!("j-{id}"));
        let sent = on_the_wire(&two.bench) - before;
        assert!(std::fs::read(two.copied(id)).unwrap() == two.disk);
        assert_eq!(done["object"]["sha256"], two.sha256.as_str());
        assert!(sent >= data, "{sent} bytes cannot be {data}");
        let most = data + (2 << 20);
        assert!(sent <= most, "{sent} bytes went for {data} with {streams} streams");
    }
}

/// Another copy's certificate, none at all, a gift that has ended, a name that nobody has: nothing is given.
#[test]
fn who_has_no_certificate_of_the_copy_gets_nothing() {
    let mut two = Two::new("peers-refused");
    let stranger = for_copy(GIFT).unwrap();
    let (own, foreign) = (two.made.taking.clone(), stranger.taking.clone());
    two.bench.change(|slice| {
        slice["identities"]
            .as_array_mut()
            .unwrap()
            .push(json!({ "digest": digest(&foreign), "pem": foreign }));
        slice["fetch"]["attempts"] = 2.into();
    });
    let ended = two.bench.slice()["identities"][1]["pem"].as_str().unwrap().to_owned();
    let jobs = json!([
        two.take("j-2", 2, GIFT, &stranger.taking),
        two.take("j-3", 3, "im-9", &own),
        two.take("j-4", 4, ENDED, &ended),
    ]);
    two.bench.change(|slice| slice["jobs"] = jobs);
    two.bench.start();
    for (job, expected) in [("j-2", "source-broken"), ("j-3", "source-broken")] {
        let (code, reason) = two.bench.failed(job);
        assert_eq!(code, expected, "{job}: {reason}");
    }
    let (code, reason) = two.bench.failed("j-4");
    assert!(code.starts_with("source-") && reason.contains("410"), "{code}: {reason}");
    let url = format!("https://{GIVES}/object");
    let none =
        two.bench.curl(&["-k", "-o", "/dev/null", "--resolve", "im-7:8443:192.0.2.20", &url]);
    assert!(!none.ok(), "{none:?}");
    let named = two.bench.curl(&[
        "-k",
        "-o",
        "/dev/null",
        "--resolve",
        "im-7:8443:192.0.2.20",
        "https://im-7:8443/object",
    ]);
    assert!(!named.ok(), "without a certificate: {named:?}");
    let left = std::fs::read_dir(two.bench.path("store2/template"));
    assert!(left.is_err() || left.unwrap().count() == 0, "something was made");
    assert!(two.giver.output().contains("storage gives"), "{}", two.giver.output());
}

/// Where it comes from, it stood on the store with a record that agrees.
#[test]
fn a_hostile_image_does_not_come_in_from_another_appliance() {
    let mut two = Two::new("peers-hostile");
    two.sha256 = tampered(&two.bench, 1);
    let job = two.take("j-2", 2, GIFT, &two.made.taking);
    two.bench.change(|slice| slice["jobs"] = json!([job]));
    two.bench.start();
    let (code, reason) = two.bench.failed("j-2");
    assert_eq!(code, "backing-file", "{reason}");
    assert!(!two.copied(2).exists());
}

/// Flipped where it is given: found where it arrives, and nothing of it stays.
#[test]
fn a_flipped_byte_is_found_on_the_other_side() {
    let mut two = Two::new("peers-flipped");
    let mut bytes = two.disk.clone();
    bytes[7_000_000] ^= 1;
    std::fs::write(two.bench.object(1, "web.raw"), &bytes).unwrap();
    let job = two.take("j-2", 2, GIFT, &two.made.taking);
    two.bench.change(|slice| slice["jobs"] = json!([job]));
    two.bench.start();
    assert_eq!(two.bench.failed("j-2").0, "checksum");
    assert!(!two.copied(2).exists());
    let empty = Wait::until(BOUND, "the parts to go", || {
        let parts = std::fs::read_dir(two.bench.path("store2/.sluice/parts/s-2"));
        parts.is_ok_and(|mut parts| parts.next().is_none())
    });
    empty.unwrap();
}
