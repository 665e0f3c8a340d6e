//! Version 2 of the configuration: one head for every appliance, and a part for its role.

mod appliance;
pub mod balancer;
mod blobs;
mod dhcp;
mod dns;
mod ends;
mod firewall;
mod link;
mod metadata;
mod needs;
mod network;
mod proxy;
mod public;
mod range;
mod role;
mod route;
mod router;
pub mod ssvm;
mod traffic;
mod uplink;
mod vpc;
pub mod vpn;

pub use appliance::{ApplianceConfig, ConfigVersion, Control};
pub use dhcp::{DhcpBoot, DhcpOption, DhcpValue, GuestDhcp};
pub use dns::{
    DnsConfig, DnsRecord, ForwardZone, NetworkDns, RecordData, UpstreamTls, can_be_asked,
};
pub use ends::Ending;
pub use firewall::{EgressRule, FirewallRule, Ipv6FirewallRule};
pub use link::{Attachment, Link, LinkRole};
pub use metadata::{GuestMetadata, GuestPassword, TokenPolicy};
pub use needs::{
    CONSOLE_QUESTIONS, DNS_TLS_BY_NETWORK, DNS_WILDCARDS, HELPERS, IPV6_UPLINKS,
    LINK_LOCAL_GATEWAYS, NETWORK_RANGES, UPLINK_PROBES, UPLINK_PROBES_IPV6,
};
pub use network::{
    ClasslessRoute, DhcpConfig, EgressPolicy, Guest, GuestNetwork, NetworkIpv6, SourceNat,
};
pub use proxy::{
    ConsoleCertificate, ConsoleGrant, ConsoleLimits, ConsoleSettings, ConsoleSource, ProxyConfig,
    Screen, ScreenState, ScreenTls, Unencrypted,
};
pub use public::{ForwardProtocol, PortForward, PublicAddress, StaticNat};
pub use range::NetworkRange;
pub use role::{
    AnyPart, Part, ProxyDocument, ProxyPart, RouterDocument, RouterPart, SsvmDocument, SsvmPart,
};
pub use route::{PolicyRule, Route};
pub use router::RouterConfig;
pub use ssvm::SsvmConfig;
pub use traffic::{Helper, Traffic};
pub use uplink::{Uplink, UplinkProbe};
pub use vpc::{Acl, AclAction, AclDirection, AclRule, PrivateGateway, Vpc};
