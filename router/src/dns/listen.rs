//! Where the service answers: which sockets there should be.

use std::collections::BTreeSet;

use super::slice::DnsSlice;
use crate::endpoint::Endpoint;

/// Every address that `slice` asks for.
pub(super) fn endpoints(slice: &DnsSlice) -> BTreeSet<Endpoint> {
    let port = slice.settings.port;
    let each = slice.networks.iter().flat_map(|network| {
        let link = network.link.clone();
        let gateway = network.listen.first().filter(|_| network.any_link);
        let own = network.listen.iter().map(move |listen| (listen.address, link.clone()));
        own.chain(gateway.map(|gateway| (gateway.address, None)))
    });
    each.map(|(address, link)| Endpoint { address, port, link }).collect()
}
