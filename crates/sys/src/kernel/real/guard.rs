//! Frames of services are kept from one device. Packet rules of IP do not see what is sent by packet sockets; a chain at
//! the device's own way out does (`egress` of family netdev, Linux 5.16), also what bypasses queues.
//!
//! Guarantees: the table holds for the device until that goes or gets another name (a hook is the device's before Linux
//! 6.16, and its name's since); it replaces one that was there in one transaction. Why it is no table of [`Desired`](crate::model::Desired): it belongs to a device that must be there, and to
//! the machine, not to a configuration; so nothing that is pushed can fail for it or take it away.

use std::collections::BTreeSet;
use std::io;

use sluice_api::types::MacAddr;

use super::generation::{NETDEV, is_there};
use super::{RealKernel, failed, links};
use crate::kernel::{KernelError, Object};
use crate::model::Observed;

/// Its name, in family netdev.
const TABLE: &str = "sluice_frames";

/// A device that is guarded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guarded {
    /// The kernel's number of the device.
    index: u32,
    /// Its name.
    name: String,
}

impl RealKernel {
    /// Lets no frame of these users out of the NIC `mac`, as `before` if that still stands; `None` while there is no such
    /// NIC.
    ///
    /// Errors: the kernel has no such hook; nft cannot be run.
    pub async fn guard_frames(
        &self,
        mac: MacAddr,
        users: &BTreeSet<u32>,
        before: Option<&Guarded>,
    ) -> Result<Option<Guarded>, KernelError> {
        let links = links::list(&self.handle).await?.links;
        let seen = Observed { links, ..Observed::default() };
        let Some((name, link)) = seen.nic(mac) else { return Ok(None) };
        let guarded = Guarded { index: link.index, name: name.to_owned() };
        if before != Some(&guarded) || !Self::guards_frames()? {
            self.rules.load(script(&guarded.name, users)?).await?;
        }
        Ok(Some(guarded))
    }

    /// Whether the table is there.
    pub fn guards_frames() -> Result<bool, KernelError> {
        is_there(NETDEV, TABLE)
            .map_err(|source| failed("look for a table of", Object::Rules, source))
    }
}

fn script(device: &str, users: &BTreeSet<u32>) -> Result<String, KernelError> {
    // the kernel allows nearly anything in a name; such a NIC has not been given its own yet
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.@".contains(&byte);
    if !device.bytes().all(plain) {
        return Err(failed("name a device in", Object::Rules, io::ErrorKind::InvalidInput.into()));
    }
    let users: Vec<String> = users.iter().map(u32::to_string).collect();
    let users = users.join(", ");
    Ok(format!(
        "add table netdev {TABLE}\n\
         delete table netdev {TABLE}\n\
         table netdev {TABLE} {{\n\
         \tchain control-out {{\n\
         \t\ttype filter hook egress device \"{device}\" priority 0; policy accept;\n\
         \t\tmeta skuid {{ {users} }} counter drop comment \"frames/services\"\n\
         \t}}\n\
         }}\n"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_would_mean_something_to_nft_is_refused() {
        let users = BTreeSet::from([64_001, 64_002]);
        let script = |device| script(device, &users);
        assert!(script("enp1s0").unwrap().contains("meta skuid { 64001, 64002 } counter drop"));
        for bad in ["a\"b", "a b", "a\nb", "a;b", "a{"] {
            script(bad).unwrap_err();
        }
    }
}
