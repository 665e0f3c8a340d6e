//! Kinds of objects: one file each holds all that makes a kind, and [`KINDS`] is the one list of them.
//!
//! From the list follow the changes, the REST routes, the OpenAPI paths, the commands of `sluice`, the sections of a
//! description, and the order of making (first to last) and deleting (last to first): a kind stands behind the kinds
//! that it refers to. docs/architecture.md, "Add a kind", says which files that takes.
//!
//! A kind is a type (the object as it is shown and kept) with a [`Kind`] implementation. What is the same for all (the
//! row, names and references, what is in use) is in [`dynamic`], the comparison with a description in [`compare`], a kind
//! as a value in [`any`]; a kind states its fields, its keys and its own rules.

pub mod acl_list;
pub mod acl_rule;
pub mod any;
pub mod appliance;
pub mod balancer;
pub mod balancer_member;
pub mod compare;
pub mod console_grant;
pub(crate) mod console_home;
pub mod context;
pub mod customer_gateway;
mod derived;
pub mod dns_record;
pub mod dynamic;
pub mod egress_rule;
pub mod fields;
pub mod firewall_rule;
pub mod guest;
pub mod guest_nic;
pub mod image;
mod image_address;
pub mod image_copy;
pub mod image_grant;
pub mod image_link;
mod image_number;
mod image_quota;
pub mod image_state;
pub mod image_store;
mod image_users;
pub mod ipv6_firewall_rule;
pub mod keypair;
pub mod network;
pub mod nic;
mod patch;
pub mod physical_network;
pub mod port_forward;
pub mod private_gateway;
pub mod public_ip;
pub mod public_range;
pub mod remote_access;
pub(crate) mod role;
pub(crate) mod rule;
pub mod screen;
pub mod static_nat;
pub mod static_route;
mod strict;
mod tunnel;
pub mod uplink;
pub mod vpc;
pub mod vpn_connection;
pub mod vpn_user;
pub mod zone;

use std::fmt::Debug;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sluice_api::types::{ApplianceId, ObjectId};
use utoipa::ToSchema;

pub use any::{AnyKind, Of};
pub use context::Context;
pub use derived::fill;

use crate::error::Error;
use crate::store::objects::{Cell, Table};
use crate::store::reports::Reports;

/// Every kind, in the order in which objects are made.
pub static KINDS: &[&dyn AnyKind] = &[
    &Of::<zone::Zone>::NEW,
    &Of::<physical_network::PhysicalNetwork>::NEW,
    &Of::<public_range::PublicRange>::NEW,
    &Of::<appliance::Appliance>::NEW,
    &Of::<vpc::Vpc>::NEW,
    &Of::<acl_list::AclList>::NEW,
    &Of::<acl_rule::AclRule>::NEW,
    &Of::<network::Network>::NEW,
    &Of::<public_ip::PublicIp>::NEW,
    &Of::<keypair::Keypair>::NEW,
    &Of::<guest::Guest>::NEW,
    &Of::<guest_nic::GuestNic>::NEW,
    &Of::<dns_record::DnsRecord>::NEW,
    &Of::<private_gateway::PrivateGateway>::NEW,
    &Of::<static_route::StaticRoute>::NEW,
    &Of::<firewall_rule::FirewallRule>::NEW,
    &Of::<ipv6_firewall_rule::Ipv6FirewallRule>::NEW,
    &Of::<egress_rule::EgressRule>::NEW,
    &Of::<static_nat::StaticNat>::NEW,
    &Of::<port_forward::PortForward>::NEW,
    &Of::<balancer::Balancer>::NEW,
    &Of::<balancer_member::BalancerMember>::NEW,
    &Of::<remote_access::RemoteAccess>::NEW,
    &Of::<vpn_user::VpnUser>::NEW,
    &Of::<customer_gateway::CustomerGateway>::NEW,
    &Of::<vpn_connection::VpnConnection>::NEW,
    &Of::<screen::Screen>::NEW,
    &Of::<console_grant::ConsoleGrant>::NEW,
    &Of::<image_store::ImageStore>::NEW,
    &Of::<image::Image>::NEW,
    &Of::<image_grant::ImageGrant>::NEW,
];

/// The kind called `word`, such as `public range`.
pub fn by_word(word: &str) -> Option<&'static dyn AnyKind> {
    KINDS.iter().copied().find(|kind| kind.names().word == word)
}

/// The kind whose objects stand in the section `section` of a description, such as `public_ranges`.
pub fn by_section(section: &str) -> Option<&'static dyn AnyKind> {
    KINDS.iter().copied().find(|kind| kind.names().section() == section)
}

/// How a kind is called; every other spelling follows from these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Names {
    /// In sentences: `public range`. The command is `public-range`.
    pub word: &'static str,
    /// More than one: `public ranges`. The path is `/v1/public-ranges`, table and section are `public_ranges`.
    pub plural: &'static str,
    /// What ids begin with: `pr` for `pr-7`.
    pub prefix: &'static str,
    /// One line for the command line's help.
    pub about: &'static str,
}

