// Sends a file in pieces by the tus protocol and goes on where it was after any interruption.
"use strict";

const PIECE = 8 * 1024 * 1024;
const LONGEST_PAUSE = 15000;
// a request of which nothing moved for so long has lost its connection, whatever the browser believes
const NO_PROGRESS = 20000;
const token = location.hash.slice(1);
const element = (id) => document.getElementById(id);
let paused = false;
let request = null;

function say(text, kind = "") {
  element("status").textContent = text;
  element("status").className = kind;
}

function size(bytes) {
  const units = ["bytes", "KiB", "MiB", "GiB", "TiB"];
  const step = Math.min(units.length - 1, Math.floor(Math.log2(Math.max(bytes, 1)) / 10));
  const number = bytes / 1024 ** step;
  return `${step ? number.toFixed(1) : number} ${units[step]}`;
}

function show(done, total) {
  element("bar").hidden = false;
  element("bar").value = total ? done / total : 1;
  const percent = total ? Math.floor((100 * done) / total) : 100;
  say(`${percent} %: ${size(done)} of ${size(total)}`);
}

// XMLHttpRequest, because fetch cannot tell how much was sent
function send(method, url, headers, body, progress) {
  return new Promise((resolve, reject) => {
    request = new XMLHttpRequest();
    request.open(method, url);
    request.setRequestHeader("Authorization", `Bearer ${token}`);
    request.setRequestHeader("Tus-Resumable", "1.0.0");
    for (const [name, value] of Object.entries(headers)) {
      request.setRequestHeader(name, value);
    }
    const own = request;
    let stalled = false;
    let timer = 0;
    const moves = () => {
      clearTimeout(timer);
      timer = setTimeout(() => {
        stalled = true;
        own.abort();
      }, NO_PROGRESS);
    };
    own.upload.onprogress = (event) => {
      moves();
      if (progress) {
        progress(event.loaded);
      }
    };
    own.onprogress = moves;
    own.onload = () => resolve(own);
    own.onerror = () => reject(new Error("no connection"));
    own.onabort = () => reject(new Error(stalled ? "no progress" : "paused"));
    own.onloadend = () => clearTimeout(timer);
    moves();
    own.send(body);
  });
}

// what a client can do nothing about is not tried again
class Refused extends Error {}

function judge(answer, expected) {
  if (answer.status === expected) {
    return answer;
  }
  let reason = `the server answered ${answer.status}`;
  try {
    reason = JSON.parse(answer.responseText).reason;
  } catch {
    // an answer of something in between
  }
  const temporary = [408, 409, 423, 429, 460].includes(answer.status) || answer.status >= 500;
  throw temporary ? new Error(reason) : new Refused(reason);
}

// only pages that came over TLS or from this machine may hash
async function checksum(piece) {
  if (!window.crypto || !window.crypto.subtle) {
    return {};
  }
  const digest = await crypto.subtle.digest("SHA-256", await piece.arrayBuffer());
  const text = String.fromCharCode(...new Uint8Array(digest));
  return { "Upload-Checksum": `sha256 ${btoa(text)}` };
}

async function create(file) {
  const answer = await send("POST", "/upload", { "Upload-Length": String(file.size) });
  return judge(answer, 201).getResponseHeader("Location");
}

async function sendAll(file, url) {
  let answer = judge(await send("HEAD", url, {}), 200);
  let offset = Number(answer.getResponseHeader("Upload-Offset"));
  show(offset, file.size);
  while (offset < file.size) {
    const piece = file.slice(offset, offset + PIECE);
    const headers = {
      "Content-Type": "application/offset+octet-stream",
      "Upload-Offset": String(offset),
      ...(await checksum(piece)),
    };
    answer = judge(await send("PATCH", url, headers, piece, (sent) => show(offset + sent, file.size)), 204);
    offset = Number(answer.getResponseHeader("Upload-Offset"));
    show(offset, file.size);
  }
}

const sleep = (time) => new Promise((resolve) => setTimeout(resolve, time));

// until all is sent, however often the connection goes away
async function persist(file) {
  let url = null;
  let pause = 500;
  for (;;) {
    try {
      url = url || (await create(file));
      await sendAll(file, url);
      return url;
    } catch (error) {
      if (error instanceof Refused) {
        throw error;
      }
      while (paused) {
        say("Paused.");
        await sleep(200);
      }
      say(`Interrupted (${error.message}); trying again.`);
      await sleep(pause);
      pause = Math.min(pause * 2, LONGEST_PAUSE);
    }
  }
}

async function outcome(url) {
  for (;;) {
    try {
      const answer = judge(await send("GET", `${url}/state`, {}), 200);
      const job = JSON.parse(answer.responseText);
      if (job.state === "done") {
        return say(`Done: ${job.object.image.format}, SHA-256 ${job.object.sha256}`, "good");
      }
      if (job.state === "failed") {
        return say(`Refused: ${job.failure.reason}`, "bad");
      }
      say("All is sent; the image is being checked.");
    } catch (error) {
      if (error instanceof Refused) {
        throw error;
      }
    }
    await sleep(500);
  }
}

element("pause").addEventListener("click", () => {
  paused = !paused;
  element("pause").textContent = paused ? "Go on" : "Pause";
  if (paused && request) {
    request.abort();
  }
});

document.querySelector("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const file = element("file").files[0];
  element("start").disabled = true;
  element("pause").hidden = false;
  try {
    await outcome(await persist(file));
  } catch (error) {
    say(`Refused: ${error.message}`, "bad");
    element("start").disabled = false;
  }
  element("pause").hidden = true;
});

if (!token) {
  say("This address has no token: use the whole link that you were given.", "bad");
  element("start").disabled = true;
}
