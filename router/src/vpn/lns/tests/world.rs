//! Clients of both layers, and a data path that only counts.

use std::time::Duration;

use sluice_api::config::vpn::Authentication;
use sluice_api::types::Secret;

use crate::vpn::l2tp::tests::client::Client as L2tp;
use crate::vpn::l2tp::tests::{peer, random};
use crate::vpn::l2tp::{SessionKey, Settings};
use crate::vpn::lns::{AccessSlice, Action, LnsSlice, Server, UserSlice};
use crate::vpn::ppp::tests::client::Client as Ppp;

pub(super) fn slice() -> LnsSlice {
    let user = |name: &str, password: &str| UserSlice {
        name: name.parse().unwrap(),
        password: Secret::new(password),
        disconnects: 0,
    };
    LnsSlice {
        accesses: vec![AccessSlice {
            id: "ra-1".parse().unwrap(),
            address: peer(0).local,
            range: "10.1.2.1-10.1.2.100".parse().unwrap(),
            users: vec![user("anna", "correct horse"), user("bob", "battery staple")],
            dns: Vec::new(),
            routes: Vec::new(),
            authentication: Authentication::ALL.to_vec(),
        }],
    }
}

/// One client.
pub(super) struct Caller {
    pub(super) l2tp: L2tp,
    pub(super) ppp: Ppp,
}

/// A server, its clients, and time.
pub(super) struct World {
    pub(super) server: Server,
    pub(super) clients: Vec<Caller>,
    now: Duration,
    /// Data paths: tunnels, calls, links that are up.
    pub(super) paths: [i32; 3],
    /// Links that went down.
    pub(super) ends: u32,
}

impl World {
    pub(super) fn new(slice: LnsSlice) -> Self {
        let mut server = Server::new(Settings::default(), random(), random());
        server.replace(Duration::ZERO, slice);
        Self { server, clients: Vec::new(), now: Duration::ZERO, paths: [0; 3], ends: 0 }
    }

    /// A client behind the NAT begins.
    pub(super) fn call(&mut self, mark: u32, method: &[u8], name: &str, password: &str) {
        let (l2tp, ppp) = (L2tp::new(peer(mark), 100), Ppp::new(&[method], name, password));
        self.clients.push(Caller { l2tp, ppp });
    }

    pub(super) fn replace(&mut self, slice: LnsSlice) {
        self.server.replace(self.now, slice);
        self.obey();
    }

    /// Lets so many seconds pass.
    pub(super) fn run(&mut self, seconds: u64) {
        for _ in 0..seconds * 10 {
            self.now += Duration::from_millis(100);
            self.server.tick(self.now);
            self.obey();
            self.clients_speak();
            self.obey();
        }
    }

    /// Users with their addresses, sorted.
    pub(super) fn users(&self) -> Vec<String> {
        let mut all: Vec<_> = self
            .server
            .report(self.now)
            .filter_map(|(_, report)| Some(format!("{} {}", report.user?, report.address?)))
            .collect();
        all.sort();
        all
    }

    fn clients_speak(&mut self) {
        for client in &mut self.clients {
            let mut datagrams: Vec<_> = client.l2tp.tick(self.now).into_iter().collect();
            datagrams.extend(client.l2tp.datagrams(self.now));
            for bytes in datagrams {
                self.server.datagram(self.now, client.l2tp.peer, &bytes);
            }
            client.ppp.tick(self.now);
            let key = SessionKey { tunnel: client.l2tp.tunnel, session: client.l2tp.session };
            if key.session != 0 {
                for frame in client.ppp.frames() {
                    self.server.frame(self.now, key, &frame);
                }
            }
        }
    }

    fn obey(&mut self) {
        for action in self.server.actions() {
            let [tunnels, calls, links] = &mut self.paths;
            match action {
                Action::Send { peer, bytes } => {
                    let mine = self.clients.iter_mut().find(|client| client.l2tp.peer == peer);
                    if let Some(client) = mine {
                        client.l2tp.receive(self.now, &bytes);
                    }
                }
                Action::Frame { key, frame } => {
                    let mine = self.clients.iter_mut().find(|client| {
                        (client.l2tp.tunnel, client.l2tp.session) == (key.tunnel, key.session)
                    });
                    if let Some(client) = mine {
                        client.ppp.receive(self.now, &frame);
                    }
                }
                Action::TunnelUp { .. } => *tunnels += 1,
                Action::TunnelDown { .. } => *tunnels -= 1,
                Action::SessionUp { .. } => *calls += 1,
                Action::SessionDown { .. } => *calls -= 1,
                Action::LinkUp { .. } => *links += 1,
                Action::LinkDown { .. } => {
                    *links -= 1;
                    self.ends += 1;
                }
            }
            let [tunnels, calls, links] = self.paths;
            assert!(0 <= links && links <= calls, "{links} links of {calls} calls");
            assert!(tunnels >= 0);
        }
    }
}
