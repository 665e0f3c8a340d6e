//! Keyboards of other countries: what a person presses is what the guest's own keyboard says, or the symbol where the VM's
//! layout is fixed.

use std::path::Path;

use serde_json::json;
use sluice_lab::Wait;

use crate::bench::{BOUND, Proxy, grant, token};
use crate::browser::guest_says;
use crate::chromium::{Chromium, Tab};
use sluice_tests::console::qemu::{GREETING, Qemu, Server};
use sluice_tests::console::rfb::Rfb;

/// What is held meanwhile: place, name, and what a keyboard says.
type Modifier = Option<(&'static str, &'static str, &'static str)>;

const PLAIN: Modifier = None;
const SHIFT: Modifier = Some(("ShiftLeft", "Shift", "2a aa"));
const ALT_GR: Modifier = Some(("AltRight", "AltGraph", "e038 e0b8"));

/// A key: place, what the layout has there, what is held, the byte that its keyboard says, and those of the places that
/// QEMU's own table has for the symbol: it takes one of them, and none where it has none.
type Key = (&'static str, &'static str, Modifier, u8, &'static [u8]);

const GERMAN: &[Key] = &[
    ("KeyQ", "@", ALT_GR, 0x10, &[0x10]),
    ("Minus", "\\", ALT_GR, 0x0c, &[0x0c]),
    ("IntlBackslash", "|", ALT_GR, 0x56, &[0x56]),
    ("Digit7", "{", ALT_GR, 0x08, &[0x08]),
    ("Digit0", "}", ALT_GR, 0x0b, &[0x0b]),
    ("KeyE", "€", ALT_GR, 0x12, &[0x12]),
    ("BracketLeft", "ü", PLAIN, 0x1a, &[0x1a]),
    ("KeyZ", "y", PLAIN, 0x2c, &[0x2c]),
];

const FRENCH: &[Key] = &[
    ("Digit0", "@", ALT_GR, 0x0b, &[0x0b, 0x1e]),
    ("Digit8", "\\", ALT_GR, 0x09, &[0x09]),
    ("Digit6", "|", ALT_GR, 0x07, &[0x07, 0x56]),
    ("Digit4", "{", ALT_GR, 0x05, &[0x05]),
    ("Equal", "}", ALT_GR, 0x0d, &[0x0d]),
    ("KeyE", "€", ALT_GR, 0x12, &[0x12]),
    ("Digit2", "é", PLAIN, 0x03, &[0x03]),
    ("Digit2", "2", SHIFT, 0x03, &[0x03]),
    ("KeyQ", "a", PLAIN, 0x10, &[0x10]),
];

const SPANISH: &[Key] = &[
    ("Digit2", "@", ALT_GR, 0x03, &[0x03, 0x10]),
    ("Backquote", "\\", ALT_GR, 0x29, &[0x0c, 0x29]),
    ("Digit1", "|", ALT_GR, 0x02, &[0x02, 0x56]),
    ("Quote", "{", ALT_GR, 0x28, &[0x08, 0x28]),
    ("Backslash", "}", ALT_GR, 0x2b, &[0x0b, 0x2b]),
    ("KeyE", "€", ALT_GR, 0x12, &[0x12]),
    ("Semicolon", "ñ", PLAIN, 0x27, &[0x27]),
];

const JAPANESE: &[Key] = &[
    ("BracketLeft", "@", PLAIN, 0x1a, &[0x1a]),
    ("IntlRo", "\\", PLAIN, 0x73, &[0x73, 0x7d]),
    ("IntlYen", "¥", PLAIN, 0x7d, &[]),
    // QEMU presses its place by `ja`, and never lets it go
    ("IntlYen", "|", SHIFT, 0x7d, &[]),
    ("BracketRight", "{", SHIFT, 0x1b, &[0x1b]),
    ("Backslash", "}", SHIFT, 0x2b, &[0x2b]),
    ("Convert", "Convert", PLAIN, 0x79, &[]),
    ("NonConvert", "NonConvert", PLAIN, 0x7b, &[]),
    ("KanaMode", "KanaMode", PLAIN, 0x70, &[]),
];

/// Presses a key and lets it go, within what is held.
fn press(tab: &Tab<'_>, (code, key, held, ..): Key) {
    if let Some((place, name, _)) = held {
        tab.key(true, place, name);
    }
    tab.key(true, code, key);
    tab.key(false, code, key);
    if let Some((place, name, _)) = held {
        tab.key(false, place, name);
    }
}

/// What a keyboard of the VM's own says when the key of this byte is pressed.
fn said((.., held, _, _): Key, byte: u8) -> String {
    let key = format!("{byte:02x}{:02x}", byte | 0x80);
    match held.and_then(|(.., bytes)| bytes.split_once(' ')) {
        Some((down, up)) => format!("{down}{key}{up}"),
        None => key,
    }
}

/// A key whose place all these layouts share: after each of the others it must come alone.
const LETTER: Key = ("KeyH", "h", PLAIN, 0x23, &[0x23]);

/// Presses each key of `layout` for which `bytes` names any, and then a letter; the guest must have heard one of them and
/// nothing else.
fn types(tab: &Tab<'_>, qemu: &mut Qemu, layout: &[Key], bytes: impl Fn(&Key) -> Vec<u8>) {
    let before = qemu.screen();
    let before = before.split(GREETING).nth(1).unwrap_or_default();
    let before = before.split([' ', '\0']).next().unwrap_or_default();
    let mut heard = format!("{GREETING}{before}");
    for key in layout {
        let bytes = bytes(key);
        if bytes.is_empty() {
            continue;
        }
        press(tab, *key);
        let ways: Vec<_> =
            bytes.iter().map(|byte| format!("{heard}{}", said(*key, *byte))).collect();
        let found = Wait::until_some(BOUND, key.1, || {
            let screen = qemu.screen();
            ways.iter().find(|way| screen.contains(*way))
        });
        let found = found.unwrap_or_else(|late| panic!("{late}: {ways:?}\n{}", qemu.screen()));
        press(tab, LETTER);
        heard = format!("{found}{}", said(LETTER, LETTER.3));
        guest_says(qemu, &heard);
    }
}

fn shown<'a>(chromium: &'a Chromium, proxy: &Proxy) -> Tab<'a> {
    let tab = chromium.open(&format!("http://{}/#{}", proxy.address, token("g-1")));
    tab.shows_the_screen();
    tab
}

