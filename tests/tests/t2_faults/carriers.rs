//! A wire to the outside that is pulled out.

use std::time::Duration;

use sluice_api::report::Phase;
use sluice_sys::kernel::Fault;
use sluice_tests::faults::{FileFault, Running, World};

use crate::before;

fn pull(running: &Running, link: &str, carrier: bool) {
    let change = |seen: &mut sluice_sys::model::Observed| {
        seen.links.get_mut(link).unwrap().carrier = carrier;
    };
    running.kernel.inner().edit(change).unwrap();
}

async fn alarms(running: &Running) -> Vec<String> {
    tokio::time::sleep(Duration::from_secs(15)).await; // the clock is paused
    running.handle.status().alarms
}

#[tokio::test(start_paused = true)]
async fn a_public_link_without_a_carrier_is_an_alarm_until_it_has_one() {
    let before = before().await;
    let running = World::in_dir(before.dir.path()).start(Fault::None, FileFault::None).await;
    assert_eq!(alarms(&running).await, Vec::<String>::new());
    // machines of guests come and go, and their carriers with them
    pull(&running, "guest0", false);
    assert_eq!(alarms(&running).await, Vec::<String>::new());
    pull(&running, "pub0", false);
    assert_eq!(alarms(&running).await, ["no carrier to the outside on pub0"]);
    let status = running.handle.status();
    assert_eq!(status.phase, Phase::InForce, "the configuration has no part in it");
    assert!(status.repairs.is_empty(), "and there is nothing to mend: {:?}", status.repairs);
    pull(&running, "pub0", true);
    assert_eq!(alarms(&running).await, Vec::<String>::new());
}
