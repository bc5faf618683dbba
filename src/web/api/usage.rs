//! `GET /api/v1/msp/customers/{code}/usage`: what a customer used in a month.

use axum::extract::{Path, Query, State};
use axum::{Extension, Json};
use granary_types::{CustomerCode, CustomerStatus, Period};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::AppState;
use crate::http::{Problem, Visitor};
use crate::openapi::words;
use crate::queries::{Holes, customer_queries as sql, rows};

const GIB: i64 = 1 << 30;

#[derive(Debug, Deserialize)]
pub(crate) struct UsageQuery {
    period: Period,
}

#[derive(Debug, Deserialize)]
struct UsageRow {
    customer_code: CustomerCode,
    period: Period,
    status: CustomerStatus,
    machines_backup: i64,
    machines_enterprise: i64,
    machines_replication: i64,
    runs_completed: i64,
    runs_with_warning: i64,
    runs_failed: i64,
    stored_bytes_average: i64,
    transferred_bytes: i64,
    api_calls: i64,
    tickets_opened: i64,
    is_closed: bool,
}

/// The usage of a customer in a month, under the names that the API has always had.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UsageOut {
    #[schema(value_type = words::Code)]
    customer_code: CustomerCode,
    #[schema(value_type = words::Month)]
    period: Period,
    #[schema(value_type = words::Status)]
    status: CustomerStatus,
    vms_protected: i64,
    vms_protected_by_tier: TiersOut,
    backup_jobs_run: i64,
    backup_jobs_failed: i64,
    /// The month's average.
    #[schema(value_type = words::Gib)]
    storage_used_gb: String,
    #[schema(value_type = words::Gib)]
    data_transferred_gb: String,
    api_calls_total: i64,
    support_tickets_used: i64,
    is_closed: bool,
}

#[derive(Debug, Serialize, ToSchema)]
struct TiersOut {
    backup: i64,
    enterprise: i64,
    replication: i64,
}

/// The usage of a customer in a month.
pub(crate) async fn show(
    State(app): State<AppState>,
    Extension(visitor): Extension<Visitor>,
    Path(code): Path<String>,
    Query(query): Query<UsageQuery>,
) -> Result<Json<UsageOut>, Problem> {
    let scope = visitor.scope(&app, &code).await?;
    let session = app.warehouse.session(&visitor.principal.read_grant()?).await?;
    let holes = Holes::of_customer(query.period, &scope.customer.code);
    let rows: Vec<UsageRow> = rows(&session, &holes.fill(sql::API_USAGE)).await?;
    let row = rows.into_iter().next().ok_or_else(|| Problem::not_found("usage in this period"))?;
    Ok(Json(row.into()))
}

impl From<UsageRow> for UsageOut {
    fn from(row: UsageRow) -> Self {
        Self {
            vms_protected: row.machines_backup + row.machines_enterprise + row.machines_replication,
            vms_protected_by_tier: TiersOut {
                backup: row.machines_backup,
                enterprise: row.machines_enterprise,
                replication: row.machines_replication,
            },
            backup_jobs_run: row.runs_completed + row.runs_with_warning + row.runs_failed,
            backup_jobs_failed: row.runs_failed,
            storage_used_gb: gib(row.stored_bytes_average),
            data_transferred_gb: gib(row.transferred_bytes),
            api_calls_total: row.api_calls,
            support_tickets_used: row.tickets_opened,
            customer_code: row.customer_code,
            period: row.period,
            status: row.status,
            is_closed: row.is_closed,
        }
    }
}

fn gib(bytes: i64) -> String {
    let thousandths = (i128::from(bytes) * 1_000 + i128::from(GIB / 2)) / i128::from(GIB);
    format!("{}.{:03}", thousandths / 1_000, thousandths % 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_gib_with_three_decimals() {
        assert_eq!((gib(GIB).as_str(), gib(GIB / 2 * 3).as_str(), gib(0).as_str()), ("1.000", "1.500", "0.000"));
    }
}
