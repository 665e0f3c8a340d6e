//! Names to addresses, with the policy in between: what is returned is what is connected to, so a name that answers
//! differently the next time (rebinding) gains nothing.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::names::Names;
use super::policy::{AddressPolicy, AddressRefused};

/// Resolves for the HTTP client.
#[derive(Clone)]
pub(super) struct Guarded {
    names: Arc<Names>,
    /// None: whatever is asked for may be anywhere.
    policy: Option<Arc<AddressPolicy>>,
    /// The proxy, which may be anywhere since the configuration names it.
    proxy: Option<String>,
}

impl Guarded {
    pub(super) fn new(names: Names, policy: Arc<AddressPolicy>, proxy: Option<String>) -> Self {
        Self { names: Arc::new(names), policy: Some(policy), proxy }
    }

    /// Names that the configuration itself gives.
    pub(super) fn anywhere(names: Names) -> Self {
        Self { names: Arc::new(names), policy: None, proxy: None }
    }

    async fn addresses(self, name: String) -> io::Result<Vec<IpAddr>> {
        let found = self.names.look_up(&name).await?;
        match &self.policy {
            Some(policy) if self.proxy.as_deref() != Some(name.as_str()) => {
                admitted(policy, found).map_err(io::Error::other)
            }
            _ => Ok(found),
        }
    }
}

/// Those of `found` that are fetched from; an error when there are others only.
fn admitted(policy: &AddressPolicy, found: Vec<IpAddr>) -> Result<Vec<IpAddr>, AddressRefused> {
    let (mut good, mut refused) = (Vec::new(), None);
    for address in found {
        match policy.judge(address) {
            Ok(()) => good.push(address),
            Err(reason) => refused = Some(reason),
        }
    }
    match refused {
        Some(reason) if good.is_empty() => Err(reason),
        _ => Ok(good),
    }
}

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let guarded = self.clone();
        Box::pin(async move {
            let found = guarded.addresses(name.as_str().to_owned()).await?;
            let addresses: Addrs =
                Box::new(found.into_iter().map(|address| SocketAddr::new(address, 0)));
            Ok(addresses)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_addresses_those_not_refused_remain() {
        let policy = AddressPolicy::default();
        let of = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        let good = admitted(&policy, of(&["127.0.0.1", "192.0.2.1", "10.0.0.1"])).unwrap();
        assert_eq!(good, of(&["192.0.2.1"]));
        let refused = admitted(&policy, of(&["169.254.169.254"])).unwrap_err();
        assert!(refused.to_string().contains("169.254.169.254"));
        assert_eq!(admitted(&policy, Vec::new()).unwrap(), Vec::<IpAddr>::new());
    }
}
