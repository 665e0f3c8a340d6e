//! One guest that opens more connections than a kernel of so little memory tracks by itself, which is 1,024.

use std::time::Duration;

use sluice_tests::cloud::internet::WEB_ADDRESS;
use sluice_tests::cloud::{INTERNET, Shell as _, guest};

use crate::world::World;

const CONNECTIONS: usize = 1100;
/// So many connections of emulated machines.
const SLOW: Duration = Duration::from_mins(2);

/// Takes what comes and says nothing.
fn sink() -> String {
    format!(
        "cat > /run/sink.py <<'END'
import resource, socket
resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
s = socket.create_server(('{WEB_ADDRESS}', 5005), backlog=2048)
held = []
while True: held.append(s.accept())
END
python3 /run/sink.py > /dev/null 2>&1 &
sleep 1"
    )
}

/// Holds its connections, once it has said how many there are.
fn crowd() -> String {
    format!(
        "cat > /run/crowd.py <<'END'
import resource, socket, time
resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
held = [socket.create_connection(('{WEB_ADDRESS}', 5005), timeout=20) for _ in range({CONNECTIONS})]
print(len(held), flush=True)
time.sleep(3600)
END
python3 /run/crowd.py > /run/crowd 2>&1 &
for i in $(seq 100); do [ -s /run/crowd ] && break; sleep 1; done
cat /run/crowd"
    )
}

pub(crate) async fn one_guest_with_many_connections_shuts_nobody_out(world: &World) {
    world.lab.done(INTERNET, &sink()).await.unwrap();
    let held = world.lab.within("vm1", &crowd(), SLOW).await.unwrap();
    assert_eq!(held.stdout.trim(), CONNECTIONS.to_string(), "{held:?}");
    // names, an address, a way out for another guest; the manager over a new connection
    let found = guest::look_up(&world.lab, "vm2", "vm1").await.unwrap();
    assert_eq!(found, [world.view.address("vm1").unwrap()]);
    world.lab.done("vm2", "busybox udhcpc -i eth0 -n -q -s /bin/true 2>&1").await.unwrap();
    world.visits("vm2", "net1").await;
    world.change(&["network", "update", "net1", "--lease-seconds", "7200"]);
    let status = world.in_sync().unwrap();
    assert_eq!(status[0].alarms, Vec::<String>::new(), "there is room for more");
    world.lab.done("vm1", "pkill -f crowd.py").await.unwrap();
}
