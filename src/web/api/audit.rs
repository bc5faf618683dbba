//! `/api/v1/msp/audit`: who did what, of the MSP or of one customer.

use axum::extract::{Query, State};
use axum::{Extension, Json};
use granary_tenants::{AuditFilter, AuditLine, TenantScope, list_audit};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::AppState;
use crate::http::{Problem, Visitor};

const PAGE: u16 = 50;
const LARGEST_PAGE: u16 = 200;

/// One thing that somebody did.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AuditLineOut {
    happened_at: Timestamp,
    /// `user:<id>`, `api_key:<id>`, `control_plane:<id>`, `operator:cli` for a command, or `system:<name>` for the house itself.
    actor: String,
    /// The name of the login or key; null for one that is gone, and for the house itself.
    who: Option<String>,
    /// What was done, such as `customer.suspend`.
    action: String,
    /// The code of the customer that it concerns.
    customer: Option<String>,
    /// What it was done to.
    subject: String,
    /// What else is known of it; null where that is the MSP's business.
    #[schema(value_type = Option<Object>)]
    detail: Option<Value>,
    reason: Option<String>,
    /// Its place in the chain of records; null for what is older than the chain.
    #[schema(minimum = 1)]
    sequence: Option<i64>,
}

/// Some of the log, the newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AuditOut {
    entries: Vec<AuditLineOut>,
    /// What `cursor` takes for those that follow; null at the end.
    next: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AuditQuery {
    customer: Option<String>,
    action: Option<String>,
    actor: Option<String>,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    cursor: Option<String>,
    limit: Option<u16>,
}

/// Shows the log of the MSP, or of a customer: somebody of a customer sees that customer's and no other.
pub(crate) async fn list(
    State(app): State<AppState>,
    Extension(visitor): Extension<Visitor>,
    Query(query): Query<AuditQuery>,
) -> Result<Json<AuditOut>, Problem> {
    let limit = query.limit.unwrap_or(PAGE);
    if !(1..=LARGEST_PAGE).contains(&limit) {
        return Err(Problem::invalid("a page has 1 to 200 entries"));
    }
    let AuditQuery { customer, action, actor, since, until, cursor, .. } = query;
    let after = cursor.as_deref().map(str::parse).transpose().map_err(|_| Problem::invalid("the cursor is none that this address gave"))?;
    let filter = AuditFilter { action, actor, since, until, after };
    let (lines, next) = read(&app, &visitor, customer.as_deref(), &filter, limit).await?;
    Ok(Json(AuditOut { entries: lines.into_iter().map(out).collect(), next }))
}

fn out(line: AuditLine) -> AuditLineOut {
    let AuditLine { happened_at, actor, who, action, customer, subject, detail, reason, sequence, .. } = line;
    let detail = Some(detail).filter(|detail| !detail.is_null());
    AuditLineOut { happened_at, actor, who, action, customer, subject, detail, reason, sequence }
}

/// Reads a page of what a visitor may see, and what follows it. What the MSP noted of a customer is shown to its people without
/// the MSP's own words.
pub(crate) async fn read(
    app: &AppState,
    visitor: &Visitor,
    customer: Option<&str>,
    filter: &AuditFilter,
    limit: u16,
) -> Result<(Vec<AuditLine>, Option<String>), Problem> {
    // A text that Postgres cannot hold is nowhere in the log.
    if [&filter.action, &filter.actor].into_iter().flatten().any(|text| text.contains('\0')) {
        return Ok((Vec::new(), None));
    }
    let scope = scope(app, visitor, customer).await?;
    // One more than asked for tells whether more follow.
    let mut lines = match &scope {
        Some(scope) => app.tenants.list_audit_of_customer(scope, filter, limit + 1).await?,
        None => {
            let tx = app.tenants.begin_msp(&app.access.msp_scope(&visitor.principal).await?).await?;
            let lines = list_audit(&tx, None, filter, limit + 1).await?;
            tx.commit().await?;
            lines
        }
    };
    let has_more = lines.len() > usize::from(limit);
    lines.truncate(usize::from(limit));
    let next = lines.last().filter(|_| has_more).map(|last| last.place.to_string());
    if visitor.principal.only_customer().is_some() {
        for line in lines.iter_mut().filter(|line| !line.place.is_of_silo()) {
            (line.detail, line.reason) = (Value::Null, None);
        }
    }
    Ok((lines, next))
}

/// The customer whose log is wanted; none for that of the whole MSP.
async fn scope(app: &AppState, visitor: &Visitor, customer: Option<&str>) -> Result<Option<TenantScope>, Problem> {
    let own = match (customer, visitor.principal.only_customer()) {
        (Some(code), _) => code.to_owned(),
        (None, Some(own)) => app.tenants.get_customer(own).await?.code.to_string(),
        (None, None) => return Ok(None),
    };
    Ok(Some(visitor.scope(app, &own).await?))
}
