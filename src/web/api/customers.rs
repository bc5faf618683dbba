//! `/api/v1/msp/customers`: making, listing and showing customers.

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::{Extension, Json};
use granary_access::{AccessError, Permission};
use granary_tenants::{Customer, CustomerFilter, Limits, NewContract, NewCustomer, get_limits, list_customers, put_limits};
use granary_types::{CustomerCode, CustomerStatus, Deployment, ErrorKind, Tier, day_of};
use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::exchange::{At, Sent, located, zone};
use super::limits::LimitsOut;
use crate::AppState;
use crate::http::{Problem, Visitor};
use crate::openapi::words;

const PAGE: u16 = 50;
const LARGEST_PAGE: u16 = 200;

/// How a customer appears to its own people.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BrandingOut {
    /// Written on buttons and charts of its portal.
    #[serde(default)]
    #[schema(value_type = Option<words::Color>)]
    primary_color: Option<String>,
    /// Shown on its portal and reports.
    #[serde(default)]
    #[schema(value_type = Option<words::Picture>)]
    logo_url: Option<String>,
}

/// A customer to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CustomerIn {
    #[schema(value_type = words::Text)]
    company_name: String,
    #[schema(value_type = words::Code)]
    customer_code: CustomerCode,
    /// What machines get that are protected without a tier of their own.
    #[serde(default = "backup")]
    #[schema(value_type = words::Tier)]
    plan_tier: Tier,
    #[serde(default)]
    limits: LimitsOut,
    #[serde(default)]
    branding: BrandingOut,
    /// `trial` for 30 days that are not billed; otherwise `active`.
    #[serde(default = "active")]
    #[schema(value_type = words::FirstStatus)]
    status: CustomerStatus,
    /// The zone of its service days; the MSP's unless told.
    #[serde(default)]
    #[schema(value_type = Option<words::Zone>)]
    time_zone: Option<String>,
    #[serde(default)]
    #[schema(value_type = Option<words::Country>)]
    country: Option<String>,
    /// Decides where its data lies.
    #[serde(default)]
    #[schema(value_type = Option<words::Region>)]
    region: Option<String>,
    #[serde(default)]
    #[schema(value_type = Option<words::Deployment>)]
    deployment: Option<Deployment>,
    /// First day of its contract; today unless told.
    #[serde(default)]
    contract_starts_on: Option<Date>,
}

const fn backup() -> Tier {
    Tier::Backup
}

const fn active() -> CustomerStatus {
    CustomerStatus::Active
}

/// A customer.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CustomerOut {
    #[schema(value_type = words::Code)]
    customer_code: CustomerCode,
    name: String,
    #[schema(value_type = words::Status)]
    status: CustomerStatus,
    status_since: Timestamp,
    time_zone: String,
    country: String,
    region: String,
    #[schema(value_type = words::Deployment)]
    deployment: Deployment,
    trial_ends_on: Option<Date>,
    activated_on: Option<Date>,
    branding: BrandingOut,
    created_at: Timestamp,
}

/// A customer with its limits.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CustomerDetailOut {
    #[serde(flatten)]
    customer: CustomerOut,
    limits: LimitsOut,
}

/// Some customers, by code.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CustomersOut {
    customers: Vec<CustomerOut>,
    /// What `cursor` takes for those that follow; null at the end.
    next: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListQuery {
    status: Option<CustomerStatus>,
    region: Option<String>,
    deployment: Option<Deployment>,
    /// Part of the code or the name.
    q: Option<String>,
    cursor: Option<String>,
    limit: Option<u16>,
}

impl From<&Customer> for CustomerOut {
    fn from(customer: &Customer) -> Self {
        Self {
            customer_code: customer.code.clone(),
            name: customer.name.clone(),
            status: customer.status,
            status_since: customer.status_since,
            time_zone: customer.time_zone.iana_name().unwrap_or("UTC").to_owned(),
            country: customer.country.clone(),
            region: customer.region.clone(),
            deployment: customer.deployment,
            trial_ends_on: customer.trial_ends_on,
            activated_on: customer.activated_on,
            branding: BrandingOut { primary_color: customer.brand_color.clone(), logo_url: customer.logo_url.clone() },
            created_at: customer.created_at,
        }
    }
}

