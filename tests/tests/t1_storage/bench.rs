//! One namespace with a web server and the storage service in it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use sluice_lab::Wait;
use sluice_lab::netns::{Namespace, Output, Process, Topology};

/// How long anything may take: a bound for what hangs, far beyond what a busy machine needs.
pub(crate) const BOUND: Duration = Duration::from_mins(3);
/// The web server.
pub(crate) const WEB: &str = "192.0.2.10";
/// The storage service.
pub(crate) const HERE: &str = "192.0.2.20:8080";

/// The bench. The order of fields is that of dropping: programs before their namespace.
pub(crate) struct Bench {
    service: Option<Process>,
    web: Option<Process>,
    pub(crate) ns: Namespace,
    _topology: Topology,
    folder: tempfile::TempDir,
    slice: Value,
}

impl Bench {
    /// Folders, addresses and nginx; no service yet.
    pub(crate) fn new(test: &str) -> Self {
        let mut topology = Topology::new().unwrap();
        let ns = topology.namespace(test).unwrap();
        for address in [WEB, "192.0.2.20", "10.7.0.1", "169.254.169.254"] {
            ns.ip(["addr", "add", &format!("{address}/32"), "dev", "lo"]).unwrap();
        }
        let folder = tempfile::tempdir().unwrap();
        for name in ["web", "store", "journal", "nginx"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        let slice = json!({
            "owner": "s-1",
            "journal": folder.path().join("journal"),
            "stores": [{ "id": "local", "full_percent": 100,
                "kind": { "directory": { "path": folder.path().join("store") } } }],
            "listen": [{ "address": HERE }],
            "fetch": { "ports": [80, 81, 82, 83, 84, 85, 90], "pause_milliseconds": 20,
                "connect_seconds": 2, "silence_seconds": 3, "range_bytes": 262_144 },
            "limits": { "checkpoint_bytes": 262_144 },
        });
        let mut bench = Self { service: None, web: None, ns, _topology: topology, folder, slice };
        bench.nginx();
        bench
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Puts a file where nginx serves it.
    pub(crate) fn serve(&self, name: &str, bytes: &[u8]) {
        let path = self.path("web").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    /// nginx: port 80 plain; 81 without ranges; 82 one MiB a second; 83 redirects; 84 refuses HEAD and wants a query.
    fn nginx(&mut self) {
        let (root, own) = (self.path("web"), self.path("nginx"));
        let text = format!(
            "daemon off; master_process off; error_log stderr; pid {own}/pid; user root;
             events {{ worker_connections 256; }}
             http {{
               access_log {own}/access.log; root {root}; default_type application/octet-stream;
               client_body_temp_path {own}; proxy_temp_path {own}; fastcgi_temp_path {own};
               uwsgi_temp_path {own}; scgi_temp_path {own};
               server {{ listen {WEB}:80; listen 10.7.0.1:80; listen 169.254.169.254:80; }}
               server {{ listen {WEB}:81; max_ranges 0; }}
               server {{ listen {WEB}:82; limit_rate 1m; }}
               server {{ listen {WEB}:83;
                 location /away/ {{ rewrite ^/away/(.*)$ http://{WEB}/$1?signature=hush redirect; }}
                 location /metadata {{ return 302 http://169.254.169.254/latest; }}
                 location /loopback {{ return 302 http://127.0.0.1/x; }}
                 location /file {{ return 302 file:///etc/shadow; }}
                 location /round {{ return 302 http://{WEB}:83/round; }} }}
               server {{ listen {WEB}:84;
                 if ($request_method = HEAD) {{ return 403; }}
                 if ($arg_signature != hush) {{ return 403; }} }}
             }}",
            root = root.display(),
            own = own.display(),
        );
        std::fs::write(self.path("nginx/nginx.conf"), text).unwrap();
        self.start_web();
    }

    /// Its web server goes away.
    pub(crate) fn stop_web(&mut self) {
        self.web.take().expect("it was there").kill();
    }

    /// And comes back, or is there for the first time.
    pub(crate) fn start_web(&mut self) {
        let file = self.path("nginx/nginx.conf");
        let words = ["nginx".as_ref(), "-c".as_ref(), file.as_os_str()];
        self.web = Some(self.ns.spawn(words).unwrap());
        let up = || self.ns.sh(&format!("nc -z {WEB} 84")).run().is_ok_and(|output| output.ok());
        Wait::until(BOUND, "nginx", up).unwrap_or_else(|error| {
            panic!("{error}: {}", self.web.as_ref().map_or(String::new(), Process::output))
        });
    }

    /// What nginx was asked for.
    pub(crate) fn access(&self) -> String {
        std::fs::read_to_string(self.path("nginx/access.log")).unwrap()
    }

    /// What the service is told.
    pub(crate) fn slice(&self) -> &Value {
        &self.slice
    }

    /// Changes the slice; a running service takes it up.
    pub(crate) fn change(&mut self, change: impl FnOnce(&mut Value)) {
        change(&mut self.slice);
        self.write();
        if self.service.is_some() {
            self.reload();
        }
    }

    fn write(&self) {
        std::fs::write(self.path("new.json"), self.slice.to_string()).unwrap();
        std::fs::rename(self.path("new.json"), self.path("slice.json")).unwrap();
    }

    fn reload(&mut self) {
        let service = self.service();
        let count = |service: &Process| service.output().matches("slice in force").count();
        let before = count(service);
        service.signal(Signal::SIGHUP).unwrap();
        let in_force = Wait::until(BOUND, "the new slice", || count(service) > before);
        in_force.unwrap_or_else(|error| panic!("{error}: {}", self.log()));
    }

    pub(crate) fn start(&mut self) {
        self.write();
        let program = sluice_tests::bin("sluice-ssvm");
        let file = self.path("slice.json");
        let words = [program.as_os_str(), "serve".as_ref(), "--slice".as_ref(), file.as_os_str()];
        let mut service = self.ns.spawn(words).unwrap();
        service.says("storage started", BOUND).unwrap();
        self.service = Some(service);
    }

    /// Starts it where no file can grow beyond `bytes`: the kernel kills it in the very call that would write the next one.
    pub(crate) fn start_bounded(&mut self, bytes: u64) {
        self.write();
        let (program, file) = (sluice_tests::bin("sluice-ssvm"), self.path("slice.json"));
        // in blocks of 512 bytes, as POSIX has it
        let line = format!(
            "ulimit -c 0; ulimit -f {}; exec {} serve --slice {}",
            bytes / 512,
            program.display(),
            file.display()
        );
        // it may be dead before it says that it started
        self.service = Some(self.ns.spawn(["sh", "-c", &line]).unwrap());
    }

    /// Waits until one with a bound has come to it.
    pub(crate) fn dies(&mut self) {
        let mut service = self.service.take().expect("the service was started");
        let dead = Wait::until(BOUND, "its end", || !service.is_running());
        dead.unwrap_or_else(|error| panic!("{error}: {}", service.output()));
    }

    /// Both.
    pub(crate) fn start_until_it_wrote(&mut self, bytes: u64) {
        self.start_bounded(bytes);
        self.dies();
    }

    /// Bytes of a source that the journal says are durable.
    pub(crate) fn kept(&self, job: &str) -> u64 {
        self.recorded(job)["fetching"]["taken"].as_u64().unwrap_or(0)
    }

    /// How far the journal says that a job is; null: it knows none.
    pub(crate) fn recorded(&self, job: &str) -> Value {
        let text = std::fs::read(self.path(&format!("journal/jobs/{job}.json")));
        let record: Value = serde_json::from_slice(&text.unwrap_or_default()).unwrap_or_default();
        record["state"].clone()
    }

    /// As kill -9.
    pub(crate) fn kill(&mut self) {
        self.service().kill();
        self.service = None;
    }

    pub(crate) fn service(&mut self) -> &mut Process {
        self.service.as_mut().expect("the service was started")
    }

    pub(crate) fn log(&mut self) -> String {
        self.service().output()
    }

    pub(crate) fn report(&mut self) -> Value {
        let service = self.service();
        let reports = |service: &Process| -> Vec<Value> {
            let output = service.output();
            output.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
        };
        let before = reports(service).len();
        service.signal(Signal::SIGUSR1).unwrap();
        Wait::until_some(BOUND, "a report", || reports(service).get(before).cloned()).unwrap()
    }

    pub(crate) fn job(&mut self, id: &str) -> Value {
        let report = self.report();
        let jobs = report["jobs"].as_array().unwrap();
        jobs.iter().find(|job| job["id"] == id).cloned().unwrap_or_default()
    }

    /// Waits until the job is as `holds` wants it.
    pub(crate) fn until(&mut self, id: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        let found = Wait::until_some(BOUND, what, || {
            last = self.job(id);
            holds(&last).then(|| last.clone())
        });
        found.unwrap_or_else(|error| panic!("{error}: {last:#}\n{}", self.log()))
    }

    pub(crate) fn done(&mut self, id: &str) -> Value {
        let ended =
            self.until(id, "the end", |job| job["state"] == "done" || job["state"] == "failed");
        assert_eq!(ended["state"], "done", "{ended:#}");
        ended
    }

    /// Waits for a job's failure; returns code and reason.
    pub(crate) fn failed(&mut self, id: &str) -> (String, String) {
        let ended =
            self.until(id, "the end", |job| job["state"] == "done" || job["state"] == "failed");
        assert_eq!(ended["state"], "failed", "{ended:#}");
        let text = |name: &str| ended["failure"][name].as_str().unwrap().to_owned();
        (text("code"), text("reason"))
    }

    pub(crate) fn object(&self, id: u64, name: &str) -> PathBuf {
        self.path("store").join(format!("template/tmpl/2/{id}")).join(name)
    }

    pub(crate) fn parts(&self) -> Vec<String> {
        let folder = self.path("store/.sluice/parts/s-1");
        let entries = std::fs::read_dir(folder).map(|entries| entries.flatten().collect());
        let entries: Vec<std::fs::DirEntry> = entries.unwrap_or_default();
        entries.iter().map(|entry| entry.file_name().into_string().unwrap()).collect()
    }

    pub(crate) fn curl(&self, words: &[&str]) -> Output {
        let all = ["curl", "-sS", "--max-time", "180"].into_iter().chain(words.iter().copied());
        self.ns.command(all).run().unwrap()
    }
}

/// An import of a template with number `id`.
pub(crate) fn import(job: &str, id: u64, url: &str) -> Value {
    json!({ "id": job, "what": { "import": { "source": { "url": url }, "store": "local",
        "place": { "template": { "account": 2, "id": id, "name": "web" } } } } })
}

/// Bytes that do not compress and are no known format: a raw disk.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes[510..512].copy_from_slice(b"\x55\xaa");
    bytes
}

/// Runs a program outside of any namespace.
pub(crate) fn run(program: &str, words: &[&str], input: &Path) -> Vec<u8> {
    let input = std::fs::File::open(input).unwrap();
    let mut command = sluice_programs::command(program).unwrap();
    let output = command.args(words).stdin(input).output().unwrap();
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}
