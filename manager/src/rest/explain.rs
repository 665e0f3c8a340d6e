//! Why a connection passes or does not.

use sluice_api::report::FlowsRequest;
use sluice_api::types::ObjectId;
use sluice_router::uplinks::seen::Seen;

use super::appliances::client;
use super::generations::document;
use super::reply::{Reply, shown};
use super::request::Body;
use super::{App, For};
use crate::error::{Error, Problem};
use crate::kinds::appliance::object_id;
use crate::ops::explain::{self, ExplainRequest, Explained, Under};
use crate::store::Scope;

/// What becomes of a connection under the configuration that a router is to have, or another of its configurations: the
/// rules that it meets, each translation, the rule that decides, the link and the address that it leaves with.
#[utoipa::path(post, path = "/v1/explain", tag = "appliances", request_body = ExplainRequest,
    responses((status = 200, body = Explained), (status = "4XX", body = Problem),
        (status = 502, body = Problem, description = "the appliance cannot be asked")))]
pub(super) async fn explain(For(app): For, Body(request): Body<ExplainRequest>) -> Reply {
    let appliance =
        explain::router_of(&mut *app.read().await?, Scope::Of(&app.owner), &request).await?;
    let id = object_id(&appliance.id);
    let down = explain::down(&mut *app.read().await?, &appliance.id).await?;
    let asked = under(&app, &id, request.generation.as_deref(), (&request, &down)).await?;
    let other = match &request.against {
        Some(which) => Some(under(&app, &id, Some(which), (&request, &down)).await?),
        None => None,
    };
    let live = if request.live { Some(tracked(&app, &id, &request).await?) } else { None };
    Ok(shown(&Explained {
        appliance: appliance.id,
        generation: asked.generation,
        down: asked.down,
        differs: other.as_ref().map(|other| other.answer != asked.answer),
        answer: asked.answer,
        against: other,
        live,
    }))
}

async fn under(
    app: &App,
    id: &ObjectId,
    which: Option<&str>,
    (request, down): (&ExplainRequest, &Seen),
) -> Result<Under, Error> {
    let document = document(app, id, which.filter(|which| *which != "wanted")).await?;
    explain::under(&mut *app.read().await?, &document, &request.question, down).await
}

async fn tracked(
    app: &App,
    id: &ObjectId,
    request: &ExplainRequest,
) -> Result<sluice_api::report::FlowsReport, Error> {
    let question = &request.question;
    let asked = FlowsRequest {
        from: Some(question.from),
        to: Some(question.to),
        protocol: Some(question.protocol),
        port: question.port,
    };
    let (client, failed) = client(app, id).await?;
    client.flows(&asked).await.map_err(failed)
}
