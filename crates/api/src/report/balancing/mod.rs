//! What a router's balancer says of itself: every rule and member, with HAProxy's words where it has them.
//!
//! Read tolerantly, as all of an appliance's reports. Numbers that are zero are left out: there are many members, and most
//! count little.

mod csv;
mod page;

use serde::{Deserialize, Serialize};

use crate::config::balancer::Mode;
use crate::types::ObjectId;

pub use csv::csv;
pub use page::page;

/// Name of the service whose report this is.
pub const SERVICE: &str = "lb";

/// The state of the balancer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// The rules by id.
    pub rules: Vec<RuleReport>,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleReport {
    /// Its id.
    pub id: ObjectId,
    /// Where clients connect to.
    pub address: String,
    /// What it balances.
    pub mode: Mode,
    /// Most connections at once.
    pub limit: u32,
    /// Members configured.
    pub members_configured: usize,
    /// Members that are well.
    pub members_healthy: usize,
    /// Clients whose member is remembered.
    #[serde(default, skip_serializing_if = "is_default")]
    pub bindings: usize,
    /// What was counted.
    #[serde(default)]
    pub counts: Counts,
    /// The members, in the order configured.
    #[serde(default)]
    pub members: Vec<MemberReport>,
}

/// One member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberReport {
    /// Its id.
    pub id: ObjectId,
    /// Where it serves.
    pub address: String,
    /// Whether it may serve.
    pub up: bool,
    /// Gets no new clients.
    #[serde(default, skip_serializing_if = "is_default")]
    pub drain: bool,
    /// Serves only when no other can.
    #[serde(default, skip_serializing_if = "is_default")]
    pub backup: bool,
    /// Its share.
    pub weight: u32,
    /// What checks found.
    #[serde(default)]
    pub health: Found,
    /// What was counted.
    #[serde(default)]
    pub counts: Counts,
}

/// What checks of a member found so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Found {
    /// Checks made.
    pub checks: u64,
    /// Bad ones.
    #[serde(skip_serializing_if = "is_default")]
    pub failures: u64,
    /// Good checks in a row, after a bad one.
    #[serde(skip_serializing_if = "is_default")]
    pub good: u32,
    /// Bad checks in a row, after a good one.
    #[serde(skip_serializing_if = "is_default")]
    pub bad: u32,
    /// Times that the member went down.
    #[serde(skip_serializing_if = "is_default")]
    pub downs: u64,
    /// Milliseconds that it was down in all, up to the last change.
    #[serde(skip_serializing_if = "is_default")]
    pub down_milliseconds: u64,
    /// When it last went up or down, in milliseconds since the service's start.
    #[serde(skip_serializing_if = "is_default")]
    pub changed: u64,
    /// How long the last check took, in milliseconds.
    #[serde(skip_serializing_if = "is_default")]
    pub took_milliseconds: u64,
    /// What was wrong with the last check; nothing when it was good.
    #[serde(skip_serializing_if = "is_default")]
    pub trouble: Option<String>,
}

macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident: $kind:ty,)*) => {
        /// Counts of a rule, or of a member, at one time.
        #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default)]
        pub struct Counts {
            $($(#[$doc])* #[serde(skip_serializing_if = "is_default")] pub $name: $kind,)*
        }
    };
}

counts! {
    /// Connections (a rule's); connections and requests given to it (a member's).
    sessions: u64,
    /// Bytes from clients.
    bytes_in: u64,
    /// Bytes to clients.
    bytes_out: u64,
    /// HTTP requests.
    requests: u64,
    /// Clients turned away by the rule's list of sources.
    denied: u64,
    /// Clients that did not speak as they should: TLS or HTTP.
    request_errors: u64,
    /// Connections to members that failed.
    connect_errors: u64,
    /// Members that ended a connection before their answer was whole.
    response_errors: u64,
    /// Tries beyond the first.
    retries: u64,
    /// Clients that were taken away from a member that could not be reached, each once.
    redispatches: u64,
    /// Connections and requests that clients gave up.
    client_aborts: u64,
    /// Clients refused because no member could serve.
    no_member: u64,
    /// Connections made to members.
    connects: u64,
    /// Requests that went over a connection that was there already.
    reuses: u64,
    /// Connections ended because a time was over.
    timeouts: u64,
    /// Connections (a rule's) or connections and requests (a member's) at the moment.
    current: u32,
    /// The most there were at once.
    current_most: u32,
    /// Answers by the first digit of their status; first those that have none of the five.
    answers: [u64; 6],
    /// Sessions in the last second, and the most in any.
    session_rate: [u64; 2],
    /// Requests in the last second, and the most in any.
    request_rate: [u64; 2],
    /// Milliseconds until a member accepted, the mean of the last ones.
    connect_time: u64,
    /// Milliseconds from a request to its answer.
    response_time: u64,
    /// Milliseconds that a connection or a request took in all.
    total_time: u64,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl RuleReport {
    /// `members 4, healthy 3`.
    pub fn health(&self) -> String {
        format!("members {}, healthy {}", self.members_configured, self.members_healthy)
    }
}

impl MemberReport {
    /// Its state in HAProxy's words.
    pub fn state(&self) -> &'static str {
        match (self.up, self.drain) {
            (false, _) => "DOWN",
            (true, true) => "DRAIN",
            (true, false) => "UP",
        }
    }
}
