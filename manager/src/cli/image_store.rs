//! Waiting for a new image store: one that its appliance cannot use is refused with the appliance's reason, and nothing of it
//! stays.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::Value;

use super::client::{Client, Failure};
use super::exit;

/// Between two looks at how it is.
const LOOK: Duration = Duration::from_millis(500);

/// Waits until the store at `path` is ready; takes it away again when it is broken.
///
/// Errors: its appliance's reason why it is.
pub(super) async fn usable(
    client: &Client,
    path: &str,
    patience: Duration,
) -> Result<ExitCode, Failure> {
    let until = Instant::now() + patience;
    loop {
        let store: Value = client.get(path).await?;
        let text = |pointer| store.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        match text("/observed/state") {
            "ready" => return Ok(ExitCode::SUCCESS),
            "broken" => {
                let name = text("/name").to_owned();
                let mut reason = text("/observed/failure").to_owned();
                let gone = client.change::<Value>(Method::DELETE, path, None::<&Value>).await;
                if let Err(failure) = gone {
                    reason = format!("{reason}; nor is it taken away again: {failure}");
                }
                return Err(Failure::ImageStore { name, reason });
            }
            _ if Instant::now() >= until => return Ok(ExitCode::from(exit::NOT_IN_SYNC)),
            _ => tokio::time::sleep(LOOK).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::client::Place;
    use super::*;
    use std::sync::{Arc, Mutex};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    /// A manager that says these of a store, one after the other, and does whatever else it is asked; and what that was.
    async fn manager(told: &'static [&'static str]) -> (Client, Arc<Mutex<Vec<String>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let manager = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&asked);
        tokio::spawn(async move {
            let mut told = told.iter().cycle();
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = [0; 4096];
                let length = stream.read(&mut request).await.unwrap_or(0);
                let text = String::from_utf8_lossy(&request[..length]);
                let line = text.lines().next().unwrap_or_default().to_owned();
                let body = if line.starts_with("GET ") {
                    format!("{{\"name\": \"nfs1\", {}}}", told.next().unwrap())
                } else {
                    "{}".to_owned()
                };
                kept.lock().unwrap().push(line);
                let length = body.len();
                let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}");
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        let place = Place { manager, caller_token: None, trust: None };
        (Client::new(&place).unwrap(), asked)
    }

    const PATH: &str = "/v1/image-stores/is-1";
    const LONG: Duration = Duration::from_mins(1);

    fn deletions(asked: &Mutex<Vec<String>>) -> usize {
        asked
            .lock()
            .unwrap()
            .iter()
            .filter(|line| line.starts_with("DELETE /v1/image-stores/is-1 "))
            .count()
    }

    #[tokio::test]
    async fn one_that_cannot_be_used_is_refused_with_the_reason_and_does_not_stay() {
        let (client, asked) = manager(&[
            "\"version\": 1",
            "\"observed\": {\"state\": \"unknown\"}",
            "\"observed\": {\"state\": \"broken\", \"failure\": \"store-gone: no such export\"}",
        ])
        .await;
        let failure = usable(&client, PATH, LONG).await.unwrap_err();
        let told = failure.to_string();
        assert_eq!(told, "error: image store nfs1 was not added: store-gone: no such export");
        assert_eq!(failure.exit_code(), exit::REFUSED);
        assert_eq!(deletions(&asked), 1);
    }

    #[tokio::test]
    async fn one_that_is_ready_stays_and_so_does_one_of_which_nothing_was_said_in_time() {
        let (client, asked) = manager(&["\"observed\": {\"state\": \"ready\"}"]).await;
        assert_eq!(usable(&client, PATH, LONG).await.unwrap(), ExitCode::SUCCESS);
        assert_eq!(deletions(&asked), 0);
        let (client, asked) = manager(&["\"version\": 1"]).await;
        let code = usable(&client, PATH, Duration::ZERO).await.unwrap();
        assert_eq!(code, ExitCode::from(exit::NOT_IN_SYNC));
        assert_eq!(deletions(&asked), 0);
    }
}
