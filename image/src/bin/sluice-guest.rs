//! Runs commands inside a test host for a test outside: one JSON object a line over a virtio-serial port.
//!
//! Request `{"id", "argv": [..] | "sh": "..", "timeout_s": 60, "stdin": ".."}`, answer
//! `{"id", "code", "stdout", "stderr"}`; `code` is null when the command was ended (by a signal or the time limit, said in
//! `error`). Requests run side by side; answers come as they finish.
//! For the laboratory only: whoever holds the other end of the port is root here.

#![allow(clippy::print_stdout)] // it goes to the console, through PID 1

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sluice_image::testhost::CHANNEL;

/// Between two looks for the port, for a client, or for the end of a command.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Output of a command that ended may still be in its pipes; longer waits are for its children, which we do not wait for.
const DRAIN: Duration = Duration::from_millis(300);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    /// Comes back in the answer.
    id: u64,
    /// Program and arguments.
    #[serde(default)]
    argv: Vec<String>,
    /// Or a line for the shell.
    #[serde(default)]
    sh: Option<String>,
    #[serde(default = "default_timeout")]
    timeout_s: f64,
    #[serde(default)]
    stdin: String,
}

fn default_timeout() -> f64 {
    60.0
}

#[derive(Debug, Default, Serialize)]
struct Answer {
    id: Option<u64>,
    code: Option<i32>,
    stdout: String,
    stderr: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

fn main() -> ExitCode {
    let served = wait_for_port().and_then(|path| serve(&path));
    if let Err(error) = served {
        eprintln!("sluice-guest: the command channel ended: {error}");
    }
    ExitCode::FAILURE
}

/// The port's node, by its name: without udev nobody makes a link for it.
fn wait_for_port() -> io::Result<PathBuf> {
    loop {
        let ports = fs::read_dir("/sys/class/virtio-ports").into_iter().flatten().flatten();
        let ours = |path: &Path| {
            fs::read_to_string(path.join("name")).is_ok_and(|name| name.trim() == CHANNEL)
        };
        if let Some(port) = ports.map(|port| port.path()).find(|path| ours(path)) {
            let name = port.file_name().ok_or_else(|| io::Error::other("a port without a name"))?;
            return Ok(Path::new("/dev").join(name));
        }
        thread::sleep(LOOK_EVERY);
    }
}

fn serve(path: &Path) -> io::Result<()> {
    let port = OpenOptions::new().read(true).write(true).open(path)?;
    let answers = Arc::new(Mutex::new(port.try_clone()?));
    println!("command channel is open");
    let mut lines = BufReader::new(port);
    loop {
        let mut line = String::new();
        // nobody on the other end reads as an end of file, and somebody may come later
        if lines.read_line(&mut line)? == 0 {
            thread::sleep(LOOK_EVERY);
            continue;
        }
        let answers = Arc::clone(&answers);
        thread::spawn(move || send(&answers, &answer(&line)));
    }
}

fn send(answers: &Mutex<File>, answer: &Answer) {
    let Ok(mut text) = serde_json::to_string(answer) else { return };
    text.push('\n');
    let mut port = answers.lock().unwrap_or_else(PoisonError::into_inner);
    if let Err(error) = port.write_all(text.as_bytes()) {
        eprintln!("sluice-guest: cannot answer: {error}");
    }
}

fn answer(line: &str) -> Answer {
    let request: Request = match serde_json::from_str(line) {
        Ok(request) => request,
        Err(error) => {
            return Answer { error: Some(format!("bad request: {error}")), ..Answer::default() };
        }
    };
    let id = Some(request.id);
    match run(&request) {
        Ok(answer) => Answer { id, ..answer },
        Err(error) => Answer { id, error: Some(error.to_string()), ..Answer::default() },
    }
}

fn run(request: &Request) -> io::Result<Answer> {
    let mut child = command(request)?
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        let input = request.stdin.clone();
        // a command that does not read its input is no failure
        thread::spawn(move || stdin.write_all(input.as_bytes()));
    }
    let (stdout, stderr) = (drain(child.stdout.take()), drain(child.stderr.take()));
    let limit = Duration::try_from_secs_f64(request.timeout_s).map_err(io::Error::other)?;
    let (code, error) = wait(&mut child, limit)?;
    let end = Instant::now() + DRAIN;
    Ok(Answer { id: None, code, stdout: gather(&stdout, end), stderr: gather(&stderr, end), error })
}

fn command(request: &Request) -> io::Result<Command> {
    let (program, args) = match (&request.sh, request.argv.split_first()) {
        (Some(line), None) => ("/bin/sh", vec!["-c".to_owned(), line.clone()]),
        (None, Some((program, args))) => (program.as_str(), args.to_vec()),
        _ => return Err(io::Error::other("a request has either argv or sh")),
    };
    let mut command = Command::new(program);
    command.args(args);
    Ok(command)
}

/// The exit code, or why there is none.
fn wait(child: &mut Child, limit: Duration) -> io::Result<(Option<i32>, Option<String>)> {
    let end = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            let error = status.code().is_none().then(|| status.to_string());
            return Ok((status.code(), error));
        }
        if Instant::now() >= end {
            child.kill()?;
            child.wait()?;
            return Ok((None, Some(format!("ended after {} s", limit.as_secs_f64()))));
        }
        thread::sleep(LOOK_EVERY);
    }
}

/// Reads a pipe in a thread of its own; a child that went to the background may hold it open for ever.
fn drain(pipe: Option<impl Read + Send + 'static>) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let Some(mut pipe) = pipe else { return };
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = pipe.read(&mut buffer) {
            if sender.send(buffer.get(..count).unwrap_or_default().to_vec()).is_err() {
                return;
            }
        }
    });
    receiver
}

fn gather(receiver: &Receiver<Vec<u8>>, end: Instant) -> String {
    let mut bytes = Vec::new();
    while let Ok(more) = receiver.recv_timeout(end.saturating_duration_since(Instant::now())) {
        bytes.extend(more);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_run_and_answered() {
        let got = answer(r#"{"id":7,"sh":"cat; echo no >&2; exit 3","stdin":"yes"}"#);
        assert_eq!((got.id, got.code), (Some(7), Some(3)), "{got:?}");
        assert_eq!((got.stdout.as_str(), got.stderr.as_str()), ("yes", "no\n"));
        assert_eq!(answer(r#"{"id":1,"argv":["/bin/echo","a b"]}"#).stdout, "a b\n");
    }

    #[test]
    fn a_command_that_hangs_is_ended() {
        let got = answer(r#"{"id":1,"sh":"exec sleep 60","timeout_s":0.05}"#);
        assert_eq!(got.code, None);
        assert!(got.error.unwrap().contains("ended after"));
    }

    #[test]
    fn a_background_process_does_not_hold_the_answer() {
        let start = Instant::now();
        let got = answer(r#"{"id":1,"sh":"sleep 20 & echo started"}"#);
        assert_eq!(got.stdout, "started\n");
        assert!(start.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn bad_requests_are_answered_too() {
        assert!(answer("garbage").error.unwrap().contains("bad request"));
        assert!(answer(r#"{"id":1}"#).error.unwrap().contains("either"));
        assert!(answer(r#"{"id":1,"argv":["/none"]}"#).error.is_some());
    }
}
