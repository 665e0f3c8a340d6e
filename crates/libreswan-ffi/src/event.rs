//! What pluto tells the updown program: words in its environment (ipsec.conf(5), `leftupdown`).

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// A tunnel between hosts or networks is up.
    Up,
    /// It is down.
    Down,
    /// Something else, such as a route to be made.
    Other,
}

/// One call of the updown program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What happens.
    pub verb: Verb,
    /// The connection.
    pub connection: String,
    /// The peer's address.
    pub peer: String,
    /// The peer's network.
    pub network: String,
}

impl Event {
    /// Reads an environment; `None` when pluto did not make it.
    pub fn of(environment: impl IntoIterator<Item = (String, String)>) -> Option<Self> {
        let (mut verb, mut connection) = (None, None);
        let (mut peer, mut network) = (String::new(), String::new());
        for (key, value) in environment {
            match key.as_str() {
                "PLUTO_VERB" => verb = Some(value),
                "PLUTO_CONNECTION" => connection = Some(value),
                "PLUTO_PEER" => peer = value,
                "PLUTO_PEER_CLIENT" => network = value,
                _ => (),
            }
        }
        let verb = match verb?.as_str() {
            "up-client" | "up-host" => Verb::Up,
            "down-client" | "down-host" => Verb::Down,
            _ => Verb::Other,
        };
        Some(Self { verb, connection: connection?, peer, network })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_environment_is_read() {
        let environment = |verb: &str| {
            [
                ("PLUTO_VERB", verb),
                ("PLUTO_CONNECTION", "s2s-c-1-1"),
                ("PLUTO_PEER", "203.0.113.9"),
                ("PLUTO_PEER_CLIENT", "172.16.1.0/24"),
                ("PATH", "/"),
            ]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
        };
        for (verb, expected) in
            [("up-client", Verb::Up), ("down-host", Verb::Down), ("route-client", Verb::Other)]
        {
            let event = Event::of(environment(verb)).unwrap();
            assert_eq!((event.verb, event.connection.as_str()), (expected, "s2s-c-1-1"));
        }
        assert_eq!(Event::of([("PATH".to_owned(), "/".to_owned())]), None);
    }
}
