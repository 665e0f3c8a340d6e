// The page: opens the link's session, shows the screen, and says what happens when it cannot.
//
// The link's token stands in the fragment, which browsers never send by themselves. It is exchanged for a cookie once and
// then taken out of the address, so that neither history nor a look over the shoulder gives it away.

import RFB from "../novnc/core/rfb.js";
import { Channel } from "./channel.js";
import { HELD, SINGLE, TERMINALS, terminal, type } from "./keys.js";

// The proxy's close codes that say "try again" (session/end.rs); 1006 is a connection that broke.
const mayPass = (code) => (code >= 4100 && code < 4200) || [1001, 1005, 1006, 1011].includes(code);
const PATIENT_AFTER = 30;
const FAITHFUL = 3;
// A proxy that hangs, or whose machine lost its power, refuses nothing: it says nothing.
const ANSWERED_WITHIN = 5000;
const OPENED_WITHIN = 40000;
const SOON = 1000;
// a screen that is back is shown within three seconds
const LATER = 2000;

const element = (id) => document.getElementById(id);
const state = { token: null, browser: seed(), grant: null, pass: null, shows: false, peers: [], rfb: null, channel: null, attempts: 0, timer: null, silence: null,
                ping: 15, held: new Map() };

function begin() {
    const fragment = unescaped(location.hash.slice(1));
    if (fragment.startsWith("pass=")) {
        [state.grant, state.pass] = fragment.slice("pass=".length).split("/");
        state.shows = true;
    } else if (fragment.startsWith("grant=")) {
        state.grant = fragment.slice("grant=".length);
    } else if (fragment) {
        state.token = fragment;
    } else {
        return over("No link", "Open the console from your portal: this address alone leads nowhere.", false);
    }
    attempt();
}

// What is no escape, as in a link that broke on its way, stays as it is: nobody has such a token, and the proxy says so.
function unescaped(text) {
    try {
        return decodeURIComponent(text);
    } catch {
        return text;
    }
}

async function attempt() {
    clearTimeout(state.timer);
    state.attempts += 1;
    let leave;
    try {
        leave = await ask();
    } catch {
        return await elsewhere() || again("The console proxy cannot be reached.");
    }
    if (leave.code === "elsewhere" && leave.at) {
        return go(leave.at, encodeURIComponent(state.token));
    }
    if (leave.code) {
        if (["draining", "full"].includes(leave.code) && await elsewhere()) { return; }
        return leave.may_pass ? again(leave.message) : over("The console cannot be opened", leave.message, false);
    }
    remember(leave);
    const url = new URL(leave.screen, location.href);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    url.hash = "";
    connect(url.href);
}

// Where else the same session can go on: at another proxy that knows this browser and answers. Not at the first failure,
// which a proxy that is started anew would be.
async function elsewhere() {
    if (!state.pass || state.attempts < FAITHFUL) { return false; }
    for (const origin of state.peers) {
        try {
            const alive = new URL("alive", origin + location.pathname);
            await fetch(alive, { mode: "no-cors", cache: "no-store", signal: AbortSignal.timeout(ANSWERED_WITHIN) });
            go(origin, `pass=${state.grant}/${state.pass}`);
            return true;
        } catch {
            // that one is gone as well
        }
    }
    return false;
}

function go(origin, fragment) {
    location.replace(`${origin}${location.pathname}#${fragment}`);
}

// By a pass that another proxy gave, by the cookie when there is one, else by the token.
async function ask() {
    if (state.shows) {
        const answer = await post({ pass: { grant: state.grant, value: state.pass } });
        state.shows = false;
        if (!answer.code) { return answer; }
    }
    if (state.grant) {
        const answer = await post({ grant: state.grant });
        if (answer.code !== "no-cookie" || !state.token) { return answer; }
    }
    return post({ link: { token: state.token, browser: state.browser } });
}

