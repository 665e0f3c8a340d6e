//! The template as built as a secondary storage VM, from what the manager is told: images come in over HTTP, stand on a
//! kernel's NFS server, go out again by links, are sent in, and survive a server that goes away and a power cut.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // a test may fail loudly anywhere

mod world;

use sluice_tests::storage::{SERVER, server};

use world::World;

/// Over NFS 4.2 the example's store is seen in the server's `/` (its only export); this one over version 3 by its whole path.
const MORE: &str = r#"
[[image_stores]]
zone = "zone1"
name = "old"
server = "10.4.0.10"
path = "/export/old"
nfs_version = "3"
"#;
/// Where the manager's images of `nfs1` stand.
const TEMPLATES: &str = "/export/secondary/template/tmpl/1";

/// The system VM template of KVM, whose number is 3 (guide 4.5.7).
const SEEDED: &str = "systemvm-kvm";

/// One machine for all of it: its boot is the dear part.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn images_come_in_over_nfs_go_out_again_and_survive_outages() {
    let more: String = USELESS.iter().map(described).collect();
    let world = World::start("storage", &format!("{MORE}{more}")).await;
    let template = server::has_the_template(&world.lab).await.unwrap();
    let disk = server::makes_a_disk(&world.lab, "disk.gz", 3 << 20).await.unwrap();
    world.appliance().await;
    for store in ["nfs1", "old"] {
        world.store(store, "ready").await;
    }
    // what was asked for is what was mounted
    world.done("grep -hqx 'minor version: 2' /proc/fs/nfsd/clients/*/info").await;
    world.say("the stores are ready");
    each_store_that_cannot_be_used_says_why(&world).await;
    the_described_image_comes_in(&world, &template).await;
    a_packed_disk_comes_in_over_version_3(&world, &disk).await;
    a_link_leads_to_it(&world, &template).await;
    one_is_sent_in(&world, &disk).await;
    one_is_copied_and_erased(&world, &disk).await;
    a_wrong_checksum_leaves_nothing(&world).await;
    a_server_that_goes_away_is_waited_for(&world, &disk).await;
    a_power_cut_is_survived(&world, &template).await;
    // the other stores are of no use from here on
    a_store_that_cannot_be_used_is_refused_at_adding(&world).await;
    world.down().await;
}

/// A store that cannot be used.
struct Useless {
    name: &'static str,
    server: &'static str,
    path: &'static str,
    version: &'static str,
    /// Words of why.
    why: &'static str,
}

