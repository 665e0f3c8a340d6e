//! Hosts in network namespaces of one machine.

/// A shell script: `guest` (10.1.1.23) and `inet` (198.51.100.1), with the machine as the router between them, by its links
/// `guest0` and `pub0`.
pub const TWO_HOSTS: &str = "set -e
for ns in guest inet; do ip netns add $ns; done
ip link add guest0 type veth peer name eth0 netns guest
ip link add pub0 type veth peer name eth0 netns inet
ip addr add 10.1.1.1/24 dev guest0
ip addr add 198.51.100.10/24 dev pub0
ip -n guest addr add 10.1.1.23/24 dev eth0
ip -n inet addr add 198.51.100.1/24 dev eth0
for link in guest0 pub0; do ip link set $link up; done
for ns in guest inet; do ip -n $ns link set eth0 up; done
ip -n guest route add default via 10.1.1.1
ip -n inet route add 10.1.1.0/24 via 198.51.100.10
sysctl -qw net.ipv4.ip_forward=1
";
