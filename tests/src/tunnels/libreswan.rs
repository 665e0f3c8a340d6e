//! Debian's libreswan on a test host, as its own manual sets it up.

use anyhow::Result;

use super::soon;
use super::strongswan::Site;
use super::warrior::Warrior;
use crate::cloud::Shell;

/// pluto without systemd and without the shell script around it, its log in a file.
const START: &str = "mkdir -p /run/pluto/nss && certutil -N -d sql:/run/pluto/nss --empty-password && \
    printf 'config setup\\n\\tikev1-policy=accept\\n\\tuniqueids=no\\n' >/run/pluto/setup.conf && : >/run/pluto/secrets && \
    (/usr/libexec/ipsec/pluto --nofork --logfile /run/pluto.log --no-dnssec --config /run/pluto/setup.conf \
     --secretsfile /run/pluto/secrets --nssdir /run/pluto/nss --rundir /run/pluto --dumpdir /run/pluto \
     --ipsecdir /run/pluto >/run/pluto.out 2>&1 </dev/null &)";

/// What drives pluto.
const WHACK: &str = "/usr/libexec/ipsec/whack --rundir /run/pluto";

/// Everything that it knows, for a failure to print.
pub const STATE: &str = "/usr/libexec/ipsec/whack --rundir /run/pluto --trafficstatus; \
    /usr/libexec/ipsec/whack --rundir /run/pluto --showstates; tail -n 60 /run/pluto.log; \
    tail -n 40 /run/xl2tpd.log /run/ppp.log; ip addr; ip route; ip -s xfrm state";

/// Starts pluto.
pub async fn start(shell: &dyn Shell, host: &str) -> Result<()> {
    shell.done(host, START).await?;
    soon(shell, host, &format!("{WHACK} --status >/dev/null 2>&1")).await
}

/// A gateway's connection, which libreswan waits for. `proposal` is in libreswan's words for both phases, such as
/// `aes256-sha2_256;dh14`; `pfs` says whether new keys of tunnels have a group of their own; `more` are further lines.
pub async fn site(
    shell: &dyn Shell,
    host: &str,
    site: &Site,
    proposal: (&str, &str),
    pfs: bool,
    more: &str,
) -> Result<()> {
    let Site { address, router, network, remote, version, key, .. } = site;
    let (ike, esp) = proposal;
    let (exchange, pfs) = (version.max(&1), if pfs { "yes" } else { "no" });
    let conf = format!(
        "conn n\n\tkeyexchange=ikev{exchange}\n\tauthby=secret\n\tauto=ignore\n\tleft={address}\n\tright={router}\n\
         \tleftsubnet={network}\n\trightsubnet={remote}\n\tleftupdown=%disabled\n\tike={ike}\n\tesp={esp}\n\tpfs={pfs}\n{more}"
    );
    load(shell, host, &conf, &format!("{address} {router} : PSK \"{key}\"")).await
}

/// A road warrior's connection, begun; the call comes after it, as over strongSwan.
pub async fn dial(shell: &dyn Shell, host: &str, warrior: &Warrior) -> Result<()> {
    let Warrior { router, key, .. } = warrior;
    start(shell, host).await?;
    let conf = format!(
        "conn n\n\tkeyexchange=ikev1\n\tauthby=secret\n\tauto=ignore\n\ttype=transport\n\tleft=%defaultroute\n\
         \tleftprotoport=17/1701\n\tright={router}\n\trightid={router}\n\trightprotoport=17/1701\n\tleftupdown=%disabled\n\
         \tike=aes256-sha2_256;dh14\n\tesp=aes256-sha2_256\n\tpfs=no\n"
    );
    load(shell, host, &conf, &format!("%any {router} : PSK \"{key}\"")).await?;
    soon(shell, host, &format!("timeout 30 {WHACK} --name n --initiate >/run/initiate 2>&1"))
        .await?;
    warrior.call(shell, host).await
}

async fn load(shell: &dyn Shell, host: &str, conf: &str, secret: &str) -> Result<()> {
    let line = format!(
        "cat > /run/pluto/n.conn <<'END'\n{conf}\nEND\ncat > /run/pluto/secrets <<'END'\n{secret}\nEND\n\
         {WHACK} --name n --delete >/dev/null 2>&1; {WHACK} --listen >/run/load 2>&1; \
         /usr/libexec/ipsec/addconn --ctlsocket /run/pluto/pluto.ctl --config /run/pluto/n.conn n >>/run/load 2>&1 \
         || (cat /run/load; exit 1)"
    );
    shell.done(host, &line).await.map(drop)
}
