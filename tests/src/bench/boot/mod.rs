//! Start to first committed configuration, against the template's own kernel with an empty init.
//!
//! Ours and the rival take turns. Time on the clock is measured, and the processor time of the emulator, which a busy
//! host changes less. The client pushes as soon as the agent listens, over TLS, and confirms as the manager does.

mod bare;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use sluice_lab::spec::{Firmware, MachineSpec};
use sluice_lab::{Lab, Wait};

use super::Row;
use crate::cloud::single::{ROUTER, Single};
use crate::{faults, image};

const ROUNDS: usize = 5;
const BOUND: Duration = Duration::from_mins(3);
/// Time per tick of `/proc/PID/stat`: USER_HZ is 100 on every architecture that Linux still has.
const TICK_MS: f64 = 10.0;
const BUDGET: f64 = 2.0;

/// Time from power-on, in milliseconds.
#[derive(Clone, Copy, Debug, Default)]
struct Took {
    clock: f64,
    processor: f64,
}

/// Measures all ways of booting in turn.
pub fn run() -> Result<Vec<Row>> {
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    let mut all: [Vec<Took>; 4] = Default::default();
    for _ in 0..ROUNDS {
        let [bare, ours @ ..] = &mut all;
        bare.push(runtime.block_on(bare_kernel())?);
        for (took, firmware) in ours.iter_mut().zip(FIRMWARES) {
            took.push(runtime.block_on(template(firmware))?);
        }
    }
    let [bare, ours @ ..] = all.map(|mut rounds| median(&mut rounds));
    Ok(ours
        .iter()
        .zip(FIRMWARES)
        .flat_map(|(ours, firmware)| rows(firmware, *ours, bare))
        .collect())
}

const FIRMWARES: [Firmware; 3] = [Firmware::Direct, Firmware::Bios, Firmware::Uefi];

fn rows(firmware: Firmware, ours: Took, bare: Took) -> [Row; 2] {
    let way = match firmware {
        Firmware::Direct => "kernel and initrd",
        Firmware::Bios => "disk with SeaBIOS",
        Firmware::Uefi => "disk with OVMF",
    };
    // the bare kernel has no firmware to wait for, so the budget is for the same way of loading
    let budgeted = firmware == Firmware::Direct;
    [
        row(&format!("{way}, clock"), ours.clock, bare.clock, budgeted),
        row(&format!("{way}, processor"), ours.processor, bare.processor, budgeted),
    ]
}

fn row(case: &str, ours: f64, rival: f64, budgeted: bool) -> Row {
    let budget = format!("<= {BUDGET} x the bare kernel");
    Row {
        bench: "boot".into(),
        case: format!("to the first commit, {case}"),
        unit: "ms".into(),
        ours,
        rival: Some(rival),
        rival_name: Some("kernel + empty init".into()),
        ratio: Some(rival / ours),
        budget: budgeted.then_some(budget),
        within: budgeted.then_some(ours <= BUDGET * rival),
    }
}

fn median(rounds: &mut [Took]) -> Took {
    let mut middle = |part: fn(&Took) -> f64| {
        rounds.sort_by(|a, b| part(a).total_cmp(&part(b)));
        rounds.get(rounds.len() / 2).map(part).unwrap_or_default()
    };
    Took { clock: middle(|took| took.clock), processor: middle(|took| took.processor) }
}

async fn template(firmware: Firmware) -> Result<Took> {
    let machine = MachineSpec { start: false, ..MachineSpec::template().firmware(firmware) };
    let single = Single::start("bench-boot", machine, |lab| lab).await?;
    let start = Instant::now();
    let router = single.lab.machine(ROUTER)?;
    router.power_on().await?;
    // a connection that is tried too soon is repeated by TCP only after a second
    router.console_until("API listens", BOUND).await?;
    single.push_and_confirm(&faults::example()).await?;
    let took = took(&single.lab, ROUTER, start).await?;
    single.lab.down().await?;
    Ok(took)
}

async fn bare_kernel() -> Result<Took> {
    let folder = tempfile::tempdir()?;
    let initrd = folder.path().join("bare.initrd");
    std::fs::write(&initrd, bare::initrd())?;
    let machine = MachineSpec {
        ram_mib: MachineSpec::TEMPLATE_RAM_MIB,
        kernel: Some(image("sluice.vmlinuz")),
        initrd: Some(initrd),
        start: false,
        ..MachineSpec::host()
    };
    let lab = Lab::builder("bench-bare").machine("bare", machine).start().await?;
    let start = Instant::now();
    let bare = lab.machine("bare")?;
    bare.power_on().await?;
    let said = || async { bare.console_text().await.contains(bare::SAID).then_some(()) };
    Wait::until_async(BOUND, "the bare kernel's init", said).await?;
    let took = took(&lab, "bare", start).await?;
    lab.down().await?;
    Ok(took)
}

async fn took(lab: &Lab, machine: &str, start: Instant) -> Result<Took> {
    let clock = start.elapsed().as_secs_f64() * 1e3;
    let pid = lab.machine(machine)?.status().await.pid.context("the machine is off")?;
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // utime and stime, fields 14 and 15; the name before them may hold blanks (proc(5))
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks =
        after_name.split_whitespace().skip(11).take(2).filter_map(|n| n.parse::<f64>().ok());
    Ok(Took { clock, processor: ticks.sum::<f64>() * TICK_MS })
}
