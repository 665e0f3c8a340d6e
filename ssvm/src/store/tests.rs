use super::*;
use crate::checksum::Checksum;
use crate::disk::{FaultyDisk, RealDisk};
use crate::image::{Format, Inspection};
use crate::slice::{StoreKind, StoreSlice};
use sluice_api::types::Percent;
use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Mutex;
use uuid::Uuid;

#[derive(Default)]
struct Memory(Mutex<BTreeMap<ObjectId, Uuid>>);

impl Known for Memory {
    fn recall(&self, store: &ObjectId) -> io::Result<Option<Uuid>> {
        Ok(self.0.lock().unwrap().get(store).copied())
    }

    fn remember(&self, store: &ObjectId, mark: Uuid) -> io::Result<()> {
        self.0.lock().unwrap().insert(store.clone(), mark);
        Ok(())
    }
}

fn slice(path: &Path) -> StoreSlice {
    StoreSlice {
        id: "nfs-1".parse().unwrap(),
        kind: StoreKind::Directory { path: path.to_owned(), filesystem: None },
        read_only: false,
        full_percent: Percent::MAX,
    }
}

struct World {
    folder: tempfile::TempDir,
    memory: Arc<Memory>,
}

impl World {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), memory: Arc::default() }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    fn on(&self, disk: Arc<dyn Disk>, slice: StoreSlice) -> DirectoryStore {
        DirectoryStore::new(slice, disk, self.memory.clone(), "s-1".parse().unwrap()).unwrap()
    }

    fn store(&self) -> DirectoryStore {
        std::fs::create_dir_all(self.path()).unwrap();
        self.on(Arc::new(RealDisk), slice(&self.path()))
    }

    fn part(&self, store: &DirectoryStore, bytes: &[u8]) {
        let workspace = store.workspace().unwrap();
        std::fs::write(workspace.folder.join("part"), bytes).unwrap();
    }

    /// Every file of the store but marks and parts.
    fn objects(&self) -> Vec<String> {
        fn walk(path: &Path, found: &mut Vec<String>) {
            for entry in std::fs::read_dir(path).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() && path.ends_with(".sluice") {
                    continue;
                }
                if path.is_dir() {
                    walk(&path, found)
                } else {
                    found.push(path.display().to_string())
                }
            }
        }
        let mut found = Vec::new();
        walk(&self.path(), &mut found);
        let root = format!("{}/", self.path().display());
        let mut names: Vec<_> = found.iter().map(|path| path.replace(&root, "")).collect();
        names.sort();
        names
    }
}

fn place() -> Place {
    "template/tmpl/2/201/web".parse().unwrap()
}

fn manifest(job: &str) -> Manifest {
    let image =
        Inspection { format: Format::Qcow2, variant: "v3".to_owned(), virtual_size: 1 << 20 };
    let digest: Checksum = "ab".repeat(32).parse().unwrap();
    Manifest {
        place: place(),
        image,
        size: 5,
        sha256: digest.hex().to_owned(),
        sha512: "cd".repeat(64),
        origin: Origin {
            job: job.parse().unwrap(),
            from: "https://host/image".to_owned(),
            size: 3,
            digest,
            compression: None,
        },
        made: 1,
        parent: None,
    }
}

fn gone(result: Result<impl Sized, StoreError>) -> String {
    match result.err().expect("the store is not there") {
        StoreError::Gone { reason, .. } | StoreError::NotYet { reason, .. } => reason,
        other => panic!("{other}"),
    }
}

