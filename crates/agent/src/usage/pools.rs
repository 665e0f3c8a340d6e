//! How many source ports are in use towards one destination: pure.

use std::collections::HashMap;

use sluice_api::report::{PortUse, UsageReport};
use sluice_sys::nft::eval::{Flow, Parts};

/// The pools that are used most, the fullest first.
pub(super) fn fullest(flows: &[Flow]) -> Vec<PortUse> {
    let mut pools: HashMap<_, u32> = HashMap::new();
    for flow in flows.iter().filter(|flow| flow.translated().source.is_some()) {
        // answers go from where the connection arrives to the address that it left with
        let Parts::Ports(port, _) = flow.reply.parts else { continue };
        let reply = &flow.reply;
        let key = (reply.destination, reply.protocol.number(), reply.source, port);
        *pools.entry(key).or_default() += 1;
    }
    let mut all: Vec<_> = pools.into_iter().collect();
    all.sort_unstable_by_key(|(key, used)| (std::cmp::Reverse(*used), *key));
    all.truncate(UsageReport::POOLS);
    all.into_iter()
        .map(|((address, protocol, destination, port), used)| PortUse {
            address,
            protocol,
            destination,
            port,
            used,
            range: PortUse::RANGE,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use sluice_sys::nft::Protocol;
    use sluice_sys::nft::eval::Tuple;

    use super::*;

    #[test]
    fn connections_to_one_destination_share_its_ports() {
        let flow = |source: u16, hidden: bool, port: u16| {
            let inside = "10.1.1.23".parse().unwrap();
            let left = if hidden { "198.51.100.10".parse().unwrap() } else { inside };
            let far = "192.0.2.80".parse().unwrap();
            let tuple = |source, destination, parts| Tuple {
                source,
                destination,
                protocol: Protocol::UDP,
                parts,
            };
            Flow {
                original: tuple(inside, far, Parts::Ports(source, port)),
                reply: tuple(far, left, Parts::Ports(port, source)),
                mark: 0,
                master: None,
                id: None,
            }
        };
        let flows = [flow(1, true, 53), flow(2, true, 53), flow(3, true, 443), flow(4, false, 53)];
        let found: Vec<_> = fullest(&flows).iter().map(|pool| (pool.port, pool.used)).collect();
        assert_eq!(found, [(53, 2), (443, 1)]);
    }
}
