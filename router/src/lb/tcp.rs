//! One connection of a TCP rule: to a member and back, until both have said all or its time is over.

use std::io;
use std::task::{Context, Poll};

use socket2::SockRef;
use tokio::net::TcpStream;

use super::client_io::ClientIo;
use super::connect::{Ends, connect};
use super::copy::{Failure, Side, Way};
use super::counters::{Counters, add};

use super::session::{End, Phase, Session};

/// Serves `client`.
pub(crate) async fn serve(client: ClientIo, ends: Ends, session: &Session) {
    let rule = &session.rule;
    let policy = rule.policy();
    let source = ends.client.ip();
    let bound = policy.memory.of_source(source).and_then(|serial| policy.bound(serial, &[]));
    let Some((member, seat)) = connect(rule, &policy, ends, bound).await else {
        add(&rule.counters.no_member, 1);
        reset(client.tcp());
        return;
    };
    policy.memory.bind_source(source, seat.member().serial);
    // the connection may last for days, and the policy it began with need not
    drop(policy);
    session.enter(Phase::Flow);
    carry(client, member, &seat.member().counters, session).await;
}

/// Carries bytes between `client` and `member` until their end.
pub(crate) async fn carry(
    client: ClientIo,
    member: TcpStream,
    counters: &Counters,
    session: &Session,
) {
    carry_on(client, member, [Vec::new(), Vec::new()], counters, session).await;
}

/// The same, when a part of each direction was read already: the client's first.
pub(crate) async fn carry_on(
    mut client: impl Side,
    mut member: TcpStream,
    [first_in, first_out]: [Vec<u8>; 2],
    counters: &Counters,
    session: &Session,
) {
    let (mut inward, mut outward) = (Way::beginning_with(first_in), Way::beginning_with(first_out));
    let failure = std::future::poll_fn(|cx| {
        if let Poll::Ready(end) = session.poll_end(cx) {
            return Poll::Ready(Some(Stop::End(end)));
        }
        let ways = (&mut inward, &mut outward);
        poll_both(cx, ways, &mut client, &mut member, &Tally { counters, session })
    })
    .await;
    match failure {
        None | Some(Stop::End(End::Time | End::Removed)) => {}
        Some(Stop::Client) => {
            add(&session.rule.counters.client_aborts, 1);
            reset(&member);
        }
        Some(Stop::Member) => {
            add(&session.rule.counters.response_errors, 1);
            add(&counters.response_errors, 1);
            if let Some(socket) = client.socket() {
                reset(socket);
            }
        }
    }
}

/// Why bytes are no longer carried.
enum Stop {
    End(End),
    Client,
    Member,
}

struct Tally<'a> {
    counters: &'a Counters,
    session: &'a Session,
}

fn poll_both(
    cx: &mut Context<'_>,
    (inward, outward): (&mut Way, &mut Way),
    client: &mut impl Side,
    member: &mut TcpStream,
    tally: &Tally<'_>,
) -> Poll<Option<Stop>> {
    let all = &tally.session.rule.counters;
    let mut moved = false;
    let into = inward.poll(cx, client, member, &mut |bytes| {
        moved = true;
        add(&all.bytes_in, bytes);
        add(&tally.counters.bytes_in, bytes);
    });
    let out = outward.poll(cx, member, client, &mut |bytes| {
        moved = true;
        add(&all.bytes_out, bytes);
        add(&tally.counters.bytes_out, bytes);
    });
    if moved {
        tally.session.touch();
    }
    match (into, out) {
        (Poll::Ready(Err(Failure::From)), _) | (_, Poll::Ready(Err(Failure::To))) => {
            Poll::Ready(Some(Stop::Client))
        }
        (Poll::Ready(Err(Failure::To)), _) | (_, Poll::Ready(Err(Failure::From))) => {
            Poll::Ready(Some(Stop::Member))
        }
        (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => Poll::Ready(None),
        _ => Poll::Pending,
    }
}

/// Closing `socket` tells the other side that something went wrong, rather than that all was said.
pub(crate) fn reset(socket: &TcpStream) {
    // a socket that is dead already cannot be told
    let _dead: io::Result<()> = SockRef::from(socket).set_linger(Some(std::time::Duration::ZERO));
}
