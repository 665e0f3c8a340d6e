//! Routes by which managers come for questions of services, and answer them.

#![allow(unused_qualifications)] // what utoipa expands `params(Type)` to

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use serde::Deserialize;
use sluice_api::ApiCode;
use sluice_api::report::{Answer, AnswerList, AnswersTaken, QuestionList};
use utoipa::IntoParams;

use super::body::{Json, Query, refuse};
use super::reply;
use super::routes::{App, Shared};

/// Longest wait for a question, in seconds.
const WAIT_MAX: u32 = 30;

pub(super) fn router() -> Router<Arc<App>> {
    Router::new().route("/v1/questions", get(questions).post(answers))
}

/// How long to wait.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct WaitQuery {
    /// Seconds to wait for a question where there is none, at most 30. Default 0.
    #[serde(default)]
    wait: u32,
}

/// What services of the appliance ask their manager, as soon as there is anything: the 64 oldest. Each waits for 5 s.
#[utoipa::path(get, path = "/v1/questions", tag = "state", params(WaitQuery),
    responses((status = 200, body = QuestionList), (status = 422, body = Answer)))]
pub(super) async fn questions(State(app): Shared, Query(query): Query<WaitQuery>) -> Response {
    if query.wait > WAIT_MAX {
        let reason = format!("wait must be 0 to {WAIT_MAX}");
        return refuse(StatusCode::UNPROCESSABLE_ENTITY, ApiCode::Query, reason);
    }
    let questions = app.questions.coming(Duration::from_secs(query.wait.into())).await;
    reply::json(StatusCode::OK, &QuestionList { questions })
}

/// Answers questions. The first answer to each counts; how many were the first is told.
#[utoipa::path(post, path = "/v1/questions", tag = "state", request_body = AnswerList,
    responses((status = 200, body = AnswersTaken), (status = 422, body = Answer)))]
pub(super) async fn answers(State(app): Shared, Json(list): Json<AnswerList>) -> Response {
    let answers = list.answers.into_iter();
    let taken = answers.filter(|it| app.questions.answer(it.id, it.verdict.clone())).count();
    reply::json(StatusCode::OK, &AnswersTaken { taken })
}
