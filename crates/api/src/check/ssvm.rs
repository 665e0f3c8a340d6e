//! A secondary storage VM's part.

use super::Scope;
use crate::config::SsvmConfig;

impl SsvmConfig {
    #[allow(clippy::unused_self)] // the part is empty so far
    pub(crate) fn check(&self, _: &mut Scope<'_>) {}
}
