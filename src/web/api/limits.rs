//! `…/customers/{code}/limits`: how much a customer may use.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::{Extension, Json};
use granary_tenants::{Enforcement, Limits, get_limits, put_limits};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::exchange::{Sent, enter};
use crate::AppState;
use crate::http::{Problem, Visitor};

/// What happens at a limit: `soft` alerts at 80 % and 100 %, `hard` refuses new protection as well. Facts are always counted.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum EnforcementOut {
    #[default]
    Soft,
    Hard,
}

/// A customer's limits. What is left out has none.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LimitsOut {
    /// Machines; none for as many as it likes.
    #[serde(default)]
    #[schema(minimum = 0)]
    max_vms: Option<i32>,
    #[serde(default)]
    #[schema(inline)]
    max_vms_enforcement: EnforcementOut,
    /// GiB; what lies above is billed as overage.
    #[schema(minimum = 0)]
    storage_gb: i64,
    #[serde(default)]
    #[schema(inline)]
    storage_gb_enforcement: EnforcementOut,
    #[serde(default)]
    #[schema(minimum = 0)]
    max_concurrent_jobs: Option<i32>,
    /// Requests a minute.
    #[serde(default)]
    #[schema(minimum = 0)]
    api_rate_limit: Option<i32>,
}

impl Default for LimitsOut {
    /// 1 TiB, as commands have it.
    fn default() -> Self {
        Self {
            max_vms: None,
            max_vms_enforcement: EnforcementOut::Soft,
            storage_gb: 1024,
            storage_gb_enforcement: EnforcementOut::Soft,
            max_concurrent_jobs: None,
            api_rate_limit: None,
        }
    }
}

impl From<Limits> for LimitsOut {
    fn from(limits: Limits) -> Self {
        let word = |enforcement| match enforcement {
            Enforcement::Soft => EnforcementOut::Soft,
            Enforcement::Hard => EnforcementOut::Hard,
        };
        Self {
            max_vms: limits.machines,
            max_vms_enforcement: word(limits.machines_enforcement),
            storage_gb: limits.storage_gib,
            storage_gb_enforcement: word(limits.storage_enforcement),
            max_concurrent_jobs: limits.max_concurrent_jobs,
            api_rate_limit: limits.api_rate_limit,
        }
    }
}

impl From<LimitsOut> for Limits {
    fn from(limits: LimitsOut) -> Self {
        let enforcement = |word| match word {
            EnforcementOut::Soft => Enforcement::Soft,
            EnforcementOut::Hard => Enforcement::Hard,
        };
        Self {
            machines: limits.max_vms,
            machines_enforcement: enforcement(limits.max_vms_enforcement),
            storage_gib: limits.storage_gb,
            storage_enforcement: enforcement(limits.storage_gb_enforcement),
            max_concurrent_jobs: limits.max_concurrent_jobs,
            api_rate_limit: limits.api_rate_limit,
        }
    }
}

/// Returns a customer's limits.
pub(crate) async fn show(
    State(app): State<AppState>,
    Extension(visitor): Extension<Visitor>,
    Path(code): Path<String>,
) -> Result<Json<LimitsOut>, Problem> {
    let (tx, customer) = enter(&app, &visitor, &code).await?;
    let limits = get_limits(&tx, &customer).await?;
    tx.commit().await?;
    Ok(Json(limits.into()))
}

/// Replaces a customer's limits.
pub(crate) async fn put(
    State(app): State<AppState>,
    Extension(visitor): Extension<Visitor>,
    Path(code): Path<String>,
    sent: Sent,
) -> Result<Response, Problem> {
    let (tx, customer) = enter(&app, &visitor, &code).await?;
    if let Some(answer) = sent.replay(&app, &tx).await? {
        return Ok(answer);
    }
    let limits: LimitsOut = sent.read()?;
    put_limits(&tx, &customer, &limits.clone().into()).await?;
    sent.answer(&app, tx, StatusCode::OK, &limits).await
}