#[test]
fn an_object_has_the_names_and_records_that_others_look_for() {
    let world = World::new();
    let store = world.store();
    world.part(&store, b"bytes");
    store.publish("part", &manifest("j-1")).unwrap();
    let folder = "template/tmpl/2/201";
    let names = [".web.sluice.json", "template.properties", "web.qcow2"];
    assert_eq!(world.objects(), names.map(|name| format!("{folder}/{name}")));
    let text = std::fs::read_to_string(world.path().join(folder).join(names[1])).unwrap();
    for line in
        ["filename=web.qcow2", "id=201", "qcow2=true", "qcow2.virtualsize=1048576", "size=5"]
    {
        assert!(text.lines().any(|other| other == line), "{line} in\n{text}");
    }
    for path in ["", names[0], names[1], names[2]] {
        let found = std::fs::metadata(world.path().join(folder).join(path)).unwrap();
        assert_eq!(found.permissions().mode() & 0o022, 0, "others may write {folder}/{path}");
    }
    let mut opened = [0; 5];
    store.open(&place()).unwrap().file.read_at(0, &mut opened).unwrap();
    assert_eq!(&opened, b"bytes");
    assert_eq!(store.find(&place()).unwrap(), manifest("j-1"));
    store.delete(&place()).unwrap();
    store.delete(&place()).unwrap();
    assert_eq!(world.objects(), Vec::<String>::new());
    assert!(matches!(store.find(&place()), Err(StoreError::NotFound { .. })));
}

#[test]
fn another_object_is_never_replaced() {
    let world = World::new();
    let store = world.store();
    world.part(&store, b"one");
    store.publish("part", &manifest("j-1")).unwrap();
    world.part(&store, b"two");
    let again = store.publish("part", &manifest("j-2"));
    assert!(matches!(again, Err(StoreError::Exists { .. })), "{again:?}");
    let foreign: Place = "template/tmpl/2/202/old".parse().unwrap();
    let folder = world.path().join(foreign.folder());
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("old.vhd"), "somebody else's").unwrap();
    let over = store.publish("part", &Manifest { place: foreign, ..manifest("j-3") });
    assert!(matches!(over, Err(StoreError::Exists { .. })), "{over:?}");
}

/// `template.properties` of a folder can be of one image alone.
#[test]
fn the_folder_of_another_image_is_not_taken() {
    let world = World::new();
    let store = world.store();
    world.part(&store, b"one");
    store.publish("part", &manifest("j-1")).unwrap();
    let properties = world.path().join("template/tmpl/2/201/template.properties");
    let before = std::fs::read(&properties).unwrap();
    let other: Place = "template/tmpl/2/201/other".parse().unwrap();
    world.part(&store, b"two");
    for refused in [
        store.vacant(&other),
        store.publish("part", &Manifest { place: other.clone(), ..manifest("j-2") }),
    ] {
        match refused {
            Err(StoreError::Occupied { found, .. }) => assert_eq!(found, ".web.sluice.json"),
            other => panic!("{other:?}"),
        }
    }
    store.delete(&other).unwrap();
    assert_eq!(std::fs::read(&properties).unwrap(), before);
    store.vacant(&place()).unwrap();
    let clouds: Place = "template/tmpl/1/3/new".parse().unwrap();
    let folder = world.path().join(clouds.folder());
    std::fs::create_dir_all(&folder).unwrap();
    for name in ["9d0c.qcow2", "template.properties"] {
        std::fs::write(folder.join(name), "CloudStack's").unwrap();
    }
    assert!(matches!(store.vacant(&clouds), Err(StoreError::Occupied { .. })));
    store.delete(&clouds).unwrap();
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 2, "nothing of it went");
}

/// An unmounted store looks like an empty directory, or like another store.
#[test]
fn what_is_not_the_store_is_not_taken_for_it() {
    let world = World::new();
    let store = world.store();
    world.part(&store, b"bytes");
    store.publish("part", &manifest("j-1")).unwrap();
    let aside = world.folder.path().join("aside");
    std::fs::rename(world.path(), &aside).unwrap();
    assert!(gone(store.probe()).contains("does not exist"));
    std::fs::create_dir(world.path()).unwrap();
    assert!(gone(store.probe()).contains("mark"));
    assert!(gone(store.find(&place())).contains("mark"));
    assert!(gone(store.delete(&place())).contains("mark"));
    assert!(gone(store.workspace()).contains("mark"));
    assert!(gone(store.publish("part", &manifest("j-2"))).contains("mark"));
    assert_eq!(std::fs::read_dir(world.path()).unwrap().count(), 0, "nothing was written there");
    let other = World { folder: tempfile::tempdir().unwrap(), memory: Arc::default() };
    other.store().probe().unwrap();
    std::fs::remove_dir(world.path()).unwrap();
    std::fs::rename(other.path(), world.path()).unwrap();
    assert!(gone(store.probe()).contains("another store with the same id"));
    std::fs::remove_dir_all(world.path()).unwrap();
    std::fs::rename(&aside, world.path()).unwrap();
    store.probe().unwrap();
    assert_eq!(store.find(&place()).unwrap(), manifest("j-1"));
    let mut renamed = slice(&world.path());
    renamed.id = "nfs-2".parse().unwrap();
    assert!(gone(world.on(Arc::new(RealDisk), renamed).probe()).contains("marked as store nfs-1"));
}

