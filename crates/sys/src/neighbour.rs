//! Which Ethernet address the kernel sends to when it sends to a neighbour.
//!
//! Guarantees: needs no privilege and no netlink socket (arp(7), `SIOCGARP`), so that a service in a sandbox can ask; the
//! answer is of one device alone. Not here: IPv6, which this call does not know, and any change of the table.

use std::io;
use std::mem::zeroed;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;

use sluice_api::types::{LinkName, MacAddr};
use socket2::{Domain, Socket, Type};

/// Asks about neighbours.
#[derive(Debug)]
pub struct Neighbours(Socket);

impl Neighbours {
    /// Errors: no socket can be opened.
    pub fn open() -> io::Result<Self> {
        Socket::new(Domain::IPV4, Type::DGRAM, None).map(Self)
    }

    /// The neighbour at `address` on `device`; `None` when the kernel knows of none.
    ///
    /// Errors: the device is not there.
    #[allow(unsafe_code)]
    pub fn mac_of(&self, device: &LinkName, address: Ipv4Addr) -> io::Result<Option<MacAddr>> {
        let mut request = request(device, address);
        // SAFETY: the request is a whole `arpreq` that outlives the call, which reads and writes nothing else
        let answer = unsafe { libc::ioctl(self.0.as_raw_fd(), libc::SIOCGARP, &raw mut request) };
        if answer < 0 {
            let error = io::Error::last_os_error();
            let unknown = error.raw_os_error() == Some(libc::ENXIO);
            return if unknown { Ok(None) } else { Err(error) };
        }
        Ok(mac(&request))
    }
}

fn mac(answer: &libc::arpreq) -> Option<MacAddr> {
    // without the flag the entry is one that is still being asked for
    let complete = answer.arp_flags & libc::ATF_COM != 0;
    let bytes = answer.arp_ha.sa_data.first_chunk::<6>()?.map(|byte| byte.to_ne_bytes()[0]);
    MacAddr::from_bytes(bytes).filter(|_| complete)
}

#[allow(unsafe_code)]
fn request(device: &LinkName, address: Ipv4Addr) -> libc::arpreq {
    // SAFETY: all-zero is a valid value of this plain C struct
    let mut request: libc::arpreq = unsafe { zeroed() };
    request.arp_pa.sa_family = libc::sa_family_t::try_from(libc::AF_INET).unwrap_or(0);
    // a `sockaddr_in`: the address is behind two bytes of port
    let octets = address.octets();
    for (place, byte) in request.arp_pa.sa_data.iter_mut().skip(2).zip(octets) {
        *place = libc::c_char::from_ne_bytes([byte]);
    }
    // a link's name is shorter than the field, whose last byte stays zero
    for (place, byte) in request.arp_dev.iter_mut().zip(device.as_str().bytes()) {
        *place = libc::c_char::from_ne_bytes([byte]);
    }
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_is_not_there_is_an_error() {
        let neighbours = Neighbours::open().unwrap();
        let missing = "nolink9".parse().unwrap();
        let error = neighbours.mac_of(&missing, Ipv4Addr::new(192, 0, 2, 77)).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENODEV));
    }
}
