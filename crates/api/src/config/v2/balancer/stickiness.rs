//! Sticky session policies, with the guide's parameters and defaults.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::types::{CookieDomain, CookieLength, CookieName, HoldSeconds, TableSize};

/// What binds a client to a member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Stickiness {
    /// A cookie that the balancer makes. HTTP only.
    LbCookie(LbCookie),
    /// A cookie that the members' application makes. HTTP only.
    AppCookie(AppCookie),
    /// The client's address.
    SourceBased(SourceBased),
}

impl Stickiness {
    /// Whether it can only be honoured where requests are understood.
    pub const fn needs_http(&self) -> bool {
        !matches!(self, Self::SourceBased(_))
    }
}

/// A cookie of the balancer's, whose value names the member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LbCookie {
    /// The cookie's name.
    pub name: CookieName,
    /// How the member's name gets into it. Default: insert.
    #[serde(default)]
    pub mode: CookieMode,
    /// Members do not see the cookie. Default false; insert mode only.
    #[serde(default)]
    pub indirect: bool,
    /// An answer that sets the cookie is marked `Cache-Control: private`. Default false.
    #[serde(default)]
    pub nocache: bool,
    /// Only answers to POST set the cookie. Default false; insert mode only.
    #[serde(default)]
    pub postonly: bool,
    /// Domains that the cookie is set for, with a leading dot or without; one `Set-Cookie` names all. Default: the host
    /// asked; insert mode only.
    #[serde(default)]
    pub domains: Vec<CookieDomain>,
}

/// How the member's name gets into the cookie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CookieMode {
    /// The balancer sets the cookie.
    #[default]
    Insert,
    /// The member sets it, and the balancer puts the member's name in place of the value.
    Rewrite,
    /// The member sets it, and the balancer puts the member's name and `~` before the value, and takes it away again.
    Prefix,
}

/// A cookie of the application's, remembered together with the member that set it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AppCookie {
    /// The cookie's name.
    pub name: CookieName,
    /// Characters of the value that are looked at. Default 52.
    #[serde(default)]
    pub length: CookieLength,
    /// Seconds that an unused value is remembered. Default 10800 (3 h).
    #[serde(default = "three_hours")]
    pub hold_seconds: HoldSeconds,
    /// A value seen in a request only is remembered as well. Default false.
    #[serde(default)]
    pub request_learn: bool,
    /// The name need only begin a cookie's name; the rest of it, and the value, count together. Default false.
    #[serde(default)]
    pub prefix: bool,
    /// Where the value may stand in the address of a request. Default: path parameters.
    #[serde(default)]
    pub mode: UrlMode,
}

/// Where in a request's address an application puts the value when it has no cookie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum UrlMode {
    /// `/page;NAME=VALUE`.
    #[default]
    PathParameters,
    /// `/page?NAME=VALUE`.
    QueryString,
}

/// Clients' addresses, remembered together with their members.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SourceBased {
    /// Addresses remembered; the one unused longest gives way. Default 204800 (200k).
    pub table_size: TableSize,
    /// Seconds that an unused address is remembered. Default 1800 (30 min).
    pub expire_seconds: HoldSeconds,
}

impl Default for SourceBased {
    fn default() -> Self {
        Self { table_size: TableSize::of(204_800), expire_seconds: HoldSeconds::of(1800) }
    }
}

fn three_hours() -> HoldSeconds {
    HoldSeconds::of(10_800)
}
