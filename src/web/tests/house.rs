//! A house with two MSPs whose customers share codes and names, one billed month, and somebody of every role.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::MatchedPath;
use axum::http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, COOKIE, LOCATION};
use axum::http::{HeaderMap, Request, StatusCode};
use granary_access::{Access, ApiKeyScope, Client, Manager, NewApiKey, NewUser};
use granary_foundation::{Secret, Silent};
use granary_lake::Lake;
use granary_reports::monthly::MonthlyReport;
use granary_reports::{RenderError, Renderer};
use granary_tenants::{
    BeginErasure, BuryCustomer, Customer, DestroyKeys, DropSilo, IssueCertificate, Lifecycle, Msp, MspScope, Operation, OperatorScope,
    TenantScope,
};
use granary_test_support::{TestDatabase, TwoCustomers};
use granary_types::{Period, Role};
use granary_warehouse::{Budget, Warehouse};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::openapi::{OPERATIONS, verb};
use crate::{AppState, Intake, Pace, Stir, router};

pub(super) const PASSWORD: &str = "a long enough password";
pub(super) const PERIOD: &str = "2025-10";

/// Answers a report with its customer's code, so that a test sees whose it is.
struct Echo;

impl Renderer for Echo {
    fn render_monthly(&self, report: &MonthlyReport) -> Result<Vec<u8>, RenderError> {
        Ok(format!("%PDF-{}-{}", report.msp.name, report.customer.code).into_bytes())
    }
}

/// Who asks.
#[derive(Debug, Clone)]
pub(super) enum Caller {
    Nobody,
    Session(String),
    Key(String),
}

pub(super) struct House {
    pub(super) test: TestDatabase,
    pub(super) made: TwoCustomers,
    pub(super) access: Access,
    pub(super) router: Router,
    pub(super) api_calls: granary_metering::ApiCalls,
}

pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

impl House {
    /// Sets the house up through the front door: events come in by API key, then the month is billed and exported.
    pub(super) async fn open() -> Self {
        Self::open_within(Budget::default()).await
    }

    /// The same, with other budgets for questions.
    pub(super) async fn open_within(budget: Budget) -> Self {
        let (house, lake, warehouse) = Self::build(|lifecycle| lifecycle, budget).await;
        house.deliver().await;
        house.bill(&house.made.north.clone()).await;
        house.bill(&house.made.south.clone()).await;
        lake.export_night("2025-11-10".parse().unwrap(), Silent::shared()).await.unwrap();
        for msp in [&house.made.north, &house.made.south] {
            warehouse.build(msp.id).await.unwrap();
            // No machine ran since October.
            let scope = MspScope::for_job(msp.clone(), "test");
            granary_metering::watch_msp(house.test.tenants(), &scope, true, Silent::shared()).await.unwrap();
        }
        house
    }

    /// Sets the house up without a single event, for what does not ask the warehouse.
    pub(super) async fn bare() -> Self {
        Self::build(|lifecycle| lifecycle, Budget::default()).await.0
    }

    /// Sets the house up bare, with the steps of an erasure that need no lake.
    pub(super) async fn leaving() -> Self {
        let steps = |lifecycle: Lifecycle| {
            lifecycle
                .with(Operation::Erase, BeginErasure)
                .with(Operation::Erase, DestroyKeys)
                .with(Operation::Erase, DropSilo)
                .with(Operation::Erase, BuryCustomer)
                .with(Operation::Erase, IssueCertificate { backup_days: 35 })
        };
        Self::build(steps, Budget::default()).await.0
    }

