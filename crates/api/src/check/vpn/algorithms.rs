//! Algorithms: what fits together, and what is obsolete.

use super::Check;
use crate::config::vpn::{EspPolicy, Hash, IkePolicy};
use crate::types::DhGroup;

impl Check<'_> {
    pub(super) fn ike(&mut self, policy: &IkePolicy, path: &str) {
        self.obsolete(policy.encryption.is_obsolete(), "3DES", format!("{path}.encryption"));
        self.obsolete(policy.hash.is_obsolete(), "MD5", format!("{path}.hash"));
        self.group(policy.group, format!("{path}.group"));
    }

    pub(super) fn esp(&mut self, policy: &EspPolicy, path: &str) {
        let EspPolicy { encryption, hash, pfs, .. } = policy;
        self.obsolete(encryption.is_obsolete(), "3DES", format!("{path}.encryption"));
        let md5 = hash.is_some_and(Hash::is_obsolete);
        self.obsolete(md5, "MD5", format!("{path}.hash"));
        self.group(*pfs, format!("{path}.pfs"));
        let reason = match (encryption.has_integrity(), hash) {
            (true, Some(_)) => "GCM has its own integrity; give no hash with it",
            (false, None) => "this encryption needs a hash",
            _ => return,
        };
        self.error(format!("{path}.hash"), "algorithm-mismatch", reason);
    }

    fn group(&mut self, group: Option<DhGroup>, path: String) {
        if let Some(group) = group.filter(|group| group.is_obsolete()) {
            self.obsolete(true, &group.to_string(), path);
        }
    }

    fn obsolete(&mut self, obsolete: bool, what: &str, path: String) {
        const CODE: &str = "obsolete-algorithm";
        match (obsolete, self.vpn.allow_obsolete) {
            (true, false) => {
                let reason = format!("{what} is obsolete and needs vpn.allow_obsolete");
                self.error(path, CODE, reason);
            }
            (true, true) => self.warning(path, CODE, format!("{what} is obsolete")),
            (false, _) => (),
        }
    }
}
