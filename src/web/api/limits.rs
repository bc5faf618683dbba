//! `…/customers/{code}/limits`: how much a customer may use.

use axum::Json;
use axum::http::StatusCode;
use axum::response::Response;
use granary_tenants::{Enforcement, Limits, get_limits, put_limits};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::exchange::{At, Once};
use crate::http::Problem;
use crate::openapi::words;

/// A customer's limits. What is left out has none.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LimitsOut {
    /// Machines; none for as many as it likes.
    #[serde(default)]
    #[schema(minimum = 0)]
    max_vms: Option<i32>,
    /// `soft` alerts at 80 % and 100 %, `hard` refuses as well. Facts are always counted.
    #[serde(default)]
    #[schema(value_type = words::Enforcement)]
    max_vms_enforcement: Enforcement,
    /// GiB; what lies above is billed as overage.
    #[schema(minimum = 0, maximum = 2_147_483_647)]
    storage_gb: i64,
    #[serde(default)]
    #[schema(value_type = words::Enforcement)]
    storage_gb_enforcement: Enforcement,
    #[serde(default)]
    #[schema(minimum = 0)]
    max_concurrent_jobs: Option<i32>,
    #[serde(default)]
    #[schema(value_type = words::Enforcement)]
    max_concurrent_jobs_enforcement: Enforcement,
    /// Requests a minute of all programs together; deliveries of usage events are not counted.
    #[serde(default)]
    #[schema(minimum = 0)]
    api_rate_limit: Option<i32>,
    /// `hard` unless told: requests above the rate are answered with 429.
    #[serde(default = "hard")]
    #[schema(value_type = words::Enforcement)]
    api_rate_limit_enforcement: Enforcement,
}

const fn hard() -> Enforcement {
    Enforcement::Hard
}

impl Default for LimitsOut {
    /// 1 TiB, as commands have it.
    fn default() -> Self {
        Self {
            max_vms: None,
            max_vms_enforcement: Enforcement::Soft,
            storage_gb: 1024,
            storage_gb_enforcement: Enforcement::Soft,
            max_concurrent_jobs: None,
            max_concurrent_jobs_enforcement: Enforcement::Soft,
            api_rate_limit: None,
            api_rate_limit_enforcement: Enforcement::Hard,
        }
    }
}

impl From<Limits> for LimitsOut {
    fn from(limits: Limits) -> Self {
        Self {
            max_vms: limits.machines,
            max_vms_enforcement: limits.machines_enforcement,
            storage_gb: limits.storage_gib,
            storage_gb_enforcement: limits.storage_enforcement,
            max_concurrent_jobs: limits.max_concurrent_jobs,
            max_concurrent_jobs_enforcement: limits.jobs_enforcement,
            api_rate_limit: limits.api_rate_limit,
            api_rate_limit_enforcement: limits.api_enforcement,
        }
    }
}

impl From<LimitsOut> for Limits {
    fn from(limits: LimitsOut) -> Self {
        Self {
            machines: limits.max_vms,
            machines_enforcement: limits.max_vms_enforcement,
            storage_gib: limits.storage_gb,
            storage_enforcement: limits.storage_gb_enforcement,
            max_concurrent_jobs: limits.max_concurrent_jobs,
            jobs_enforcement: limits.max_concurrent_jobs_enforcement,
            api_rate_limit: limits.api_rate_limit,
            api_enforcement: limits.api_rate_limit_enforcement,
        }
    }
}

/// Returns a customer's limits.
pub(crate) async fn show(at: At) -> Result<Json<LimitsOut>, Problem> {
    let limits = get_limits(&at.tx, &at.customer).await?;
    at.show(limits.into()).await
}

/// Replaces a customer's limits.
pub(crate) async fn put(Once { at, wanted: limits, sent }: Once<LimitsOut>) -> Result<Response, Problem> {
    put_limits(&at.tx, &at.customer, &limits.clone().into()).await?;
    sent.done(at, StatusCode::OK, &limits).await
}
