//! Places that there are few of, and who may have one more: TCP connections, questions that wait, turns with resolvers.
//!
//! Guarantees: a bounded number in all; a network has at most [`TIMES`] as many places as it leaves free, so however many
//! addresses its guests ask from, there is a place for another network, and several greedy ones come to like shares by
//! themselves.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// A network alone has at most three quarters of all; of two greedy ones each has three sevenths.
const TIMES: usize = 3;

/// Whether a network with `own` places may have one of the `free` ones.
fn leaves_enough(own: usize, free: usize) -> bool {
    own < free.saturating_mul(TIMES)
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asker {
    /// Its network, by an address of the router in it.
    pub(super) network: IpAddr,
    pub(super) client: IpAddr,
}

/// How many places there are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Most {
    pub(super) all: usize,
    /// Of one client, which leaves room for the other guests of its network.
    pub(super) of_client: usize,
}

/// Who has how many places.
#[derive(Debug, Default)]
pub(super) struct Places {
    taken: usize,
    clients: HashMap<IpAddr, usize>,
    networks: HashMap<IpAddr, usize>,
}

impl Places {
    /// Takes a place for `asker`; false when there is none for it.
    pub(super) fn enter(&mut self, asker: Asker, most: Most) -> bool {
        let count =
            |of: &HashMap<IpAddr, usize>, who: IpAddr| of.get(&who).copied().unwrap_or_default();
        let free = most.all.saturating_sub(self.taken);
        let room = count(&self.clients, asker.client) < most.of_client
            && leaves_enough(count(&self.networks, asker.network), free);
        if room {
            self.taken += 1;
            *self.clients.entry(asker.client).or_default() += 1;
            *self.networks.entry(asker.network).or_default() += 1;
        }
        room
    }

    /// Gives a place back that was taken; whether its client has more.
    pub(super) fn leave(&mut self, asker: Asker) -> bool {
        self.taken = self.taken.saturating_sub(1);
        for (counts, who) in
            [(&mut self.clients, asker.client), (&mut self.networks, asker.network)]
        {
            match counts.get_mut(&who) {
                Some(count) if *count > 1 => *count -= 1,
                _ => drop(counts.remove(&who)),
            }
        }
        self.clients.contains_key(&asker.client)
    }

    /// How many are taken.
    #[cfg(test)]
    pub(super) fn taken(&self) -> usize {
        self.taken
    }
}

/// Turns with resolvers, which networks wait for apart from each other.
#[derive(Debug)]
pub(super) struct Turns(Mutex<Waiting>);

#[derive(Debug)]
struct Waiting {
    free: usize,
    networks: HashMap<IpAddr, Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    out: usize,
    waiting: VecDeque<oneshot::Sender<Turn>>,
}

/// One turn; given back when dropped.
#[derive(Debug)]
pub(super) struct Turn {
    /// None: it was given back.
    turns: Option<Arc<Turns>>,
    network: IpAddr,
}

impl Turns {
    pub(super) fn new(most: usize) -> Self {
        Self(Mutex::new(Waiting { free: most, networks: HashMap::new() }))
    }

    /// Waits for a turn of `network`.
    pub(super) async fn take(self: &Arc<Self>, network: IpAddr) -> Option<Turn> {
        let (sender, turn) = oneshot::channel();
        let queue = |waiting: &mut Waiting| {
            waiting.networks.entry(network).or_default().waiting.push_back(sender);
        };
        queue(&mut self.lock());
        self.hand_out();
        turn.await.ok()
    }

    /// Gives turns to whoever may have them, the network with the fewest first.
    fn hand_out(self: &Arc<Self>) {
        let mut waiting = self.lock();
        while let Some((network, sender)) = waiting.next() {
            let turn = Turn { turns: Some(Arc::clone(self)), network };
            if let Err(mut unwanted) = sender.send(turn) {
                unwanted.turns = None;
                waiting.give_back(network);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn next(&mut self) -> Option<(IpAddr, oneshot::Sender<Turn>)> {
        let free = self.free;
        let may = |queue: &Queue| !queue.waiting.is_empty() && leaves_enough(queue.out, free);
        let next = self.networks.iter_mut().filter(|(_, queue)| may(queue));
        let (network, queue) = next.min_by_key(|(_, queue)| queue.out)?;
        let sender = queue.waiting.pop_front()?;
        queue.out += 1;
        self.free -= 1;
        Some((*network, sender))
    }

    fn give_back(&mut self, network: IpAddr) {
        self.free += 1;
        let Some(queue) = self.networks.get_mut(&network) else { return };
        queue.out = queue.out.saturating_sub(1);
        if queue.out == 0 && queue.waiting.is_empty() {
            self.networks.remove(&network);
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(turns) = self.turns.take() {
            turns.lock().give_back(self.network);
            turns.hand_out();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn network(number: u8) -> IpAddr {
        IpAddr::from([10, 1, number, 1])
    }

    #[test]
    fn a_network_of_many_clients_leaves_places_for_another() {
        let most = Most { all: 256, of_client: 16 };
        let mut places = Places::default();
        let mut fill = |number: u8| {
            let clients = (0..=255).map(|last| IpAddr::from([10, 1, number, last]));
            let askers = clients.map(|client| Asker { network: network(number), client });
            let took = |asker| (0..20).filter(|_| places.enter(asker, most)).count();
            askers.map(took).collect::<Vec<_>>()
        };
        let first = fill(1);
        assert_eq!((first[0], first.iter().sum::<usize>()), (16, 192));
        assert_eq!(fill(2).iter().sum::<usize>(), 48);
        assert!(fill(3).iter().sum::<usize>() >= 12);
        let one = Asker { network: network(1), client: IpAddr::from([10, 1, 1, 0]) };
        assert!((0..15).all(|_| places.leave(one)) && !places.leave(one));
        assert_eq!(places.taken(), 192 + 48 + 12 - 16);
    }

    #[test]
    fn a_network_waits_for_its_turn_and_not_another_in_its_way() {
        let turns = Arc::new(Turns::new(16));
        let take = |number| turns.take(network(number)).now_or_never().flatten();
        let mut greedy: Vec<_> = (0..20).filter_map(|_| take(1)).collect();
        assert_eq!(greedy.len(), 12);
        let other: Vec<_> = (0..20).filter_map(|_| take(2)).collect();
        assert_eq!(other.len(), 3);
        // whoever waits is next in its network, and who waits no more is passed over
        let mut waits = Box::pin(turns.take(network(1)));
        assert!((&mut waits).now_or_never().is_none());
        greedy.truncate(2);
        assert!((&mut waits).now_or_never().flatten().is_some());
        drop((greedy, other));
        assert_eq!(turns.lock().free, 16);
        assert!(turns.lock().networks.is_empty());
    }
}
