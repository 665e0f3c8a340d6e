//! How long a client waits for the head of its answer.
//!
//! Most answers come long before that, so a timer runs only once an answer has been waited for for a while: the
//! connection's session says so, and wakes its task. A request of HTTP/2 is in a task of its own, and has its timer from
//! the start.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Sleep, sleep};

use super::Client;
use crate::lb::clock;

/// The patience of one request.
pub(super) struct Patience<'a> {
    client: &'a Client,
    /// When it is over, in milliseconds of the clock.
    end: u64,
    timer: Option<Pin<Box<Sleep>>>,
}

impl<'a> Patience<'a> {
    /// That of a request of `client`, from `now` of the clock for `seconds`.
    pub(super) fn new(client: &'a Client, now: u64, seconds: u32) -> Self {
        Self { client, end: now.saturating_add(u64::from(seconds) * 1000), timer: None }
    }

    /// Ready when it is over.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.client.streams && !self.client.session.quiet() {
            return Poll::Pending;
        }
        let left = || Box::pin(sleep(Duration::from_millis(self.end.saturating_sub(clock::now()))));
        self.timer.get_or_insert_with(left).as_mut().poll(cx)
    }
}
