//! kill -9 at any moment: nothing half-visible, nothing lost, at most one checkpoint fetched twice.

use std::time::Duration;

use super::bench::{BOUND, Bench, WEB, import, noise, run};
use serde_json::{Value, json};

/// Most bytes that may be fetched again.
const AGAIN: u64 = 12 << 20;

fn taken(job: &Value) -> u64 {
    job["taken"].as_u64().unwrap_or(0)
}

/// The kernel kills the service where its part has so many bytes: each time nothing is visible, what was durable is not
/// fetched again, and of the rest no more than the bound.
fn interrupted(name: &str, packed: bool) {
    let mut bench = Bench::new(name);
    let disk = noise(32 << 20);
    let length = if packed {
        std::fs::write(bench.path("disk.raw"), &disk).unwrap();
        let bytes = run("zstd", &["-c"], &bench.path("disk.raw"));
        bench.serve("disk", &bytes);
        bytes.len() as u64
    } else {
        bench.serve("disk", &disk);
        disk.len() as u64
    };
    let job = import("j-1", 1, &format!("http://{WEB}/disk"));
    bench.change(|slice| {
        slice["jobs"] = vec![job].into();
        slice["fetch"]["streams"] = 2.into();
        slice["limits"]["checkpoint_bytes"] = AGAIN.into();
    });
    let mut kept = 0;
    for (kills, stop) in (1..).zip([9 << 20, 17 << 20, 25 << 20]) {
        bench.start_until_it_wrote(stop);
        assert!(!bench.object(1, "web.raw").exists(), "nothing is half-visible");
        let before = std::mem::replace(&mut kept, bench.kept("j-1"));
        assert!(kept > before, "killed at {stop}: {kept} are kept, {before} were before");
        assert!(stop.saturating_sub(kept) <= AGAIN, "killed at {stop}: {kept} are kept");
        // all that went over the wire, what was on its way at each kill included
        let (sent, most) = (sent(&bench), kept + kills * AGAIN);
        assert!(sent <= most, "{sent} bytes were sent for {kept}, at most {most} expected");
    }
    bench.start();
    let done = bench.done("j-1");
    assert_eq!(done["fetched"], length - kept, "what is behind the checkpoint, once");
    assert!(std::fs::read(bench.object(1, "web.raw")).unwrap() == disk);
    assert_eq!(bench.parts(), Vec::<String>::new());
    let (sent, most) = (sent(&bench), length + 3 * AGAIN);
    assert!(sent <= most, "{sent} bytes were sent for {length}, at most {most} expected");
}

/// Bytes that nginx sent.
fn sent(bench: &Bench) -> u64 {
    bench.access().lines().filter_map(sent_bytes).sum()
}

/// As after a power cut: the service is up before its store is mounted, and its web server is still starting. Neither is a
/// reason to begin anew.
#[test]
fn what_was_kept_outlives_a_store_and_a_server_that_come_back_later() {
    let mut bench = Bench::new("kill-before-mount");
    let disk = noise(8 << 20);
    bench.serve("disk", &disk);
    let job = import("j-1", 1, &format!("http://{WEB}:82/disk"));
    bench.change(|slice| slice["jobs"] = vec![job].into());
    bench.start();
    bench.until("j-1", "some progress", |job| taken(job) >= 3 << 20);
    bench.kill();
    let kept = bench.kept("j-1");
    assert!(kept > 0);
    let (store, away) = (bench.path("store"), bench.path("away"));
    std::fs::rename(&store, &away).unwrap();
    bench.stop_web();
    bench.start();
    let waits = bench.until("j-1", "that it waits", |job| job["state"] == "retrying");
    assert_eq!(waits["failure"]["code"], "store-gone", "{waits:#}");
    assert_eq!(bench.kept("j-1"), kept, "nothing is forgotten meanwhile");
    std::fs::rename(&away, &store).unwrap();
    let source = |job: &Value| {
        job["failure"]["code"].as_str().is_some_and(|code| code.starts_with("source-"))
    };
    bench.until("j-1", "that it waits for the server", source);
    bench.start_web();
    let done = bench.done("j-1");
    let fetched = done["fetched"].as_u64().unwrap();
    assert_eq!(fetched, disk.len() as u64 - kept, "what is behind the checkpoint, once");
    assert!(std::fs::read(bench.object(1, "web.raw")).unwrap() == disk);
}

