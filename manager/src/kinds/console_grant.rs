//! Console grants: leave to use one VM's console; whoever shows the token has it.
//!
//! Guarantees: of a token only its hash is kept. Every console proxy of the zone knows the grant, so that a session goes on
//! at another one when its own is gone; one of them, the least loaded when the grant was made, is its home, where the link
//! leads and where a first browser is taken.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};
use sluice_api::config::{ConsoleLimits, ConsoleSource};
use sluice_api::types::{ApplianceId, Cidr, ObjectId, Secret, TokenHash};
use utoipa::ToSchema;

use super::image_grant::{a_day_from_now, ahead, token};
use super::patch::stated;
use super::screen::Screen;
use super::{Column, Context, Key, Kind, Names, console_home, named, role, rule};
use crate::error::Error;
use crate::store::observations::now;

/// How long a grant that is over is kept, in seconds: until then its link says that it has expired.
const KEPT: u64 = 86_400;

/// A console grant; fields as in [`ConsoleGrantSpec`], references as ids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = ScreenGrant)]
pub struct ConsoleGrant {
    /// Never used again once deleted.
    pub id: ObjectId,
    /// Unique in the zone; the id unless one was given.
    pub name: ObjectId,
    /// Id of its zone.
    pub zone: ObjectId,
    /// Id of the console proxy that its link leads to.
    pub router: ApplianceId,
    /// Was it used before it was moved to that proxy? Then no first browser is taken there.
    #[serde(default)]
    pub taken: bool,
    /// Id of the screen.
    pub screen: ObjectId,
    /// What the token hashes to.
    pub token: TokenHash,
    /// For whom it was made.
    pub user: Option<String>,
    /// Can nothing be typed, clicked or pasted?
    pub view_only: bool,
    /// When it and its sessions end, in seconds since 1970-01-01 UTC.
    pub expires: u64,
    /// Is it for whichever browser has the link, and not for the first one alone?
    pub any_browser: bool,
    /// From where it may be used; empty: anywhere.
    pub sources: Vec<Cidr>,
    /// Seconds without input after which a session ends; none: never.
    pub idle_seconds: Option<u32>,
    /// Sessions at the same time.
    pub sessions: u16,
    /// Bytes of screen per second and session; none: any.
    #[schema(value_type = Option<u32>, minimum = 1)]
    pub screen_bytes_per_second: Option<NonZeroU32>,
    /// Messages taken from the browser per second and session.
    #[schema(value_type = u32, minimum = 1)]
    pub messages_per_second: NonZeroU32,
    /// Longest clipboard text in bytes.
    pub clipboard_bytes: u32,
}

/// Longest name of whom a grant is for, in characters: it stands in each report of its sessions.
const LONGEST_USER: usize = 255;

/// A console grant to be. The link is the proxy's address, a `#` and the token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConsoleGrantSpec {
    /// Screen, by name or id.
    pub screen: ObjectId,
    /// Unique in the zone. Default: its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<ObjectId>,
    /// The token, 16 characters or more; only its hash is kept. Required when the grant is created;
    /// `POST /v1/screens/{id}/console` and `sluice console` make one themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Secret>,
    /// For whom it is made, for the log; 255 characters or less. Default: not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Can nothing be typed, clicked or pasted? Default false.
    #[serde(default)]
    pub view_only: bool,
    /// When it and its sessions end, in seconds since 1970-01-01 UTC, ahead. Default: a day from now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<u64>,
    /// Is it for whichever browser has the link? Default: for the first that opens it.
    #[serde(default)]
    pub any_browser: bool,
    /// From where it may be used, in place of the first browser. Default: anywhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<Cidr>,
    /// Seconds without input after which a session ends, 1 or more. Default: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_seconds: Option<u32>,
    /// Sessions at the same time, 1 or more. Default 4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sessions: Option<u16>,
    /// Bytes of screen per second and session, 1 or more. Default: no bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub screen_bytes_per_second: Option<u32>,
    /// Messages taken from the browser per second and session, 1 or more; more wait. Default 500.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub messages_per_second: Option<u32>,
    /// Longest clipboard text in bytes, as sent. Default 1 MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clipboard_bytes: Option<u32>,
}

/// Changes to a console grant; they count at once, for sessions that run as well. What is left out stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConsoleGrantPatch {
    /// Can nothing be typed, clicked or pasted from now on?
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub view_only: Option<bool>,
    /// New end, in seconds since 1970-01-01 UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<u64>,
    /// New time without input after which a session ends; null: none does.
    #[serde(default, deserialize_with = "stated", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u32>)]
    pub idle_seconds: Option<Option<u32>>,
}

