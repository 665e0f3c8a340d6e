//! Links and addresses of the fake kernel.

use sluice_api::config::Attachment;
use sluice_api::types::{InterfaceAddress, LinkName};

use super::State;
use crate::model::{ObservedLink, RouteEntry, Step, SysctlKey};

impl State {
    /// Link steps; the error is the kernel's number.
    pub(super) fn change_link(&mut self, step: &Step) -> Result<(), i32> {
        match step {
            Step::Rename { from, to } => self.rename(from, to),
            Step::CreateVlan { link, attach } => self.create_vlan(link, attach),
            Step::DeleteLink { link } => {
                self.delete(link);
                Ok(())
            }
            Step::SetMac { link, mac } => {
                self.link(link.as_str())?.mac = Some(*mac);
                Ok(())
            }
            Step::SetMtu { link, to, .. } => self.set_mtu(link, u32::from(to.get())),
            Step::SetUp { link } => self.set_up(link),
            Step::SetDown { link } => self.set_down(link),
            _ => Ok(()),
        }
    }

    fn link(&mut self, name: &str) -> Result<&mut ObservedLink, i32> {
        self.seen.links.get_mut(name).ok_or(libc::ENODEV)
    }

    fn rename(&mut self, from: &str, to: &LinkName) -> Result<(), i32> {
        if from != to.as_str() && self.seen.links.contains_key(to.as_str()) {
            return Err(libc::EEXIST);
        }
        self.set_down(from)?;
        let mut link = self.seen.links.remove(from).ok_or(libc::ENODEV)?;
        link.ours = true;
        self.seen.links.insert(to.to_string(), link);
        // addresses, and VLANs on it, follow the index, which stays
        let moved = std::mem::take(&mut self.seen.addresses).into_iter();
        let renamed = |name: String| if name == from { to.to_string() } else { name };
        self.seen.addresses = moved.map(|(link, address)| (renamed(link), address)).collect();
        let moved = std::mem::take(&mut self.secondary).into_iter();
        self.secondary = moved.map(|(link, address)| (renamed(link), address)).collect();
        for (trunk, _) in self.seen.links.values_mut().filter_map(|link| link.vlan.as_mut()) {
            *trunk = renamed(std::mem::take(trunk));
        }
        Ok(())
    }

    fn create_vlan(&mut self, name: &LinkName, attach: &Attachment) -> Result<(), i32> {
        let Attachment::Vlan { trunk, id, mac } = attach else { return Err(libc::EINVAL) };
        if self.seen.links.contains_key(name.as_str()) {
            return Err(libc::EEXIST);
        }
        let beneath = self.link(trunk.as_str())?.clone();
        let tag = Some((trunk.to_string(), *id));
        if self.seen.links.values().any(|link| link.vlan == tag) {
            return Err(libc::EEXIST);
        }
        let made = ObservedLink {
            index: self.next_index(),
            mac: mac.or(beneath.mac),
            permanent_mac: None,
            vlan: tag,
            up: false,
            carrier: false,
            ours: true,
            altnames: std::collections::BTreeSet::new(),
            ..beneath
        };
        self.seen.links.insert(name.to_string(), made);
        Ok(())
    }

    fn delete(&mut self, name: &str) {
        self.seen.links.remove(name);
        self.seen.addresses.retain(|(link, _)| link != name);
        self.secondary.retain(|(link, _)| link != name);
        self.seen.routes.retain(|route| route.link.as_str() != name);
    }

    fn set_mtu(&mut self, name: &LinkName, mtu: u32) -> Result<(), i32> {
        let trunk = self.link(name.as_str())?.vlan.clone();
        let most = match trunk {
            Some((trunk, _)) => self.link(&trunk)?.mtu,
            None => 9216,
        };
        if mtu > most {
            return Err(libc::ERANGE);
        }
        self.link(name.as_str())?.mtu = mtu;
        // VLANs may not be wider than what is beneath them
        let own = name.as_str();
        for link in self.seen.links.values_mut() {
            let above = link.vlan.as_ref().is_some_and(|(trunk, _)| trunk == own);
            if above {
                link.mtu = link.mtu.min(mtu);
            }
        }
        Ok(())
    }

