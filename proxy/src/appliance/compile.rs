//! From a configuration to the kernel state that it means: browsers are let in where they are served, and nobody else is.

use sluice_agent::host::{self, Served};
use sluice_api::config::ProxyDocument;
use sluice_api::types::{Cidr, LinkName, Port};
use sluice_sys::model::Desired;

/// HTTPS.
pub(super) const SECURE: Port = Port::fixed(443);
/// HTTP: the way to HTTPS, or reverse proxies.
pub(super) const PLAIN: Port = Port::fixed(80);

/// Everything that the kernel of this console proxy is to hold.
pub fn desired(config: &ProxyDocument) -> Desired {
    host::desired(config, "input/console", served(config))
}

/// Anybody at both ports; without certificates the reverse proxies at one.
fn served(config: &ProxyDocument) -> Vec<Served> {
    let role = &*config.role;
    let each = |port: Port, from: Option<Cidr>| {
        links(config).into_iter().map(move |link| Served { link, port, from })
    };
    if role.certificates.is_empty() {
        role.trusted_proxies.iter().flat_map(|from| each(PLAIN, Some(*from))).collect()
    } else {
        each(SECURE, None).chain(each(PLAIN, None)).collect()
    }
}

fn links(config: &ProxyDocument) -> Vec<LinkName> {
    let listen = &config.role.listen;
    let served = config
        .links
        .iter()
        .filter(|link| link.addresses.iter().any(|address| listen.contains(&address.ip())));
    served.map(|link| link.name.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> ProxyDocument {
        ProxyDocument::decode(include_bytes!("../../../examples/proxy.json")).unwrap().0
    }

    fn shown(config: &ProxyDocument) -> Vec<String> {
        let served = served(config).into_iter();
        let from = |it: &Served| it.from.map_or("any".to_owned(), |network| network.to_string());
        served.map(|it| format!("{} {} {}", it.link, it.port, from(&it))).collect()
    }

    #[test]
    fn browsers_come_to_the_links_that_are_served_alone() {
        let mut config = example();
        assert_eq!(shown(&config), ["pub0 443 any", "pub0 80 any"]);
        config.role.listen.clear();
        assert_eq!(shown(&config), Vec::<String>::new());
    }

    #[test]
    fn without_a_certificate_reverse_proxies_alone_are_let_in() {
        let mut config = example();
        config.role.certificates.clear();
        assert_eq!(shown(&config), Vec::<String>::new());
        config.role.trusted_proxies = vec!["198.51.100.7/32".parse().unwrap()];
        assert_eq!(shown(&config), ["pub0 80 198.51.100.7/32"]);
    }
}