// By which the proxy knows this browser again when its answer, and the cookie with it, was lost.
function seed() {
    const bytes = crypto.getRandomValues(new Uint8Array(16));
    return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

async function post(body) {
    const response = await fetch("session", {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify(body),
        signal: AbortSignal.timeout(ANSWERED_WITHIN),
    });
    return response.json();
}

function remember(leave) {
    state.grant = leave.grant;
    state.pass = leave.pass ?? null;
    state.peers = leave.peers;
    history.replaceState(null, "", `#grant=${leave.grant}`);
    element("vm").textContent = leave.vm;
    document.title = `${leave.vm} - console`;
    viewOnly(leave.view_only);
}

function connect(url) {
    state.channel = new Channel(url, note, ended);
    patient(OPENED_WITHIN);
    const rfb = new RFB(element("stage"), state.channel, { shared: true });
    state.rfb = rfb;
    rfb.scaleViewport = element("scale").getAttribute("aria-pressed") === "true";
    rfb.viewOnly = document.body.classList.contains("view-only");
    rfb.background = "transparent";
    rfb.addEventListener("connect", shown);
    rfb.addEventListener("clipboard", (event) => copied(event.detail.text));
}

function shown() {
    state.attempts = 0;
    element("notice").hidden = true;
    document.body.dataset.state = "shown";
    state.rfb.focus();
}

// What the proxy says beside the screen.
function note(said) {
    if (said.type === "session") {
        state.ping = said.ping_seconds;
        viewOnly(said.view_only);
        const badge = element("security");
        badge.hidden = false;
        badge.textContent = said.encrypted ? `encrypted to the VM (${said.security})` : "not encrypted to the VM";
        badge.className = said.encrypted ? "badge good" : "badge warn";
        badge.title = `Between proxy and VM host: ${said.security}`;
    }
    // two pings that did not come, and a half
    patient(state.ping * 2500);
    if (said.type === "grant") { viewOnly(said.view_only); }
    if (said.type === "pulse") { quality(said.round_trip_ms); }
    if (said.viewers) {
        element("viewers").hidden = said.viewers < 2;
        element("viewers").textContent = `${said.viewers} viewers`;
    }
}

// Gives up a proxy or network that goes without a word for so many milliseconds.
function patient(milliseconds) {
    clearTimeout(state.silence);
    state.silence = setTimeout(() => state.channel?.abandon(), milliseconds);
}

function quality(milliseconds) {
    const badge = element("quality");
    badge.hidden = false;
    badge.textContent = `${milliseconds} ms`;
    badge.title = "Round trip to the console proxy";
    badge.className = milliseconds < 100 ? "badge good" : milliseconds < 300 ? "badge" : "badge warn";
}

function ended(event) {
    clearTimeout(state.silence);
    // noVNC has let go of the screen by now; the last picture must not stay, it would look alive
    element("stage").replaceChildren();
    state.rfb = null;
    state.channel = null;
    for (const button of state.held.keys()) { button.setAttribute("aria-pressed", "false"); }
    state.held.clear();
    const [, sentence] = /^[a-z-]+: (.*)$/s.exec(event.reason) ?? [];
    if (mayPass(event.code)) {
        return again(sentence ?? "The connection to the console proxy broke.");
    }
    over("The console was closed", sentence ?? `The proxy closed it (${event.code}).`, true);
}

function again(reason) {
    show("Reconnecting", reason, false);
    document.body.dataset.state = "reconnecting";
    state.timer = setTimeout(attempt, state.attempts < PATIENT_AFTER ? SOON : LATER);
}

function over(headline, reason, button) {
    show(headline, reason, button);
    document.body.dataset.state = "over";
}

function show(headline, reason, button) {
    element("headline").textContent = headline;
    element("reason").textContent = reason;
    element("again").hidden = !button;
    element("notice").hidden = false;
    for (const id of ["quality", "viewers", "security"]) { element(id).hidden = true; }
}

// Only what is shown: that nothing can be typed is the proxy's doing.
function viewOnly(on) {
    document.body.classList.toggle("view-only", on);
    element("view-only").hidden = !on;
    if (state.rfb) { state.rfb.viewOnly = on; }
}

function copied(text) {
    element("text").value = text;
    // allowed only in some moments of some browsers; the text is in the panel in any case
    navigator.clipboard?.writeText(text).catch(() => {});
}

function button(row, label, press) {
    const made = document.createElement("button");
    made.textContent = label;
    made.addEventListener("click", () => {
        if (!state.rfb) { return; }
        press(made);
        typing();
    });
    element(row).append(made);
    return made;
}

// What is typed next is for the VM, not for the button that was pressed last.
function typing() {
    state.rfb?.focus();
}

function hold(made, keysym, code) {
    const down = !state.held.has(made);
    if (down) { state.held.set(made, code); } else { state.held.delete(made); }
    made.setAttribute("aria-pressed", String(down));
    state.rfb.sendKey(keysym, code, down);
}

function controls() {
    element("ctrl-alt-del").addEventListener("click", () => { state.rfb?.sendCtrlAltDel(); typing(); });
    for (const [label, keysym, code] of HELD) {
        button("held", label, (made) => hold(made, keysym, code)).setAttribute("aria-pressed", "false");
    }
    for (const [label, keysym, code] of SINGLE) {
        button("single", label, () => state.rfb.sendKey(keysym, code));
    }
    for (const [label, keysym, code] of TERMINALS) {
        button("terminals", label, () => terminal(state.rfb, keysym, code));
    }
    element("paste").addEventListener("click", () => state.rfb?.clipboardPasteFrom(element("text").value));
    element("type").addEventListener("click", () => state.rfb && type(state.rfb, element("text").value));
    element("copy").addEventListener("click", () => navigator.clipboard?.writeText(element("text").value));
    element("scale").addEventListener("click", () => {
        const fit = element("scale").getAttribute("aria-pressed") !== "true";
        element("scale").setAttribute("aria-pressed", String(fit));
        if (state.rfb) { state.rfb.scaleViewport = fit; }
        typing();
    });
    element("full").addEventListener("click", fullScreen);
    element("again").addEventListener("click", () => { state.attempts = 0; attempt(); });
    addEventListener("online", () => document.body.dataset.state === "reconnecting" && attempt());
    // the link in the address is another one now
    addEventListener("hashchange", () => location.reload());
}

async function fullScreen() {
    typing();
    if (document.fullscreenElement) { return document.exitFullscreen(); }
    await document.documentElement.requestFullscreen();
    // Esc, Alt+Tab and the like then go to the VM, where the browser allows it
    await navigator.keyboard?.lock?.().catch(() => {});
}

controls();
begin();
