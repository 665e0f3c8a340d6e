//! The cloud as people describe it ([`spec`]) and as the manager shows it ([`view`]).
//!
//! Guarantees: every field is a checked type; rules between fields are judged by `ops`. Not here: storage and allocation.

pub mod range;
pub mod spec;
pub mod view;

pub use range::VlanRange;
pub use spec::{
    CloudSpec, EndpointSpec, GuestPatch, GuestSpec, NetworkPatch, NetworkSpec,
    PhysicalNetworkPatch, PhysicalNetworkSpec, PublicRangeSpec, ZonePatch, ZoneSpec,
};
pub use view::{
    Allocation, AllocationState, Appliance, ApplianceNic, ApplianceStatus, Guest, Network, Nic,
    NicPurpose, PhysicalNetwork, PublicRange, Zone,
};
