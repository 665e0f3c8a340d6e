//! How many handshakes each address has under way.
//!
//! Guarantees: no address has more than [`MOST`], so one silent neighbour does not hold all places. Does not guarantee
//! anything against one who has many addresses: those wait for each other's handshakes to end.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Handshakes at the same time with one address.
const MOST: usize = 16;

/// The addresses that have handshakes under way.
#[derive(Debug, Default)]
pub(super) struct Peers(Mutex<BTreeMap<IpAddr, usize>>);

/// One handshake of an address, until it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    peers: Arc<Peers>,
    address: IpAddr,
}

impl Peers {
    /// Counts one handshake of `address`; none when it has too many.
    pub(super) fn enter(peers: &Arc<Self>, address: IpAddr) -> Option<Share> {
        let mut counts = peers.counts();
        let count = counts.entry(address).or_default();
        if *count >= MOST {
            return None;
        }
        *count += 1;
        Some(Share { peers: Arc::clone(peers), address })
    }

    fn counts(&self) -> MutexGuard<'_, BTreeMap<IpAddr, usize>> {
        // a count is changed in one step, so a panic elsewhere cannot have left it half changed
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut counts = self.peers.counts();
        if let Some(count) = counts.get_mut(&self.address) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_has_its_share_and_others_have_theirs() {
        let peers = Arc::default();
        let [one, other] = [1, 2].map(|last| IpAddr::from([192, 0, 2, last]));
        let mut shares: Vec<_> = (0..MOST).map(|_| Peers::enter(&peers, one).unwrap()).collect();
        assert!(Peers::enter(&peers, one).is_none());
        assert!(Peers::enter(&peers, other).is_some());
        shares.pop();
        assert!(Peers::enter(&peers, one).is_some());
        shares.clear();
        assert!(peers.counts().is_empty());
    }
}
