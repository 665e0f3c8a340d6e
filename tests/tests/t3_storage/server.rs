//! The other machine: Debian's kernel NFS server and nginx.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sluice_api::types::BlobDigest;
use sluice_lab::Lab;
use sluice_lab::qemu::GuestOutput;
use sluice_tests::image;

use super::world::{BOOT, World};

/// Its name in the lab.
pub(crate) const SERVER: &str = "server";
/// Where its web pages are.
const WEB: &str = "198.51.100.1";
/// Bytes of a file that cross the command channel at once.
const PIECE: usize = 3 << 20;
const LONG: Duration = Duration::from_mins(3);

/// Addresses; then a file server whose one export is in RAM, without the wait for clients of an earlier life.
const SET_UP: &str = r"set -e
ip link set lo up
ip addr add 10.4.0.10/24 dev eth0; ip link set eth0 up
ip addr add 198.51.100.1/24 dev eth1; ip link set eth1 up
mkdir -p /srv /export /run/rpcbind /run/rpc_pipefs
mount -t tmpfs -o size=100% tmpfs /srv
mount -t tmpfs -o size=100% tmpfs /export
mkdir /export/secondary /export/old
modprobe nfsd
mountpoint -q /proc/fs/nfsd || mount -t nfsd nfsd /proc/fs/nfsd
echo '/export 10.4.0.0/24(rw,fsid=0,no_root_squash,no_subtree_check)' > /etc/exports
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
  server { listen 198.51.100.1:80; location /slow/ { alias /srv/; limit_rate 512k; } }
}
END
nginx -c /run/nginx.conf";

/// A disk and the same packed, by digest.
pub(crate) struct Disk {
    pub(crate) plain: String,
    pub(crate) packed: String,
}

/// The machine, set up.
pub(crate) struct Server {
    lab: Arc<Lab>,
}

impl Server {
    pub(crate) async fn start(world: &World) -> Self {
        let server = Self { lab: Arc::clone(&world.lab) };
        server.lab.host(SERVER).unwrap().ready(BOOT).await.unwrap();
        server.done(SET_UP).await;
        server
    }

    pub(crate) async fn sh(&self, line: &str) -> GuestOutput {
        self.lab.host(SERVER).unwrap().sh_within(line, LONG).await.unwrap()
    }

    /// Runs a line, which must succeed; returns what it said.
    pub(crate) async fn done(&self, line: &str) -> String {
        let output = self.sh(line).await;
        assert!(output.ok(), "`{line}`: {output:?}");
        output.stdout
    }

    pub(crate) fn url(&self, file: &str) -> String {
        format!("http://{WEB}/{file}")
    }

    /// The same at half a MiB a second on each connection.
    pub(crate) fn slow_url(&self, file: &str) -> String {
        format!("http://{WEB}/slow/{file}")
    }

    /// Brings the template to where nginx serves it; returns its digest.
    pub(crate) async fn has_the_template(&self) -> String {
        let bytes = std::fs::read(image("sluice.qcow2")).unwrap();
        let machine = self.lab.machine(SERVER).unwrap();
        for piece in bytes.chunks(PIECE) {
            let line = "base64 -d >> /srv/sluice.qcow2";
            let said = machine.sh_reading(line, &STANDARD.encode(piece), LONG).await.unwrap();
            assert!(said.ok(), "{said:?}");
        }
        let digest = self.sha256("/srv/sluice.qcow2").await;
        let sent = BlobDigest::of(&bytes).to_string();
        assert_eq!(format!("sha256:{digest}"), sent, "the file did not cross the channel whole");
        digest
    }

    /// Makes a raw disk of noise and packs it.
    pub(crate) async fn makes_a_disk(&self, file: &str, size: usize) -> Disk {
        let line = format!(
            "head -c {size} /dev/urandom > /srv/plain && busybox gzip -c /srv/plain > /srv/{file}"
        );
        self.done(&line).await;
        let packed = self.sha256(&format!("/srv/{file}")).await;
        Disk { plain: self.sha256("/srv/plain").await, packed }
    }

    pub(crate) async fn sha256(&self, path: &str) -> String {
        self.done(&format!("sha256sum {path}")).await.chars().take(64).collect()
    }

    /// Unfinished files on the stores.
    pub(crate) async fn parts(&self) -> String {
        self.done("find /export -path '*/.sluice/parts/*' -type f").await
    }
}