/// Its mount goes away under an import and the bare directory is in its place: nothing is written into that, the job waits,
/// and goes on where it was.
#[test]
fn a_store_that_is_taken_away_under_an_import_is_waited_for() {
    let mut bench = Bench::new("kill-unmounted");
    let disk = noise(16 << 20);
    bench.serve("disk", &disk);
    let job = import("j-1", 1, &format!("http://{WEB}:82/disk"));
    bench.change(|slice| {
        slice["jobs"] = vec![job].into();
        slice["limits"]["checkpoint_bytes"] = AGAIN.into();
    });
    bench.start();
    bench.until("j-1", "some progress", |job| taken(job) >= 2 << 20);
    let (store, away) = (bench.path("store"), bench.path("away"));
    std::fs::rename(&store, &away).unwrap();
    std::fs::create_dir(&store).unwrap();
    let gone = |job: &Value| job["failure"]["code"] == "store-gone";
    bench.until("j-1", "that it waits", gone);
    assert_eq!(std::fs::read_dir(&store).unwrap().count(), 0, "the bare directory is no store");
    std::fs::remove_dir(&store).unwrap();
    std::fs::rename(&away, &store).unwrap();
    let done = bench.done("j-1");
    let fetched = done["fetched"].as_u64().unwrap();
    assert!(fetched <= disk.len() as u64 + AGAIN, "{fetched} bytes were fetched");
    assert!(std::fs::read(bench.object(1, "web.raw")).unwrap() == disk);
    assert_eq!(bench.parts(), Vec::<String>::new());
}

/// Whether the journal says that all of these are done.
fn all_done(bench: &Bench, jobs: &[Value]) -> bool {
    jobs.iter().all(|job| !bench.recorded(job["id"].as_str().unwrap())["done"].is_null())
}

/// Killed again and again, each time a little later in its life, until what it was to do is done.
fn killed_until_done(bench: &mut Bench, jobs: &[Value], holds: impl Fn(&Bench)) -> usize {
    bench.change(|slice| slice["jobs"] = jobs.into());
    let mut lives = Duration::ZERO;
    for kills in 1..200 {
        bench.start();
        // the moment is what this is about
        std::thread::sleep(lives);
        bench.kill();
        holds(bench);
        if all_done(bench, jobs) {
            return kills;
        }
        lives += Duration::from_millis(5) + lives / 10;
    }
    panic!("not done in 200 lives");
}

/// Whatever it is doing: an import, a copy, deletions. What is visible is whole at every moment, and nothing is left over.
#[test]
fn at_any_moment_of_any_job_a_kill_costs_nothing() {
    let mut bench = Bench::new("kill-any");
    let disk = noise(2 << 20);
    bench.serve("disk", &disk);
    let place = |id: u64| json!({ "template": { "account": 2, "id": id, "name": "web" } });
    let brought = import("j-1", 1, &format!("http://{WEB}:82/disk"));
    let copied = json!({ "id": "j-2", "what": { "import": { "store": "local", "place": place(2),
        "source": { "object": { "store": "local", "place": place(1) } } } } });
    let deleted = |job: &str, id: u64| json!({ "id": job, "what": { "delete": { "store": "local", "place": place(id) } } });
    // what the journal says, before the object itself: nothing works meanwhile
    let whole = |bench: &Bench| {
        for (job, id) in [("j-1", 1), ("j-2", 2)] {
            let (state, found) = (bench.recorded(job), std::fs::read(bench.object(id, "web.raw")));
            assert!(state["fetching"].is_null() || found.is_err(), "{id} is visible: {state}");
            assert!(state["done"].is_null() || found.is_ok(), "{id} is lost: {state}");
            assert!(found.is_err() || found.unwrap() == disk, "half of {id} is visible");
        }
    };
    let there = |bench: &Bench, id| std::fs::read(bench.object(id, "web.raw")).unwrap() == disk;
    let kills = killed_until_done(&mut bench, &[brought], whole);
    assert!(kills >= 3 && there(&bench, 1), "{kills} kills of an import");
    killed_until_done(&mut bench, &[copied], whole);
    assert!(there(&bench, 1) && there(&bench, 2));
    killed_until_done(&mut bench, &[deleted("j-3", 1), deleted("j-4", 2)], whole);
    for id in [1, 2] {
        assert!(
            !bench.object(id, "web.raw").parent().unwrap().exists(),
            "something of {id} is left"
        );
    }
    assert_eq!(bench.parts(), Vec::<String>::new());
}

