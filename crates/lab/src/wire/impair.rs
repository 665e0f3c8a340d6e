//! What a wire or a port does to frames on purpose: loss and delay.
//!
//! Guarantees: values are in range once built; two impairments in a row combine as two real links
//! in a row would. Does not model bandwidth, duplication or corruption.

use std::time::Duration;

use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

/// The longest delay and jitter a wire takes, in milliseconds. Longer is a cut, not a delay.
pub const DELAY_LIMIT_MS: u32 = 10_000;

/// A share of frames, 0 to 100.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Default, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Percent(f64);

/// A value no wire can have.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum ImpairmentError {
    /// Not a share of frames.
    #[error("{0} is not a percentage: give a number from 0 to 100")]
    Percent(f64),
    /// Longer than [`DELAY_LIMIT_MS`].
    #[error("{0} ms is too long: a wire delays by at most {DELAY_LIMIT_MS} ms")]
    Delay(u32),
}

impl Percent {
    /// Checks the range 0 to 100.
    pub fn new(value: f64) -> Result<Self, ImpairmentError> {
        let fits = (0.0..=100.0).contains(&value);
        if fits { Ok(Self(value)) } else { Err(ImpairmentError::Percent(value)) }
    }

    /// The number, 0 to 100.
    pub fn get(self) -> f64 {
        self.0
    }
}

impl TryFrom<f64> for Percent {
    type Error = ImpairmentError;
    fn try_from(value: f64) -> Result<Self, ImpairmentError> {
        Self::new(value)
    }
}

impl From<Percent> for f64 {
    fn from(value: Percent) -> f64 {
        value.0
    }
}

/// Loss and delay of a wire or of one port. The default does nothing.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Impairment {
    /// Frames lost, in percent.
    pub loss_percent: Percent,
    /// Every frame is late by this much, in milliseconds.
    pub delay_ms: u32,
    /// And by a random 0 to this many milliseconds more; frames may overtake each other.
    pub jitter_ms: u32,
}

impl Impairment {
    /// Checks the bounds of delay and jitter.
    pub fn check(&self) -> Result<(), ImpairmentError> {
        [self.delay_ms, self.jitter_ms]
            .into_iter()
            .find(|ms| *ms > DELAY_LIMIT_MS)
            .map_or(Ok(()), |ms| Err(ImpairmentError::Delay(ms)))
    }

    /// Throws the dice: whether one frame is lost here.
    pub fn loses(&self, rng: &mut impl Rng) -> bool {
        let share = self.loss_percent.get() / 100.0;
        // asking for no dice when nothing is lost keeps a clean wire free of cost
        share > 0.0 && rng.random_bool(share.min(1.0))
    }

    /// How late one frame is.
    pub fn lateness(&self, rng: &mut impl Rng) -> Duration {
        let jitter = if self.jitter_ms == 0 { 0 } else { rng.random_range(0..=self.jitter_ms) };
        Duration::from_millis(u64::from(self.delay_ms) + u64::from(jitter))
    }
}
