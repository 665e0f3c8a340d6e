//! What a guest does in its network: take a lease, look names up, visit a page, listen.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use sluice_lab::Wait;
use sluice_lab::qemu::GuestOutput;

use super::{INTERNET, Shell, internet};

/// A stock client's patience, and more: machines are emulated.
const LEASE: Duration = Duration::from_mins(2);
const ANSWERED: Duration = Duration::from_secs(30);

/// What a guest made of its lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// `ADDRESS/PREFIX` on its NIC.
    pub address: String,
    /// Next hop of its default route.
    pub router: String,
    /// Its resolver.
    pub resolver: String,
    /// Where it looks short names up.
    pub domain: String,
    /// The server that gave it.
    pub server: String,
}

/// Takes a lease with Debian's dhclient, as a guest does at boot.
pub async fn take_lease(shell: &dyn Shell, guest: &str) -> Result<Lease> {
    let line = "ip link set lo up && ip link set eth0 up && dhclient -1 -v eth0 2>&1";
    let output = shell.within(guest, line, LEASE).await?;
    ensure!(output.ok(), "{guest}: dhclient took no lease:\n{}{}", output.stdout, output.stderr);
    held_lease(shell, guest).await
}

/// Reads the kernel's and the resolver's state, not what the client says.
async fn held_lease(shell: &dyn Shell, guest: &str) -> Result<Lease> {
    let addresses = json(shell, guest, "ip -j -4 addr show dev eth0").await?;
    let routes = json(shell, guest, "ip -j -4 route show default").await?;
    let resolv = shell.done(guest, "cat /etc/resolv.conf").await?;
    let leases = shell.done(guest, "cat /var/lib/dhcp/dhclient.leases").await?;
    Ok(Lease {
        address: format!(
            "{}/{}",
            text(at(&addresses, "/0/addr_info/0/local"))?,
            at(&addresses, "/0/addr_info/0/prefixlen")
        ),
        router: text(at(&routes, "/0/gateway"))?,
        resolver: word_after(&resolv, "nameserver ")?,
        domain: word_after(&resolv, "search ").or_else(|_| word_after(&resolv, "domain "))?,
        server: word_after(&leases, "option dhcp-server-identifier ")?,
    })
}

fn at<'a>(value: &'a Value, pointer: &str) -> &'a Value {
    value.pointer(pointer).unwrap_or(&Value::Null)
}

async fn json(shell: &dyn Shell, guest: &str, line: &str) -> Result<Value> {
    let said = shell.done(guest, line).await?;
    serde_json::from_str(&said).with_context(|| format!("{guest}: `{line}` said {said:?}"))
}

fn text(value: &Value) -> Result<String> {
    value.as_str().map(str::to_owned).with_context(|| format!("no text in {value}"))
}

fn word_after(text: &str, before: &str) -> Result<String> {
    let rest = text.split(before).nth(1);
    let word = rest.and_then(|rest| rest.split(|c: char| c.is_whitespace() || c == ';').next());
    word.map(str::to_owned).with_context(|| format!("no {before:?} in {text:?}"))
}

/// Looks a name up as any program of the guest does; all of its IPv4 addresses.
pub async fn look_up(shell: &dyn Shell, guest: &str, name: &str) -> Result<Vec<Ipv4Addr>> {
    let said = shell.sh(guest, &format!("getent ahostsv4 {name}")).await?;
    let lines = said.stdout.lines().filter(|line| line.contains("STREAM"));
    lines
        .map(|line| {
            let word = line.split_whitespace().next().unwrap_or_default();
            word.parse().with_context(|| format!("{guest}: getent said {line:?}"))
        })
        .collect()
}

/// Fetches the outside page; returns the address that the far side saw.
pub async fn visit(shell: &dyn Shell, guest: &str) -> Result<String> {
    let line = format!("curl -sS --noproxy '*' --max-time 20 http://{}/", internet::WEB_NAME);
    let page = shell.done(guest, &line).await?;
    let seen = page.trim().rsplit(' ').next().filter(|_| page.contains("hello from"));
    seen.map(str::to_owned).with_context(|| format!("{guest}: unexpected page {page:?}"))
}

