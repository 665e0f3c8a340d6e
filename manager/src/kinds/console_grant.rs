//! Console grants: leave to use one VM's console; whoever shows the token has it.

use serde::{Deserialize, Serialize};
use sluice_api::config::ConsoleSource;
use sluice_api::types::{ApplianceId, Cidr, ObjectId, Secret, TokenHash};
use utoipa::ToSchema;

use super::image_grant::{a_day_from_now, token};
use super::screen::Screen;
use super::{Column, Context, Key, Kind, Names, NoPatch, named, of_router, rule};
use crate::error::Error;

/// A console grant; fields as in [`ConsoleGrantSpec`], references as ids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = ScreenGrant)]
pub struct ConsoleGrant {
    /// Never used again once deleted.
    pub id: ObjectId,
    /// Unique in the zone.
    pub name: ObjectId,
    /// Id of its zone.
    pub zone: ObjectId,
    /// Id of the console proxy.
    pub router: ApplianceId,
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
}

/// A console grant to be. The link is `https://HOST/#TOKEN`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConsoleGrantSpec {
    /// Screen, by name or id.
    pub screen: ObjectId,
    /// Unique in the zone.
    pub name: ObjectId,
    /// The token, 16 characters or more; only its hash is kept. Required when the grant is created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Secret>,
    /// For whom it is made, for the log. Default: not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Can nothing be typed, clicked or pasted? Default false.
    #[serde(default)]
    pub view_only: bool,
    /// When it and its sessions end, in seconds since 1970-01-01 UTC. Default: a day from now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<u64>,
    /// Is it for whichever browser has the link? Default: for the first that opens it.
    #[serde(default)]
    pub any_browser: bool,
    /// From where it may be used, in place of the first browser. Default: anywhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<Cidr>,
    /// Seconds without input after which a session ends. Default: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_seconds: Option<u32>,
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
        ("EXPIRES", "/expires"),
    ];

    type Spec = ConsoleGrantSpec;
    type Patch = NoPatch;

    named!();
    of_router!();

    async fn create(
        context: &mut Context<'_>,
        id: ObjectId,
        spec: ConsoleGrantSpec,
    ) -> Result<Self, Error> {
        let screen: Screen = context.find(None, &spec.screen).await?;
        let token = token("token", spec.token.as_ref())?;
        if spec.any_browser && !spec.sources.is_empty() {
            return Err(rule::invalid("sources", "is given in place of any_browser"));
        }
        Ok(Self {
            id,
            name: spec.name,
            zone: screen.zone,
            router: screen.router,
            screen: screen.id,
            token,
            user: spec.user,
            view_only: spec.view_only,
            expires: spec.expires.unwrap_or_else(a_day_from_now),
            any_browser: spec.any_browser,
            sources: spec.sources,
            idle_seconds: spec.idle_seconds,
        })
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
}
