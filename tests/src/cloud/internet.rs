//! The machine that plays the Internet: the public gateway, the zone's two resolvers and a web page.

use anyhow::Result;

use super::{INTERNET, Shell};

/// Name of the web page's host.
pub const WEB_NAME: &str = "www.example.net";
/// Its address.
pub const WEB_ADDRESS: &str = "203.0.113.10";

/// Addresses of RFC 5737: the gateway of examples/first-network.toml, its resolvers, and the page.
const ADDRESSES: &str = "ip link set lo up && ip link set eth0 up && \
    ip addr add 198.51.100.1/24 dev eth0 && \
    for a in 192.0.2.53 192.0.2.54 203.0.113.10; do ip addr add $a/32 dev lo; done";

/// Knows one name and denies all others.
const RESOLVER: &str = "dnsmasq --no-resolv --no-hosts --user=root --bind-interfaces --except-interface=eth0 \
    --listen-address=192.0.2.53,192.0.2.54 --pid-file=/run/dnsmasq.pid \
    --host-record=www.example.net,203.0.113.10 --local=/example.net/";

/// Tells every visitor the address that it came from.
const PAGE: &str = r#"cat > /run/nginx.conf <<'END'
user root; pid /run/nginx.pid; error_log /run/nginx.log;
events {}
http { access_log off; server { listen 203.0.113.10:80; default_type text/plain;
  location / { return 200 "hello from www.example.net, you come from $remote_addr\n"; } } }
END
nginx -c /run/nginx.conf"#;

/// Sets the machine up.
pub async fn set_up(shell: &dyn Shell) -> Result<()> {
    for line in [ADDRESSES, RESOLVER, PAGE] {
        shell.done(INTERNET, line).await?;
    }
    Ok(())
}
