//! What an appliance answers and reports over its API (design section 3).

mod answer;
mod diagnostics;
mod status;

pub use answer::{Answer, Busy, Confirm, ConfirmAnswer, DryRun, PlanSummary, Timing};
pub use diagnostics::{
    ArpingRequest, CaptureProtocol, CaptureRequest, DiagnosticOutput, LogEntry, LogLevel, LogPage,
    PingRequest, PowerAction, PowerRequest, Probe, ProbeOutcome, TracerouteRequest,
};
pub use status::{
    DriftRepair, Health, HealthCheck, Phase, Reported, ServiceState, ServiceStatus, StatusReport,
    Subsystem, SubsystemReport,
};
