//! What becomes of a connection that comes to a balanced address: the layer behind the packet rules.

use std::net::IpAddr;

use sluice_api::RouterDocument;
use sluice_api::config::balancer::{Balancer, Member};
use sluice_api::report::Balanced;
use sluice_api::types::Port;

/// The TCP or HTTP rule that a connection from `from` to `to` and `port` comes to; `None` when there is none. Rules for UDP
/// are packet rules.
pub(crate) fn balanced(
    config: &RouterDocument,
    from: IpAddr,
    to: IpAddr,
    port: Port,
) -> Option<Balanced> {
    let here = |rule: &&Balancer| !rule.is_in_kernel() && rule.address == to && rule.port == port;
    let rule = config.role.balancers.iter().find(here)?;
    let let_in = rule.sources.is_empty() || rule.sources.iter().any(|it| it.contains(from));
    let takes = |member: &&Member| !member.drain && member.weight.get() > 0;
    let members = rule.members.iter().filter(takes);
    let members = members.map(|member| format!("{} {}", member.id, member.endpoint())).collect();
    Some(Balanced { rule: rule.id.clone(), let_in, members })
}
