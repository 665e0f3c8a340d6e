//! What has been shown so far: a line while it happens, a table at the end.

#![allow(clippy::print_stdout)] // this program talks to a person

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use comfy_table::{Table, presets};
use indicatif::ProgressBar;

/// One thing that was shown.
#[derive(Debug)]
struct Step {
    what: String,
    seen: String,
    took: Duration,
    good: bool,
}

/// All that was shown, in order.
#[derive(Debug, Default)]
pub(super) struct Shown {
    steps: Vec<Step>,
}

impl Shown {
    /// Does one thing and notes what was seen of it; its error names the thing.
    pub(super) async fn step<T>(
        &mut self,
        what: &str,
        work: impl Future<Output = Result<(String, T)>>,
    ) -> Result<T> {
        let start = Instant::now();
        let spinner = ProgressBar::new_spinner().with_message(what.to_owned());
        spinner.enable_steady_tick(Duration::from_millis(100));
        let done = work.await;
        spinner.finish_and_clear();
        let (good, seen) = match &done {
            Ok((seen, _)) => (true, seen.clone()),
            Err(_) => (false, "failed".to_owned()),
        };
        let step = Step { what: what.to_owned(), seen, took: start.elapsed(), good };
        println!("{} {}: {} ({})", mark(good), step.what, step.seen, seconds(step.took));
        self.steps.push(step);
        done.map(|(_, value)| value).with_context(|| what.to_owned())
    }

    /// Everything as a table.
    pub(super) fn table(&self) {
        let mut table = Table::new();
        table.load_style(presets::UTF8_BORDERS_ONLY).set_header(["", "shown", "seen", "took"]);
        for Step { what, seen, took, good } in &self.steps {
            table.add_row([mark(*good), what, seen, &seconds(*took)]);
        }
        println!("\n{table}");
    }
}

fn mark(good: bool) -> &'static str {
    if good { "ok" } else { "FAILED" }
}

fn seconds(took: Duration) -> String {
    format!("{:.1} s", took.as_secs_f64())
}
