//! The template as a console proxy that the manager configures, and the screen of another machine: from `sluice console` to
//! the guest's memory. No rights are needed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use sluice_lab::spec::Firmware;
use sluice_lab::{Lab, Wait};
use sluice_tests::cloud::Cloud;
use sluice_tests::console::lab::{self, DESCRIPTION, PROXY, VM};
use sluice_tests::console::qemu::GREETING;
use sluice_tests::console::viewer::{Refused, Viewer};

/// From power-on to the first configuration, on a busy host.
const IN_SYNC_S: u32 = 300;
/// What takes seconds is done within this.
const SOON: Duration = Duration::from_mins(2);

struct World {
    cloud: Cloud,
    lab: Lab,
    authority: String,
    folder: tempfile::TempDir,
}

impl World {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let description = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(DESCRIPTION);
        let free = "127.0.0.1:0".parse().unwrap();
        let cloud = Cloud::start(folder.path(), &description, free).await.unwrap();
        let spec = lab::machines(&cloud, "console", Firmware::Direct, folder.path()).unwrap();
        let lab = Lab::start(spec).await.unwrap();
        cloud.endpoint(PROXY, lab.endpoint(PROXY).unwrap()).unwrap();
        let authority = lab::authority(folder.path()).unwrap();
        let world = Self { cloud, lab, authority, folder };
        if let Err(error) = tokio::task::block_in_place(|| world.cloud.in_sync(IN_SYNC_S)) {
            panic!("{error:#}\n{}", world.state().await);
        }
        world
    }

    /// Everything that a failing test prints.
    async fn state(&self) -> String {
        format!("{}\n{}", self.cloud.log(), self.lab.state().await)
    }

    /// Runs `sluice`, and waits until what it changes is in force.
    fn sluice(&self, line: &str) {
        let words = line.split(' ').chain(["--wait", "60"]);
        tokio::task::block_in_place(|| self.cloud.manager.done(words)).unwrap();
    }

    /// A link to the screen, as `sluice console` makes it.
    fn link(&self, more: &str) -> String {
        let line = format!("console {VM} --print --wait 60{more}");
        let link = tokio::task::block_in_place(|| self.cloud.manager.done(line.split(' ')));
        link.unwrap().trim().to_owned()
    }

    async fn open(&self, link: &str) -> Result<Viewer, Refused> {
        Viewer::open(link, &self.authority).await.unwrap()
    }

    async fn shown(&self, link: &str) -> Viewer {
        match self.open(link).await {
            Ok(viewer) => viewer,
            Err(refused) => panic!("{refused:?}\n{}", self.state().await),
        }
    }

    /// Sessions that `sluice console` tells of, once they `hold`.
    async fn sessions(&self, flag: &str, hold: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let look = || async {
            let all: Vec<Value> = self.cloud.manager.ask(["console", flag, VM]).unwrap();
            hold(&all).then_some(all)
        };
        match Wait::until_async(SOON, flag, look).await {
            Ok(all) => all,
            Err(late) => panic!("{late}\n{}", self.state().await),
        }
    }

    /// Waits until the guest's own memory shows this text.
    async fn guest_shows(&self, text: &str) -> String {
        let look = || async { Some(self.guest().await).filter(|shown| shown.contains(text)) };
        match Wait::until_async(SOON, text, look).await {
            Ok(shown) => shown,
            Err(late) => panic!("{late}\n{}", self.guest().await),
        }
    }

    /// The text on the guest's screen, out of its memory.
    async fn guest(&self) -> String {
        let file = self.folder.path().join("memory");
        let area = json!({ "val": 0xb_8000, "size": 80 * 25 * 2, "filename": file });
        self.lab.machine(VM).unwrap().monitor("pmemsave", area).await.unwrap();
        let memory = std::fs::read(&file).unwrap();
        memory.chunks(2).map(|cell| char::from(cell[0])).collect()
    }
}

fn refused(opened: Result<Viewer, Refused>) -> (u16, String) {
    match opened {
        Ok(viewer) => panic!("shown: {}", viewer.note),
        Err(Refused::Link(status, answer)) => (status, answer["code"].to_string()),
        Err(Refused::Session(code, reason)) => (code, reason),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_managers_link_shows_another_machines_screen_for_as_long_as_it_is_good() {
    let world = World::start().await;
    world.guest_shows(GREETING).await;
    let link = world.link(" --user alice");
    let mut alice = world.shown(&link).await;
    assert_eq!(alice.size(), (720, 400), "text mode");
    let before = alice.lit().await.unwrap();
    alice.type_text("hello").await.unwrap();
    world.guest_shows(&format!("{GREETING}hello")).await;
    assert!(alice.lit().await.unwrap() > before, "five letters more than {before} pixels");
    assert_eq!(refused(world.open(&link).await), (403, "\"other-browser\"".to_owned()));

    let view = world.link(" --user bob --view-only --any-browser");
    let mut bob = world.shown(&view).await;
    assert_eq!(bob.note["view_only"], true);
    bob.type_text("intruder").await.unwrap();
    let who = world.sessions("--who", |all| all.len() == 2).await;
    let of = |user: &str| who.iter().find(|it| it["user"] == user).unwrap();
    assert_eq!((&of("alice")["view_only"], &of("bob")["view_only"]), (&json!(false), &json!(true)));
    assert_eq!(of("alice")["from"], "198.51.100.1");
    alice.type_text("1").await.unwrap();
    let shown = world.guest_shows("hello1").await;
    assert!(!shown.contains("intruder"), "{shown}");

    // a VM that is on its way has no screen; one whose port another has by now is not shown
    world.sluice(&format!("screen update {VM} --state migrating"));
    assert_eq!(refused(world.open(&view).await).0, 4105);
    world.sluice(&format!("screen update {VM} --state there --desktop-name other"));
    assert_eq!(alice.end().await.0, 4104, "asked anew");
    assert_eq!(bob.end().await.0, 4104);
    assert_eq!(refused(world.open(&view).await).0, 4106);
    let right = ["screen", "update", VM, "--desktop-name", "QEMU (vm1)", "--wait", "60"];
    tokio::task::block_in_place(|| world.cloud.manager.done(right)).unwrap();
    let bob = world.shown(&view).await;

    let link = world.link(" --user carol");
    let carol = world.shown(&link).await;
    world.sluice("console --revoke --user carol");
    assert_eq!(carol.end().await.0, 4210);
    assert_eq!(refused(world.open(&link).await), (410, "\"revoked\"".to_owned()));
    world.sluice(&format!("console {VM} --revoke"));
    assert_eq!(bob.end().await.0, 4210);
    world.sessions("--who", <[Value]>::is_empty).await;

    let history = world.sessions("--history", |all| all.len() >= 4).await;
    let first = history.iter().find(|it| it["user"] == "alice").unwrap();
    assert_eq!(first["reason"], "screen-moved");
    let bytes = |field: &str| first[field].as_u64().unwrap();
    assert!(bytes("to_browser") > 720 * 400 * 4 && bytes("from_browser") > 0, "{first}");
    assert!(history.iter().all(|it| it["until"].is_string()), "{history:#?}");
    world.lab.machine(PROXY).unwrap().power_down(SOON).await.unwrap();
    world.lab.down().await.unwrap();
}
