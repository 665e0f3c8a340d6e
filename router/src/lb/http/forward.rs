//! One request: to a member and its answer back.
//!
//! Guarantees: a member that cannot be connected to costs another try with another member, whatever the method, since
//! nothing was sent; a kept connection that the member closed just then costs another try if the request can be told
//! twice (RFC 9110 9.2.2), or if not a byte of it left; anything else is a clean 502. Requests that cannot be told twice
//! go over kept connections only when those were used a moment ago.

use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use hyper::body::{Body as _, Incoming};
use hyper::upgrade::OnUpgrade;
use hyper::{Request, Response, StatusCode, Version};
use sluice_api::config::balancer::Mode;
use tracing::debug;

use super::body::{ToClient, ToMember};
use super::patience::Patience;
use super::pool::{self, Key};
use super::upstream::{Failed, Upstream};
use super::{Client, answers, headers, sticky, upgrade};
use crate::lb::clock;
use crate::lb::connect::{Tried, open, redispatched};
use crate::lb::counters::add;
use crate::lb::live::{LiveMember, Policy, Rule, Seat};

/// Servers do not close a connection that they used so short a time ago, in milliseconds.
const MOMENT: u64 = 1000;

/// What happens to one request.
pub(crate) async fn forward(client: &Client, request: Request<Incoming>) -> Response<ToClient> {
    let rule = &client.session.rule;
    let began = clock::now();
    add(&rule.counters.requests, 1);
    rule.counters.request_rate.hit(began);
    let answer = Exchange::new(client, request, began).run().await;
    rule.counters.answer(answer.status().as_u16());
    rule.counters.response_time.add(clock::now().saturating_sub(began));
    answer
}

/// A request on its way.
struct Exchange<'a> {
    client: &'a Client,
    rule: &'a Arc<Rule>,
    /// When it came, in milliseconds of the clock.
    began: u64,
    policy: Arc<Policy>,
    bond: sticky::Bond,
    upgrade: Option<OnUpgrade>,
    /// Absent while a member has it.
    request: Option<Request<ToMember>>,
    /// May be told twice.
    repeatable: bool,
    tried: Tried,
}

/// How a try with one member went.
enum Try {
    Answered(Response<ToClient>),
    /// Nothing came of it, and the request is whole.
    Again,
}

impl<'a> Exchange<'a> {
    fn new(client: &'a Client, request: Request<Incoming>, began: u64) -> Self {
        let rule = &client.session.rule;
        let policy = rule.policy();
        let source = client.ends.client.ip();
        let (mut parts, body) = request.into_parts();
        let empty = body.is_end_stream();
        let asked = headers::asks_for_upgrade(&parts, empty);
        let upgrade = parts.extensions.remove::<OnUpgrade>().filter(|_| asked);
        headers::for_member(&mut parts, asked);
        let bond = sticky::read(&policy, &mut parts, source);
        if policy.spec.forwarded_headers {
            headers::add_forwarded(&mut parts.headers, source, client.encrypted, &client.port);
        }
        let repeatable = empty && !asked && parts.method.is_idempotent();
        let body = if empty { ToMember::Empty } else { ToMember::Client(body) };
        let request = Some(Request::from_parts(parts, body));
        let tried = Tried::default();
        Self { client, rule, began, policy, bond, upgrade, request, repeatable, tried }
    }

    async fn run(mut self) -> Response<ToClient> {
        while self.tried.may_go_on() {
            let Some(member) = self.next_member() else { break };
            match self.try_with(&member).await {
                Try::Answered(answer) => return answer,
                Try::Again => self.tried.failed(self.rule, &member),
            }
        }
        add(&self.rule.counters.no_member, 1);
        answers::NO_MEMBER.answer()
    }

    fn next_member(&self) -> Option<Arc<LiveMember>> {
        let first = self.tried.serials().is_empty();
        let bound = self.bond.member.clone().filter(|_| first);
        bound.or_else(|| {
            self.rule.choose(&self.policy, self.client.ends.client.ip(), self.tried.serials())
        })
    }