const fn useless(
    name: &'static str,
    [server, path, version]: [&'static str; 3],
    why: &'static str,
) -> Useless {
    Useless { name, server, path, version, why }
}

const USELESS: [Useless; 6] = [
    useless("path", ["10.4.0.10", "/nowhere", "4.2"], "the server has no export /nowhere"),
    useless("path3", ["10.4.0.10", "/export/no", "3"], "the server has no export /export/no"),
    useless("closed", ["10.4.0.10", "/closed", "3"], "does not let this machine have /closed"),
    useless("readonly", ["10.4.0.10", "/readonly", "3"], "Read-only file system"),
    useless("squashed", ["10.4.0.10", "/squashed", "3"], "Permission denied"),
    useless("nowhere", ["10.4.0.99", "/export", "4.2"], "there is no route to the server"),
];
/// 4.1, so that the kernel knows nothing of it from the store that is there.
const OLDER: Useless =
    useless("older", ["10.4.0.10", "/secondary", "4.1"], "the server does not offer NFS 4.1");

/// In the words of a description.
fn described(store: &Useless) -> String {
    let Useless { name, server, path, version, .. } = store;
    format!(
        "\n[[image_stores]]\nzone = \"zone1\"\nname = \"{name}\"\nserver = \"{server}\"\n\
         path = \"{path}\"\nnfs_version = \"{version}\"\n"
    )
}

/// Each is broken for a reason of its own, and can be deleted again.
async fn each_store_that_cannot_be_used_says_why(world: &World) {
    for Useless { name, why, .. } in USELESS {
        let failure = world.broken(name, why).await;
        world.ask(&["image-store", "delete", name]);
        world.say(&format!("{name}: {failure}"));
    }
    world.in_sync().await;
}

/// The server no longer offers what is asked for: who waits is told so, and nothing of the store stays.
async fn a_store_that_cannot_be_used_is_refused_at_adding(world: &World) {
    world.done("rpc.nfsd 0 && rpc.nfsd -N 4 4").await;
    let Useless { name, server, path, version, why } = OLDER;
    let told = world.told(&[
        "--wait",
        "240",
        "image-store",
        "create",
        name,
        "--zone",
        "zone1",
        "--server",
        server,
        "--path",
        path,
        "--nfs-version",
        version,
    ]);
    assert!(told.code == 9 && told.err.contains(why), "{told:?}");
    let shown = world.told(&["image-store", "show", name]);
    assert_eq!(shown.code, 4, "{shown:?}");
    world.say(&format!("refused: {}", told.err.trim()));
}

/// The template itself over NFS 4.2, verified on the server and in the names that hosts look for.
async fn the_described_image_comes_in(world: &World, template: &str) {
    let done = world.image("debian-13", "done").await;
    assert_eq!(done["sha256"], template, "{done:#}");
    assert_eq!(done["format"], "qcow2", "{done:#}");
    assert_eq!(done["percent"], 100, "{done:#}");
    let number = world.ask(&["image", "show", "debian-13"])["number"].as_u64().unwrap();
    let folder = format!("{TEMPLATES}/{number}");
    assert_eq!(world.sha256(&format!("{folder}/debian-13.qcow2")).await, template);
    let properties = world.done(&format!("cat {folder}/template.properties")).await;
    assert!(properties.contains("filename=debian-13.qcow2"), "{properties}");
    let list = world.cloud.manager.done(["image", "list"]).unwrap();
    let line = list.lines().find(|line| line.contains("debian-13")).unwrap_or_default();
    assert!(line.contains("done") && line.contains("100"), "{list}");
    world.settled("debian-13").await;
    world.say("the template is in");
}

async fn a_packed_disk_comes_in_over_version_3(world: &World, disk: &server::Disk) {
    world.register("old", "packed", &server::url("disk.gz"), &disk.packed).await;
    let done = world.image("packed", "done").await;
    assert_eq!(done["sha256"], disk.plain.as_str(), "{done:#}");
    assert_eq!(
        world.done("sha256sum /export/old/template/tmpl/1/*/packed.raw").await[..64],
        disk.plain
    );
    assert_eq!(world.parts().await, "", "nothing unfinished is left");
    // procedures of version 3 were called: behind their number, how often each was
    world.done("sed -n 's/^proc3 22 //p' /proc/net/rpc/nfsd | grep -q '[1-9]'").await;
    world.say("a packed disk is in");
}

/// Whole, and a range of it; nothing else is served there.
async fn a_link_leads_to_it(world: &World, template: &str) {
    let link = world.ask(&["image", "download-link", "debian-13"]);
    world.in_sync().await;
    let url = link["url"].as_str().unwrap();
    let whole = world.done(&format!("curl -sSfk {url} | sha256sum | cut -c1-64")).await;
    assert_eq!(whole.trim(), template);
    let part = world.done(&format!("curl -sSfk -r 1000-1999 {url} | sha256sum")).await;
    let wanted = world.done("tail -c +1001 /srv/sluice.qcow2 | head -c 1000 | sha256sum").await;
    assert_eq!(part, wanted, "a range of it");
    let here = host(url);
    let others = format!("curl -sk -o /dev/null -w '%{{http_code}}' https://{here}/download/other");
    assert_eq!(world.done(&others).await, "404");
    let api =
        format!("! curl -s -o /dev/null --connect-timeout 3 -k https://{here}:3922/v1/health");
    world.done(&api).await;
    world.say("a link was followed");
}

/// The host of an address.
fn host(url: &str) -> &str {
    url.split('/').nth(2).unwrap()
}

/// In two pieces, by a grant that the manager made.
async fn one_is_sent_in(world: &World, disk: &server::Disk) {
    world.image("own", "uploading").await;
    let link = world.ask(&["image", "upload-link", "own"]);
    world.in_sync().await;
    let (url, token) = (link["url"].as_str().unwrap(), link["token"].as_str().unwrap());
    assert_eq!(link["page"], format!("{url}#{token}"));
    let here = host(url);
    let size = 3 << 20;
    let line = format!(
        "set -e; tus() {{ curl -sSfk -H 'Authorization: Bearer {token}' -H 'Tus-Resumable: 1.0.0' \"$@\"; }}
         at=$(tus -D - -o /dev/null -X POST -H 'Upload-Length: {size}' {url} | tr -d '\\r' | sed -n 's/^[Ll]ocation: //p')
         case $at in /*) at=https://{here}$at;; esac
         tus -I $at | grep -qi 'upload-offset: 0'
         head -c 1000000 /srv/plain | tus -X PATCH -H 'Upload-Offset: 0' -H 'Content-Type: application/offset+octet-stream' --data-binary @- $at
         tail -c +1000001 /srv/plain | tus -X PATCH -H 'Upload-Offset: 1000000' -H 'Content-Type: application/offset+octet-stream' --data-binary @- $at"
    );
    world.done(&line).await;
    let done = world.image("own", "done").await;
    assert_eq!(done["sha256"], disk.plain.as_str(), "{done:#}");
    world.say("one was sent in");
}

/// From one store to the other, compared on the way; then it goes, and its original stays.
async fn one_is_copied_and_erased(world: &World, disk: &server::Disk) {
    world.ask(&["image", "create", "copy", "--image-store", "old", "--copy-of", "own"]);
    world.in_sync().await;
    let done = world.image("copy", "done").await;
    assert_eq!(done["sha256"], disk.plain.as_str(), "{done:#}");
    assert_eq!(
        world.done("sha256sum /export/old/template/tmpl/1/*/copy.raw").await[..64],
        disk.plain
    );
    world.ask(&["image", "erase", "copy"]);
    world.in_sync().await;
    world
        .image_until("copy", "its end", |seen| {
            assert_ne!(seen["state"], "done", "it was removed");
            seen["state"] == "erased"
        })
        .await;
    world.done("! ls /export/old/template/tmpl/1/*/copy.raw && ls /export/secondary/volumes/2/*/own.raw").await;
    world.ask(&["image", "delete", "copy"]);
    // to whichever store has the most room
    world.ask(&["image", "create", "converted", "--copy-of", "own", "--format", "qcow2"]);
    world.in_sync().await;
    let done = world.image("converted", "done").await;
    assert_eq!((&done["format"], &done["virtual_size"]), (&"qcow2".into(), &(3 << 20).into()));
    world.say("one was copied, erased and converted");
}

async fn a_wrong_checksum_leaves_nothing(world: &World) {
    world.register("nfs1", "bad", &server::url("disk.gz"), &"00".repeat(32)).await;
    let failed = world.image("bad", "failed").await;
    assert!(failed["failure"].as_str().unwrap().starts_with("checksum: "), "{failed:#}");
    world.done(&format!("! ls {TEMPLATES}/*/bad.raw")).await;
    assert_eq!(world.parts().await, "");
}

/// It is broken while it is away, its jobs wait, and they are done when it is back.
async fn a_server_that_goes_away_is_waited_for(world: &World, disk: &server::Disk) {
    world.done("exportfs -ua && exportfs -f").await;
    world.store("nfs1", "broken").await;
    world.register("nfs1", "late", &server::url("disk.gz"), &disk.packed).await;
    world.image("late", "retrying").await;
    world.done("exportfs -ra").await;
    world.store("nfs1", "ready").await;
    world.image("late", "done").await;
    assert_eq!(world.done(&format!("sha256sum {TEMPLATES}/*/late.raw")).await[..64], disk.plain);
    world.say("an outage was waited for");
}

/// The system VM template is seeded; the machine comes up by itself on its last configuration and goes on where the job was,
/// while the command waits.
async fn a_power_cut_is_survived(world: &World, template: &str) {
    const CHECKPOINT: u64 = 32 << 20;
    let (url, checksum) = (server::slow_url("sluice.qcow2"), format!("sha256:{template}"));
    let words = ["template", "seed", &url, "--image-store", "nfs1", "--checksum", &checksum];
    let seeding = world.cloud.manager.start_sluice(words).unwrap();
    // one checkpoint and what may still be on its way to it; one that is done has nothing to be taken up
    let past = |seen: &serde_json::Value| {
        let taken = seen["taken"].as_u64().unwrap_or(0);
        taken >= CHECKPOINT + (2 << 20) || seen["state"] == "done"
    };
    let before = world.image_until(SEEDED, "a checkpoint", past).await;
    assert_eq!(before["state"], "fetching", "it was over before the power was cut: {before:#}");
    world.power_cycle().await;
    let done = world.image(SEEDED, "done").await;
    let said = tokio::task::block_in_place(|| seeding.wait_with_output()).unwrap();
    assert!(said.status.success(), "{said:?}");
    let (fetched, total) = (done["fetched"].as_u64().unwrap(), done["total"].as_u64().unwrap());
    // nothing: all had come in when the power was cut, which the report did not say yet
    if fetched == 0 || fetched > total - CHECKPOINT {
        let logs = world.cloud.manager.sluice(["logs", "s-1"]).map(|told| told.out);
        panic!(
            "{fetched} of {total} bytes were fetched after the cut; before: {before:#}\n{logs:?}"
        );
    }
    world.say(&format!("{fetched} of {total} bytes were fetched after the cut"));
    assert_eq!(world.sha256(&format!("{TEMPLATES}/3/{SEEDED}.qcow2")).await, *template);
    assert_eq!(world.parts().await, "", "of {SERVER}");
    world.say("a power cut was survived");
}