impl Names {
    /// The command: `public-range`.
    pub fn command(&self) -> String {
        self.word.replace(' ', "-")
    }

    /// The path: `/v1/public-ranges`.
    pub fn path(&self) -> String {
        format!("/v1/{}", self.plural.replace(' ', "-"))
    }

    /// The section of a description, and the table: `public_ranges`.
    pub fn section(&self) -> String {
        self.plural.replace(' ', "_")
    }
}

/// A field that refers to another object, or that is also a column of the kind's table for the database to judge or to
/// search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// The field of the object, and the column.
    pub field: &'static str,
    /// The word of the kind that it refers to by id; none: it is a value.
    pub refers: Option<&'static str>,
    /// What the column holds; none: there is no such column.
    pub column: Option<Holds>,
}

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// Text.
    Text,
    /// A number.
    Number,
}

impl Key {
    /// `field` holds the id of an object of the kind called `word`. In a spec it may be its name as well.
    pub const fn to(field: &'static str, word: &'static str) -> Self {
        Self { field, refers: Some(word), column: Some(Holds::Text) }
    }

    /// The same without a column: what holds the other object back from deletion is said elsewhere.
    pub const fn named(field: &'static str, word: &'static str) -> Self {
        Self { field, refers: Some(word), column: None }
    }

    /// `field` is text.
    pub const fn text(field: &'static str) -> Self {
        Self { field, refers: None, column: Some(Holds::Text) }
    }

    /// `field` is a number.
    pub const fn number(field: &'static str) -> Self {
        Self { field, refers: None, column: Some(Holds::Number) }
    }
}

/// Heading of a column of `sluice KIND list`, and JSON pointer to the cell.
pub type Column = (&'static str, &'static str);

/// Something that can be done with an object besides changing it: `POST /v1/KINDS/{id}/NAME`, `sluice KIND NAME ID`.
#[derive(Clone, Copy, Debug)]
pub struct Action {
    /// Its name in the path and on the command line.
    pub name: &'static str,
    /// One line for the help.
    pub about: &'static str,
    /// Schema of its body; what is not an object with fields takes none.
    pub body: fn() -> fields::Fields,
}

/// What an appliance says of an object: `GET /v1/KINDS/{id}/state`, `sluice KIND state`.
#[derive(Clone, Copy, Debug)]
pub struct State {
    /// The service of the object's `router` whose report is asked for.
    pub service: &'static str,
    /// One line for the help.
    pub about: &'static str,
    /// Columns of the rows.
    pub columns: &'static [Column],
}

/// Changes to an object that cannot be changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NoPatch {}

