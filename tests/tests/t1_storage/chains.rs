//! Snapshots that are the difference to their parent, as qemu-img makes them.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::bench::{Bench, WEB, import, noise};
use super::copies::replaced;

fn place(name: &str) -> Value {
    json!({ "snapshot": { "account": 2, "volume": 7, "name": name } })
}

fn snapshot(job: &str, name: &str, parent: Option<&str>) -> Value {
    json!({ "id": job, "what": { "import": { "source": { "url": format!("http://{WEB}/{name}") },
        "store": "local", "place": place(name), "format": "qcow2", "parent": parent } } })
}

fn delete(job: &str, name: &str) -> Value {
    json!({ "id": job, "what": { "delete": { "store": "local", "place": place(name) } } })
}

fn qemu_img(words: &[&str], folder: &std::path::Path) -> String {
    let mut command = sluice_programs::command("qemu-img").unwrap();
    let output = command.args(words).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Three states of a disk where nginx serves them: `s-1` whole, `s-2` and `s-3` differences.
fn chain(bench: &Bench) {
    let web = bench.path("web");
    std::fs::write(web.join("disk"), noise(4 << 20)).unwrap();
    qemu_img(&["convert", "-f", "raw", "-O", "qcow2", "disk", "s-1"], &web);
    for (name, parent) in [("s-2", "s-1"), ("s-3", "s-2")] {
        qemu_img(&["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", parent, name], &web);
    }
}

fn object(bench: &Bench, name: &str) -> PathBuf {
    bench.path("store/snapshots/2/7").join(name)
}

#[test]
fn a_chain_comes_in_parent_first_is_read_by_qemu_and_goes_child_first() {
    let mut bench = Bench::new("chain");
    chain(&bench);
    bench.change(|slice| slice["jobs"] = json!([snapshot("j-2", "s-2", Some("s-1"))]));
    bench.start();
    let (code, reason) = bench.failed("j-2");
    assert_eq!(code, "object-not-found", "without its parent: {reason}");
    for (number, name, parent) in
        [(11, "s-1", None), (12, "s-2", Some("s-1")), (13, "s-3", Some("s-2"))]
    {
        let job = format!("j-{number}");
        bench.change(|slice| slice["jobs"] = json!([snapshot(&job, name, parent)]));
        bench.done(&job);
    }
    let told = qemu_img(&["check", "-f", "qcow2", "s-3"], &bench.path("store/snapshots/2/7"));
    assert!(told.contains("No errors"), "{told}");
    let info = qemu_img(&["info", "--backing-chain", "s-3"], &bench.path("store/snapshots/2/7"));
    assert_eq!(info.matches("image: ").count(), 3, "{info}");
    bench.change(|slice| slice["jobs"] = json!([delete("j-21", "s-2")]));
    let (code, reason) = bench.failed("j-21");
    assert_eq!(code, "object-has-child", "{reason}");
    assert!(reason.contains("s-3"), "{reason}");
    for (number, name) in [(31, "s-3"), (32, "s-2"), (33, "s-1")] {
        assert!(object(&bench, name).exists());
        let job = format!("j-{number}");
        bench.change(|slice| slice["jobs"] = json!([delete(&job, name)]));
        bench.done(&job);
        assert!(!object(&bench, name).exists());
    }
}

/// What an image says of its backing file has to be what its job says of its parent, and no more.
#[test]
fn a_snapshot_that_names_another_file_is_refused() {
    let mut bench = Bench::new("chain-refused");
    chain(&bench);
    let web = bench.path("web");
    std::fs::create_dir(web.join("elsewhere")).unwrap();
    std::fs::copy(web.join("s-1"), web.join("elsewhere/s-1")).unwrap();
    let aside = web.join("elsewhere/s-1");
    let aside = aside.to_str().unwrap();
    qemu_img(&["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", aside, "abroad"], &web);
    qemu_img(&["create", "-q", "-f", "qcow2", "-F", "raw", "-b", "disk", "guessed"], &web);
    bench.change(|slice| slice["jobs"] = json!([snapshot("j-1", "s-1", None)]));
    bench.start();
    bench.done("j-1");
    let whole = std::fs::read(web.join("s-1")).unwrap();
    bench.serve("alone", &whole);
    for (number, name, parent) in [
        (2, "s-2", None),
        (3, "s-3", Some("s-1")),
        (4, "abroad", Some("s-1")),
        (5, "guessed", Some("s-1")),
        (6, "alone", Some("s-1")),
    ] {
        let job = format!("j-{number}");
        bench.change(|slice| slice["jobs"] = json!([snapshot(&job, name, parent)]));
        let (code, reason) = bench.failed(&job);
        assert_eq!(code, "backing-file", "{name}: {reason}");
        assert!(!object(&bench, name).exists(), "{name}");
    }
}

/// A template of a snapshot: one image, in whatever format hosts want, with qemu-img as judge.
#[test]
fn a_snapshot_with_parents_becomes_a_template_of_any_format() {
    let mut bench = Bench::new("convert");
    chain(&bench);
    for (number, name, parent) in [(1, "s-1", None), (2, "s-2", Some("s-1"))] {
        let job = format!("j-{number}");
        bench.change(|slice| slice["jobs"] = json!([snapshot(&job, name, parent)]));
        if number == 1 {
            bench.start();
        }
        bench.done(&job);
    }
    let formats = [
        ("qcow2", None, "qcow2"),
        ("raw", None, "raw"),
        ("vhd", None, "vpc"),
        ("vhd", Some("dynamic"), "vpc"),
        ("vhdx", None, "vhdx"),
        ("vmdk", None, "vmdk"),
        ("vmdk", Some("sparse"), "vmdk"),
    ];
    for (number, (format, layout, qemu)) in (10..).zip(formats) {
        let job = format!("j-{number}");
        let mut asked = template(&job, number, format);
        asked["what"]["import"]["layout"] = layout.into();
        bench.change(|slice| slice["jobs"] = json!([asked]));
        let done = bench.done(&job);
        assert_eq!(done["object"]["image"]["format"], format);
        assert_eq!(done["object"]["parent"], Value::Null);
        let file = bench.object(number, &format!("web.{format}"));
        let file = file.to_str().unwrap();
        qemu_img(&["compare", "-f", "raw", "-F", qemu, "disk", file], &bench.path("web"));
        // of VHD it has none
        if matches!(format, "qcow2" | "vhdx" | "vmdk") {
            let told = qemu_img(&["check", "-f", format, file], &bench.path("web"));
            assert!(told.contains("No errors"), "{told}");
        }
    }
    bench.change(|slice| slice["jobs"] = json!([template("j-20", 20, "ova")]));
    let (code, reason) = bench.failed("j-20");
    assert_eq!(code, "conversion", "{reason}");
}

/// What other programs write: qemu-img's images of every format, each made one of every other by us.
#[test]
fn images_in_pieces_that_others_made_are_read() {
    let mut bench = Bench::new("convert-others");
    let web = bench.path("web");
    let mut disk = noise(40 << 20);
    disk[3 << 20..37 << 20].fill(0);
    std::fs::write(web.join("disk"), &disk).unwrap();
    let made = [
        ("vhd", "vpc", "subformat=dynamic,force_size=on"),
        ("vhdx", "vhdx", "subformat=dynamic"),
        ("vmdk", "vmdk", "subformat=monolithicSparse"),
        ("vmdk", "vmdk", "subformat=streamOptimized"),
    ];
    for (number, (format, qemu, options)) in (1_u64..).zip(made) {
        let name = format!("from-{number}");
        let words = ["convert", "-f", "raw", "-O", qemu, "-o", options, "disk", &name];
        qemu_img(&words, &web);
        let job = format!("j-{number}1");
        let mut whole = import(&job, number, &format!("http://{WEB}/{name}"));
        whole["what"]["import"]["format"] = format.into();
        bench.change(|slice| slice["jobs"] = json!([whole]));
        if number == 1 {
            bench.start();
        }
        bench.done(&job);
        let others =
            [("raw", None, "raw"), ("vmdk", Some("sparse"), "vmdk"), ("vhdx", None, "vhdx")];
        for (at, (to, layout, qemu)) in (1..).zip(others) {
            let (id, job) = (number * 100 + at, format!("j-{number}-{to}"));
            let place = json!({ "template": { "account": 2, "id": number, "name": "web" } });
            let mut copy = template(&job, id, to);
            copy["what"]["import"]["layout"] = layout.into();
            copy["what"]["import"]["source"]["object"]["place"] = place;
            copy["what"]["import"]["place"]["template"]["name"] = to.into();
            bench.change(|slice| slice["jobs"] = json!([copy]));
            bench.done(&job);
            let file = bench.object(id, &format!("{to}.{to}"));
            let file = file.to_str().unwrap();
            qemu_img(&["compare", "-f", "raw", "-F", qemu, "disk", file], &web);
        }
    }
}

/// A description that names `disks`, as its first member.
fn ovf(disks: &[&str]) -> String {
    let file = |name: &&str| format!("<ovf:File ovf:id=\"f-{name}\" ovf:href=\"{name}\"/>");
    let disk =
        |name: &&str| format!("<ovf:Disk ovf:diskId=\"d-{name}\" ovf:fileRef=\"f-{name}\"/>");
    format!(
        "<?xml version=\"1.0\"?>\n<ovf:Envelope xmlns:ovf=\"http://schemas.dmtf.org/ovf/envelope/1\">\
         <ovf:References>{}</ovf:References><ovf:DiskSection>{}</ovf:DiskSection></ovf:Envelope>",
        disks.iter().map(file).collect::<String>(),
        disks.iter().map(disk).collect::<String>()
    )
}

/// What virtualisation products export: tar's archive of a description and qemu-img's stream-optimised disk. Of one with two
/// disks nobody says which one is meant.
#[test]
fn the_disk_of_an_ova_becomes_an_image_of_any_format() {
    let mut bench = Bench::new("convert-ova");
    let web = bench.path("web");
    let mut disk = noise(40 << 20);
    disk[3 << 20..37 << 20].fill(0);
    std::fs::write(web.join("disk"), &disk).unwrap();
    let options = ["convert", "-f", "raw", "-O", "vmdk", "-o", "subformat=streamOptimized"];
    for name in ["system.vmdk", "data.vmdk"] {
        qemu_img(&[options.as_slice(), &["disk", name]].concat(), &web);
    }
    for (archive, disks) in
        [("one", &["system.vmdk"][..]), ("two", &["system.vmdk", "data.vmdk"][..])]
    {
        std::fs::write(web.join("vm.ovf"), ovf(disks)).unwrap();
        let mut tar = sluice_programs::command("tar").unwrap();
        tar.current_dir(&web).args(["--format=ustar", "-cf", archive, "vm.ovf"]).args(disks);
        assert!(tar.status().unwrap().success());
    }
    let mut jobs: Vec<_> = [(1, "one"), (2, "two")]
        .map(|(id, name)| import(&format!("j-{id}"), id, &format!("http://{WEB}/{name}")))
        .into();
    bench.change(|slice| slice["jobs"] = json!(jobs));
    bench.start();
    assert_eq!(bench.done("j-1")["object"]["image"]["variant"], "1-disks");
    assert_eq!(bench.done("j-2")["object"]["image"]["virtual_size"], 80 << 20);
    let copy = |from: u64, id: u64, format: &str| {
        let place = json!({ "template": { "account": 2, "id": from, "name": "web" } });
        let mut copy = template(&format!("j-{id}"), id, format);
        copy["what"]["import"]["source"]["object"]["place"] = place;
        copy
    };
    let formats = [("qcow2", "qcow2"), ("raw", "raw"), ("vhd", "vpc"), ("vmdk", "vmdk")];
    for (id, (format, qemu)) in (10..).zip(formats) {
        jobs.push(copy(1, id, format));
        bench.change(|slice| slice["jobs"] = json!(jobs));
        let done = bench.done(&format!("j-{id}"));
        assert_eq!(done["object"]["image"]["format"], format);
        let file = bench.object(id, &format!("web.{format}"));
        let file = file.to_str().unwrap();
        qemu_img(&["compare", "-f", "raw", "-F", qemu, "disk", file], &web);
        let room = std::os::unix::fs::MetadataExt::blocks(&std::fs::metadata(file).unwrap()) * 512;
        assert!(room < 10 << 20, "{format}: {room} bytes on the disk for 6 MiB of data");
    }
    jobs.push(copy(2, 20, "qcow2"));
    bench.change(|slice| slice["jobs"] = json!(jobs));
    let (code, reason) = bench.failed("j-20");
    assert_eq!(code, "conversion");
    assert!(reason.contains("an OVA with 2 disks"), "{reason}");
}

fn template(job: &str, id: u64, format: &str) -> Value {
    json!({ "id": job, "what": { "import": { "store": "local", "format": format,
        "place": { "template": { "account": 2, "id": id, "name": "web" } },
        "source": { "object": { "store": "local", "place": place("s-2") } } } } })
}

/// A parent that was changed underneath is found before anything is made of it.
#[test]
fn a_flipped_byte_in_a_parent_is_found() {
    let mut bench = Bench::new("convert-flipped");
    chain(&bench);
    for (number, name, parent) in [(1, "s-1", None), (2, "s-2", Some("s-1"))] {
        let job = format!("j-{number}");
        bench.change(|slice| slice["jobs"] = json!([snapshot(&job, name, parent)]));
        if number == 1 {
            bench.start();
        }
        bench.done(&job);
    }
    let mut bytes = std::fs::read(object(&bench, "s-1")).unwrap();
    let last = bytes.len() - 1000;
    bytes[last] ^= 1;
    std::fs::write(object(&bench, "s-1"), bytes).unwrap();
    bench.change(|slice| slice["jobs"] = json!([template("j-3", 10, "raw")]));
    assert_eq!(bench.failed("j-3").0, "checksum");
    assert!(!bench.object(10, "web.raw").exists());
}

/// The kernel kills it where the result has so many bytes: nothing is visible, and it goes on where it was.
#[test]
fn a_conversion_goes_on_where_it_was_killed() {
    let mut bench = Bench::new("convert-killed");
    chain(&bench);
    bench.change(|slice| slice["jobs"] = json!([snapshot("j-1", "s-1", None)]));
    bench.start();
    bench.done("j-1");
    bench.kill();
    let mut job = template("j-2", 10, "raw");
    job["what"]["import"]["source"]["object"]["place"] = place("s-1");
    bench.change(|slice| slice["jobs"] = json!([job]));
    for stop in [2 << 20, 3 << 20] {
        bench.start_until_it_wrote(stop);
        assert!(!bench.object(10, "web.raw").exists(), "nothing is half-visible");
        let kept = bench.kept("j-2");
        assert!((stop - (1 << 20)..=stop).contains(&kept), "killed at {stop}: {kept} are kept");
    }
    let kept = bench.kept("j-2");
    bench.start();
    assert_eq!(bench.done("j-2")["fetched"], (4 << 20) - kept, "what is behind it, once");
    assert!(std::fs::read(bench.object(10, "web.raw")).unwrap() == noise(4 << 20));
}

/// Whoever could write to a store could write a snapshot's record too: a template of it is judged like everything else.
#[test]
fn a_hostile_image_does_not_come_in_by_a_template_of_a_snapshot() {
    let mut bench = Bench::new("convert-hostile");
    chain(&bench);
    bench.change(|slice| slice["jobs"] = json!([snapshot("j-1", "s-1", None)]));
    bench.start();
    bench.done("j-1");
    replaced(&object(&bench, "s-1"), &object(&bench, ".s-1.sluice.json"));
    for (id, format) in [(10, "raw"), (11, "qcow2")] {
        let job = format!("j-{id}");
        let mut asked = template(&job, id, format);
        asked["what"]["import"]["source"]["object"]["place"] = place("s-1");
        bench.change(|slice| slice["jobs"] = json!([asked]));
        let (code, reason) = bench.failed(&job);
        assert_eq!(code, "backing-file", "{format}: {reason}");
        assert!(!bench.object(id, &format!("web.{format}")).exists());
    }
}

/// Three states of a disk that differ, the later ones as differences: each comes back bit by bit whatever became of those
/// behind it, and in the end nothing is left.
#[test]
fn what_is_left_of_a_chain_is_restored_bit_by_bit() {
    let mut bench = Bench::new("chain-restored");
    let web = bench.path("web");
    let states: Vec<Vec<u8>> = (0..3)
        .map(|changes| {
            let mut disk = noise(4 << 20);
            (0..changes).for_each(|at| disk[(at + 1) << 20..][..100_000].fill(at as u8 + 1));
            disk
        })
        .collect();
    for (at, disk) in states.iter().enumerate() {
        let (raw, name, before) =
            (format!("d-{}", at + 1), format!("s-{}", at + 1), format!("s-{at}"));
        std::fs::write(web.join(&raw), disk).unwrap();
        let mut words = vec!["convert", "-f", "raw", "-O", "qcow2"];
        if at > 0 {
            words.extend(["-B", &before, "-F", "qcow2"]);
        }
        words.extend([raw.as_str(), &name]);
        qemu_img(&words, &web);
    }
    bench.start();
    let mut jobs = 0;
    let mut run = |bench: &mut Bench, mut job: Value| {
        jobs += 1;
        let id = format!("j-{jobs}");
        job["id"] = id.as_str().into();
        bench.change(|slice| slice["jobs"] = json!([job]));
        id
    };
    for (name, parent) in [("s-1", None), ("s-2", Some("s-1")), ("s-3", Some("s-2"))] {
        let job = run(&mut bench, snapshot("", name, parent));
        bench.done(&job);
    }
    // a parent does not go before its child
    let job = run(&mut bench, delete("", "s-2"));
    assert_eq!(bench.failed(&job).0, "object-has-child");
    let mut id = 100;
    for left in (0..3).rev() {
        for (at, state) in states.iter().enumerate().take(left + 1) {
            id += 1;
            let name = format!("s-{}", at + 1);
            let mut restored = template("", id, "raw");
            restored["what"]["import"]["source"]["object"]["place"] = place(&name);
            let job = run(&mut bench, restored);
            bench.done(&job);
            let file = bench.object(id, "web.raw");
            assert!(std::fs::read(file).unwrap() == *state, "{name} with {left} behind it");
        }
        let job = run(&mut bench, delete("", &format!("s-{}", left + 1)));
        bench.done(&job);
    }
    assert!(!object(&bench, "").exists(), "something of the volume's snapshots is left");
}
