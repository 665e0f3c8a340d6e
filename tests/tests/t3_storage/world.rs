//! A manager, the appliance that it runs, and a machine beside it.

use std::time::{Duration, Instant};

use serde_json::Value;
use sluice_lab::{Lab, Wait};
use sluice_tests::cloud::Cloud;
use sluice_tests::manager::Told;
use sluice_tests::storage::{self, SERVER, SSVM, server};

/// Emulated machines on a busy host boot within this.
const BOOT: Duration = Duration::from_mins(4);
/// What takes a minute there.
const LONG: Duration = Duration::from_mins(3);
const IN_SYNC_S: u32 = 240;

pub(crate) struct World {
    pub(crate) cloud: Cloud,
    pub(crate) lab: Lab,
    _folder: tempfile::TempDir,
    started: Instant,
}

impl World {
    /// The appliance has what the description says, its stores are ready.
    pub(crate) async fn start(name: &str, more: &str) -> Self {
        let started = Instant::now();
        let folder = tempfile::tempdir().unwrap();
        let free = "127.0.0.1:0".parse().unwrap();
        let description = storage::description(folder.path(), more).unwrap();
        let cloud = Cloud::start(folder.path(), &description, free).await.unwrap();
        let lab = Lab::start(storage::lab(&cloud, name).unwrap()).await.unwrap();
        let world = Self { cloud, lab, _folder: folder, started };
        server::set_up(&world.lab, BOOT).await.unwrap();
        world.say("the server is up");
        world
    }

    /// The manager may speak to the appliance from now on; returns when it runs what is wanted.
    pub(crate) async fn appliance(&self) {
        self.cloud.endpoint(SSVM, self.lab.endpoint(SSVM).unwrap()).unwrap();
        self.in_sync().await;
        self.say("the appliance has its configuration");
    }

    /// Where the time goes.
    pub(crate) fn say(&self, what: &str) {
        eprintln!("{:6.1} s: {what}", self.started.elapsed().as_secs_f64());
    }

    pub(crate) async fn in_sync(&self) {
        if let Err(error) = tokio::task::block_in_place(|| self.cloud.in_sync(IN_SYNC_S)) {
            panic!("{error:#}\n{}", self.state().await);
        }
    }

    /// `sluice`, whatever it says.
    pub(crate) fn told(&self, words: &[&str]) -> Told {
        let words = words.iter().copied();
        tokio::task::block_in_place(|| self.cloud.manager.sluice(words)).unwrap()
    }

    /// `sluice`, whose answer is JSON.
    pub(crate) fn ask(&self, words: &[&str]) -> Value {
        let words = words.iter().copied();
        tokio::task::block_in_place(|| self.cloud.manager.ask(words)).unwrap()
    }

    /// Makes an image that comes from `url`.
    pub(crate) async fn register(&self, store: &str, name: &str, url: &str, checksum: &str) {
        let checksum = format!("sha256:{checksum}");
        let words = ["image", "create", name, "--image-store", store, "--url", url];
        self.ask(&[&words[..], &["--checksum", &checksum]].concat());
        self.in_sync().await;
    }

    async fn until(
        &self,
        word: &str,
        name: &str,
        what: &str,
        holds: impl Fn(&Value) -> bool,
    ) -> Value {
        let look = || async {
            let words = [word, "show", name];
            let shown = tokio::task::block_in_place(|| self.cloud.manager.ask::<Value>(words));
            Some(shown.ok()?["observed"].clone()).filter(&holds)
        };
        match Wait::until_async(LONG, what, look).await {
            Ok(found) => found,
            Err(late) => {
                let shown = self.ask(&[word, "show", name]);
                panic!("{name}: {late}: {shown:#}\n{}", self.state().await)
            }
        }
    }

    /// Waits until a store is in this state.
    pub(crate) async fn store(&self, name: &str, state: &str) {
        self.until("image-store", name, state, |seen| seen["state"] == state).await;
    }

    /// Waits until a store is broken for a reason with these words; returns the reason.
    pub(crate) async fn broken(&self, name: &str, why: &str) -> String {
        let failure = |seen: &Value| seen["failure"].as_str().map(str::to_owned);
        let says = |seen: &Value| failure(seen).is_some_and(|failure| failure.contains(why));
        let seen = self.until("image-store", name, why, says).await;
        assert_eq!(seen["state"], "broken");
        failure(&seen).unwrap()
    }

    /// Waits until an image is in this state, or in the other end.
    pub(crate) async fn image(&self, name: &str, state: &str) -> Value {
        let ends = ["done", "failed", state];
        let is = |seen: &Value| seen["state"].as_str().is_some_and(|is| ends.contains(&is));
        let seen = self.until("image", name, state, is).await;
        assert_eq!(seen["state"], state, "{seen:#}");
        seen
    }

    /// Waits until an image is as wanted.
    pub(crate) async fn image_until(
        &self,
        name: &str,
        what: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> Value {
        self.until("image", name, what, wanted).await
    }

    /// Waits until an image that is in has no job any more; what was said of it stays.
    pub(crate) async fn settled(&self, name: &str) {
        let look = || async {
            let shown = self.ask(&["image", "show", name]);
            shown["settled"].is_object().then(|| shown["id"].clone())
        };
        let id = Wait::until_async(LONG, "that it is settled", look).await.unwrap();
        self.in_sync().await;
        let config = self.ask(&["appliance", "config", SSVM]);
        let jobs = config["role"]["ssvm"]["jobs"].as_array().unwrap();
        assert!(jobs.iter().all(|job| job["id"] != id), "{jobs:#?}");
        assert_eq!(self.image(name, "done").await["state"], "done");
    }

    /// Cuts the appliance's power and gives it back.
    pub(crate) async fn power_cycle(&self) {
        let machine = self.lab.machine(SSVM).unwrap();
        machine.power_cut().await.unwrap();
        machine.power_on().await.unwrap();
    }

    /// Runs a line on the server, which must succeed; returns what it said.
    pub(crate) async fn done(&self, line: &str) -> String {
        match server::done(&self.lab, line).await {
            Ok(said) => said,
            Err(error) => panic!("{error:#}\n{}", self.state().await),
        }
    }

    pub(crate) async fn sha256(&self, path: &str) -> String {
        server::sha256(&self.lab, path).await.unwrap()
    }

    pub(crate) async fn parts(&self) -> String {
        server::parts(&self.lab).await.unwrap()
    }

    /// Everything that a failing test must print.
    async fn state(&self) -> String {
        let logs = self.cloud.manager.sluice(["logs", SSVM]).map(|told| told.out);
        let line =
            "exportfs -v; cat /proc/fs/nfsd/versions; rpcinfo -p; dmesg | tail -n 30; ss -ltn";
        let server = self.lab.host(SERVER).unwrap().sh(line).await;
        format!("{}\n{logs:?}\n{server:#?}\n{}", self.cloud.log(), self.lab.state().await)
    }

    pub(crate) async fn down(self) {
        self.say("the end");
        self.lab.switch_off().await.unwrap();
    }
}