    fn set_up(&mut self, name: &LinkName) -> Result<(), i32> {
        if let Some((trunk, _)) = self.link(name.as_str())?.vlan.clone() {
            // vlan_dev_open refuses so
            if !self.link(&trunk)?.up {
                return Err(libc::ENETDOWN);
            }
        }
        let link = self.link(name.as_str())?;
        link.up = true;
        link.carrier = true;
        Ok(())
    }

    /// Down goes everything above too, with its routes and its IPv6 addresses; IPv4 addresses stay.
    fn set_down(&mut self, name: &str) -> Result<(), i32> {
        let link = self.link(name)?;
        link.up = false;
        link.carrier = false;
        self.seen.routes.retain(|route| route.link.as_str() != name);
        self.seen.addresses.retain(|(link, address)| link != name || address.ip().is_ipv4());
        let above: Vec<String> = self
            .seen
            .links
            .iter()
            .filter(|(_, link)| link.vlan.as_ref().is_some_and(|(trunk, _)| trunk == name))
            .map(|(name, _)| name.clone())
            .collect();
        above.iter().try_for_each(|name| self.set_down(name))
    }

    /// As `__inet_insert_ifa`: a second address of a network stands behind the first.
    pub(super) fn add_address(&mut self, name: &str, address: InterfaceAddress) -> Result<(), i32> {
        self.link(name)?;
        let behind = address.ip().is_ipv4() && !self.primaries(name, address).is_empty();
        if !self.seen.addresses.insert((name.to_owned(), address)) {
            return Err(libc::EEXIST);
        }
        if behind {
            self.secondary.insert((name.to_owned(), address));
        }
        Ok(())
    }

    /// The addresses of the same network on the link that stand behind no other.
    fn primaries(&self, name: &str, address: InterfaceAddress) -> Vec<(String, InterfaceAddress)> {
        self.alike(name, address)
            .filter(|known| !self.secondary.contains(*known))
            .cloned()
            .collect()
    }

    fn alike(
        &self,
        name: &str,
        address: InterfaceAddress,
    ) -> impl Iterator<Item = &(String, InterfaceAddress)> {
        let network = address.network();
        self.seen
            .addresses
            .iter()
            .filter(move |(link, other)| link == name && other.network() == network)
    }

    /// As `__inet_del_ifa`: those behind it take its place with `promote_secondaries`, else they go along; routes from it
    /// go, and with a link's last IPv4 address all its IPv4 routes.
    pub(super) fn remove_address(&mut self, name: &str, address: InterfaceAddress) {
        let key = (name.to_owned(), address);
        let gone = self.seen.addresses.remove(&key);
        let was_first = gone && !self.secondary.remove(&key) && address.ip().is_ipv4();
        if was_first {
            let behind: Vec<_> = self.alike(name, address).cloned().collect();
            if self.promotes(name) {
                behind.first().map(|next| self.secondary.remove(next));
            } else {
                for sibling in behind {
                    self.secondary.remove(&sibling);
                    self.forget_address(&sibling);
                }
            }
        }
        self.forget_address(&key);
    }

    fn forget_address(&mut self, (name, address): &(String, InterfaceAddress)) {
        self.seen.addresses.remove(&(name.clone(), *address));
        let source = address.ip();
        self.seen.routes.retain(|route| route.source != Some(source));
        let v4_left = self
            .seen
            .addresses
            .iter()
            .any(|(link, address)| link == name && address.ip().is_ipv4());
        if source.is_ipv4() && !v4_left {
            let on_link = |route: &RouteEntry| route.link.as_str() == name;
            self.seen.routes.retain(|route| !(on_link(route) && route.destination.is_ipv4()));
        }
    }

    fn promotes(&self, name: &str) -> bool {
        let on = |link: &str| {
            let key = SysctlKey::try_from(format!("net.ipv4.conf.{link}.promote_secondaries"));
            key.is_ok_and(|key| self.seen.sysctls.get(&key).is_some_and(|value| value == "1"))
        };
        on("all") || on(name)
    }
}
