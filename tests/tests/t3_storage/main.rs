//! The template as built as a secondary storage VM: images come in over HTTP, stand on a kernel's NFS server, go out again,
//! and survive a server that goes away and a power cut.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // a test may fail loudly anywhere

mod server;
mod world;

use serde_json::{Value, json};
use sluice_ssvm::slice::TokenHash;

use server::{SERVER, Server};
use world::{HERE, World};

const TOKEN: &str = "a-token-that-nobody-guesses";
/// System VM templates of KVM have this number (guide 4.5.7).
const SYSTEM_VM: u64 = 3;
/// Bytes between two checkpoints here.
const CHECKPOINT: u64 = 1 << 20;

fn place(id: u64, name: &str) -> Value {
    json!({ "template": { "account": 1, "id": id, "name": name } })
}

fn import(id: &str, store: &str, place: &Value, url: &str, checksum: &str) -> Value {
    json!({ "id": id, "what": { "import": { "source": { "url": url }, "store": store,
        "place": place, "checksum": format!("sha256:{checksum}") } } })
}

/// Over NFS 4.2 from what is seen in the server's `/` (its only export), over version 3 from its whole path.
fn stores() -> Value {
    let nfs = |path: &str, version: &str| json!({ "nfs": { "server": "10.4.0.10", "path": path, "version": version } });
    json!([
        { "id": "new", "kind": nfs("/secondary", "4.2") },
        { "id": "old", "kind": nfs("/export/old", "3") },
    ])
}

fn download(store: &str, place: &Value) -> Value {
    json!([{ "id": "g-1", "token": TokenHash::of(TOKEN), "expires": 4_102_444_800_u64,
        "permission": { "download": { "store": store, "place": place } } }])
}

/// One machine for all of it: its boot is the dear part.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn images_come_in_over_nfs_go_out_again_and_survive_outages() {
    let mut world = World::start("storage").await;
    let server = Server::start(&world).await;
    let template = server.has_the_template().await;
    let disk = server.makes_a_disk("disk.gz", 3 << 20).await;
    world.push(|role| {
        role["stores"] = stores();
        role["limits"] = json!({ "checkpoint_bytes": CHECKPOINT });
    });
    world.in_force().await;
    for id in ["new", "old"] {
        world.store(id, "ready").await;
    }

    both_come_in(&mut world, &server, &template, &disk).await;
    one_goes_out_again(&mut world, &server, &template).await;
    a_wrong_checksum_leaves_nothing(&mut world, &server).await;
    a_server_that_goes_away_is_waited_for(&mut world, &server, &disk).await;
    a_power_cut_costs_one_checkpoint(&mut world, &server, &template).await;
    world.down().await;
}

/// The template itself over NFS 4.2, a packed disk over version 3; both verified, and in the names that hosts look for.
async fn both_come_in(world: &mut World, server: &Server, template: &str, disk: &server::Disk) {
    world.push(|role| {
        role["jobs"] = json!([
            import(
                "j-1",
                "new",
                &place(SYSTEM_VM, "sluice"),
                &server.url("sluice.qcow2"),
                template
            ),
            import("j-2", "old", &place(201, "disk"), &server.url("disk.gz"), &disk.packed),
        ]);
    });
    world.in_force().await;
    let done = world.job("j-1", "done").await;
    assert_eq!(done["object"]["sha256"], template, "{done:#}");
    assert_eq!(done["object"]["image"]["format"], "qcow2", "{done:#}");
    let done = world.job("j-2", "done").await;
    assert_eq!(done["object"]["sha256"], disk.plain.as_str(), "{done:#}");
    assert_eq!(done["object"]["origin"]["compression"], "gzip", "{done:#}");
    let folder = format!("/export/secondary/template/tmpl/1/{SYSTEM_VM}");
    assert_eq!(server.sha256(&format!("{folder}/sluice.qcow2")).await, template);
    assert_eq!(server.sha256("/export/old/template/tmpl/1/201/disk.raw").await, disk.plain);
    let properties = server.done(&format!("cat {folder}/template.properties")).await;
    assert!(properties.contains("filename=sluice.qcow2"), "{properties}");
    assert_eq!(server.parts().await, "", "nothing unfinished is left");
}

