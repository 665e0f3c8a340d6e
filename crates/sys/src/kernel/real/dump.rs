//! Whole lists by rtnetlink.
//!
//! Guarantees: a list is one that the kernel had at some moment: one that it says was interrupted by a change
//! (NLM_F_DUMP_INTR, netlink(7)) is asked for again. Without that a link that comes or goes meanwhile makes others vanish
//! from the list, and the plan would make them anew. So is one that has to wait for another on the same socket (EBUSY), such
//! as one that somebody gave up in the middle.

use std::io;
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use rtnetlink::Handle;

use super::{failed, refused};
use crate::kernel::{KernelError, Object};

/// Waits between lists that are interrupted; after the last it is an error.
const WAITS: [u64; 8] = [0, 1, 4, 16, 64, 128, 256, 512];

/// Everything that the kernel answers to `question`; `what` names it in errors.
pub(super) async fn dump(
    handle: &Handle,
    question: RouteNetlinkMessage,
    what: &'static str,
) -> Result<Vec<RouteNetlinkMessage>, KernelError> {
    for wait in WAITS {
        tokio::time::sleep(Duration::from_millis(wait)).await;
        if let Some(list) = once(handle, question.clone(), what).await? {
            return Ok(list);
        }
    }
    let source = io::Error::other("it keeps changing while it is listed");
    Err(failed("list", Object::All(what), source))
}

/// `None` when the list was interrupted.
async fn once(
    handle: &Handle,
    question: RouteNetlinkMessage,
    what: &'static str,
) -> Result<Option<Vec<RouteNetlinkMessage>>, KernelError> {
    let mut request = NetlinkMessage::from(question);
    request.header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let answers = handle.clone().request(request);
    collect(answers.map_err(refused("list", Object::All(what)))?, what).await
}

async fn collect(
    mut answers: impl Stream<Item = NetlinkMessage<RouteNetlinkMessage>> + Unpin,
    what: &'static str,
) -> Result<Option<Vec<RouteNetlinkMessage>>, KernelError> {
    let error = || refused("list", Object::All(what));
    let (mut list, mut whole) = (Vec::new(), true);
    while let Some(answer) = answers.next().await {
        whole &= answer.header.flags & NLM_F_DUMP_INTR == 0;
        match answer.payload {
            NetlinkPayload::InnerMessage(message) => list.push(message),
            NetlinkPayload::Error(answer) if answer.raw_code() == -libc::EBUSY => whole = false,
            NetlinkPayload::Error(answer) if answer.code.is_some() => {
                return Err(error()(rtnetlink::Error::NetlinkError(answer)));
            }
            _ => {}
        }
    }
    Ok(whole.then_some(list))
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroI32;

    use futures_util::{FutureExt, stream};
    use netlink_packet_core::{ErrorMessage, NetlinkHeader};
    use netlink_packet_route::link::LinkMessage;

    use super::*;

    /// What is collected of two links, of which the second has these flags.
    fn collected(flags: u16) -> Option<usize> {
        let link = |flags| {
            let mut answer =
                NetlinkMessage::from(RouteNetlinkMessage::NewLink(LinkMessage::default()));
            answer.header.flags |= flags;
            answer
        };
        let answers = stream::iter([link(0), link(flags)]);
        collect(answers, "links").now_or_never().unwrap().unwrap().map(|list| list.len())
    }

    #[test]
    fn a_list_that_was_interrupted_is_none() {
        assert_eq!(collected(0), Some(2));
        assert_eq!(collected(NLM_F_DUMP_INTR), None);
    }

    #[test]
    fn a_list_that_has_to_wait_is_none_and_one_that_is_refused_an_error() {
        let answered = |number: i32| {
            let mut error = ErrorMessage::default();
            error.code = NonZeroI32::new(-number);
            let header = NetlinkHeader::default();
            let answer = NetlinkMessage::new(header, NetlinkPayload::Error(error));
            collect(stream::iter([answer]), "links").now_or_never().unwrap()
        };
        assert_eq!(answered(libc::EBUSY).unwrap(), None);
        assert!(answered(libc::EPERM).is_err());
    }
}
