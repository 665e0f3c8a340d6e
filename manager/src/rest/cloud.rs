//! Whole clouds, what is allocated, and whether the manager works.

#![allow(unused_qualifications)] // what utoipa expands `params(Type)` to

use futures_util::{FutureExt as _, StreamExt as _, stream};
use serde::Deserialize;
use serde_json::Value;
use sluice_api::Digest;
use sluice_api::report::DryRun;
use utoipa::{IntoParams, ToSchema};

use super::For;
use super::reply::{Reply, shown};
use super::request::{Body, Query, RequestId};
use crate::access::Caller;
use crate::alloc::PoolName;
use crate::error::Problem;
use crate::model::view::CandidatePlan;
use crate::model::{Allocation, CloudSpec};
use crate::ops::{self, Candidate, Change, CloudReport};
use crate::push::Watch;
use crate::store::{Scope, allocations as taken, from_json};

/// How to apply.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct How {
    /// Only say what would change. Default false.
    #[serde(default)]
    dry_run: bool,
    /// Delete what the zones of the description have and the description does not. Default false: it stays.
    #[serde(default)]
    prune: bool,
    /// The `digest` of an earlier answer: make exactly those changes, or refuse with `moved`. Default: make whatever
    /// there is to change.
    expect: Option<Digest>,
    /// With `dry_run`: ask each appliance that would get another configuration what it would do. Default false.
    #[serde(default)]
    plan: bool,
}

/// Makes the zones that the description names what it says, in one transaction.
#[utoipa::path(post, path = "/v1/cloud", tag = "cloud", request_body = Description,
    params(How, ("Idempotency-Key" = Option<String>, Header, description = "request id")),
    responses((status = 200, body = CloudReport), (status = "4XX", body = Problem),
        (status = 507, body = Problem, description = "a pool is exhausted")))]
pub(super) async fn apply(
    For(app): For,
    caller: Caller,
    Query(how): Query<How>,
    request: RequestId,
    Body(cloud): Body<CloudSpec>,
) -> Reply {
    let How { dry_run, prune, expect, plan } = how;
    let change = Change::Apply { cloud, prune, dry_run, expect };
    if !(dry_run && plan) {
        return app.change(&caller, request, change).await;
    }
    let outcome = ops::execute(&app.store, &caller, None, &change).await?;
    let mut answer: Value = from_json(&outcome.body, "answer")?;
    let ask = |candidate| ask(app.watch.clone(), candidate).boxed();
    let asked: Vec<_> = outcome.candidates.into_iter().map(ask).collect();
    let plans: Vec<_> = stream::iter(asked).buffered(ASKED).collect().await;
    if let Value::Object(fields) = &mut answer {
        fields.insert("plans".to_owned(), serde_json::json!(plans));
    }
    Ok(shown(&answer))
}

/// How many appliances are asked at a time.
const ASKED: usize = 16;

/// What an appliance says that it would do.
async fn ask(watch: Watch, candidate: Candidate) -> CandidatePlan {
    let id = candidate.appliance.id.clone();
    let answer = async {
        let client = watch.client(&candidate.appliance)?;
        client.dry_run_bytes(candidate.document.into_bytes()).await
    };
    match answer.await {
        Ok(DryRun { plan, findings }) => {
            CandidatePlan { appliance: id, plan: Some(plan), findings, error: None }
        }
        Err(error) => {
            let error = Some(crate::push::chain(&error));
            CandidatePlan { appliance: id, plan: None, findings: Vec::new(), error }
        }
    }
}

/// The cloud as a description that applies empty.
#[utoipa::path(get, path = "/v1/cloud", tag = "cloud",
    responses((status = 200, body = Description)))]
pub(super) async fn export(For(app): For) -> Reply {
    Ok(shown(&ops::export(&mut *app.read().await?, Scope::Of(&app.owner)).await?))
}

/// Which allocations.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// Only this pool, such as `public:z-1`.
    #[param(value_type = Option<String>, pattern = "^(public|vlan|guest|control|storage|mac)(:[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)?$")]
    pool: Option<PoolName>,
}

/// Everything that is taken from a pool, with its owner and state.
#[utoipa::path(get, path = "/v1/allocations", tag = "cloud", params(Which),
    responses((status = 200, body = Vec<Allocation>)))]
pub(super) async fn allocations(For(app): For, Query(which): Query<Which>) -> Reply {
    Ok(shown(&taken::list(&mut *app.read().await?, which.pool.as_ref()).await?))
}

/// Answers when the store can be read.
#[utoipa::path(get, path = "/v1/health", tag = "cloud",
    responses((status = 200, description = "it works"), (status = "5XX", body = Problem)))]
pub(super) async fn health(For(app): For) -> Reply {
    sqlx::query("SELECT 1").execute(&mut *app.read().await?).await?;
    Ok(shown(&serde_json::json!({ "healthy": true })))
}

/// The schema of a description, which the list of kinds fills in.
#[derive(ToSchema)]
#[allow(dead_code)] // it is a name only
pub(super) struct Description {}