/// Whole, and a range of it.
async fn one_goes_out_again(world: &mut World, server: &Server, template: &str) {
    world.push(|role| role["grants"] = download("new", &place(SYSTEM_VM, "sluice")));
    world.in_force().await;
    let url = format!("http://{HERE}/download/{TOKEN}");
    let whole = server.done(&format!("curl -sSf {url} | sha256sum | cut -c1-64")).await;
    assert_eq!(whole.trim(), template);
    let part = server.done(&format!("curl -sSf -r 1000-1999 {url} | sha256sum")).await;
    let wanted = server.done("tail -c +1001 /srv/sluice.qcow2 | head -c 1000 | sha256sum").await;
    assert_eq!(part, wanted, "a range of it");
    let others = format!("curl -s -o /dev/null -w '%{{http_code}}' http://{HERE}/download/other");
    assert_eq!(server.done(&others).await, "404");
    let api = format!("curl -s -o /dev/null --connect-timeout 3 -k https://{HERE}:3922/v1/health");
    assert!(!server.sh(&api).await.ok(), "the API answers where images are served");
}

async fn a_wrong_checksum_leaves_nothing(world: &mut World, server: &Server) {
    let wrong = "00".repeat(32);
    world.push(|role| {
        let job = import("j-3", "new", &place(202, "bad"), &server.url("disk.gz"), &wrong);
        role["jobs"].as_array_mut().unwrap().push(job);
    });
    world.in_force().await;
    let failed = world.job("j-3", "failed").await;
    assert_eq!(failed["failure"]["code"], "checksum", "{failed:#}");
    server.done("! test -e /export/secondary/template/tmpl/1/202").await;
    assert_eq!(server.parts().await, "");
}

/// It is broken while it is away, its jobs wait, and they are done when it is back.
async fn a_server_that_goes_away_is_waited_for(
    world: &mut World,
    server: &Server,
    disk: &server::Disk,
) {
    server.done("exportfs -ua && exportfs -f").await;
    world.store("new", "broken").await;
    world.push(|role| {
        let job = import("j-4", "new", &place(203, "late"), &server.url("disk.gz"), &disk.packed);
        role["jobs"].as_array_mut().unwrap().push(job);
    });
    world.in_force().await;
    world.job("j-4", "retrying").await;
    server.done("exportfs -ra").await;
    world.store("new", "ready").await;
    world.job("j-4", "done").await;
    assert_eq!(server.sha256("/export/secondary/template/tmpl/1/203/late.raw").await, disk.plain);
}

/// The machine comes up by itself on its last configuration and goes on where the job was.
async fn a_power_cut_costs_one_checkpoint(world: &mut World, server: &Server, template: &str) {
    world.push(|role| {
        let url = server.slow_url("sluice.qcow2");
        let job = import("j-5", "new", &place(204, "again"), &url, template);
        role["jobs"].as_array_mut().unwrap().push(job);
    });
    world.in_force().await;
    let before = world.job_until("j-5", "eight MiB", |job| job["taken"].as_u64() >= Some(8 << 20));
    let before = before.await["taken"].as_u64().unwrap();
    world.power_cycle().await;
    let done = world.job("j-5", "done").await;
    let (fetched, total) = (done["fetched"].as_u64().unwrap(), done["total"].as_u64().unwrap());
    // besides the checkpoint, what was in memory or not yet noted: a block of 1 MiB
    let most = total - before + CHECKPOINT + (2 << 20);
    assert!(
        fetched <= most,
        "{fetched} of {total} fetched after {before}, at most {most} expected"
    );
    assert_eq!(server.sha256("/export/secondary/template/tmpl/1/204/again.qcow2").await, template);
    assert_eq!(server.parts().await, "", "of {SERVER}");
}
