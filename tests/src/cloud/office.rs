//! The machine behind a VPC's private gateway: a next hop, a network behind it, and a page there.

use anyhow::{Context as _, Result};

use super::Shell;

/// Next hop of the static routes of examples/vpc.toml.
pub const GATEWAY: &str = "172.16.0.1";
/// A host of the network that the static route leads to.
pub const BRANCH: &str = "172.20.0.1";

/// Addresses, the way back to the VPC by the router's address, and a page that tells every visitor where it came from.
const SET_UP: &str = r#"ip link set lo up && ip link set eth0 up && ip addr add 172.16.0.1/24 dev eth0 &&
ip addr add 172.20.0.1/32 dev lo && ip route add 10.0.0.0/16 via 172.16.0.2 &&
cat > /run/nginx.conf <<'END'
user root; pid /run/nginx.pid; error_log /run/nginx.log;
events {}
http { access_log off; server { listen 172.20.0.1:80; default_type text/plain;
  location / { return 200 "hello from the office, you come from $remote_addr\n"; } } }
END
nginx -c /run/nginx.conf"#;

/// Sets the machine up.
pub async fn set_up(shell: &dyn Shell, host: &str) -> Result<()> {
    shell.done(host, SET_UP).await.map(drop)
}

/// Fetches the office's page; returns the address that it saw.
pub async fn visit(shell: &dyn Shell, from: &str) -> Result<String> {
    let line = format!("curl -sS --noproxy '*' --max-time 20 http://{BRANCH}/");
    let page = shell.done(from, &line).await?;
    let seen = page.trim().rsplit(' ').next().filter(|_| page.contains("hello from"));
    seen.map(str::to_owned).with_context(|| format!("{from}: unexpected page {page:?}"))
}