#[test]
fn keyboards_of_four_countries_are_heard_as_the_guests_own() {
    let folder = tempfile::tempdir().unwrap();
    let mut qemu = Qemu::start_with_keyboard(folder.path(), &[Server::Open], None);
    let proxy = Proxy::start(&[grant("g-1", qemu.ports[0])], json!({}));
    let chromium = Chromium::start();
    let tab = shown(&chromium, &proxy);
    for layout in [GERMAN, FRENCH, SPANISH, JAPANESE] {
        types(&tab, &mut qemu, layout, |key| vec![key.3]);
    }
}

fn fixed(layout: &str, keys: &[Key], folder: &Path) {
    let mut qemu = Qemu::start_with_keyboard(folder, &[Server::Open], Some(layout));
    let proxy = Proxy::start(&[grant("g-1", qemu.ports[0])], json!({}));
    let chromium = Chromium::start();
    types(&shown(&chromium, &proxy), &mut qemu, keys, |key| key.4.to_vec());
}

#[test]
fn a_vm_with_a_fixed_layout_hears_the_symbols() {
    for (layout, keys) in [("de", GERMAN), ("fr", FRENCH), ("es", SPANISH), ("ja", JAPANESE)] {
        let folder = tempfile::tempdir().unwrap();
        fixed(layout, keys, folder.path());
    }
}

#[test]
fn alt_gr_of_windows_is_one_key_and_none_stays_down() {
    let screen = Rfb::start((640, 480), true);
    let proxy = Proxy::start(&[grant("g-1", screen.address.port())], json!({}));
    let chromium = Chromium::start();
    let tab = chromium.open("about:blank");
    tab.is_on_windows();
    tab.go(&format!("http://{}/#{}", proxy.address, token("g-1")));
    tab.shows_the_screen();
    screen.looked_at();
    assert_eq!(tab.value("navigator.platform"), "Win32");
    // Windows presses a Ctrl that nobody touched, at the same moment: so in one go here
    let keys = json!([
        ["keydown", "ControlLeft", "Control"],
        ["keydown", "AltRight", "AltGraph"],
        ["keydown", "KeyQ", "@"],
        ["keyup", "KeyQ", "@"],
        ["keyup", "ControlLeft", "Control"],
        ["keyup", "AltRight", "AltGraph"],
    ]);
    tab.value(&format!(
        "for (const [kind, code, key] of {keys}) {{ document.activeElement.dispatchEvent(new KeyboardEvent(kind, {{ code, key, bubbles: true }})); }}"
    ));
    screen.expect("+b8/fe03 +10/40 -10/40 -b8/fe03");

    // whoever goes to another window with a key down does not leave it down
    tab.key(true, "AltRight", "AltGraph");
    screen.expect("+b8/fe03");
    tab.value("window.dispatchEvent(new Event('blur'))");
    screen.expect("-b8/fe03");
    press(&tab, LETTER);
    screen.expect("+23/68 -23/68");
}

#[test]
fn a_screen_that_takes_symbols_alone_gets_them() {
    let screen = Rfb::start((640, 480), false);
    let proxy = Proxy::start(&[grant("g-1", screen.address.port())], json!({}));
    let chromium = Chromium::start();
    let tab = shown(&chromium, &proxy);
    screen.looked_at();
    press(&tab, GERMAN[5]);
    screen.expect("+fe03 +20ac -20ac -fe03");
    press(&tab, JAPANESE[2]);
    screen.expect("+a5 -a5");
    press(&tab, LETTER);
    screen.expect("+68 -68");
}
