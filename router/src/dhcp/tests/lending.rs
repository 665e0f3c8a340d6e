//! Networks that lend addresses.

use super::*;

const POOL: &str = "10.1.1.100-10.1.1.101";
const MACHINES: [&str; 3] = ["02:00:00:00:00:01", "02:00:00:00:00:02", "02:00:00:00:00:03"];

fn lender() -> Server {
    let mut slice = example();
    slice.networks[0].pools = vec![POOL.parse().unwrap()];
    Server::new(&slice)
}

fn send_at(server: &mut Server, now: Duration, message: &v4::Message) -> Outcome {
    let (bytes, link) = (message.to_vec().unwrap(), link("guest0"));
    server.handle(now, Arrival { link: &link, source: Ipv4Addr::UNSPECIFIED, bytes: &bytes })
}

/// The address that `machine` was offered and took.
fn take(server: &mut Server, now: Duration, machine: &str) -> Ipv4Addr {
    let discover = client(MessageType::Discover, machine, &[]);
    let address = reply(send_at(server, now, &discover)).0.yiaddr();
    let options =
        [DhcpOption::ServerIdentifier(ip("10.1.1.1")), DhcpOption::RequestedIpAddress(address)];
    let request = client(MessageType::Request, machine, &options);
    assert_eq!(reply(send_at(server, now, &request)).0.yiaddr(), address);
    address
}

#[test]
fn a_declined_address_is_lent_again_when_nothing_else_is_left() {
    let [first, second, third] = MACHINES;
    let mut server = lender();
    let declined = take(&mut server, NOW, first);
    let decline = client(
        MessageType::Decline,
        first,
        &[DhcpOption::ServerIdentifier(ip("10.1.1.1")), DhcpOption::RequestedIpAddress(declined)],
    );
    let outcome = send_at(&mut server, NOW, &decline);
    assert_eq!(outcome.event, Event::Declined(mac(first), declined));
    assert_ne!(take(&mut server, NOW, second), declined);

    let discover = client(MessageType::Discover, third, &[]);
    let outcome = send_at(&mut server, NOW, &discover);
    assert_eq!(silence(&outcome), DropReason::Exhausted(mac(third)));
    assert_eq!(take(&mut server, NOW + QUARANTINE, third), declined);
}