/// Serves its own name at every path of a port.
pub async fn serve(shell: &dyn Shell, guest: &str, port: u16) -> Result<()> {
    let line = format!(
        "cat > /run/nginx-{port}.conf <<'END'\n\
         user root; pid /run/nginx-{port}.pid; error_log /run/nginx.log;\n\
         events {{}}\n\
         http {{ access_log off; server {{ listen {port}; default_type text/plain;\n\
           location / {{ return 200 \"{guest}\\n\"; }} }} }}\nEND\nnginx -c /run/nginx-{port}.conf"
    );
    shell.done(guest, &line).await.map(drop)
}

/// What a page says; `None` when there is none.
pub async fn page(shell: &dyn Shell, from: &str, at: &str) -> Result<Option<String>> {
    let line = format!("curl -s --noproxy '*' --max-time 5 http://{at}/");
    let output = shell.sh(from, &line).await?;
    Ok(output.ok().then(|| output.stdout.trim().to_owned()))
}

/// Whether the guest reaches the outside page by its address.
pub async fn reaches_outside(shell: &dyn Shell, guest: &str) -> Result<bool> {
    let line = format!("curl -s --noproxy '*' --max-time 5 http://{}/", internet::WEB_ADDRESS);
    Ok(shell.sh(guest, &line).await?.ok())
}

/// Listens on a TCP port and notes whoever says something.
pub async fn listen(shell: &dyn Shell, guest: &str, port: u16) -> Result<()> {
    let serve = format!(
        "(while true; do nc -l -p {port} >> /run/heard-{port} 2>/dev/null || nc -l {port} >> /run/heard-{port}; done) \
         >/dev/null 2>&1 </dev/null &"
    );
    shell.done(guest, &format!("touch /run/heard-{port}; {serve}")).await?;
    let listens = format!("ss -Hltn 'sport = :{port}' | grep -q .");
    Wait::until_async(ANSWERED, "the listener", || async {
        shell.sh(guest, &listens).await.ok().filter(GuestOutput::ok).map(drop)
    })
    .await
    .with_context(|| format!("on {guest}"))
}

/// What the listener on `port` has heard.
pub async fn heard(shell: &dyn Shell, guest: &str, port: u16) -> Result<String> {
    shell.done(guest, &format!("cat /run/heard-{port}")).await
}

/// Sends a word to a TCP port; whether the connection was made.
pub async fn knock(
    shell: &dyn Shell,
    host: &str,
    to: Ipv4Addr,
    port: u16,
    word: &str,
) -> Result<bool> {
    let line = format!("echo {word} | nc -N -w 3 {to} {port}");
    Ok(shell.sh(host, &line).await?.ok())
}

/// Tries to get in from outside: to the router's public address, and to the guest itself by a route through the
/// router. Returns what got through.
pub async fn intrude(
    shell: &dyn Shell,
    public: Ipv4Addr,
    guest: Ipv4Addr,
    port: u16,
) -> Result<Vec<String>> {
    shell.done(INTERNET, &format!("ip route replace {guest}/32 via {public}")).await?;
    let mut through = Vec::new();
    for (to, port) in [(public, port), (public, 53), (public, 3922), (guest, port)] {
        if knock(shell, INTERNET, to, port, "intruder").await? {
            through.push(format!("{to} port {port}"));
        }
    }
    Ok(through)
}

/// Waits until `host` answers a ping of `from`.
pub async fn pings(shell: &dyn Shell, from: &str, host: Ipv4Addr) -> Result<()> {
    let line = format!("ping -c 1 -W 2 {host}");
    let answered = Wait::until_async(ANSWERED, "a ping's answer", || async {
        shell.sh(from, &line).await.ok().filter(GuestOutput::ok).map(drop)
    });
    match answered.await {
        Ok(()) => Ok(()),
        Err(late) => bail!("{from} does not reach {host}: {late}"),
    }
}