    async fn build(steps: impl FnOnce(Lifecycle) -> Lifecycle, budget: Budget) -> (Self, Lake, Warehouse) {
        let test = TestDatabase::new().await;
        let made = test.two_customers().await;
        let tenants = test.tenants().clone();
        let access = Access::new(tenants.clone());
        let datasets =
            [granary_tenants::DATASETS, granary_metering::DATASETS, granary_billing::DATASETS, granary_intelligence::DATASETS].concat();
        let lake = Lake::new(tenants.clone(), test.keys().clone(), test.objects().clone(), datasets);
        let warehouse = Warehouse::new(lake.clone(), budget).unwrap();
        let api_calls = granary_metering::ApiCalls::default();
        let app = AppState {
            tenants: tenants.clone(),
            lifecycle: steps(Lifecycle::new(tenants.clone())),
            access: access.clone(),
            lake: lake.clone(),
            retention: granary_lake::Retention::new(lake.clone(), granary_metering::RETAINED, 10),
            warehouse: warehouse.clone(),
            renderer: Arc::new(Echo),
            clock: test.clock().clone(),
            max_body_bytes: 1 << 20,
            is_https: false,
            is_behind_proxy: false,
            pace: Pace::default(),
            stir: Stir::default(),
            intake: Intake::new(4 << 20),
            api_calls: api_calls.clone(),
        };
        (Self { router: router(app), test, made, access, api_calls }, lake, warehouse)
    }

    /// Machines of each customer, with a run every day of October.
    async fn deliver(&self) {
        let customers = [
            (&self.made.north, &self.made.acme, 3),
            (&self.made.north, &self.made.globex, 5),
            (&self.made.south, &self.made.south_acme, 7),
        ];
        for (msp, customer, machines) in customers {
            let key = self.key(msp, customer, &[ApiKeyScope::UsageWrite]).await;
            let answer = self.post("/api/v1/usage/events", &key, &events(msp, customer, machines).to_string()).await;
            assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        }
    }

    async fn bill(&self, msp: &Msp) {
        let tenants = self.test.tenants();
        let period: Period = PERIOD.parse().unwrap();
        let tx = tenants.begin_operator(&OperatorScope::for_job("test", "seed prices")).await.unwrap();
        // The second MSP finds the list already there.
        let _ = granary_billing::seed_list_prices(&tx, msp.currency, "2025-01-01".parse().unwrap()).await;
        let _ = tx.commit().await;
        for customer in tenants.list_customers(msp.id).await.unwrap() {
            granary_metering::project_month(tenants, &TenantScope::for_job(msp.clone(), customer, "test"), period).await.unwrap();
        }
        granary_billing::draft_period(tenants, msp, period, Silent::shared()).await.unwrap();
        granary_billing::finalise_period(tenants, msp, period).await.unwrap();
        granary_metering::close_period(tenants, &MspScope::for_job(msp.clone(), "test"), period).await.unwrap();
        granary_billing::compute_run_rates(tenants, msp, period.next(), Silent::shared()).await.unwrap();
    }

    /// Makes a user and logs in.
    pub(super) async fn user(&self, role: Role, msp: &Msp, customer: Option<&Customer>) -> Caller {
        let email = format!("{role}-{}@{}.example", customer.map_or("all", |customer| customer.code.as_str()), msp.code);
        let user = NewUser {
            email: email.clone(),
            name: format!("A {role}"),
            role,
            msp_id: (role != Role::OperatorAdmin).then_some(msp.id),
            customer_id: customer.filter(|_| role.is_customer()).map(|customer| customer.id),
            granted: customer.filter(|_| !role.is_customer()).map(|customer| vec![customer.id]),
            can_read_billing: false,
            password: Secret::new(PASSWORD),
        };
        self.access.create_user(&user).await.unwrap();
        let (_, token) = self.access.log_in(&email, &Secret::new(PASSWORD), &Client::default()).await.unwrap();
        Caller::Session(token.reveal().to_owned())
    }

    /// Makes a key.
    pub(super) async fn key(&self, msp: &Msp, customer: &Customer, scopes: &[ApiKeyScope]) -> Caller {
        let key = NewApiKey {
            msp_id: msp.id,
            customer_id: Some(customer.id),
            control_plane_id: None,
            name: "test".to_owned(),
            scopes: scopes.to_vec(),
            expires_at: None,
            requests_per_minute: None,
        };
        Caller::Key(self.access.create_api_key(Manager::Command("test"), &key).await.unwrap().1.reveal().to_owned())
    }

