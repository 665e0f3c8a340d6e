//! What was counted, as numbers that only rise: the kernel's counters begin anew with their rule and with the machine.
//!
//! Guarantees: no number of a report is ever smaller than in one before, whatever becomes of rules, configurations, the
//! agent and the machine: what was reported is on the disk before it is. What a rule or an element of the usage table
//! counted is read just before the transaction that takes it away, which asks for no more than goes; what it counts between
//! that and the transaction, some milliseconds, is lost, and what an agent had not written yet that was killed within
//! [`SOON`] of the change, or during the look beside which the change was made. No change waits for a look. Not here: what is counted, which the appliance's rules say.

mod gone;
mod meter;
mod pools;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sluice_api::report::{TrackingUse, UsageReport};
use sluice_sys::kernel::{Kernel, KernelError};
use sluice_sys::nft::{Counters, Script, TableId};
use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::warn;

use self::gone::Gone;
use self::meter::Meter;
use crate::causes::chain;
use crate::ledger::Files;

/// Time between two looks; more where a look takes long, so that looking never takes more than a two-hundredth.
const OFTEN: Duration = Duration::from_secs(30);
const SHARE: u32 = 200;

/// A look that takes longer is not made at each question, but after so many times as long as it took.
const LONG: Duration = Duration::from_millis(500);
const REST: u32 = 10;

/// Time from a change of rules until what it took away is written.
const SOON: Duration = Duration::from_secs(1);

/// The file that the numbers are kept in, and the one for what changes took away since that was written.
const FILE: &str = "usage";
const LEFT: &str = "usage-left";

/// Reads and keeps what was counted.
pub(crate) struct Usage {
    kernel: Arc<dyn Kernel>,
    files: Arc<dyn Files>,
    /// None until the first look.
    meter: Mutex<Option<Meter>>,
    /// One look at a time: two would count the same twice. What the last one took, and when it ended.
    looking: tokio::sync::Mutex<Option<(Duration, Instant)>>,
    /// What went since the look began that is under way, if one is. Held for moments: no change waits for a look.
    gone: tokio::sync::Mutex<Option<Gone>>,
    /// A change took something away.
    changed: Arc<Notify>,
}

impl Usage {
    /// Will go on from what is kept in `files`.
    pub(crate) fn new(kernel: Arc<dyn Kernel>, files: Arc<dyn Files>) -> Self {
        let (looking, gone) = (tokio::sync::Mutex::default(), tokio::sync::Mutex::default());
        Self { kernel, files, meter: Mutex::default(), looking, gone, changed: Arc::default() }
    }

    /// What was kept; what cannot be read counts as nothing, and the log says so.
    fn open(&self) -> Meter {
        let read = |file| match self.files.read(file) {
            Ok(kept) => kept.unwrap_or_default(),
            Err(error) => {
                warn!(%error, file, "what was counted before cannot be read");
                Vec::new()
            }
        };
        Meter::read(&read(FILE), &read(LEFT), &boot_id())
    }

    /// Looks again and again, and keeps what it finds, for as long as anybody holds on to `self`.
    pub(crate) async fn keep(this: std::sync::Weak<Self>) {
        let Some(changed) = this.upgrade().map(|usage| usage.changed.clone()) else { return };
        let mut next = Instant::now() + OFTEN;
        loop {
            let looks = tokio::select! {
                () = tokio::time::sleep_until(next) => true,
                () = changed.notified() => {
                    tokio::time::sleep(SOON).await;
                    false
                }
            };
            let Some(usage) = this.upgrade() else { return };
            let start = Instant::now();
            if looks {
                usage.look().await;
                usage.save();
                next = Instant::now() + OFTEN.max(start.elapsed() * SHARE);
            } else {
                usage.keep_file(LEFT, &usage.with(|meter| meter.write_left()));
            }
        }
    }

    /// Everything that is counted, read now; where reading takes long, read not long ago.
    pub(crate) async fn report(&self) -> UsageReport {
        if !self.is_recent().await {
            self.look().await;
            self.save();
        }
        let mut report = self.with(|meter| meter.report());
        report.tracking = self.kernel.tracking().await.ok().map(|counts| TrackingUse {
            entries: counts.entries,
            limit: counts.limit,
            insert_failed: counts.insert_failed,
            dropped: counts.dropped,
            early_dropped: counts.early_dropped,
        });
        if let Ok(flows) = self.kernel.flows().await {
            report.source_ports = pools::fullest(&flows);
        }
        report
    }

    /// Reads what the rules and elements counted that `script` takes away.
    pub(crate) async fn before_change(&self, script: &Script) {
        let mut gone = self.gone.lock().await;
        let leaving = async |table| self.kernel.leaving(script, &TableId::inet(table)).await;
        let rules = leaving(sluice_sys::model::TABLE_NAME).await;
        let usage = leaving(sluice_sys::model::USAGE_TABLE).await;
        match rules.and_then(|rules| Ok((rules, usage?))) {
            Ok((rules, usage)) if rules.each.is_empty() && usage.elements.is_empty() => {}
            Ok((mut rules, usage)) => {
                // a rule without an id is nobody's
                rules.each.retain(|(id, _), _| !id.is_empty());
                self.with(|meter| meter.take_leaving(&rules, &usage));
                if let Some(gone) = gone.as_mut() {
                    gone.note(&rules, &usage);
                }
                self.changed.notify_one();
            }
            Err(error) => warn!(error = %chain(&error), "what was counted cannot be read"),
        }
    }

    /// Whether whoever asks often would have the router do little else.
    async fn is_recent(&self) -> bool {
        let looked = *self.looking.lock().await;
        looked.is_some_and(|(took, ended)| took > LONG && ended.elapsed() < took * REST)
    }

    /// What cannot be read now is read the next time: nothing is taken for what has begun anew.
    async fn look(&self) {
        let mut looked = self.looking.lock().await;
        let start = Instant::now();
        *self.gone.lock().await = Some(Gone::default());
        let read = self.read().await;
        // until what was read is taken nothing goes
        let mut gone = self.gone.lock().await;
        let went = gone.take().unwrap_or_default();
        match read {
            Ok((rules, usage)) => self.with(|meter| meter.take_but(rules, usage, &went)),
            Err(error) => warn!(error = %chain(&error), "what was counted cannot be read"),
        }
        *looked = Some((start.elapsed(), Instant::now()));
    }

    /// Of rules and of the table of usage; of a table that is not there, nothing.
    async fn read(&self) -> Result<(Counters, Counters), KernelError> {
        let rules =
            self.kernel.rule_counters(&TableId::inet(sluice_sys::model::TABLE_NAME)).await?;
        let usage = self.kernel.counters(&TableId::inet(sluice_sys::model::USAGE_TABLE)).await?;
        Ok((rules, usage))
    }

    fn save(&self) {
        self.keep_file(FILE, &self.with(Meter::write));
    }

    fn keep_file(&self, file: &str, bytes: &[u8]) {
        if let Err(error) = self.files.replace(file, bytes) {
            warn!(error = %chain(&error), file, "what was counted cannot be kept");
        }
    }

    fn with<T>(&self, what: impl FnOnce(&mut Meter) -> T) -> T {
        let mut meter = self.meter.lock().unwrap_or_else(PoisonError::into_inner);
        what(meter.get_or_insert_with(|| self.open()))
    }
}

/// Another one after each start of the machine; with it the kernel's counters began anew.
fn boot_id() -> String {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
    text.map(|text| text.trim().to_owned()).unwrap_or_default()
}