impl Kind for ConsoleGrant {
    const NAMES: Names = Names {
        word: "console grant",
        plural: "console grants",
        prefix: "gr",
        about: "Leave to use the console of a VM",
    };
    const KEYS: &'static [Key] =
        &[Key::to("zone", "zone"), Key::to("router", "appliance"), Key::to("screen", "screen")];
    const SCOPE: Option<&'static str> = Some("zone");
    const COLUMNS: &'static [Column] = &[
        ("ID", "/id"),
        ("NAME", "/name"),
        ("SCREEN", "/screen"),
        ("USER", "/user"),
        ("VIEW ONLY", "/view_only"),
        ("PROXY", "/router"),
        ("EXPIRES", "/expires"),
    ];

    type Spec = ConsoleGrantSpec;
    type Patch = ConsoleGrantPatch;

    named!();

    async fn create(
        context: &mut Context<'_>,
        id: ObjectId,
        spec: ConsoleGrantSpec,
    ) -> Result<Self, Error> {
        let screen: Screen = context.find(None, &spec.screen).await?;
        let token = token("token", spec.token.as_ref())?;
        rule::line("user", spec.user.as_deref())?;
        if spec.user.as_deref().is_some_and(|user| user.chars().count() > LONGEST_USER) {
            return Err(rule::invalid(
                "user",
                format!("must have {LONGEST_USER} characters or less"),
            ));
        }
        if spec.any_browser && !spec.sources.is_empty() {
            return Err(rule::invalid("sources", "is given in place of any_browser"));
        }
        let limits = limits(&spec)?;
        Ok(Self {
            name: spec.name.unwrap_or_else(|| id.clone()),
            id,
            router: console_home::home(context, &screen.zone, None).await?,
            taken: false,
            zone: screen.zone,
            screen: screen.id,
            token,
            user: spec.user,
            view_only: spec.view_only,
            expires: spec.expires.map_or_else(|| Ok(a_day_from_now()), ahead)?,
            any_browser: spec.any_browser,
            sources: spec.sources,
            idle_seconds: some("idle_seconds", spec.idle_seconds)?.map(NonZeroU32::get),
            sessions: limits.sessions,
            screen_bytes_per_second: limits.screen_bytes_per_second,
            messages_per_second: limits.messages_per_second,
            clipboard_bytes: limits.clipboard_bytes,
        })
    }

    /// Takes away those that have been over for long: nobody else would.
    async fn created(&mut self, context: &mut Context<'_>) -> Result<(), Error> {
        let long_ago = u64::try_from(now()).unwrap_or(0).saturating_sub(KEPT);
        for grant in context.all::<Self>(&[("zone", self.zone.as_str())]).await? {
            // what a description states stays what it states
            if grant.expires < long_ago && grant.name == grant.id && grant.id != self.id {
                context.remove(grant).await?;
            }
        }
        Ok(())
    }

    async fn update(&mut self, _: &mut Context<'_>, patch: ConsoleGrantPatch) -> Result<(), Error> {
        self.view_only = patch.view_only.unwrap_or(self.view_only);
        self.expires = patch.expires.unwrap_or(self.expires);
        if let Some(idle) = patch.idle_seconds {
            self.idle_seconds = some("idle_seconds", idle)?.map(NonZeroU32::get);
        }
        Ok(())
    }

    async fn touches(&self, context: &mut Context<'_>) -> Result<Vec<ApplianceId>, Error> {
        let proxies = role::proxies(context, &self.zone).await?;
        Ok(proxies.into_iter().map(|proxy| proxy.id).collect())
    }

    /// One that was made for a link comes and goes with it.
    fn prunes(&self) -> bool {
        self.name != self.id
    }
}

impl ConsoleGrant {
    /// From where it may be used.
    pub(crate) fn source(&self) -> ConsoleSource {
        if self.any_browser {
            ConsoleSource::Any
        } else if self.sources.is_empty() {
            ConsoleSource::FirstBrowser
        } else {
            ConsoleSource::Networks(self.sources.clone())
        }
    }

    /// Bounds of its sessions.
    pub(crate) fn limits(&self) -> ConsoleLimits {
        ConsoleLimits {
            sessions: self.sessions,
            screen_bytes_per_second: self.screen_bytes_per_second,
            messages_per_second: self.messages_per_second,
            clipboard_bytes: self.clipboard_bytes,
        }
    }
}

/// A number that is 1 or more, if there is one.
fn some(field: &'static str, value: Option<u32>) -> Result<Option<NonZeroU32>, Error> {
    match value.map(NonZeroU32::new) {
        Some(None) => Err(rule::invalid(field, "must be 1 or more")),
        Some(bound) => Ok(bound),
        None => Ok(None),
    }
}

fn limits(spec: &ConsoleGrantSpec) -> Result<ConsoleLimits, Error> {
    let usual = ConsoleLimits::default();
    some("sessions", spec.sessions.map(u32::from))?;
    let messages = some("messages_per_second", spec.messages_per_second)?;
    Ok(ConsoleLimits {
        sessions: spec.sessions.unwrap_or(usual.sessions),
        screen_bytes_per_second: some("screen_bytes_per_second", spec.screen_bytes_per_second)?,
        messages_per_second: messages.unwrap_or(usual.messages_per_second),
        clipboard_bytes: spec.clipboard_bytes.unwrap_or(usual.clipboard_bytes),
    })
}

/// Which grants are to be taken away: those that fit everything that is given, of which something must be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RevokeSpec {
    /// Screen of the VM, by name or id. Default: of any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub screen: Option<ObjectId>,
    /// For whom they were made. Default: for anybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}

/// Grants that were taken away; their sessions end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Revoked {
    /// Their ids.
    pub revoked: Vec<ObjectId>,
}

/// Takes away grants by VM, by user, or by both.
pub(crate) async fn revoke(context: &mut Context<'_>, spec: &RevokeSpec) -> Result<Revoked, Error> {
    let screen = match &spec.screen {
        Some(name) => Some(context.find::<Screen>(None, name).await?.id),
        None if spec.user.is_none() => {
            return Err(rule::invalid("screen", "say a screen, a user, or both"));
        }
        None => None,
    };
    let filter: Vec<_> = screen.iter().map(|id| ("screen", id.as_str())).collect();
    let mut revoked = Vec::new();
    for grant in context.all::<ConsoleGrant>(&filter).await? {
        if spec.user.is_none() || spec.user == grant.user {
            revoked.push(grant.id.clone());
            context.remove(grant).await?;
        }
    }
    Ok(Revoked { revoked })
}