    async fn try_with(&mut self, member: &Arc<LiveMember>) -> Try {
        let key = self.key(member);
        let youngest = if self.repeatable { u64::MAX } else { MOMENT };
        let first = self.tried.serials().is_empty();
        let now = if first { self.began } else { clock::now() };
        if let Some(upstream) = pool::take(&key, youngest, now) {
            add(&member.state.counters.reuses, 1);
            if let Try::Answered(answer) = self.ask(upstream, member, now).await {
                return Try::Answered(answer);
            }
        }
        let Ok(stream) = open(self.rule, &self.policy, member, self.client.ends).await else {
            return Try::Again;
        };
        match Upstream::new(stream, Arc::clone(&member.state), key).await {
            Ok(upstream) => self.ask(Box::new(upstream), member, clock::now()).await,
            Err(_) => Try::Again,
        }
    }

    /// Connections of rules that announce clients are for one client each.
    fn key(&self, member: &LiveMember) -> Key {
        let announced = self.policy.spec.proxy_protocol.is_some();
        let client = announced.then_some(self.client.ends.client);
        Key { member: member.state.serial, endpoint: member.state.endpoint, client }
    }

    async fn ask(
        &mut self,
        mut upstream: Box<Upstream>,
        member: &Arc<LiveMember>,
        now: u64,
    ) -> Try {
        let kept = upstream.used;
        let Some(request) = self.request.take() else { return Try::Again };
        if kept && self.repeatable {
            self.request = Some(copy_of(&request));
        }
        let seat = Seat::take(member, now);
        match self.wait_for(upstream.ask(request), now).await {
            Some(Ok(answer)) => {
                member.state.counters.response_time.add(clock::now().saturating_sub(now));
                Try::Answered(self.pass_on(answer, upstream, member, seat))
            }
            Some(Err(failed)) => self.after(failed, kept, member),
            None => {
                add(&self.rule.counters.timeouts, 1);
                add(&member.state.counters.response_errors, 1);
                Try::Answered(answers::TOO_LATE.answer())
            }
        }
    }

    /// What comes of `answer`; `None` when the client, who asked at `now`, has waited long enough.
    async fn wait_for<T>(&self, answer: impl Future<Output = T>, now: u64) -> Option<T> {
        let seconds = self.policy.spec.timeouts.idle(Mode::Http);
        let mut patience = Patience::new(self.client, now, seconds);
        let mut answer = pin!(answer);
        std::future::poll_fn(|cx| match answer.as_mut().poll(cx) {
            Poll::Ready(answer) => Poll::Ready(Some(answer)),
            Poll::Pending => patience.poll(cx).map(|()| None),
        })
        .await
    }

    /// What to do when `member` did not answer.
    fn after(&mut self, failed: Failed, kept: bool, member: &LiveMember) -> Try {
        if let Some(unsent) = failed.unsent {
            self.request = Some(unsent);
        }
        let garbled = failed.error.is_parse();
        if self.request.is_some() && kept && !garbled {
            debug!(rule = %self.rule.id, member = %member.spec.id, "kept connection was closed");
            return Try::Again;
        }
        if failed.error.is_user() {
            add(&self.rule.counters.client_aborts, 1);
            return Try::Answered(answers::MALFORMED.answer());
        }
        debug!(rule = %self.rule.id, member = %member.spec.id, error = %failed.error, "no answer");
        add(&self.rule.counters.response_errors, 1);
        add(&member.state.counters.response_errors, 1);
        member.state.health.suspect();
        Try::Answered(answers::NO_ANSWER.answer())
    }

    fn pass_on(
        &mut self,
        mut answer: Response<Incoming>,
        upstream: Box<Upstream>,
        member: &LiveMember,
        seat: Seat,
    ) -> Response<ToClient> {
        member.state.counters.answer(answer.status().as_u16());
        if let Some(former) = &self.bond.member {
            redispatched(self.rule, former, member);
        }
        let source = self.client.ends.client.ip();
        sticky::write(&self.policy, &self.bond, member, source, answer.headers_mut());
        if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
            return match self.upgrade.take() {
                Some(ours) => upgrade::begin(self.client, ours, answer, upstream, seat),
                None => answers::NO_ANSWER.answer(),
            };
        }
        headers::for_client(answer.headers_mut(), false);
        // a member that speaks HTTP/1.0 does not bring its clients down to that
        *answer.version_mut() = Version::HTTP_11;
        answer.map(|body| ToClient::of(body, upstream, seat, &self.client.session))
    }
}

/// A request without a body, again.
fn copy_of(request: &Request<ToMember>) -> Request<ToMember> {
    let mut copy = Request::new(ToMember::Empty);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    copy
}