/// `... "GET ..." STATUS BYTES ...` of nginx's log.
fn sent_bytes(line: &str) -> Option<u64> {
    line.split('"').nth(2)?.split_whitespace().nth(1)?.parse().ok()
}

#[test]
fn a_plain_image_is_taken_up_where_it_was() {
    interrupted("kill-plain", false);
}

#[test]
fn a_packed_image_is_taken_up_where_it_was() {
    interrupted("kill-packed", true);
}

#[test]
fn the_desk_command_goes_on_where_it_was_interrupted() {
    let bench = Bench::new("desk");
    let disk = noise(3 << 20);
    bench.serve("disk", &disk);
    let program = sluice_tests::bin("sluice-ssvm");
    let store = bench.path("desk-store");
    std::fs::create_dir(&store).unwrap();
    let store_text = store.to_str().unwrap();
    let url = format!("http://{WEB}:82/disk");
    let words = [
        program.to_str().unwrap(),
        "import",
        &url,
        "--store",
        store_text,
        "--place",
        "template/tmpl/2/201/web",
        "--port",
        "82",
        "--format",
        "raw",
    ];
    // a vanished mount is no empty store: nothing is begun there, nor is the directory made
    let vanished = bench.path("vanished");
    let gone = words.map(|word| if word == store_text { vanished.to_str().unwrap() } else { word });
    for (words, reason) in [(gone, "is it mounted?"), (words, "is empty")] {
        let refused = bench.ns.command(words).run().unwrap();
        assert!(!refused.ok() && refused.stderr.contains(reason), "{refused:?}");
    }
    assert!(!vanished.exists() && std::fs::read_dir(&store).unwrap().next().is_none());
    let creating = words.into_iter().chain(["--create"]);
    let mut first = bench.ns.spawn(creating).unwrap();
    let part = store.join(".sluice/parts/desk/desk.source");
    let begun = || std::fs::metadata(&part).is_ok_and(|part| part.len() > 1 << 20);
    sluice_lab::Wait::until(BOUND, "a part", begun).unwrap();
    first.kill();
    let made = bench.ns.command(words).timeout(BOUND).check().unwrap();
    let manifest: Value = serde_json::from_str(&made).unwrap();
    assert_eq!(manifest["size"], 3 << 20);
    assert!(std::fs::read(store.join("template/tmpl/2/201/web.raw")).unwrap() == disk);
    // the same again is there already, and another image does not take its place
    let again = bench.ns.command(words).check().unwrap();
    assert_eq!(serde_json::from_str::<Value>(&again).unwrap(), manifest);
    bench.serve("other", &disk);
    let other = format!("http://{WEB}:82/other");
    let words = words.map(|word| if word == url { other.as_str() } else { word });
    let refused = bench.ns.command(words).run().unwrap();
    assert!(!refused.ok() && refused.stderr.contains("already at"), "{refused:?}");
}
