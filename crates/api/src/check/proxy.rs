//! A console proxy's part: who could never be shown anything, and what would be open to more than was meant.

use std::collections::BTreeSet;

use super::Scope;
use crate::config::{ConsoleGrant, LinkRole, ProxyConfig, Screen, Unencrypted};

impl ProxyConfig {
    pub(crate) fn check(&self, scope: &mut Scope<'_>) {
        self.served(scope);
        for (at, screen) in self.screens.iter().enumerate() {
            screen.check(scope, &format!("screens[{at}]"));
        }
        let paths = |list: &'static str| move |at: usize| format!("{list}[{at}]");
        let screens = paths("screens");
        let vms = self.screens.iter().enumerate();
        scope.unique("VM", "duplicate-id", vms.map(|(at, it)| (&it.vm, screens(at) + ".vm")));
        let path = paths("grants");
        let ids = self.grants.iter().enumerate();
        scope.unique("grant", "duplicate-id", ids.map(|(at, it)| (&it.id, path(at) + ".id")));
        let tokens = self.grants.iter().enumerate();
        let tokens = tokens.map(|(at, it)| (it.token, path(at) + ".token"));
        scope.unique("token", "duplicate-id", tokens);
        let known: BTreeSet<_> = self.screens.iter().map(|screen| &screen.vm).collect();
        for (at, grant) in self.grants.iter().enumerate() {
            if !known.contains(&grant.vm) {
                let reason = format!("no screen of VM {} is listed", grant.vm);
                scope.error(path(at) + ".vm", "unknown-screen", reason);
            }
            grant.check(scope, &path(at));
        }
        if self.settings.ping_seconds == 0 {
            scope.error("settings.ping_seconds", "zero", "must be at least 1");
        }
    }

    fn served(&self, scope: &mut Scope<'_>) {
        for (at, address) in self.listen.iter().enumerate() {
            let public = scope.all_links.iter().filter(|link| link.role == LinkRole::Public);
            let mut own = public.flat_map(|link| &link.addresses);
            if !own.any(|own| own.ip() == *address) {
                let reason = format!("{address} is no address of a public link");
                scope.error(format!("listen[{at}]"), "unknown-public-address", reason);
            }
        }
        if self.listen.is_empty() {
            return;
        }
        if self.hosts.is_empty() {
            let reason = "browsers are served, but under no name";
            scope.error("hosts", "console-open", reason);
        }
        if self.certificates.is_empty() && self.trusted_proxies.is_empty() {
            let reason = "without a certificate only reverse proxies may be served, and none is trusted";
            scope.error("certificates", "console-open", reason);
        }
    }
}

impl Screen {
    fn check(&self, scope: &mut Scope<'_>, path: &str) {
        if let Some(tls) = &self.tls
            && tls.authorities.is_none()
            && tls.pin.is_none()
        {
            let reason = "neither authorities nor a pin: nothing would prove the certificate";
            scope.error(format!("{path}.tls"), "screen-unreachable", reason);
        }
        let reason = match (self.unencrypted, &self.tls, &self.password) {
            (Unencrypted::Refuse, None, _) => "neither TLS nor anything without it may be used",
            (Unencrypted::Password, None, None) => "a password is asked for and none is given",
            _ => return,
        };
        scope.error(format!("{path}.unencrypted"), "screen-unreachable", reason);
    }
}

impl ConsoleGrant {
    fn check(&self, scope: &mut Scope<'_>, path: &str) {
        let limits = &self.limits;
        for (name, zero) in [
            ("sessions", limits.sessions == 0),
            ("messages_per_second", limits.messages_per_second == 0),
            ("screen_bytes_per_second", limits.screen_bytes_per_second == Some(0)),
        ] {
            if zero {
                scope.error(format!("{path}.limits.{name}"), "zero", "must be at least 1");
            }
        }
    }
}
