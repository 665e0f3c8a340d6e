//! HAProxy beside ours, with the same rule.

use std::net::SocketAddr;
use std::process::{Child, Stdio};

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use crate::bench::BOUND;

/// Name of the socket that its statistics are asked at.
const STATS: &str = "stats";

/// A running HAProxy.
pub(crate) struct Haproxy {
    child: Child,
    dir: TempDir,
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Haproxy {
    /// HAProxy with one `listen` section at `at`; `lines` follow its bind line.
    pub(crate) async fn start(at: SocketAddr, lines: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("haproxy.cfg");
        let text = format!(
            "global\n maxconn 1000\n stats socket {}\n\
             defaults\n timeout connect 5s\n timeout client 50s\n timeout server 50s\n retries 3\n option redispatch\n\
             listen rule\n bind {at}\n{lines}\n",
            dir.path().join(STATS).display()
        );
        std::fs::write(&file, &text).unwrap();
        let child = sluice_programs::command("haproxy")
            .unwrap()
            .args(["-db", "-q", "-f"])
            .arg(&file)
            .stdin(Stdio::null())
            .spawn()
            .expect("haproxy is installed");
        let mut haproxy = Self { child, dir };
        tokio::time::timeout(BOUND, haproxy.wait(at)).await.expect("haproxy serves in time");
        haproxy
    }

    /// Its statistics, as CSV.
    pub(crate) async fn csv(&self) -> String {
        let mut socket = UnixStream::connect(self.dir.path().join(STATS)).await.unwrap();
        socket.write_all(b"show stat\n").await.unwrap();
        let mut text = String::new();
        socket.read_to_string(&mut text).await.unwrap();
        text
    }

    async fn wait(&mut self, at: SocketAddr) {
        while TcpStream::connect(at).await.is_err() {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "haproxy refused its configuration: {ended:?}");
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }
}

/// `server` lines for members m1, m2, ..., each with `options`.
pub(crate) fn servers(members: &[SocketAddr], options: &str) -> String {
    let line = |(number, at): (usize, &SocketAddr)| {
        let options = options.replace("NAME", &format!("m{}", number + 1));
        format!(" server m{} {at} {options}\n", number + 1)
    };
    members.iter().enumerate().map(line).collect()
}