/// The customers that the caller sees, a page at a time.
pub(crate) async fn list(
    State(app): State<AppState>,
    Extension(visitor): Extension<Visitor>,
    Query(query): Query<ListQuery>,
) -> Result<Json<CustomersOut>, Problem> {
    let limit = query.limit.unwrap_or(PAGE);
    if !(1..=LARGEST_PAGE).contains(&limit) {
        return Err(Problem::invalid("a page has 1 to 200 customers"));
    }
    let ListQuery { status, region, deployment, q: search, cursor, .. } = query;
    let after = cursor.as_deref().map(opened).transpose()?;
    let filter = CustomerFilter { status, region, deployment, search, after };
    let granted = visitor.principal.read_grant()?.customers;
    let tx = app.tenants.begin_msp(&app.access.msp_scope(&visitor.principal).await?).await?;
    // One more than asked for tells whether more follow.
    let mut customers = list_customers(&tx, &granted, &filter, limit + 1).await?;
    tx.commit().await?;
    let has_more = customers.len() > usize::from(limit);
    customers.truncate(usize::from(limit));
    let next = customers.last().filter(|_| has_more).map(|last| hex::encode(last.code.as_str()));
    Ok(Json(CustomersOut { customers: customers.iter().map(CustomerOut::from).collect(), next }))
}

/// Reads a cursor that we gave.
fn opened(cursor: &str) -> Result<CustomerCode, Problem> {
    let code = hex::decode(cursor).ok().and_then(|bytes| String::from_utf8(bytes).ok()).and_then(|text| text.parse().ok());
    code.ok_or_else(|| Problem::invalid("the cursor is none that this address gave"))
}

/// One customer.
pub(crate) async fn show(at: At) -> Result<Json<CustomerDetailOut>, Problem> {
    let limits = get_limits(&at.tx, &at.customer).await?;
    let customer = CustomerOut::from(&at.customer);
    at.show(CustomerDetailOut { customer, limits: limits.into() }).await
}

/// Makes a customer: its rows with the answer in one transaction, then its silo and its keys. Killed in between, the same
/// request sent again finishes it; so does the house within two minutes.
pub(crate) async fn create(State(app): State<AppState>, Extension(visitor): Extension<Visitor>, sent: Sent) -> Result<Response, Problem> {
    if !visitor.principal.sees_all() {
        return Err(AccessError::Denied(Permission::CustomerWrite).into());
    }
    let scope = app.access.msp_scope(&visitor.principal).await?;
    let tx = app.tenants.begin_msp(&scope).await?;
    let new: CustomerIn = sent.read()?;
    let path = format!("/api/v1/msp/customers/{}", new.customer_code);
    if let Some(answer) = sent.replay(&app, &tx).await? {
        let customer = app.tenants.customer_being_provisioned(&tx, &new.customer_code).await?;
        tx.commit().await?;
        app.lifecycle.open(scope.msp, customer).await?;
        return Ok(located(answer, &path));
    }
    let limits = new.limits.clone();
    let today = day_of(tx.now(), &scope.msp.time_zone);
    let (customer, is_new) = app.lifecycle.enter(&tx, &new.into_customer(&scope.msp, today)?).await?;
    if !is_new {
        let detail = format!("there is a customer '{}' already", customer.code);
        return Err(Problem::new(ErrorKind::Conflict, "customer_code_taken", detail));
    }
    put_limits(&tx, &customer, &Limits::from(limits.clone())).await?;
    let out = CustomerDetailOut { customer: (&customer).into(), limits };
    let answer = sent.answer(&app, tx, StatusCode::CREATED, &out).await?;
    app.lifecycle.open(scope.msp, customer).await?;
    Ok(located(answer, &path))
}

impl CustomerIn {
    fn into_customer(self, msp: &granary_tenants::Msp, today: Date) -> Result<NewCustomer, Problem> {
        let limits = Limits::from(self.limits);
        let contract = NewContract {
            machine_limit: limits.machines,
            ..NewContract::new(self.contract_starts_on.unwrap_or(today), msp.currency, self.plan_tier, limits.storage_gib)
        };
        let zone = self.time_zone.as_deref().map_or_else(|| Ok(msp.time_zone.clone()), zone)?;
        let BrandingOut { primary_color, logo_url } = self.branding;
        let new = NewCustomer::new(msp.id, self.customer_code, self.company_name.trim(), zone, contract);
        Ok(NewCustomer {
            status: self.status,
            country: self.country.unwrap_or(new.country),
            region: self.region.unwrap_or(new.region),
            deployment: self.deployment.unwrap_or(new.deployment),
            brand_color: primary_color.map(|color| color.to_lowercase()),
            logo_url,
            ..new
        })
    }
}
