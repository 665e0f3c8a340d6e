//! What the page has besides the screen: keys that browsers keep for themselves, full screen, size, and frames of portals.

use std::io::{Read, Write};
use std::net::TcpListener;

use serde_json::{Value, json};

use crate::bench::{Proxy, grant, token};
use crate::chromium::{Chromium, Tab};
use sluice_lab::Wait;
use sluice_tests::console::BOUND;
use sluice_tests::console::certificates::Authority;
use sluice_tests::console::rfb::Rfb;

/// The button of the page's menu that says `label`.
fn button(label: &str) -> String {
    format!("[...document.querySelectorAll('button')].find((it) => it.textContent === '{label}')")
}

fn pressed(tab: &Tab<'_>, label: &str) -> Value {
    tab.value(&format!("{}.getAttribute('aria-pressed')", button(label)))
}

fn letter(tab: &Tab<'_>) {
    tab.key(true, "KeyC", "c");
    tab.key(false, "KeyC", "c");
}

#[test]
fn the_menu_of_keys_says_what_browsers_keep_for_themselves() {
    let screen = Rfb::start((640, 480), true);
    let proxy = Proxy::start(&[grant("g-1", screen.address.port())], json!({}));
    let chromium = Chromium::start();
    let tab = chromium.open(&format!("http://{}/#{}", proxy.address, token("g-1")));
    tab.shows_the_screen();
    screen.looked_at();
    tab.click("document.getElementById('ctrl-alt-del')");
    screen.expect("+1d/ffe3 +38/ffe9 +d3/ffff -d3/ffff -38/ffe9 -1d/ffe3");
    letter(&tab);
    screen.expect("+2e/63 -2e/63");
    tab.click("document.querySelector('#keys summary')");
    for (label, said) in [
        ("Esc", "+1/ff1b -1/ff1b"),
        ("Tab", "+f/ff09 -f/ff09"),
        ("Print", "+54/ff61 -54/ff61"),
        ("F11", "+57/ffc8 -57/ffc8"),
        ("F12", "+58/ffc9 -58/ffc9"),
        ("Ctrl+Alt+F2", "+1d/ffe3 +38/ffe9 +3c/ffbf -3c/ffbf -38/ffe9 -1d/ffe3"),
    ] {
        tab.click(&button(label));
        screen.expect(said);
    }
    // held until it is pressed again, and what is typed meanwhile goes to the VM
    for (label, key) in [
        ("Ctrl", "1d/ffe3"),
        ("Shift", "2a/ffe1"),
        ("Alt", "38/ffe9"),
        ("AltGr", "b8/fe03"),
        ("Super", "db/ffeb"),
    ] {
        tab.click(&button(label));
        assert_eq!(pressed(&tab, label), "true");
        letter(&tab);
        tab.click(&button(label));
        screen.expect(&format!("+{key} +2e/63 -2e/63 -{key}"));
        assert_eq!(pressed(&tab, label), "false");
    }
    // a text as keys: by their places, and by symbol where a US keyboard has none
    tab.value("document.getElementById('text').value = 'aB€\\n'");
    tab.value("document.getElementById('type').click()");
    screen.expect("+1e/61 -1e/61 +2a/ffe1 +30/42 -30/42 -2a/ffe1 +20ac -20ac +1c/ff0d -1c/ff0d");
    // none is held any more in the session after this one
    tab.click(&button("Ctrl"));
    screen.expect("+1d/ffe3");
    screen.hang_up();
    tab.until("document.body.dataset.state === 'reconnecting'");
    assert_eq!(pressed(&tab, "Ctrl"), "false");
    tab.shows_the_screen();
    screen.looked_at();
    tab.click(&button("Ctrl"));
    screen.expect("+1d/ffe3");
}

