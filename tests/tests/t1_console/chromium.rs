//! A real browser, driven over its debugging pipe (Chrome DevTools Protocol, one JSON text and a zero byte each).

use std::cell::RefCell;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use sluice_lab::Wait;
use tempfile::TempDir;

use crate::bench::BOUND;

/// What keeps it from the network, and from what a machine of tests has not.
const FLAGS: &[&str] = &[
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--ignore-certificate-errors",
    "--remote-debugging-pipe",
    "--window-size=1024,720",
];

/// A running Chromium; killed when dropped.
pub(crate) struct Chromium {
    child: Child,
    pipe: RefCell<Pipe>,
    _profile: TempDir,
}

struct Pipe {
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    last: u64,
    /// What pages wrote to their consoles, and errors nobody caught.
    said: Vec<String>,
}

/// One page of it.
pub(crate) struct Tab<'a> {
    browser: &'a Chromium,
    session: String,
}

impl Chromium {
    pub(crate) fn start() -> Self {
        let profile = tempfile::tempdir().unwrap();
        // it wants its pipe on descriptors 3 and 4, which a shell can arrange
        let script = r#"exec "$@" 3<&0 4>&1 </dev/null >/dev/null 2>/dev/null"#;
        let mut child = sluice_programs::command("setpriv")
            .unwrap()
            .args(["--pdeathsig", "KILL", "--", "sh", "-c", script, "sh", "chromium"])
            .args(FLAGS)
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("chromium is installed");
        let to = child.stdin.take().unwrap();
        let from = BufReader::new(child.stdout.take().unwrap());
        let pipe = RefCell::new(Pipe { to, from, last: 0, said: Vec::new() });
        Self { child, pipe, _profile: profile }
    }

    /// A new page at `address`.
    pub(crate) fn open(&self, address: &str) -> Tab<'_> {
        let target = self.call("", "Target.createTarget", json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let session = self.call("", "Target.attachToTarget", attach)["sessionId"].clone();
        let tab = Tab { browser: self, session: session.as_str().unwrap().to_owned() };
        tab.call("Runtime.enable", json!({}));
        tab.call("Page.enable", json!({}));
        tab.call("Page.navigate", json!({ "url": address }));
        tab
    }

    fn call(&self, session: &str, method: &str, params: Value) -> Value {
        let said = self.ask(session, method, params);
        assert!(said.get("error").is_none(), "{method}: {said}");
        said["result"].clone()
    }

    /// The whole answer, an error as well as a result.
    fn ask(&self, session: &str, method: &str, params: Value) -> Value {
        let mut pipe = self.pipe.borrow_mut();
        pipe.last += 1;
        let id = pipe.last;
        let mut message = json!({ "id": id, "method": method, "params": params });
        if !session.is_empty() {
            message["sessionId"] = json!(session);
        }
        pipe.to.write_all(format!("{message}\0").as_bytes()).unwrap();
        loop {
            let mut text = Vec::new();
            pipe.from.read_until(0, &mut text).unwrap();
            assert_eq!(text.pop(), Some(0), "Chromium ended: {:?}", pipe.said);
            let said: Value = serde_json::from_slice(&text).unwrap();
            match said["method"].as_str() {
                Some("Runtime.consoleAPICalled" | "Runtime.exceptionThrown") => {
                    pipe.said.push(said["params"].to_string());
                }
                _ => {}
            }
            if said["id"] == id {
                return said;
            }
        }
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the pages said: {:#?}", self.pipe.borrow().said);
        }
        // an error means that it has ended already
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}

impl Tab<'_> {
    fn call(&self, method: &str, params: Value) -> Value {
        self.browser.call(&self.session, method, params)
    }

