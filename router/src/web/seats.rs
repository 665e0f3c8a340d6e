//! How many connections there may be, and whose goes when there are too many.
//!
//! Guarantees: a new connection always gets a seat. It costs the oldest of the same guest when that one has too many,
//! otherwise, when all seats are taken, the oldest of the guest that has most: so no number of connections that one guest
//! leaves open keeps another one out, or itself.

use std::collections::{HashMap, VecDeque};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sluice_api::types::LinkName;
use tokio::sync::Notify;

/// Most connections: each takes a descriptor and at most some 20 KiB.
const MOST: usize = 512;
/// Most connections of one guest.
const MOST_PER_GUEST: usize = 16;

/// A guest as connections are counted: its link and address.
type Guest = (LinkName, Ipv4Addr);

/// All seats.
#[derive(Debug, Default)]
pub(super) struct Seats(Mutex<Taken>);

#[derive(Debug, Default)]
struct Taken {
    /// Oldest first.
    by_guest: HashMap<Guest, VecDeque<Arc<Notify>>>,
    all: usize,
}

/// One connection's seat; given back when dropped.
#[derive(Debug)]
pub(super) struct Seat {
    seats: Arc<Seats>,
    guest: Guest,
    leave: Arc<Notify>,
}

impl Seats {
    /// A seat for a connection of `guest`; true when another one had to leave for it.
    pub(super) fn take(self: &Arc<Self>, guest: Guest) -> (Seat, bool) {
        let mut taken = self.lock();
        let own = taken.by_guest.get(&guest).map_or(0, VecDeque::len);
        let evicted = if own >= MOST_PER_GUEST {
            taken.evict(&guest.clone())
        } else if taken.all >= MOST {
            let most = taken.by_guest.iter().max_by_key(|(_, theirs)| theirs.len());
            most.map(|(guest, _)| guest.clone()).is_some_and(|guest| taken.evict(&guest))
        } else {
            false
        };
        let leave = Arc::new(Notify::new());
        taken.by_guest.entry(guest.clone()).or_default().push_back(leave.clone());
        taken.all += 1;
        (Seat { seats: self.clone(), guest, leave }, evicted)
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    /// Sends the oldest of `guest` away.
    fn evict(&mut self, guest: &Guest) -> bool {
        let Some(oldest) = self.by_guest.get_mut(guest).and_then(VecDeque::pop_front) else {
            return false;
        };
        self.all -= 1;
        oldest.notify_one();
        true
    }
}

impl Seat {
    /// Resolves when the seat is needed for another.
    pub(super) async fn evicted(&self) {
        self.leave.notified().await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.lock();
        let Some(theirs) = taken.by_guest.get_mut(&self.guest) else { return };
        let before = theirs.len();
        theirs.retain(|other| !Arc::ptr_eq(other, &self.leave));
        let left = before - theirs.len();
        if theirs.is_empty() {
            taken.by_guest.remove(&self.guest);
        }
        // none when it was sent away
        taken.all -= left;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guest(last: usize) -> Guest {
        let address = u32::from(Ipv4Addr::new(10, 1, 0, 0)) + u32::try_from(last).unwrap();
        ("guest0".parse().unwrap(), Ipv4Addr::from(address))
    }

    fn must_leave(seat: &Seat) -> bool {
        let left = tokio::task::unconstrained(seat.evicted());
        futures_util::FutureExt::now_or_never(left).is_some()
    }

    #[test]
    fn the_oldest_of_a_guest_makes_room_for_its_next() {
        let seats = Arc::new(Seats::default());
        let held: Vec<_> = (0..MOST_PER_GUEST).map(|_| seats.take(guest(1))).collect();
        assert!(held.iter().all(|(seat, evicted)| !evicted && !must_leave(seat)));
        let (_next, evicted) = seats.take(guest(1));
        assert!(evicted && must_leave(&held[0].0) && !must_leave(&held[1].0));
        let (_other, evicted) = seats.take(guest(2));
        assert!(!evicted);
        drop(held);
        assert_eq!(seats.lock().all, 2);
    }

    #[test]
    fn with_all_seats_taken_the_greediest_makes_room() {
        let seats = Arc::new(Seats::default());
        let modest: Vec<_> =
            (10..10 + MOST - MOST_PER_GUEST).map(|n| seats.take(guest(n))).collect();
        let greedy: Vec<_> = (0..MOST_PER_GUEST).map(|_| seats.take(guest(1))).collect();
        let (_new, evicted) = seats.take(guest(2));
        assert!(evicted && must_leave(&greedy[0].0));
        assert!(modest.iter().all(|(seat, _)| !must_leave(seat)));
        drop((modest, greedy));
        let taken = seats.lock();
        assert_eq!((taken.all, taken.by_guest.len()), (1, 1));
    }
}
