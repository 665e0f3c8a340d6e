//! What a client is told that the configuration does not name, where addresses are lent.

use std::net::Ipv4Addr;
use std::time::Duration;

use sluice_api::types::LinkName;

use super::{Built, DropReason, Event, Query, Verdict};
use crate::dhcp::index::{Lease, Network, Segment};
use crate::dhcp::lent::{Choice, Lent};
use crate::dhcp::pools::Pools;
use crate::dhcp::reply::ReplyKind;
use crate::dhcp::wire::{Kind, Message};

/// A message of a client that the configuration does not name, on a link where addresses are lent.
pub(super) struct Lending<'a> {
    pub(super) now: Duration,
    pub(super) link: &'a LinkName,
    pub(super) pools: &'a Pools,
    pub(super) segment: &'a Segment,
    pub(super) message: &'a Message<'a>,
}

impl Lending<'_> {
    /// The reply, what happened, and the address to ask the link about before the reply is sent.
    pub(super) fn answer(
        &self,
        lent: &mut Lent,
        source: Ipv4Addr,
    ) -> Result<(Option<Built>, Event, Option<Ipv4Addr>), DropReason> {
        let (mac, choice) = (self.message.chaddr, self.choice(lent, source));
        let address = choice.map_or(Ipv4Addr::UNSPECIFIED, |choice| choice.address);
        let guest = Lease::lent(address);
        let (network, message) = (self.network(choice, source), self.message);
        let query = Query { message, network, guest: &guest, source };
        let probe = choice.filter(|choice| choice.is_fresh).map(|choice| choice.address);
        let answer = match query.verdict() {
            Verdict::Offer if choice.is_none() => return Err(DropReason::Exhausted(mac)),
            // it names the address that stands for none
            Verdict::Decline | Verdict::Release if choice.is_none() => {
                return Err(DropReason::ForeignAddress(mac));
            }
            Verdict::Offer => {
                (Some(query.grant(ReplyKind::Offer)), Event::Offered(mac, address), probe)
            }
            Verdict::Ack => {
                let choice = choice.ok_or(DropReason::ForeignAddress(mac))?;
                // whoever speaks from the address uses it
                let probe = probe.filter(|address| source != *address);
                let lease = query.told().lease;
                lent.lend(self.now, self.link, mac, choice, lease, probe.is_none());
                (Some(query.grant(ReplyKind::Ack)), Event::Acked(mac, address), probe)
            }
            Verdict::Inform(to) => (Some(query.inform(to)), Event::Informed(mac, to), None),
            Verdict::Nak(asked, why) => {
                (Some(query.nak(why)), Event::Refused(mac, asked, why), None)
            }
            Verdict::Decline => {
                lent.decline(self.now, self.link, mac);
                (None, Event::Declined(mac, address), None)
            }
            Verdict::Release => {
                lent.release(self.now, self.link, mac);
                (None, Event::Released(mac, address), None)
            }
            Verdict::Drop(reason) => return Err(reason),
        };
        Ok(answer)
    }

    /// The network that the message is about: that of the address which the client may have, else of the first address that
    /// it names.
    fn network(&self, choice: Option<Choice>, source: Ipv4Addr) -> &Network {
        let message = self.message;
        let given = choice.map(|choice| choice.address);
        let named =
            [given, message.server_id, Some(message.ciaddr), Some(source), message.requested];
        let mut named = named.into_iter().flatten();
        named.find_map(|it| self.segment.of_host(it)).unwrap_or_else(|| self.segment.first())
    }

    /// The address that the message is about, as far as the client may have it.
    fn choice(&self, lent: &mut Lent, source: Ipv4Addr) -> Option<Choice> {
        let Self { now, link, pools, message, .. } = *self;
        let mac = message.chaddr;
        match message.kind {
            Kind::Discover => lent.offer(now, link, pools, mac, message.requested),
            Kind::Request => {
                let ciaddr = Some(message.ciaddr).filter(|address| !address.is_unspecified());
                // in the order in which the verdict looks at them
                let asked = match message.server_id {
                    Some(_) => message.requested.or(ciaddr),
                    None => ciaddr.or(message.requested),
                };
                let asked = asked?;
                lent.claim(now, link, pools, mac, (asked, source == asked))
            }
            Kind::Inform | Kind::Decline | Kind::Release => lent.held(link, mac),
        }
    }
}