    /// The value of a JavaScript expression.
    pub(crate) fn value(&self, expression: &str) -> Value {
        let ask = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let answer = self.call("Runtime.evaluate", ask);
        assert!(answer.get("exceptionDetails").is_none(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    /// Waits until an expression is true.
    pub(crate) fn until(&self, expression: &str) {
        if let Err(error) = Wait::until(BOUND, expression, || self.holds(expression)) {
            let page = self.value("document.body.innerText + '\\n' + document.body.dataset.state");
            panic!("{error}\nthe page says:\n{}", page.as_str().unwrap_or_default());
        }
    }

    /// Whether an expression becomes true within a moment.
    pub(crate) fn soon(&self, expression: &str) -> bool {
        Wait::until(Duration::from_secs(1), expression, || self.holds(expression)).is_ok()
    }

    /// Whether an expression is true now; it is not while another page loads, whatever it would throw there.
    fn holds(&self, expression: &str) -> bool {
        let ask = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let said = self.browser.ask(&self.session, "Runtime.evaluate", ask);
        said["result"]["result"]["value"] == true
    }

    /// Waits until the screen is shown.
    pub(crate) fn shows_the_screen(&self) {
        self.until("document.body?.dataset.state === 'shown'");
    }

    /// Waits until the page says `text` where it says why nothing is shown.
    pub(crate) fn says(&self, text: &str) {
        self.until(&format!(
            "document.getElementById('notice')?.hidden === false && document.getElementById('notice').innerText.includes({})",
            json!(text)
        ));
    }

    /// Presses keys as a person does: letters, digits and spaces.
    pub(crate) fn type_keys(&self, text: &str) {
        for character in text.chars() {
            let (code, key) = match character {
                ' ' => ("Space".to_owned(), 32),
                digit @ '0'..='9' => (format!("Digit{digit}"), u32::from(digit)),
                letter => {
                    let upper = letter.to_ascii_uppercase();
                    (format!("Key{upper}"), u32::from(upper))
                }
            };
            self.press(&code, character, key);
        }
    }

    /// Presses the key at the place `code` of the keyboard, where the layout in use has `character`.
    pub(crate) fn press(&self, code: &str, character: char, key: u32) {
        for kind in ["keyDown", "keyUp"] {
            let mut press = json!({
                "type": kind, "code": code, "key": character.to_string(), "windowsVirtualKeyCode": key,
            });
            if kind == "keyDown" {
                press["text"] = json!(character.to_string());
            }
            self.call("Input.dispatchKeyEvent", press);
        }
    }

    /// Presses or lets go the key at the place `code`, where the layout in use has `key`: a character or a name.
    pub(crate) fn key(&self, down: bool, code: &str, key: &str) {
        let kind = if down { "rawKeyDown" } else { "keyUp" };
        self.call("Input.dispatchKeyEvent", json!({ "type": kind, "code": code, "key": key }));
    }

    /// Presses the mouse on the middle of an element, as a person does: what lies above it is pressed instead.
    pub(crate) fn click(&self, element: &str) {
        let place = format!(
            "(() => {{ const it = {element}.getBoundingClientRect(); return [it.x + it.width / 2, it.y + it.height / 2]; }})()"
        );
        let place = self.value(&place);
        for kind in ["mouseMoved", "mousePressed", "mouseReleased"] {
            self.mouse(kind, &place);
        }
    }

    /// Moves the mouse.
    pub(crate) fn point(&self, x: u32, y: u32) {
        self.mouse("mouseMoved", &json!([x, y]));
    }

    fn mouse(&self, kind: &str, place: &Value) {
        let (x, y) = (&place[0], &place[1]);
        let (button, count) = if kind == "mouseMoved" { ("none", 0) } else { ("left", 1) };
        let event = json!({ "type": kind, "x": x, "y": y, "button": button, "clickCount": count });
        self.call("Input.dispatchMouseEvent", event);
    }

    /// Says that it runs on Windows, whose keyboards tell of `AltGr` in a way of their own.
    pub(crate) fn is_on_windows(&self) {
        let agent = self.value("navigator.userAgent");
        let says = json!({ "userAgent": agent, "platform": "Win32" });
        self.call("Emulation.setUserAgentOverride", says);
    }

    /// A picture of the page, PNG in base64.
    pub(crate) fn picture(&self) -> String {
        let answer = self.call("Page.captureScreenshot", json!({ "format": "png" }));
        answer["data"].as_str().unwrap().to_owned()
    }

    /// Another address in the same page.
    pub(crate) fn go(&self, address: &str) {
        self.call("Page.navigate", json!({ "url": address }));
    }
}
