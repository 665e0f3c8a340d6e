//! A manager that breaks off, and one that never answers.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use sluice_api::Finding;

use super::*;
use crate::error::Error;

/// Answers one connection with each of `answers` and closes it; keeps those after the last open without an answer.
async fn server(answers: &'static [&'static str]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let mut silent = Vec::new();
        for number in 0_usize.. {
            let (mut stream, _) = listener.accept().await.unwrap();
            let Some(answer) = answers.get(number) else {
                silent.push(stream);
                continue;
            };
            let _request = stream.read(&mut [0; 4096]).await;
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    url
}

fn place(url: String) -> Place {
    Place { manager: url, caller_token: None, trust: None }
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_asked_for_again() {
    let url = server(&[
        "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"a\":",
        "HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\n{\"a\": 1}",
    ])
    .await;
    let client = Client::new(&place(url)).unwrap();
    let answer: Value = client.change(Method::POST, "/x", Some(&json!({}))).await.unwrap();
    assert_eq!(answer, json!({ "a": 1 }));
}

#[tokio::test]
async fn a_manager_that_never_answers_is_given_up() {
    let client = Client::patient(&place(server(&[]).await), Duration::from_millis(200)).unwrap();
    let failure = client.change::<Value>(Method::POST, "/x", Some(&json!({}))).await.unwrap_err();
    assert!(matches!(failure, Failure::Slow { .. }), "{failure}");
    assert_eq!(failure.exit_code(), exit::UNREACHABLE);
    assert!(failure.hint().is_some());
    let failure = client.get::<Value>("/x").await.unwrap_err();
    assert!(matches!(failure, Failure::Slow { .. }), "{failure}");
}

#[tokio::test]
async fn a_manager_that_is_being_started_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("m.sock");
    let client = Client::new(&place(format!("unix:{}", socket.display()))).unwrap();
    let asked = tokio::spawn(async move { client.get::<Value>("/x").await });
    // it was refused at least once by now, or is about to be
    tokio::task::yield_now().await;
    let listener = tokio::net::UnixListener::bind(&socket).unwrap();
    let (mut stream, _) = listener.accept().await.unwrap();
    let _request = stream.read(&mut [0; 4096]).await;
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\n{\"a\": 1}").await.unwrap();
    assert_eq!(asked.await.unwrap().unwrap(), json!({ "a": 1 }));
}

#[test]
fn a_refusal_says_each_of_its_reasons_once() {
    let warning = Finding::warning("links[0].mtu", "narrow", "is small");
    let (one, two) = (Finding::error("a", "x", "is wrong"), Finding::error("b", "y", "is too"));
    let problem = Error::Malformed(vec![warning, one, two]).problem();
    let text = Failure::Refused(Box::new(problem)).to_string();
    for reason in ["is small", "is wrong", "is too"] {
        assert_eq!(text.matches(reason).count(), 1, "{text}");
    }
    assert!(text.lines().next().unwrap().contains("is wrong"), "{text}");
    let single = Error::Malformed(vec![Finding::error("a", "x", "is wrong")]).problem();
    assert_eq!(Failure::Refused(Box::new(single)).to_string().lines().count(), 1);
}
