//! What an appliance's services ask their manager, which alone knows: `GET` and `POST /v1/questions`.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::types::{ObjectId, Port};

/// The questions that wait for an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct QuestionList {
    /// The oldest first.
    #[serde(default)]
    pub questions: Vec<Question>,
}

/// A question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Question {
    /// Its number; no other of this agent has it.
    pub id: u64,
    /// The service that asks.
    pub service: String,
    /// What it asks: a [`ScreenQuestion`] of the service `console`.
    pub question: Value,
}

/// Whether a VM's screen is still at this place, asked by a console proxy before it connects there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ScreenQuestion {
    /// The VM, as the configuration names it.
    pub vm: ObjectId,
    /// The host that it is on.
    #[schema(value_type = String)]
    pub address: IpAddr,
    /// The port of its screen there.
    pub port: Port,
}

/// Answers of a manager.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AnswerList {
    /// One for each question that it answers; another manager may have been first.
    pub answers: Vec<QuestionAnswer>,
}

/// The answer to a question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct QuestionAnswer {
    /// The question's number.
    pub id: u64,
    /// What is said.
    pub verdict: Verdict,
}

/// What a manager says to a question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Verdict {
    /// It is as the service takes it to be.
    pub stands: bool,
    /// If not, how it is, for the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Verdict {
    /// It is as the service takes it to be.
    pub fn yes() -> Self {
        Self { stands: true, reason: None }
    }

    /// It is not, for this reason.
    pub fn no(reason: impl Into<String>) -> Self {
        Self { stands: false, reason: Some(reason.into()) }
    }
}

/// How many of a manager's answers were the first to their questions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AnswersTaken {
    /// So many.
    pub taken: usize,
}
