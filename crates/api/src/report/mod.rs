//! What an appliance answers and reports over its API (design section 3).

mod answer;
pub mod balancing;
mod diagnostics;
mod explain;
mod questions;
mod status;
pub mod uplinks;
mod usage;

pub use answer::{Answer, Busy, Confirm, ConfirmAnswer, DryRun, PlanSummary, Timing};
pub use diagnostics::{
    ArpingRequest, CaptureProtocol, CaptureRequest, DiagnosticOutput, LogEntry, LogLevel, LogPage,
    PingRequest, PowerAction, PowerRequest, Probe, ProbeOutcome, TracerouteRequest,
};
pub use explain::{
    Balanced, Decider, ExplainQuestion, Explanation, FlowsReport, FlowsRequest, MetRule, Moved,
    Outcome, RuleOwner, TUNNEL, TUNNEL_CLIENTS, TrackedFlow, Tunnel,
};
pub use questions::{
    AnswerList, AnswersTaken, Question, QuestionAnswer, QuestionList, ScreenQuestion, Verdict,
};
pub use status::{
    DriftRepair, Health, HealthCheck, Phase, Reported, Reverted, ServiceState, ServiceStatus,
    StatusReport, Subsystem, SubsystemReport,
};
pub use usage::{PortUse, RuleUse, TrackingUse, UsageReport, Used, Volume};
