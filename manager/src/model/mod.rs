//! What people ask for and are shown besides the objects themselves, which are in [`crate::kinds`].

pub mod cloud;
pub mod protocol;
pub mod range;
pub mod until;
pub mod user_data;
pub mod view;

pub use cloud::CloudSpec;
pub use protocol::RuleProtocol;
pub use range::VlanRange;
pub use until::Until;
pub use user_data::UserData;
pub use view::{Allocation, AllocationState, ApplianceStatus, EndpointSpec};
