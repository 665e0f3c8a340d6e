//! OpenStack Swift as Debian has it, all in one: one zone, one copy of everything, its own tempauth, no replication. Its proxy
//! also speaks S3.

use std::path::Path;

use sluice_lab::Wait;
use sluice_lab::netns::{Namespace, Process};

use super::bench::{BOUND, Bench};

/// Where it serves: `/auth/v1.0`, `/v1/...`, and S3.
pub(crate) const SWIFT: &str = "http://192.0.2.30:8080";
const ADDRESS: &str = "192.0.2.30";
/// Who we are, for both protocols; and the container.
pub(crate) const USER: &str = "test:tester";
pub(crate) const KEY: &str = "testing";
pub(crate) const CONTAINER: &str = "images";
/// The account's key for temporary addresses.
pub(crate) const TEMP_URL_KEY: &str = "a-key-for-temporary-addresses";
const SERVERS: [(&str, u16); 3] = [("account", 6202), ("container", 6201), ("object", 6200)];

/// The servers. They end with it.
pub(crate) struct Swift {
    _servers: Vec<Process>,
}

impl Swift {
    /// Starts it in the bench's namespace, with an empty container.
    pub(crate) fn start(bench: &Bench) -> Self {
        let (ns, folder) = (&bench.ns, bench.path("swift"));
        ns.ip(["addr", "add", &format!("{ADDRESS}/32"), "dev", "lo"]).unwrap();
        ns.ip(["link", "set", "lo", "up"]).unwrap();
        std::fs::create_dir_all(folder.join("node/d1")).unwrap();
        let mut servers = vec![ns.spawn(["memcached", "-u", "root", "-l", ADDRESS]).unwrap()];
        for (name, port) in SERVERS {
            ring(ns, &folder, name, port);
            let text = SERVER.replace("NAME", name).replace("PORT", &port.to_string());
            servers.push(server(ns, &folder, name, &text));
        }
        servers.push(server(ns, &folder, "proxy", PROXY));
        let up = || {
            let info = format!("{SWIFT}/info");
            bench.curl(&["-f", "-o", "/dev/null", &info]).ok()
        };
        Wait::until(BOUND, "Swift", up).unwrap_or_else(|error| {
            let said: Vec<_> = servers.iter().map(Process::output).collect();
            panic!("{error}: {}", said.join("\n"))
        });
        let swift = Self { _servers: servers };
        let token = swift.token(bench);
        let key = format!("X-Account-Meta-Temp-Url-Key: {TEMP_URL_KEY}");
        let account = format!("{SWIFT}/v1/AUTH_test");
        let made = bench.curl(&["-f", "-X", "POST", "-H", &token, "-H", &key, &account]);
        assert!(made.ok(), "{made:?}");
        let made =
            bench.curl(&["-f", "-X", "PUT", "-H", &token, &format!("{account}/{CONTAINER}")]);
        assert!(made.ok(), "{made:?}");
        swift
    }

    /// A header that lets its holder in.
    pub(crate) fn token(&self, bench: &Bench) -> String {
        let user = format!("X-Auth-User: {USER}");
        let key = format!("X-Auth-Key: {KEY}");
        let auth = format!("{SWIFT}/auth/v1.0");
        let said = bench.curl(&["-f", "-D", "-", "-H", &user, "-H", &key, &auth]).stdout;
        let token = said.lines().find_map(|line| line.strip_prefix("X-Auth-Token: "));
        format!("X-Auth-Token: {}", token.unwrap_or_else(|| panic!("{said}")).trim())
    }

    /// Names of what is in the container, in order.
    pub(crate) fn names(&self, bench: &Bench) -> Vec<String> {
        let token = self.token(bench);
        let url = format!("{SWIFT}/v1/AUTH_test/{CONTAINER}");
        let said = bench.curl(&["-f", "-H", &token, &url]);
        assert!(said.ok(), "{said:?}");
        said.stdout.lines().map(str::to_owned).collect()
    }

    /// The same with the pieces of what came by S3, which are in a container of their own.
    pub(crate) fn everything(&self, bench: &Bench) -> Vec<String> {
        let token = self.token(bench);
        let url = format!("{SWIFT}/v1/AUTH_test/{CONTAINER}+segments");
        let said = bench.curl(&["-H", &token, &url]);
        assert!(said.ok(), "{said:?}");
        let pieces = said.stdout.lines().filter(|line| line.contains('/')).map(str::to_owned);
        self.names(bench).into_iter().chain(pieces).collect()
    }

    /// An object of the container into a file.
    pub(crate) fn fetch(&self, bench: &Bench, name: &str, to: &Path) {
        let token = self.token(bench);
        let url = format!("{SWIFT}/v1/AUTH_test/{CONTAINER}/{name}");
        let to = to.to_str().unwrap();
        let said = bench.curl(&["-f", "-H", &token, "-o", to, &url]);
        assert!(said.ok(), "{said:?}");
    }

    /// A file over an object of the container.
    pub(crate) fn overwrite(&self, bench: &Bench, name: &str, with: &Path) {
        let token = self.token(bench);
        let url = format!("{SWIFT}/v1/AUTH_test/{CONTAINER}/{name}");
        let said = bench.curl(&["-f", "-H", &token, "-T", with.to_str().unwrap(), &url]);
        assert!(said.ok(), "{said:?}");
    }
}

fn ring(ns: &Namespace, folder: &Path, name: &str, port: u16) {
    let builder = folder.join(format!("{name}.builder"));
    let builder = builder.to_str().unwrap();
    let device = format!("r1z1-{ADDRESS}:{port}/d1");
    for words in [vec!["create", "4", "1", "1"], vec!["add", &device, "1"], vec!["rebalance"]] {
        let all = ["swift-ring-builder", builder].into_iter().chain(words);
        let made = ns.command(all).timeout(BOUND).run().unwrap();
        // 1 is a warning: one device is no balance
        assert!(made.code <= 1, "{made:?}");
    }
}

fn server(ns: &Namespace, folder: &Path, name: &str, text: &str) -> Process {
    let file = folder.join(format!("{name}.conf"));
    let text = text.replace("FOLDER", folder.to_str().unwrap()).replace("ADDRESS", ADDRESS);
    std::fs::write(&file, text).unwrap();
    let program = format!("swift-{name}-server");
    ns.spawn([program.as_ref(), file.as_os_str()]).unwrap()
}

const SERVER: &str = "[DEFAULT]
bind_ip = ADDRESS
bind_port = PORT
devices = FOLDER/node
mount_check = false
swift_dir = FOLDER
workers = 0
user = root
log_level = WARNING
[pipeline:main]
pipeline = NAME-server
[app:NAME-server]
use = egg:swift#NAME
";

const PROXY: &str = "[DEFAULT]
bind_ip = ADDRESS
bind_port = 8080
swift_dir = FOLDER
workers = 0
user = root
log_level = WARNING
[pipeline:main]
pipeline = catch_errors cache listing_formats bulk tempurl s3api tempauth copy slo dlo proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:cache]
use = egg:swift#memcache
memcache_servers = ADDRESS:11211
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:bulk]
use = egg:swift#bulk
[filter:tempurl]
use = egg:swift#tempurl
[filter:s3api]
use = egg:swift#s3api
location = us-east-1
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = testing .admin
[filter:copy]
use = egg:swift#copy
[filter:slo]
use = egg:swift#slo
[filter:dlo]
use = egg:swift#dlo
";
