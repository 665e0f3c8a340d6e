//! What the metadata fuzz target and the stable test that replays its corpus do with bytes.

use std::net::Ipv4Addr;
use std::sync::LazyLock;

use sluice_api::types::{LinkName, MacAddr};
use sluice_router::metadata::{MetadataSite, slice};

/// A site of the example, with a secret in the second guest's data.
static SITE: LazyLock<(MetadataSite, LinkName, MacAddr)> = LazyLock::new(|| {
    let config = serde_json::from_str(include_str!("../../examples/router.json"));
    let mut slice = slice(&config.expect("the example is a good configuration"), |_| None);
    let network = slice.networks.first_mut().expect("the example has a network");
    let [first, second, ..] = network.guests.as_mut_slice() else {
        unreachable!("the example has two guests")
    };
    second.instance_id = "somebody-elses".parse().expect("a value");
    let mac = first.mac;
    let link = network.link.clone();
    let site = MetadataSite::new().expect("there is randomness");
    site.replace(&slice);
    (site, link, mac)
});

/// The first guest asks: a line with the method, one with the path, one with a token. Whatever it is, it is answered, and
/// never with what is another guest's.
pub(crate) fn request(bytes: &[u8]) {
    let (site, link, mac) = &*SITE;
    let mut lines = bytes.splitn(3, |byte| *byte == b'\n');
    let mut line = || lines.next().unwrap_or_default();
    let method = line().try_into().unwrap_or_default();
    let path = String::from_utf8_lossy(line());
    let token = line().try_into().ok();
    let caller = (link, Ipv4Addr::new(10, 1, 1, 23), Some(*mac));
    let (status, body) = site.ask(caller, &method, &path, token.as_ref()).expect("it is a guest");
    assert!((200..500).contains(&status), "{status}");
    assert!(!body.windows(14).any(|part| part == b"somebody-elses"), "{path}");
}
