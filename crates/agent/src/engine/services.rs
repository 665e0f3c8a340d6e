//! The services as the engine sees them: they take a slice and say that it is in force, or they do not.

use std::collections::BTreeSet;

use async_trait::async_trait;
use sluice_api::report::ServiceStatus;
use sluice_api::types::Generation;
use thiserror::Error;

use crate::appliance::{ServiceName, ServiceSlice};

/// Why a slice is not in force.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ServiceError {
    /// The service said no; the former slice is still in force.
    #[error("service {name} refused generation {generation}: {reason}")]
    Refused {
        /// Which service.
        name: ServiceName,
        /// Number of the configuration.
        generation: Generation,
        /// Its reason.
        reason: String,
    },
    /// It did not answer in time, or could not be started. Retrying can help.
    #[error("service {name} did not bring generation {generation} into force: {reason}")]
    Silent {
        /// Which service.
        name: ServiceName,
        /// Number of the configuration.
        generation: Generation,
        /// What is known.
        reason: String,
    },
}

/// All services of an appliance.
#[async_trait]
pub trait Services: Send + Sync {
    /// Brings a slice into force; starts the service when it does not run. Returns when the service said so.
    async fn configure(
        &self,
        name: ServiceName,
        generation: Generation,
        slice: ServiceSlice,
    ) -> Result<(), ServiceError>;

    /// Ends a service that has nothing to do any more.
    async fn stop(&self, name: ServiceName);

    /// Ends what a former agent left running and is not among these. Default: nothing was left.
    async fn keep_only(&self, _wanted: &BTreeSet<ServiceName>) {}

    /// How each of them is.
    fn status(&self) -> Vec<ServiceStatus>;
}
