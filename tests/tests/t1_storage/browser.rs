//! Chromium on the upload page: a person sees how far it is, loses the network, and loses nothing else.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use serde_json::json;
use sluice_lab::Wait;
use sluice_lab::netns::Namespace;
use sluice_ssvm::slice::TokenHash;

use super::bench::{BOUND, Bench, HERE};
use super::chromium::Chromium;

const TOKEN: &str = "a-token-that-nobody-guesses";
const DISK: usize = 24 << 20;
/// Bytes that go through the link at once, and how long they take: about 8 MiB a second.
const BURST: usize = 64 << 10;
const TAKES: Duration = Duration::from_millis(8);

/// The link between the browser and the service.
struct Link {
    address: SocketAddr,
    cut: Arc<AtomicBool>,
    /// Nothing moves, and nothing ends.
    held: Arc<AtomicBool>,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Link {
    fn start(ns: &Namespace) -> Self {
        let (ask, asked) = mpsc::channel::<mpsc::Sender<std::io::Result<TcpStream>>>();
        // a thread keeps the namespace that it was begun in
        let connects = move || {
            for reply in asked {
                let _gone = reply.send(TcpStream::connect(HERE));
            }
        };
        ns.enter(move || drop(thread::spawn(connects))).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (cut, open) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (is_cut, all) = (Arc::clone(&cut), Arc::clone(&open));
        let held = Arc::new(AtomicBool::new(false));
        let is_held = Arc::clone(&held);
        thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let (reply, answer) = mpsc::channel();
                if is_cut.load(Ordering::SeqCst) || ask.send(reply).is_err() {
                    continue;
                }
                let Ok(Ok(far)) = answer.recv() else { continue };
                let mut all = all.lock().unwrap();
                // cut since it was let in
                if is_cut.load(Ordering::SeqCst) {
                    continue;
                }
                all.extend([near.try_clone().unwrap(), far.try_clone().unwrap()]);
                drop(all);
                let back = (far.try_clone().unwrap(), near.try_clone().unwrap());
                let (there, here) = (Arc::clone(&is_held), Arc::clone(&is_held));
                thread::spawn(move || carry(near, far, TAKES, &there));
                thread::spawn(move || carry(back.0, back.1, Duration::ZERO, &here));
            }
        });
        Self { address, cut, held, open }
    }

    fn cut(&self) {
        let mut open = self.open.lock().unwrap();
        self.cut.store(true, Ordering::SeqCst);
        for stream in open.drain(..) {
            let _gone = stream.shutdown(Shutdown::Both);
        }
    }

    fn mend(&self) {
        self.cut.store(false, Ordering::SeqCst);
    }

    /// As a cable that is pulled somewhere on the way: nobody is told.
    fn hold(&self, held: bool) {
        self.held.store(held, Ordering::SeqCst);
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, takes: Duration, held: &AtomicBool) {
    let mut burst = vec![0; BURST];
    while let Ok(length @ 1..) = from.read(&mut burst) {
        thread::sleep(takes);
        while held.load(Ordering::SeqCst) {
            thread::sleep(TAKES);
        }
        if to.write_all(&burst[..length]).is_err() {
            break;
        }
    }
    let _gone = to.shutdown(Shutdown::Both);
}

/// The disk that the page makes in the browser.
fn disk() -> Vec<u8> {
    (0..DISK).map(|at| ((at ^ (at >> 8) ^ (at >> 16)) & 0xff) as u8).collect()
}

const CHOOSE: &str = "(() => {
    const bytes = new Uint8Array(24 << 20);
    for (let at = 0; at < bytes.length; at++) bytes[at] = at ^ (at >> 8) ^ (at >> 16);
    const chosen = new DataTransfer();
    chosen.items.add(new File([bytes], 'disk.raw'));
    document.getElementById('file').files = chosen.files;
    document.getElementById('start').click();
    return true;
})()";

#[test]
fn a_page_shows_how_far_it_is_and_goes_on_after_the_network_was_away() {
    let mut bench = Bench::new("browser");
    bench.change(|slice| {
        slice["jobs"] = json!([{ "id": "j-1", "what": { "import": { "source": "upload",
            "store": "local", "place": { "template": { "account": 2, "id": 1, "name": "web" } } } } }]);
        slice["grants"] = json!([{ "id": "g-1", "token": TokenHash::of(TOKEN),
            "expires": 4_102_444_800_u64,
            "permission": { "upload": { "job": "j-1", "most_bytes": DISK } } }]);
    });
    bench.start();
    let link = Link::start(&bench.ns);
    let chromium = Chromium::start();
    let tab = chromium.open(&format!("http://{}/upload#{TOKEN}", link.address));
    tab.until("document.readyState === 'complete' && !!document.getElementById('bar')");
    assert_eq!(tab.value(CHOOSE), true);
    let between = |low: &str| {
        format!(
            "!document.getElementById('bar').hidden && document.getElementById('bar').value > {low} \
                 && document.getElementById('bar').value < 1"
        )
    };
    tab.until(&between("0.05"));
    let said = tab.value("document.getElementById('status').textContent");
    let said = said.as_str().unwrap();
    assert!(said.contains(" %: ") && said.contains("of 24.0 MiB"), "{said}");

    // a request that neither moves nor fails is given up
    link.hold(true);
    let stalled =
        "document.getElementById('status').textContent.startsWith('Interrupted (no progress)')";
    let noticed = Wait::until(BOUND * 2, "that nothing moves", || tab.soon(stalled));
    noticed.unwrap_or_else(|error| {
        panic!("{error}: {}", tab.value("document.getElementById('status').textContent"))
    });
    link.hold(false);
    tab.until(&between("0.2"));
    link.cut();
    tab.until("document.getElementById('status').textContent.startsWith('Interrupted')");
    link.mend();
    tab.until(&between("0.4"));
    // the service itself goes and comes back
    bench.kill();
    tab.until("document.getElementById('status').textContent.startsWith('Interrupted')");
    bench.start();
    let done = "document.getElementById('status').textContent.startsWith('Done: raw')";
    let long = Wait::until(BOUND * 2, "the end", || tab.soon(done));
    long.unwrap_or_else(|error| {
        panic!("{error}: {}", tab.value("document.getElementById('status').textContent"))
    });
    assert_eq!(tab.value("document.getElementById('bar').value"), 1);
    bench.done("j-1");
    assert!(std::fs::read(bench.object(1, "web.raw")).unwrap() == disk());
}