/// What makes one kind of object. The type is the object as it is shown and kept; references in it are ids.
///
/// Only the constants, `id`, `name` and `create` have to be written. All functions run inside the transaction of the
/// change; an error undoes it.
pub trait Kind:
    Serialize + DeserializeOwned + ToSchema + Clone + Debug + Send + Sync + Sized + 'static
{
    /// How it is called.
    const NAMES: Names;
    /// Columns of its table besides those that every table has: id, owner, name, version, body.
    const KEYS: &'static [Key] = &[];
    /// Columns that are no fields and follow from it: what the database has to compare. A new one is filled in for objects
    /// that are there by the first manager that starts with it.
    const DERIVED: &'static [(&'static str, fn(&Self) -> Cell)] = &[];
    /// The key within which its names are unique; none: within the cloud.
    const SCOPE: Option<&'static str> = None;
    /// Columns of its list on the command line.
    const COLUMNS: &'static [Column];
    /// What else can be done with it.
    const ACTIONS: &'static [Action] = &[];
    /// Whether [`Kind::observe`] adds anything, of what secondary storage VMs said.
    const OBSERVED: bool = false;
    /// What its appliance says of it; none: nothing of its own.
    const STATE: Option<State> = None;

    /// What people ask for when they create one. References may be names or ids.
    type Spec: Serialize + DeserializeOwned + ToSchema + Clone + Send + Sync + 'static;
    /// What people ask for when they change one; [`NoPatch`] when they cannot.
    type Patch: Serialize + DeserializeOwned + ToSchema + Send + Sync + 'static;

    /// What the id of the object that `spec` asks for begins with; only a kind with several forms says so itself.
    fn prefix(_spec: &Self::Spec) -> &'static str {
        Self::NAMES.prefix
    }

    /// Its id.
    fn id(&self) -> ObjectId;

    /// How people call it; a kind without names of its own gives the id.
    fn name(&self) -> String;

    /// The object that follows from `spec`, with its allocations taken; the row is written by the caller afterwards.
    fn create(
        context: &mut Context<'_>,
        id: ObjectId,
        spec: Self::Spec,
    ) -> impl Future<Output = Result<Self, Error>> + Send;

    /// What has to happen once its row is there, such as rows that refer to it.
    fn created(
        &mut self,
        _context: &mut Context<'_>,
    ) -> impl Future<Output = Result<(), Error>> + Send {
        std::future::ready(Ok(()))
    }

    /// Makes the changes of `patch`; the row is written by the caller afterwards.
    fn update(
        &mut self,
        _context: &mut Context<'_>,
        _patch: Self::Patch,
    ) -> impl Future<Output = Result<(), Error>> + Send {
        std::future::ready(Ok(()))
    }

    /// What has to happen before its row goes: refuse with [`Error::InUse`], release, delete rows of its own. Objects
    /// of other kinds that refer to it by a [`Key`] have been looked for already.
    fn deleting(
        &mut self,
        _context: &mut Context<'_>,
    ) -> impl Future<Output = Result<(), Error>> + Send {
        std::future::ready(Ok(()))
    }

    /// What follows once its row is gone: links that only it needed.
    fn deleted(
        &self,
        _context: &mut Context<'_>,
    ) -> impl Future<Output = Result<(), Error>> + Send {
        std::future::ready(Ok(()))
    }

    /// Appliances whose configuration it has a part in: asked after each creation and change, and before each deletion.
    fn touches(
        &self,
        _context: &mut Context<'_>,
    ) -> impl Future<Output = Result<Vec<ApplianceId>, Error>> + Send {
        std::future::ready(Ok(Vec::new()))
    }

    /// The rows of [`Kind::STATE`], out of the service's report, which is null when it says nothing.
    fn state(
        &self,
        _context: &mut Context<'_>,
        _report: &Value,
    ) -> impl Future<Output = Result<Vec<Value>, Error>> + Send {
        std::future::ready(Ok(Vec::new()))
    }

    /// Carries out an action of [`Kind::ACTIONS`]; answers with what is shown.
    fn act(
        &mut self,
        _context: &mut Context<'_>,
        action: &'static str,
        _body: Value,
    ) -> impl Future<Output = Result<Value, Error>> + Send {
        std::future::ready(Err(Error::NotFound { kind: "action", name: action.to_owned() }))
    }

    /// Adds what its appliance last said of it, when it is shown; nothing of that is kept with it.
    fn observe(&mut self, _reports: &Reports) {}

    /// A deletion that has to wait until an appliance let go of something: for what, for a person. `apply` puts it off
    /// and says so; a deletion by itself is refused.
    fn waits(
        &self,
        _context: &mut Context<'_>,
    ) -> impl Future<Output = Result<Option<String>, Error>> + Send {
        std::future::ready(Ok(None))
    }

    /// Lets go of what a description gives to others, such as an address that two guests exchange, before any object of
    /// its kind is changed. `stated` is what the description says of it.
    fn yields(
        &mut self,
        _context: &mut Context<'_>,
        _stated: &Map<String, Value>,
    ) -> impl Future<Output = Result<(), Error>> + Send {
        std::future::ready(Ok(()))
    }

    /// True when a description that does not have it means that it is to go. What comes and goes with another object
    /// says false.
    fn prunes(&self) -> bool {
        true
    }

    /// The object that `spec` of a description is about, if there is one. `spec` has the stated fields alone. Default:
    /// the one of that name in its [`Kind::SCOPE`].
    fn locate(
        context: &mut Context<'_>,
        spec: &Map<String, Value>,
    ) -> impl Future<Output = Result<Option<Self>, Error>> + Send {
        dynamic::locate::<Self>(context, spec)
    }

    /// A spec in the form in which [`Kind::as_spec`] has it: sorted, with one of two spellings.
    fn canonical(spec: Self::Spec) -> Result<Self::Spec, Error> {
        Ok(spec)
    }

    /// The object in the form of its spec, references as ids: what a description is compared with, and exported as.
    /// Default: the fields that both have.
    fn as_spec(&self) -> Result<Map<String, Value>, Error> {
        dynamic::common_fields(self)
    }
}

/// `id` and `name` of a kind whose fields are called so.
macro_rules! named {
    () => {
        fn id(&self) -> ObjectId {
            self.id.clone()
        }

        fn name(&self) -> String {
            self.name.to_string()
        }
    };
}
use named;

/// `touches` of a kind that is of one appliance, its field `router`.
macro_rules! of_router {
    () => {
        async fn touches(&self, _: &mut Context<'_>) -> Result<Vec<ApplianceId>, Error> {
            Ok(vec![self.router.clone()])
        }
    };
}
use of_router;

/// The keys of a kind that are columns.
fn columns<K: Kind>() -> impl Iterator<Item = &'static Key> {
    K::KEYS.iter().filter(|key| key.column.is_some())
}

/// The table of a kind.
pub fn table<K: Kind>() -> Table {
    let derived = K::DERIVED.iter().map(|(column, _)| *column);
    let columns = columns::<K>().map(|key| key.field).chain(derived).collect();
    Table { name: K::NAMES.section(), columns }
}

#[cfg(test)]
mod tests;
