//! How members are checked.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::types::{CheckPath, DomainName, IntervalMilliseconds, Port, StatusNumber, Times};

/// The checks of one rule's members.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Health {
    /// What is asked. Default: a TCP connection; in UDP rules a datagram.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub check: Option<Check>,
    /// Time from check to check in milliseconds. Default 2000.
    pub interval_milliseconds: IntervalMilliseconds,
    /// How long one check may take, in milliseconds. Default 2000.
    pub timeout_milliseconds: IntervalMilliseconds,
    /// Good checks in a row after which a member that was down serves again. Default 2.
    pub rise: Times,
    /// Bad checks in a row after which a member is down. Default 3.
    pub fall: Times,
    /// The port that is checked. Default: the member's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<Port>,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            check: None,
            interval_milliseconds: IntervalMilliseconds::of(2000),
            timeout_milliseconds: IntervalMilliseconds::of(2000),
            rise: Times::of(2),
            fall: Times::of(3),
            port: None,
        }
    }
}

/// What is asked of a member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Check {
    /// Nothing: members always count as well.
    None,
    /// That it accepts a connection.
    Tcp,
    /// That its system does not refuse an empty datagram. Silence is well, since most services answer their own protocol
    /// alone; UDP rules only.
    Udp,
    /// That it answers a request.
    Http(HttpCheck),
    /// The same over TLS; the member's certificate is not judged, since such servers' are of their own making.
    Https(HttpCheck),
}

/// A request, and the answer that is good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HttpCheck {
    /// Default: GET.
    pub method: CheckMethod,
    /// Default: `/`.
    pub path: CheckPath,
    /// The `Host` of the request. Default: the member's address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<DomainName>,
    /// The lowest good status. Default 200.
    pub status_from: StatusNumber,
    /// The highest good status. Default 399.
    pub status_to: StatusNumber,
}

impl Default for HttpCheck {
    fn default() -> Self {
        Self {
            method: CheckMethod::Get,
            path: CheckPath::default(),
            host: None,
            status_from: StatusNumber::of(200),
            status_to: StatusNumber::of(399),
        }
    }
}

/// A method that changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum CheckMethod {
    /// GET.
    Get,
    /// HEAD.
    Head,
    /// OPTIONS.
    Options,
}

impl CheckMethod {
    /// As it stands in a request.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Options => "OPTIONS",
        }
    }
}
