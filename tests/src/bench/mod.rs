//! Benchmarks: ours and the rival's from one run, as a ratio.

use serde::Serialize;

/// One measured case; `cargo xtask bench --json` prints one of these a line.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Name of the benchmark, such as `dhcp`.
    pub bench: String,
    /// What was measured.
    pub case: String,
    /// Unit of `ours` and `rival`.
    pub unit: String,
    /// Our figure.
    pub ours: f64,
    /// The rival's figure from the same run.
    pub rival: Option<f64>,
    /// Who the rival is.
    pub rival_name: Option<String>,
    /// Ours against the rival's; greater than 1 means ours is better, whatever the unit.
    pub ratio: Option<f64>,
    /// The budget in words, from design section 10.
    pub budget: Option<String>,
    /// Whether the budget holds; `None` where there is none.
    pub within: Option<bool>,
}
