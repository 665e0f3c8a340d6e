//! A Debian machine's own strongSwan.

use super::world::World;

/// charon without systemd, with its log in a file.
const START: &str = r"cat > /etc/strongswan.conf <<'END'
charon-systemd {
  journal {
    default = -1
  }
  filelog {
    f {
      path = /run/charon.log
      default = 1
      flush_line = yes
    }
  }
  plugins {
    include strongswan.d/charon/*.conf
  }
}
END
(charon-systemd >/run/charon.out 2>&1 </dev/null &)
for i in $(seq 200); do swanctl --stats >/dev/null 2>&1 && exit 0; sleep 0.1; done; cat /run/charon.out; exit 1";

/// Starts charon on `host`.
pub(crate) async fn start(world: &World, host: &str) {
    world.done(host, START).await;
}

/// Ends it without a word to anybody, as a power cut does.
pub(crate) async fn kill(world: &World, host: &str) {
    world.done(host, "kill -9 $(pidof charon-systemd); rm -f /run/charon.vici; ip xfrm state flush; ip xfrm policy flush").await;
}

/// Loads a configuration in place of the one before.
pub(crate) async fn load(world: &World, host: &str, swanctl: &str) {
    let line = format!(
        "cat > /etc/swanctl/swanctl.conf <<'END'\n{swanctl}\nEND\nswanctl --load-all --clear >/run/load 2>&1 || (cat /run/load; exit 1)"
    );
    world.done(host, &line).await;
}
