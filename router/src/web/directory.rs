//! Who is who: guests by link and address, each with the MAC address that it must have.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use sluice_api::types::{LinkName, MacAddr};

/// Somebody who asks, as far as packets tell.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller<'a> {
    /// The link that its packets come in by.
    pub(crate) link: &'a LinkName,
    /// Its address.
    pub(crate) address: Ipv4Addr,
    /// Where the kernel sends what goes to that address; `None` when it does not know.
    pub(crate) mac: Option<MacAddr>,
}

/// Why a caller is no guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stranger {
    /// No guest of the link has this address.
    Address,
    /// A guest has it, but with another MAC address: somebody uses the address of another.
    Mac,
}

/// The guests of all links.
#[derive(Debug)]
pub(crate) struct Directory<G>(HashMap<LinkName, HashMap<Ipv4Addr, (MacAddr, Arc<G>)>>);

impl<G> Default for Directory<G> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<G> Directory<G> {
    /// Enters a guest under each of its addresses.
    pub(crate) fn enter(
        &mut self,
        link: &LinkName,
        mac: MacAddr,
        addresses: impl IntoIterator<Item = Ipv4Addr>,
        guest: G,
    ) {
        let guest = Arc::new(guest);
        let of_link = self.0.entry(link.clone()).or_default();
        for address in addresses {
            of_link.insert(address, (mac, guest.clone()));
        }
    }

    /// The guest that `caller` is.
    pub(crate) fn find(&self, caller: &Caller<'_>) -> Result<&Arc<G>, Stranger> {
        let of_link = self.0.get(caller.link).ok_or(Stranger::Address)?;
        let (mac, guest) = of_link.get(&caller.address).ok_or(Stranger::Address)?;
        if caller.mac == Some(*mac) { Ok(guest) } else { Err(Stranger::Mac) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_is_known_by_link_address_and_mac_together() {
        let (link, other): (LinkName, LinkName) =
            ("guest0".parse().unwrap(), "guest1".parse().unwrap());
        let mac: MacAddr = "02:00:0a:01:01:17".parse().unwrap();
        let wrong: MacAddr = "02:00:0a:01:01:18".parse().unwrap();
        let address = Ipv4Addr::new(10, 1, 1, 23);
        let second = Ipv4Addr::new(10, 1, 1, 200);
        let mut directory = Directory::default();
        directory.enter(&link, mac, [address, second], "vm1");
        let caller =
            |link, address, mac| directory.find(&Caller { link, address, mac }).copied_guest();
        assert_eq!(caller(&link, address, Some(mac)), Ok("vm1"));
        assert_eq!(caller(&link, second, Some(mac)), Ok("vm1"));
        assert_eq!(caller(&link, address, Some(wrong)), Err(Stranger::Mac));
        assert_eq!(caller(&link, address, None), Err(Stranger::Mac));
        assert_eq!(caller(&other, address, Some(mac)), Err(Stranger::Address));
        assert_eq!(caller(&link, Ipv4Addr::new(10, 1, 1, 24), Some(mac)), Err(Stranger::Address));
    }

    trait CopiedGuest {
        fn copied_guest(self) -> Result<&'static str, Stranger>;
    }

    impl CopiedGuest for Result<&Arc<&'static str>, Stranger> {
        fn copied_guest(self) -> Result<&'static str, Stranger> {
            self.map(|guest| **guest)
        }
    }
}