    pub(super) async fn get(&self, path: &str, caller: &Caller) -> Answer {
        self.send("GET", path, caller, "").await
    }

    pub(super) async fn post(&self, path: &str, caller: &Caller, body: &str) -> Answer {
        self.send("POST", path, caller, body).await
    }

    pub(super) async fn send(&self, method: &str, path: &str, caller: &Caller, body: &str) -> Answer {
        self.send_with(method, path, caller, body, None).await
    }

    /// Sends a request with an idempotency key.
    pub(super) async fn send_keyed(&self, method: &str, path: &str, caller: &Caller, body: &str, key: &str) -> Answer {
        self.send_with(method, path, caller, body, Some(key)).await
    }

    async fn send_with(&self, method: &str, path: &str, caller: &Caller, body: &str, key: Option<&str>) -> Answer {
        let mut request = Request::builder().method(method).uri(path).header(ACCEPT, "text/html");
        request = match caller {
            Caller::Nobody => request,
            Caller::Session(token) => request.header(COOKIE, format!("granary_session={token}")),
            Caller::Key(key) => request.header(AUTHORIZATION, format!("Bearer {key}")),
        };
        if !path.starts_with("/api/") && method == "POST" {
            request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        }
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let response = self.router.clone().oneshot(request.body(Body::from(body.to_owned())).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = axum::body::to_bytes(body, 32 << 20).await.unwrap();
        assert!(
            is_documented(method, parts.extensions.get(), parts.status),
            "the document does not say that {method} {path} answers {}",
            parts.status
        );
        Answer { status: parts.status, headers: parts.headers, body: String::from_utf8_lossy(&body).into_owned() }
    }
}

/// Whether the document of the API says that a route answers so. What is not of the API may answer anything; a fault of ours is
/// nowhere announced, and for the test that meets it to judge.
fn is_documented(method: &str, route: Option<&MatchedPath>, status: StatusCode) -> bool {
    let Some(route) = route.filter(|_| status != StatusCode::INTERNAL_SERVER_ERROR) else { return true };
    let mut found = OPERATIONS.iter().filter(|operation| operation.path == route.as_str() && verb(operation.method) == method);
    found.next().is_none_or(|operation| operation.documents(status.as_u16()))
}

impl Answer {
    pub(super) fn location(&self) -> &str {
        self.headers.get(LOCATION).map_or("", |value| value.to_str().unwrap())
    }
}

fn source(customer: &Customer) -> String {
    format!("https://vbr.{}.example", customer.code.as_str().to_lowercase())
}

/// `machines` machines at tier backup, each with a run a day in October. Ids repeat between customers on purpose; whose a machine
/// is shows in its name only.
fn events(msp: &Msp, customer: &Customer, machines: u32) -> Value {
    let event = |id: String, kind: &str, time: String, data: Value| json!({"specversion": "1.0", "source": source(customer), "id": id, "type": kind, "time": time, "data": data});
    let mut batch = Vec::new();
    for machine in 1..=machines {
        let vendor_id = format!("vm-{machine}");
        batch.push(event(
            format!("protect-{machine}"),
            "machine.protected",
            "2025-09-30T12:00:00Z".to_owned(),
            json!({"source_system": "veeam", "vendor_id": vendor_id, "name": format!("{}-{}-{machine}", msp.code, customer.code), "tier": "backup", "from": "2025-10-01"}),
        ));
        for day in 1..=31 {
            let (started, ended) = (format!("2025-10-{day:02}T14:00:00Z"), format!("2025-10-{day:02}T14:30:00Z"));
            batch.push(event(
                format!("run-{machine}-{day}"),
                "backup.completed",
                ended.clone(),
                json!({
                    "run_id": format!("run-{machine}-{day}"), "machine": {"source_system": "veeam", "vendor_id": vendor_id},
                    "kind": "incremental", "attempt": 1, "has_warning": false, "started_at": started, "ended_at": ended,
                    "disks": [{"index": 0, "size_bytes": 1_000_000_000, "transferred_bytes": 10_000_000, "state": "completed"}]
                }),
            ));
        }
    }
    Value::Array(batch)
}
