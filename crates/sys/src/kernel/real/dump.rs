//! Whole lists by rtnetlink.
//!
//! Guarantees: a list is one that the kernel had at some moment: one that it says was interrupted by a change
//! (NLM_F_DUMP_INTR, netlink(7)) is asked for again. Without that a link that comes or goes meanwhile makes others vanish
//! from the list, and the plan would make them anew.

use std::io;

use futures_util::StreamExt;
use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use rtnetlink::Handle;

use super::{failed, refused};
use crate::kernel::{KernelError, Object};

/// Lists that are interrupted before it is an error.
const TRIES: usize = 8;

/// Everything that the kernel answers to `question`; `what` names it in errors.
pub(super) async fn dump(
    handle: &Handle,
    question: RouteNetlinkMessage,
    what: &'static str,
) -> Result<Vec<RouteNetlinkMessage>, KernelError> {
    for _ in 0..TRIES {
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
    let error = || refused("list", Object::All(what));
    let mut answers = handle.clone().request(request).map_err(error())?;
    let (mut list, mut whole) = (Vec::new(), true);
    while let Some(answer) = answers.next().await {
        whole &= answer.header.flags & NLM_F_DUMP_INTR == 0;
        match answer.payload {
            NetlinkPayload::InnerMessage(message) => list.push(message),
            NetlinkPayload::Error(answer) if answer.code.is_some() => {
                return Err(error()(rtnetlink::Error::NetlinkError(answer)));
            }
            _ => {}
        }
    }
    Ok(whole.then_some(list))
}
