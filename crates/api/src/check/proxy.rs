//! A console proxy's part: who could never be shown anything, and what would be open to more than was meant.

use std::collections::BTreeSet;

use super::Scope;
use crate::config::{LinkRole, ProxyConfig, Screen, Unencrypted};

impl ProxyConfig {
    pub(crate) fn check(&self, scope: &mut Scope<'_>) {
        listen(scope, self);
        for (at, screen) in self.screens.iter().enumerate() {
            reachable(scope, &format!("screens[{at}]"), screen);
        }
        grants(scope, self);
    }
}

fn listen(scope: &mut Scope<'_>, config: &ProxyConfig) {
    let each = config.listen.iter().enumerate();
    let sockets = each.clone().map(|(at, address)| (address, format!("listen[{at}]")));
    scope.unique("address", "duplicate-id", sockets);
    for (at, address) in each {
        let own = |link: &crate::config::Link| link.addresses.iter().any(|it| it.ip() == *address);
        let link = scope.all_links.iter().find(|link| own(link));
        let path = format!("listen[{at}]");
        match link {
            None => scope.error(path, "not-own-address", format!("no link has {address}")),
            Some(link) if link.role == LinkRole::Control || link.role == LinkRole::Storage => {
                let reason = format!("browsers do not come to link {}", link.name);
                scope.error(path, "link-role", reason);
            }
            Some(_) => {}
        }
    }
    if !config.listen.is_empty() {
        served(scope, config);
    }
}

fn served(scope: &mut Scope<'_>, config: &ProxyConfig) {
    if config.hosts.is_empty() {
        scope.error("hosts", "console-open", "browsers are served, but under no name");
    }
    if config.certificates.is_empty() && config.trusted_proxies.is_empty() {
        let reason = "without one only reverse proxies are served, and `trusted_proxies` has none";
        scope.error("certificates", "console-open", reason);
    }
}

fn reachable(scope: &mut Scope<'_>, path: &str, screen: &Screen) {
    if let Some(tls) = &screen.tls
        && tls.authorities.is_none()
        && tls.pin.is_none()
    {
        let reason = "neither authorities nor a pin: nothing would prove the certificate";
        scope.error(format!("{path}.tls"), "screen-unreachable", reason);
    }
    let reason = match (screen.unencrypted, &screen.tls, &screen.password) {
        (Unencrypted::Refuse, None, _) => "neither TLS nor anything without it may be used",
        (Unencrypted::Password, None, None) => "a password is needed and none is given",
        _ => return,
    };
    scope.error(format!("{path}.unencrypted"), "screen-unreachable", reason);
}

fn grants(scope: &mut Scope<'_>, config: &ProxyConfig) {
    let path = |list: &str, at: usize, field: &str| format!("{list}[{at}].{field}");
    let vms = config.screens.iter().enumerate();
    scope.unique("VM", "duplicate-id", vms.map(|(at, it)| (&it.vm, path("screens", at, "vm"))));
    let grants = config.grants.iter().enumerate();
    let ids = grants.clone().map(|(at, it)| (&it.id, path("grants", at, "id")));
    scope.unique("id", "duplicate-id", ids);
    let tokens = grants.clone().map(|(at, it)| (it.token, path("grants", at, "token")));
    scope.unique("token", "duplicate-token", tokens);
    let known: BTreeSet<_> = config.screens.iter().map(|screen| &screen.vm).collect();
    for (at, grant) in grants.filter(|(_, grant)| !known.contains(&grant.vm)) {
        let reason = format!("no screen of VM {} is listed", grant.vm);
        scope.error(path("grants", at, "vm"), "unknown-screen", reason);
    }
}
