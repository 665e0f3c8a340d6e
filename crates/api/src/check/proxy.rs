//! A console proxy's part.

use super::Scope;
use crate::config::ProxyConfig;

impl ProxyConfig {
    #[allow(clippy::unused_self)] // the part is empty so far
    pub(crate) fn check(&self, _: &mut Scope<'_>) {}
}
