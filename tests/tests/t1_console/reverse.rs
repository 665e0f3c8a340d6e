//! Behind a reverse proxy that ends TLS and has the console under a path of its own.

use std::fs;
use std::net::TcpStream;
use std::process::{Child, Stdio};

use serde_json::json;
use sluice_lab::Wait;

use crate::bench::{BOUND, Proxy, free, grant, token};
use crate::chromium::Chromium;
use sluice_tests::console::certificates::Authority;
use sluice_tests::console::qemu::{GREETING, Qemu, Server};

/// A running nginx; ended when dropped.
struct Nginx(Child);

impl Drop for Nginx {
    fn drop(&mut self) {
        // an error means that it has ended already
        let _ended = self.0.kill();
        let _status = self.0.wait();
    }
}

#[test]
fn one_name_one_port_and_a_path_are_enough() {
    let folder = tempfile::tempdir().unwrap();
    let mut qemu = Qemu::start(folder.path(), &[Server::Open]);
    let mut here = grant("g-1", qemu.ports[0]);
    here["source"] = json!({ "networks": ["127.0.0.0/8"] });
    let more = json!({ "prefix": "/vm/console", "trusted_proxies": ["127.0.0.1/32"] });
    let proxy = Proxy::start(&[here], more);
    let address = free();
    let signed = Authority::new().server("localhost");
    let path = |name: &str| folder.path().join(name).display().to_string();
    fs::write(path("chain.pem"), &signed.chain).unwrap();
    fs::write(path("key.pem"), &signed.key).unwrap();
    let config = format!(
        "daemon off; master_process off; pid {pid}; error_log {log};\n\
         events {{}}\n\
         http {{ access_log off; server {{ listen {address} ssl; ssl_certificate {chain}; ssl_certificate_key {key};\n\
         location /vm/console/ {{ proxy_pass http://{console}; proxy_http_version 1.1; proxy_set_header Host $http_host;\n\
         proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header Upgrade $http_upgrade;\n\
         proxy_set_header Connection upgrade; }} }} }}\n",
        pid = path("nginx.pid"),
        log = path("nginx.log"),
        chain = path("chain.pem"),
        key = path("key.pem"),
        console = proxy.address,
    );
    fs::write(path("nginx.conf"), config).unwrap();
    let mut command = sluice_programs::command("setpriv").unwrap();
    command.args(["--pdeathsig", "KILL", "--"]).arg(sluice_programs::find("nginx").unwrap());
    command.args(["-p", &path(""), "-c", &path("nginx.conf"), "-e", &path("nginx.log")]);
    let _nginx = Nginx(command.stdin(Stdio::null()).spawn().unwrap());
    let up = Wait::until(BOUND, "nginx", || TcpStream::connect(address).is_ok());
    up.unwrap_or_else(|error| panic!("{error}\n{:?}", fs::read_to_string(path("nginx.log"))));

    let chromium = Chromium::start();
    let tab = chromium.open(&format!("https://{address}/vm/console/#{}", token("g-1")));
    tab.shows_the_screen();
    tab.type_keys("through nginx");
    crate::browser::guest_says(&mut qemu, &format!("{GREETING}through nginx"));
    assert_eq!(proxy.report()["sessions"][0]["from"], "127.0.0.1");
}
