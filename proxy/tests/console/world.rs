//! A running service, and the slice that it runs by.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use sluice_proxy::service::Console;
use sluice_proxy::values::TokenHash;

use crate::browser::Browser;

/// Longest wait for anything.
pub(crate) const BOUND: Duration = Duration::from_secs(10);

/// The token of the grant `id`.
pub(crate) fn token(id: &str) -> String {
    format!("{id}-token-of-32-random-bytes")
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// A grant for the VNC server at `backend`, good for ten minutes, for anybody.
pub(crate) fn grant(id: &str, backend: SocketAddr) -> Value {
    json!({
        "id": id,
        "token": TokenHash::of(&token(id)).to_string(),
        "vm": { "id": format!("vm-{id}"), "name": "web server" },
        "user": "alice",
        "backend": { "address": backend.ip(), "port": backend.port(), "unencrypted": "anything" },
        "expires": now() + 600,
        "source": "any",
    })
}

/// The service, listening on the loopback.
pub(crate) struct World {
    pub(crate) console: Console,
    pub(crate) slice: Value,
    pub(crate) address: SocketAddr,
}

impl World {
    /// With these grants.
    pub(crate) fn new(grants: &[Value]) -> Self {
        // free a moment ago; other tests take ports of their own from the kernel too
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let slice =
            json!({ "listen": [address], "hosts": ["localhost", "127.0.0.1"], "grants": grants });
        let mut world = Self { console: Console::new(None).unwrap(), slice, address };
        world.apply().unwrap();
        world
    }

    /// Brings the slice as it is now into force.
    pub(crate) fn apply(&mut self) -> Result<(), String> {
        let slice =
            serde_json::from_value(self.slice.clone()).map_err(|error| error.to_string())?;
        self.console.take(&slice)
    }

    /// Changes the first grant and brings that into force.
    pub(crate) fn change(&mut self, field: &str, value: Value) {
        self.slice["grants"][0][field] = value;
        self.apply().unwrap();
    }

    /// A browser on the service's own page.
    pub(crate) fn browser(&self) -> Browser {
        Browser::at(self.address)
    }

    /// A browser with the first grant's screen in front of it.
    pub(crate) async fn viewer(&self) -> crate::browser::Socket {
        let mut browser = self.browser();
        let id = self.slice["grants"][0]["id"].as_str().unwrap().to_owned();
        assert_eq!(browser.ask(&token(&id)).await.0, 200);
        let mut socket = browser.open(&id).await.unwrap();
        socket.greet().await;
        socket
    }

    /// The report as JSON.
    pub(crate) fn report(&self) -> Value {
        serde_json::to_value(self.console.report()).unwrap()
    }
}
