//! What ends a session from outside: its grant, its time, and nobody at the keyboard.

use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::extract::ws::Message;
use tokio::sync::mpsc;

use super::{End, notes};
use crate::grants::{Seat, covers, unix_now};
use crate::slice::Grant;

/// Longest time between two looks: the clock of the day may be set meanwhile.
const LOOK: Duration = Duration::from_secs(30);

/// Resolves when the session may not go on.
pub(super) async fn over(seat: &Seat, sender: &mpsc::Sender<Message>) -> End {
    let mut changes = seat.changes.clone();
    loop {
        let Some(grant) = changes.borrow_and_update().clone() else { return taken_away(seat) };
        let verdict = judge(&grant, seat, unix_now());
        let wait = match verdict {
            Ok(wait) => wait,
            Err(end) => return end,
        };
        if seat.stats.view_only.swap(grant.view_only, Ordering::Relaxed) != grant.view_only {
            // a page that is not told in time still cannot type
            let _full = sender.try_send(notes::grant(grant.view_only));
        }
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return End::Revoked },
            () = tokio::time::sleep(wait) => {}
        }
    }
}

fn taken_away(seat: &Seat) -> End {
    if seat.grant.expires <= unix_now() { End::Expired } else { End::Revoked }
}

/// How long the session may go on at least, or why not at all.
fn judge(grant: &Grant, seat: &Seat, now: u64) -> Result<Duration, End> {
    lasting(grant, &seat.grant, seat.stats.from, now)?;
    let left = Duration::from_secs(grant.expires.saturating_sub(now)).min(LOOK);
    let Some(seconds) = grant.idle_seconds else { return Ok(left) };
    match Duration::from_secs(seconds.into()).checked_sub(seat.stats.idle()) {
        None | Some(Duration::ZERO) => Err(End::Idle(seconds)),
        Some(rest) => Ok(left.min(rest)),
    }
}

fn lasting(grant: &Grant, former: &Grant, from: IpAddr, now: u64) -> Result<(), End> {
    if grant.expires <= now {
        return Err(End::Expired);
    }
    if !covers(&grant.source, from) {
        return Err(End::Address);
    }
    if grant.backend == former.backend { Ok(()) } else { Err(End::Moved) }
}