#[test]
fn the_screen_fits_the_window_is_shown_in_full_and_fills_the_monitor() {
    let screen = Rfb::start((2000, 1500), true);
    let proxy = Proxy::start(&[grant("g-1", screen.address.port())], json!({}));
    let chromium = Chromium::start();
    let tab = chromium.open(&format!("http://{}/#{}", proxy.address, token("g-1")));
    tab.shows_the_screen();
    screen.looked_at();
    let canvas = "document.querySelector('#stage canvas')";
    let rect = |edge: &str| format!("{canvas}.getBoundingClientRect().{edge}");
    tab.until(&format!("{} <= innerHeight && {} <= innerWidth", rect("bottom"), rect("right")));
    // wherever the window has it, the middle is the middle
    tab.click(canvas);
    let click =
        Wait::until_some(BOUND, "a click", || Some(screen.said()).filter(|it| !it.is_empty()));
    let click = click.unwrap();
    let (x, y) = click.trim_matches(['(', ')']).split_once(',').unwrap();
    let near = |said: &str, middle: i32| (said.parse::<i32>().unwrap() - middle).abs() <= 3;
    assert!(near(x, 1000) && near(y, 750), "{click}");
    screen.expect(&click);
    tab.click("document.getElementById('scale')");
    tab.until(&format!("{} === 2000 && {} === 1500", rect("width"), rect("height")));
    letter(&tab);
    screen.expect("+2e/63 -2e/63");
    tab.click("document.getElementById('scale')");
    tab.until(&format!("{} <= innerWidth", rect("right")));

    tab.click("document.getElementById('full')");
    tab.until("document.fullscreenElement === document.documentElement");
    letter(&tab);
    screen.expect("+2e/63 -2e/63");
    // the bar goes when the mouse has left it, and comes back with it
    tab.until("document.getElementById('stage').getBoundingClientRect().height === innerHeight");
    tab.point(500, 400);
    let bar = "Number(getComputedStyle(document.getElementById('bar')).opacity)";
    tab.until(&format!("{bar} === 0"));
    tab.point(500, 5);
    tab.until(&format!("{bar} === 1"));
    tab.click("document.getElementById('full')");
    tab.until("document.fullscreenElement === null");
    letter(&tab);
    screen.expect("+2e/63 -2e/63");
}

/// A page of another site that frames `address`; its own address.
fn portal(address: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let own = format!("http://localhost:{}", listener.local_addr().unwrap().port());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            // the head of a request of Chromium's comes in one piece; what it says does not matter
            let _head = stream.read(&mut [0; 8192]);
            let page = format!(
                "<!doctype html><title>portal</title>\
                 <iframe src='{address}' width=800 height=600 onload='document.title = \"framed\"'></iframe>"
            );
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n";
            let answer = format!("{head}Content-Length: {}\r\n\r\n{page}", page.len());
            // a browser that is gone has ended its test
            let _gone = stream.write_all(answer.as_bytes());
        }
    });
    own
}

#[test]
fn a_portal_of_another_site_that_is_listed_has_it_in_a_frame_and_no_other() {
    let screen = Rfb::start((640, 480), true);
    let port = screen.address.port();
    let own = Authority::new().server("localhost");
    let certificates = json!([{ "chain": own.chain, "key": own.key }]);
    let mut pinned = grant("g-1", port);
    pinned["source"] = json!("first-browser");
    let mut proxy =
        Proxy::start(&[pinned, grant("g-2", port)], json!({ "certificates": certificates }));
    let page = |id: &str| format!("https://{}/#{}", proxy.address, token(id));
    let (listed, other) = (portal(page("g-1")), portal(page("g-2")));
    proxy.slice["frame_ancestors"] = json!([listed]);
    proxy.reload();
    let chromium = Chromium::start();
    let tab = chromium.open(&other);
    tab.until("document.title === 'framed'");
    let tab = chromium.open(&listed);
    screen.looked_at();
    let report = proxy.report();
    assert_eq!(report["sessions"][0]["grant"], "g-1", "{report:#}");
    assert_eq!((&report["load"]["begun"], screen.connections()), (&json!(1), 1), "{report:#}");
    // its cookie is there the next time as well, where the link alone is worth nothing to another browser
    tab.go("about:blank");
    screen.hang_up();
    tab.go(&listed);
    Wait::until(BOUND, "the frame again", || screen.connections() == 2).unwrap();
    screen.looked_at();
}