#[test]
fn a_wrong_file_system_is_refused_by_its_type() {
    let world = World::new();
    let mut nfs = slice(&world.path());
    std::fs::create_dir(world.path()).unwrap();
    let kind = StoreKind::Directory { path: world.path(), filesystem: Some(0x6969) };
    nfs.kind = kind;
    assert!(gone(world.on(Arc::new(RealDisk), nfs).probe()).contains("not 0x6969"));
    assert_eq!(std::fs::read_dir(world.path()).unwrap().count(), 0);
}

/// Each with its own reason: wrong path, no permission, no route, no such version.
#[test]
fn a_server_that_could_not_be_mounted_is_broken_with_the_reason() {
    let world = World::new();
    std::fs::create_dir(world.path()).unwrap();
    let mut nfs = slice(&world.path());
    nfs.kind = StoreKind::Directory { path: world.path(), filesystem: Some(0x6969) };
    let store = world.on(Arc::new(RealDisk), nfs);
    let nobody_said = store.probe();
    assert!(matches!(nobody_said, Err(StoreError::NotYet { .. })), "{nobody_said:?}");
    let beside = mount_failure(&world.path()).unwrap();
    std::fs::write(beside, "10.4.0.10:/export: the server has no export /export").unwrap();
    match store.probe() {
        Err(StoreError::Gone { reason, .. }) => {
            assert!(reason.starts_with("not mounted: 10.4.0.10:/export: the server"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_read_only_store_is_read_and_nothing_else() {
    let world = World::new();
    let writable = world.store();
    world.part(&writable, b"bytes");
    writable.publish("part", &manifest("j-1")).unwrap();
    let only = StoreSlice { read_only: true, ..slice(&world.path()) };
    let store = world.on(Arc::new(FaultyDisk::new(Arc::new(RealDisk), 0)), only);
    store.probe().unwrap();
    assert_eq!(store.find(&place()).unwrap(), manifest("j-1"));
    for refused in [
        store.workspace().map(drop),
        store.publish("part", &manifest("j-2")),
        store.delete(&place()),
    ] {
        assert!(matches!(refused, Err(StoreError::ReadOnly { .. })), "{refused:?}");
    }
}

/// A disk of which 91 % are used.
struct FullDisk(RealDisk);

impl Disk for FullDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.0.create(path)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.0.open(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.remove(path)
    }

    fn make_directory(&self, path: &Path) -> io::Result<()> {
        self.0.make_directory(path)
    }

    fn remove_empty(&self, path: &Path) -> io::Result<bool> {
        self.0.remove_empty(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        self.0.list(path)
    }

    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        self.0.read(path)
    }

    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.0.replace(path, bytes)
    }

    fn state(&self, path: &Path) -> io::Result<sluice_sys::filesystem::FilesystemState> {
        Ok(sluice_sys::filesystem::FilesystemState { size: 1000, free: 90, ..self.0.state(path)? })
    }
}

#[test]
fn a_full_store_begins_nothing() {
    let world = World::new();
    let disk = Arc::new(FullDisk(RealDisk));
    let store =
        world.on(disk, StoreSlice { full_percent: Percent::NINETY, ..slice(&world.path()) });
    std::fs::create_dir(world.path()).unwrap();
    store.probe().unwrap();
    assert!(matches!(store.workspace(), Err(StoreError::Full { .. })));
    assert!(Space { size: 100, free: 9 }.fuller_than(90));
    assert!(!Space { size: 100, free: 10 }.fuller_than(90));
}

/// Publishing is cut off at each of its changes, then called again: the object is not there, or there whole.
#[test]
fn publishing_is_completed_after_a_failure_at_any_point() {
    let mut good = 0;
    loop {
        let world = World::new();
        let store = world.store();
        world.part(&store, b"bytes");
        let faulty =
            world.on(Arc::new(FaultyDisk::new(Arc::new(RealDisk), good)), slice(&world.path()));
        let first = faulty.publish("part", &manifest("j-1"));
        let visible = store.find(&place());
        assert!(matches!(visible, Ok(_) | Err(StoreError::NotFound { .. })), "{visible:?}");
        if visible.is_ok() {
            assert_eq!(
                std::fs::read(world.path().join("template/tmpl/2/201/web.qcow2")).unwrap(),
                b"bytes"
            );
        }
        store.publish("part", &manifest("j-1")).unwrap();
        assert_eq!(world.objects().len(), 3, "after {good} changes");
        if first.is_ok() {
            break;
        }
        good += 1;
    }
    assert!(good >= 3, "{good} changes");
}

#[test]
fn deleting_is_completed_after_a_failure_at_any_point() {
    let mut good = 0;
    loop {
        let world = World::new();
        let store = world.store();
        world.part(&store, b"bytes");
        store.publish("part", &manifest("j-1")).unwrap();
        let faulty =
            world.on(Arc::new(FaultyDisk::new(Arc::new(RealDisk), good)), slice(&world.path()));
        let first = faulty.delete(&place());
        store.delete(&place()).unwrap();
        assert_eq!(world.objects(), Vec::<String>::new(), "after {good} changes");
        if first.is_ok() {
            break;
        }
        good += 1;
    }
    assert!(good >= 3, "{good} changes");
}

fn snapshot(name: &str) -> Place {
    format!("snapshots/2/7/{name}").parse().unwrap()
}

/// A chain of three: what others are the difference to goes after them.
#[test]
fn a_parent_stays_for_as_long_as_it_has_a_child() {
    let world = World::new();
    let store = world.store();
    for (name, parent) in [("s-1", None), ("s-2", Some("s-1")), ("s-3", Some("s-2"))] {
        world.part(&store, name.as_bytes());
        let parent = parent.map(|parent| parent.parse().unwrap());
        let manifest = Manifest { place: snapshot(name), parent, ..manifest("j-1") };
        store.publish("part", &manifest).unwrap();
    }
    for (name, child) in [("s-1", "s-2"), ("s-2", "s-3")] {
        match store.delete(&snapshot(name)) {
            Err(StoreError::HasChild { child: found, .. }) => assert_eq!(found, snapshot(child)),
            other => panic!("{name}: {other:?}"),
        }
        assert!(store.find(&snapshot(name)).is_ok(), "{name} is still there");
    }
    for name in ["s-3", "s-2", "s-1"] {
        store.delete(&snapshot(name)).unwrap();
    }
    assert_eq!(world.objects(), Vec::<String>::new());
}

#[test]
fn a_child_does_not_come_without_its_parent() {
    let world = World::new();
    let store = world.store();
    world.part(&store, b"child");
    let parent = Some("s-1".parse().unwrap());
    let orphan = Manifest { place: snapshot("s-2"), parent, ..manifest("j-1") };
    let refused = store.publish("part", &orphan);
    assert!(matches!(refused, Err(StoreError::NotFound { .. })), "{refused:?}");
    assert_eq!(world.objects(), Vec::<String>::new());
}

/// A record that cannot be read may be of a child, so nothing goes.
#[test]
fn a_parent_stays_when_a_record_beside_it_is_damaged() {
    let world = World::new();
    let store = world.store();
    world.part(&store, b"bytes");
    store.publish("part", &Manifest { place: snapshot("s-1"), ..manifest("j-1") }).unwrap();
    std::fs::write(world.path().join("snapshots/2/7/.s-2.sluice.json"), "{").unwrap();
    let refused = store.delete(&snapshot("s-1"));
    assert!(matches!(refused, Err(StoreError::Record { .. })), "{refused:?}");
    assert!(store.find(&snapshot("s-1")).is_ok());
}
