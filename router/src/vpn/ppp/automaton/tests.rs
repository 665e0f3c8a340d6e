//! The table of RFC 1661 4.1, cell by cell.

use super::*;
use crate::vpn::ppp::decode_frame;
use crate::vpn::ppp::protocol::LCP;

const NOW: Duration = Duration::from_secs(100);
const STATES: [State; 10] = [
    State::Initial,
    State::Starting,
    State::Closed,
    State::Stopped,
    State::Closing,
    State::Stopping,
    State::RequestSent,
    State::AckReceived,
    State::AckSent,
    State::Opened,
];

/// Rows as the RFC has them, state by state: actions, and the state that follows; `-` is nothing at all. The counter's
/// `irc` and `zrc`, which show in `TO+` and `TO-`, and `tls`, which nobody here hears, are left out, and so is RUC, which the
/// protocols answer. Of RCA the states 7 and 9 are other than there (`scr/6` and `tld,scr/6`): tunnels double packets.
const TABLE: [(&str, &str); 14] = [
    ("Up", "2 scr/6 - - - - - - - -"),
    ("Down", "- - 0 1 0 1 1 1 1 tld/1"),
    ("Open", "1 1 scr/6 3 5 5 6 7 8 9"),
    ("Close", "0 tlf/0 2 2 4 4 str/4 str/4 str/4 tld,str/4"),
    ("TO+", "- - - - str/4 str/5 scr/6 scr/6 scr/8 -"),
    ("TO-", "- - - - tlf/2 tlf/3 tlf/3 tlf/3 tlf/3 -"),
    ("RCR+", "- - sta/2 scr,sca/8 4 5 sca/8 sca,tlu/9 sca/8 tld,scr,sca/8"),
    ("RCR-", "- - sta/2 scr,scn/6 4 5 scn/6 scn/7 scn/6 tld,scr,scn/6"),
    ("RCA", "- - sta/2 sta/3 4 5 7 7 tlu/9 9"),
    ("RCN", "- - sta/2 sta/3 4 5 scr/6 scr/6 scr/8 tld,scr/6"),
    ("RTR", "- - sta/2 sta/3 sta/4 sta/5 sta/6 sta/6 sta/6 tld,sta/5"),
    ("RTA", "- - 2 3 tlf/2 tlf/3 6 6 8 tld,scr/6"),
    ("RXJ+", "- - 2 3 4 5 6 6 8 9"),
    ("RXJ-", "- - tlf/2 tlf/3 tlf/2 tlf/3 tlf/3 tlf/3 tlf/3 tld,str/5"),
];

/// Grants everything or nothing, and takes whatever it is told.
struct Anything {
    grants: bool,
}

impl Protocol for Anything {
    const NUMBER: u16 = LCP;

    fn request(&self) -> Vec<u8> {
        Vec::new()
    }

    fn judge(&mut self, _: &[Choice<'_>]) -> Judgement {
        if self.grants { Judgement::Ack } else { Judgement::Nak(Vec::new()) }
    }

    fn naked(&mut self, _: &[Choice<'_>]) -> bool {
        true
    }

    fn rejected(&mut self, _: &[Choice<'_>]) -> bool {
        true
    }
}

/// An automaton that has come into `state`, and its last request with the id 7.
fn come_into(state: State) -> Automaton<Anything> {
    let waits = !matches!(
        state,
        State::Initial | State::Starting | State::Closed | State::Stopped | State::Opened
    );
    Automaton {
        state,
        id: 7,
        acked: matches!(state, State::AckReceived | State::Opened),
        left: 3,
        timer: waits.then_some(NOW),
        ..Automaton::new(Anything { grants: true })
    }
}

fn happens(automaton: &mut Automaton<Anything>, event: &str) {
    automaton.protocol.grants = event != "RCR-";
    let (code, data): (u8, &[u8]) = match event {
        "Up" => return automaton.up(NOW),
        "Down" => return automaton.down(),
        "Open" => return automaton.open(NOW),
        "Close" => return automaton.close(NOW, "closed"),
        "TO+" => return automaton.tick(NOW),
        "TO-" => {
            automaton.left = 0;
            return automaton.tick(NOW);
        }
        "RCR+" | "RCR-" => (code::CONFIGURE_REQUEST, &[]),
        "RCA" => (code::CONFIGURE_ACK, &[]),
        "RCN" => (code::CONFIGURE_NAK, &[]),
        "RTR" => (code::TERMINATE_REQUEST, &[]),
        "RTA" => (code::TERMINATE_ACK, &[]),
        // an Identification (RFC 1570 2.1) is not needed, a Configure-Request is
        "RXJ+" => (code::CODE_REJECT, &[12]),
        "RXJ-" => (code::CODE_REJECT, &[code::CONFIGURE_REQUEST]),
        other => panic!("no event {other}"),
    };
    assert!(automaton.receive(NOW, &Packet { code, id: 7, data }));
}

/// An action in the RFC's letters.
fn action(signal: &Signal) -> &'static str {
    let Signal::Frame(frame) = signal else {
        return match signal {
            Signal::Up => "tlu",
            Signal::Down => "tld",
            Signal::Finished => "tlf",
            _ => "disagreed",
        };
    };
    let (protocol, packet) = decode_frame(frame).unwrap();
    assert_eq!(protocol, LCP);
    match Packet::decode(packet).unwrap().code {
        code::CONFIGURE_REQUEST => "scr",
        code::CONFIGURE_ACK => "sca",
        code::CONFIGURE_NAK | code::CONFIGURE_REJECT => "scn",
        code::TERMINATE_REQUEST => "str",
        code::TERMINATE_ACK => "sta",
        _ => "scj",
    }
}

#[test]
fn every_cell_of_the_table() {
    for (event, row) in TABLE {
        let cells: Vec<&str> = row.split(' ').collect();
        assert_eq!(cells.len(), STATES.len(), "{event}");
        for (number, (state, cell)) in STATES.into_iter().zip(cells).enumerate() {
            let mut automaton = come_into(state);
            happens(&mut automaton, event);
            let signals = automaton.signals();
            let actions: Vec<&str> = signals.iter().map(action).collect();
            let after = STATES.iter().position(|after| *after == automaton.state).unwrap();
            let wanted = if cell == "-" { number.to_string() } else { cell.to_owned() };
            let said = if actions.is_empty() {
                after.to_string()
            } else {
                format!("{}/{after}", actions.join(","))
            };
            assert_eq!(said, wanted, "{event} in {state:?}");
        }
    }
}

/// Counters of RFC 1661 4.6: ten requests and two farewells, and no more.
#[test]
fn requests_without_an_answer_end() {
    for (state, code, sent) in [
        (State::RequestSent, code::CONFIGURE_REQUEST, MAX_CONFIGURE),
        (State::Closing, code::TERMINATE_REQUEST, MAX_TERMINATE),
    ] {
        let mut automaton = come_into(State::Closed);
        automaton.open(NOW);
        if state == State::Closing {
            automaton.signals();
            automaton.close(NOW, "closed");
        }
        let mut frames = automaton.signals();
        let mut now = NOW;
        while let Some(at) = automaton.deadline() {
            assert!(at > now && at <= now + RESTART);
            now = at;
            automaton.tick(now);
            frames.extend(automaton.signals());
        }
        assert_eq!(frames.pop(), Some(Signal::Finished));
        assert_eq!(frames.len(), usize::from(sent), "{state:?}");
        for frame in &frames {
            let Signal::Frame(frame) = frame else { panic!("{frame:?}") };
            assert_eq!(Packet::decode(decode_frame(frame).unwrap().1).unwrap().code, code);
        }
    }
}
