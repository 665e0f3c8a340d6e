//! The machine beside the appliance: Debian's kernel NFS server, nginx, curl.

use std::time::Duration;

use anyhow::Result;

use super::SERVER;
use crate::cloud::Shell;
use crate::image;

/// What takes a minute on an emulated machine.
pub const LONG: Duration = Duration::from_mins(3);

/// Addresses; then a file server whose exports are in RAM, without the wait for clients of an earlier life: the one that is
/// used, and those that cannot be.
const SET_UP: &str = r"set -e
ip link set lo up
ip addr add 198.51.100.1/24 dev eth0; ip link set eth0 up
ip addr add 10.4.0.10/24 dev eth1; ip link set eth1 up
mkdir -p /srv /export /closed /readonly /squashed /run/rpcbind /run/rpc_pipefs
mount -t tmpfs -o size=100% tmpfs /srv
mount -t tmpfs -o size=100% tmpfs /export
mkdir /export/secondary /export/old
modprobe nfsd
mountpoint -q /proc/fs/nfsd || mount -t nfsd nfsd /proc/fs/nfsd
for folder in closed readonly squashed; do mount -t tmpfs -o size=1m,mode=0755 tmpfs /$folder; done
cat > /etc/exports <<'END'
/export 10.4.0.0/24(rw,fsid=0,no_root_squash,no_subtree_check)
/closed 192.0.2.0/24(rw,fsid=1,no_root_squash,no_subtree_check)
/readonly 10.4.0.0/24(ro,fsid=2,no_root_squash,no_subtree_check)
/squashed 10.4.0.0/24(rw,fsid=3,root_squash,no_subtree_check)
END
rpcbind
exportfs -ra
rpc.nfsd -G 10 4
rpc.mountd
echo Y > /proc/fs/nfsd/v4_end_grace || true
cat > /run/nginx.conf <<'END'
error_log stderr; pid /run/nginx.pid; user root; worker_processes 1;
events { worker_connections 64; }
http {
  access_log off; default_type application/octet-stream; root /srv;
  server { listen 198.51.100.1:80; location /slow/ { alias /srv/; limit_rate 256k; } }
}
END
nginx -c /run/nginx.conf";

/// A disk and the same packed, by digest.
#[derive(Debug)]
pub struct Disk {
    /// Of the disk.
    pub plain: String,
    /// Of the packed file.
    pub packed: String,
}

/// Sets the machine up.
pub async fn set_up(shell: &dyn Shell, boot: Duration) -> Result<()> {
    shell.ready(SERVER, boot).await?;
    done(shell, SET_UP).await.map(drop)
}

/// Runs a line, which must succeed; returns what it said.
pub async fn done(shell: &dyn Shell, line: &str) -> Result<String> {
    let output = shell.within(SERVER, line, LONG).await?;
    anyhow::ensure!(output.ok(), "`{line}`: {output:?}");
    Ok(output.stdout)
}

/// The address of a file on the web server.
pub fn url(file: &str) -> String {
    format!("http://198.51.100.1/{file}")
}

/// The same at a quarter of a MiB a second on each connection: the manager, which asks every five seconds, sees it under way.
pub fn slow_url(file: &str) -> String {
    format!("http://198.51.100.1/slow/{file}")
}

/// Brings the template from the attached disk to where nginx serves it; returns its digest.
pub async fn has_the_template(shell: &dyn Shell) -> Result<String> {
    let length = std::fs::metadata(image("sluice.qcow2"))?.len();
    done(shell, &format!("head -c {length} /dev/vdb > /srv/sluice.qcow2")).await?;
    sha256(shell, "/srv/sluice.qcow2").await
}

/// Makes a raw disk of noise of `size` bytes and packs it as `file`.
pub async fn makes_a_disk(shell: &dyn Shell, file: &str, size: usize) -> Result<Disk> {
    let line = format!(
        "head -c {size} /dev/urandom > /srv/plain && busybox gzip -c /srv/plain > /srv/{file}"
    );
    done(shell, &line).await?;
    let packed = sha256(shell, &format!("/srv/{file}")).await?;
    Ok(Disk { plain: sha256(shell, "/srv/plain").await?, packed })
}

/// The digest of a file there.
pub async fn sha256(shell: &dyn Shell, path: &str) -> Result<String> {
    Ok(done(shell, &format!("sha256sum {path}")).await?.chars().take(64).collect())
}

/// Unfinished files on its exports.
pub async fn parts(shell: &dyn Shell) -> Result<String> {
    done(shell, "find /export -path '*/.sluice/parts/*' -type f").await
}
