//! Chromium on the page, QEMU behind the proxy: a person's view of it all.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine as _;
use serde_json::json;
use sluice_lab::Wait;

use crate::bench::{BOUND, Proxy, grant, token};
use crate::chromium::Chromium;
use sluice_tests::console::certificates::Authority;
use sluice_tests::console::qemu::{GREETING, Qemu, Server};

pub(crate) fn guest_says(qemu: &mut Qemu, text: &str) {
    let there = Wait::until(BOUND, text, || qemu.screen().contains(text));
    there.unwrap_or_else(|error| panic!("{error}\n{}", qemu.screen()));
}

/// Where the picture for the manual goes, when it is to be made anew.
fn keep(picture: &str) {
    if let Some(path) = std::env::var_os("SLUICE_PICTURE") {
        let bytes = base64::engine::general_purpose::STANDARD.decode(picture).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
}

#[test]
fn a_person_sees_types_pastes_loses_the_network_and_goes_on() {
    let authority = Authority::new();
    let host = authority.server("host-7.cloud.internal");
    let folder = tempfile::tempdir().unwrap();
    let mut qemu = Qemu::start(folder.path(), &[Server::Tls(&host, Some("secret"))]);
    let port = qemu.ports[0];
    let encrypted = |id: &str, view_only: bool| {
        let mut grant = grant(id, port);
        grant["backend"]["unencrypted"] = json!("refuse");
        grant["backend"]["password"] = json!("secret");
        grant["backend"]["tls"] =
            json!({ "authorities": authority.pem, "name": "host-7.cloud.internal" });
        grant["view_only"] = json!(view_only);
        grant["vm"]["id"] = json!("vm-1");
        grant
    };
    let own = authority.server("localhost");
    let certificates = json!([{ "chain": own.chain, "key": own.key }]);
    let grants = [encrypted("g-1", false), encrypted("g-2", true)];
    // keys that are typed while a page comes back from a stall are lost, so stalls of a busy machine must not end a session
    let more = json!({ "certificates": certificates, "settings": { "ping_seconds": 20 } });
    let mut proxy = Proxy::start(&grants, more);
    let network = Network::to(proxy.address);
    let page = format!("https://{}/", network.address);
    let chromium = Chromium::start();

    let tab = chromium.open(&format!("{page}#{}", token("g-1")));
    tab.shows_the_screen();
    assert_eq!(tab.value("document.getElementById('vm').textContent"), "web server");
    let shown = tab.value("document.getElementById('security').textContent");
    assert!(shown.as_str().unwrap().contains("X509Vnc"), "{shown}");
    assert_eq!(tab.value("location.hash"), "#grant=g-1", "the token is no longer in the address");
    let size = tab.value("(() => { const c = document.querySelector('#stage canvas'); return `${c.width}x${c.height}`; })()");
    assert_eq!(size, "720x400", "the guest's text mode");
    tab.type_keys("hello from chromium 1");
    guest_says(&mut qemu, &format!("{GREETING}hello from chromium 1"));
    tab.until("document.getElementById('quality').textContent.includes('ms')");

    // a viewer who may not type sees the same
    let viewer = chromium.open(&format!("{page}#{}", token("g-2")));
    viewer.shows_the_screen();
    viewer.until("document.body.classList.contains('view-only')");
    viewer.until("document.getElementById('viewers').textContent === '2 viewers'");
    keep(&tab.picture());
    let forced = "document.body.classList.remove('view-only')";
    viewer.value(forced);
    viewer.type_keys("intruder");
    // what a person with rights types afterwards arrives, so the other had its time
    tab.type_keys(" 2");
    guest_says(&mut qemu, "chromium 1 2");
    assert!(!qemu.screen().contains("intruder"), "{}", qemu.screen());

    // text that no keyboard has, by QEMU's clipboard to another page, which must first have said that it takes Unicode
    let reader = Proxy::start(&[encrypted("g-3", false)], json!({}));
    let other = chromium.open(&format!("http://{}/#{}", reader.address, token("g-3")));
    other.shows_the_screen();
    let pasted = Wait::until(BOUND, "the pasted text", || {
        tab.value("document.getElementById('text').value = 'Grüße, 日本, 10 €'; document.getElementById('paste').click()");
        other.soon("document.getElementById('text').value === 'Grüße, 日本, 10 €'")
    });
    pasted.unwrap();

    // the network goes away and comes back
    network.cut(true);
    tab.until("document.body.dataset.state === 'reconnecting'");
    assert_eq!(
        tab.value("document.querySelector('#stage canvas') === null"),
        true,
        "no frozen picture"
    );
    network.cut(false);
    let back = Instant::now();
    tab.shows_the_screen();
    assert!(back.elapsed() < Duration::from_secs(30), "{:?}", back.elapsed());
    tab.type_keys(" 3");
    guest_says(&mut qemu, "chromium 1 2 3");

    // the link is revoked while it is open
    proxy.slice["grants"].as_array_mut().unwrap().remove(0);
    proxy.reload();
    tab.says("The link was revoked.");
    viewer.shows_the_screen();
    tab.go("about:blank");
    tab.go(&format!("{page}#{}", token("g-1")));
    tab.says("This link was revoked.");
    tab.go("about:blank");
    tab.go(&page);
    tab.says("this address alone leads nowhere");
}

#[test]
fn a_guest_that_is_power_cycled_shows_its_new_screen() {
    let folder = tempfile::tempdir().unwrap();
    let mut qemu = Qemu::start(folder.path(), &[Server::Open]);
    let mut proxy = Proxy::start(&[grant("g-1", qemu.ports[0])], json!({}));
    let chromium = Chromium::start();
    let tab = chromium.open(&format!("http://{}/#{}", proxy.address, token("g-1")));
    tab.shows_the_screen();
    qemu.reset();
    guest_says(&mut qemu, GREETING);
    assert_eq!(
        tab.value("document.body.dataset.state"),
        "shown",
        "a reset from inside ends nothing"
    );
    drop(qemu);
    tab.says("Reconnecting");
    let again = tempfile::tempdir().unwrap();
    let mut qemu = Qemu::start(again.path(), &[Server::Open]);
    let up = Instant::now();
    proxy.slice["grants"][0]["backend"]["port"] = json!(qemu.ports[0]);
    proxy.reload();
    tab.shows_the_screen();
    assert!(up.elapsed() < Duration::from_secs(30), "{:?}", up.elapsed());
    tab.type_keys("again");
    guest_says(&mut qemu, &format!("{GREETING}again"));
    // a German keyboard has z and y the other way round: the guest sees the place of a key, as a keyboard of its own would say
    tab.press("KeyZ", 'y', 89);
    tab.press("KeyY", 'z', 90);
    guest_says(&mut qemu, &format!("{GREETING}againzy"));
}

#[test]
fn each_reason_why_nothing_is_shown_has_its_page() {
    let folder = tempfile::tempdir().unwrap();
    let mut qemu = Qemu::start_with_layout(folder.path(), &[Server::Password("secret")], "de");
    let port = qemu.ports[0];
    let with = |id: &str, field: &str, value: serde_json::Value| {
        let mut grant = grant(id, port);
        grant["backend"]["password"] = json!("secret");
        grant[field] = value;
        grant
    };
    let mut wrong = with("wrong", "view_only", json!(false));
    wrong["backend"]["password"] = json!("another");
    let mut refused = with("refused", "view_only", json!(false));
    refused["backend"]["unencrypted"] = json!("refuse");
    let grants = [
        with("over", "expires", json!(1_000_000_000)),
        with("far", "source", json!({ "networks": ["203.0.113.0/24"] })),
        with("first", "source", json!("first-browser")),
        with("away", "state", json!("stopped")),
        with("good", "source", json!("any")),
        wrong,
        refused,
    ];
    let proxy = Proxy::start(&grants, json!({}));
    let chromium = Chromium::start();
    let page = format!("http://{}/", proxy.address);
    // somebody else was faster
    let asked = tokio::runtime::Runtime::new().unwrap().block_on(async {
        let stream = tokio::net::TcpStream::connect(proxy.address).await.unwrap();
        sluice_tests::console::client::post(stream, proxy.address, "http", "first").await.0
    });
    assert_eq!(asked, 200);
    let tab = chromium.open("about:blank");
    for (link, words) in [
        ("nobody", "This link is not known here."),
        ("over", "This link has expired."),
        ("far", "This link cannot be used from your address."),
        ("first", "This link is in use by another browser"),
        ("away", "There is no console now: the VM is switched off."),
        ("wrong", "did not accept the proxy's password"),
        ("refused", "offers no way that is secure enough"),
    ] {
        tab.go("about:blank");
        tab.go(&format!("{page}#{}", token(link)));
        tab.says(words);
    }
    // a name that is not the console's, such as one that somebody else let point here
    tab.go("about:blank");
    tab.go(&format!("http://stranger.localhost:{}/", proxy.address.port()));
    tab.until("document.body?.innerText.includes('The console is not served under this name.')");
    assert_eq!(tab.value("document.contentType"), "text/html");
    // a link that lost its end on the way
    tab.go("about:blank");
    tab.go(&format!("{page}#%"));
    tab.says("This link is not known here.");

    // a guest with a layout of its own gets symbols: the z of a German keyboard is at the place of an American y
    tab.go("about:blank");
    tab.go(&format!("{page}#{}", token("good")));
    tab.shows_the_screen();
    tab.press("KeyY", 'z', 90);
    guest_says(&mut qemu, &format!("{GREETING}y"));
}

#[test]
fn a_port_that_another_vm_has_by_now_is_asked_whose_it_is_at_each_connection() {
    let (folder, later) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let qemu = Qemu::start_called(folder.path(), &[Server::Open], "i-2-7-VM");
    let mut mine = grant("g-1", qemu.ports[0]);
    mine["backend"]["desktop_name"] = json!("QEMU (i-2-7-VM)");
    let mut proxy = Proxy::start(&[mine], json!({}));
    let chromium = Chromium::start();
    let tab = chromium.open(&format!("http://{}/#{}", proxy.address, token("g-1")));
    tab.shows_the_screen();
    // the VM is gone, and another has its port before anybody said where the first one is
    drop(qemu);
    tab.says("Reconnecting");
    let mut other = Qemu::start_called(later.path(), &[Server::Open], "i-2-8-VM");
    proxy.slice["grants"][0]["backend"]["port"] = json!(other.ports[0]);
    proxy.reload();
    tab.says("Another VM's screen is at this VM's place.");
    assert_eq!(tab.value("document.querySelector('#stage canvas') === null"), true);
    tab.type_keys("intruder");
    assert!(!other.screen().contains("intruder"), "{}", other.screen());
    // the page waits for its own
    let back = tempfile::tempdir().unwrap();
    let mut mine = Qemu::start_called(back.path(), &[Server::Open], "i-2-7-VM");
    proxy.slice["grants"][0]["backend"]["port"] = json!(mine.ports[0]);
    proxy.reload();
    tab.shows_the_screen();
    tab.type_keys("mine");
    guest_says(&mut mine, &format!("{GREETING}mine"));
}

/// A network between browser and proxy that can be cut.
struct Network {
    address: SocketAddr,
    cut: Arc<AtomicBool>,
    streams: Arc<Mutex<Vec<TcpStream>>>,
}

impl Network {
    fn to(proxy: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (cut, streams) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (is_cut, open) = (Arc::clone(&cut), Arc::clone(&streams));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                if is_cut.load(Ordering::SeqCst) {
                    continue;
                }
                let Ok(onward) = TcpStream::connect(proxy) else { continue };
                open.lock()
                    .unwrap()
                    .extend([stream.try_clone().unwrap(), onward.try_clone().unwrap()]);
                carry(stream.try_clone().unwrap(), onward.try_clone().unwrap());
                carry(onward, stream);
            }
        });
        Self { address, cut, streams }
    }

    fn cut(&self, cut: bool) {
        self.cut.store(cut, Ordering::SeqCst);
        for stream in self.streams.lock().unwrap().drain(..) {
            // an error means that it has ended already
            let _ended = stream.shutdown(Shutdown::Both);
        }
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream) {
    std::thread::spawn(move || {
        let mut buffer = [0; 16384];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            if to.write_all(&buffer[..length]).is_err() {
                break;
            }
        }
        let _ended = to.shutdown(Shutdown::Both);
    });
}
