//! A simulated portfolio from events to scores, on a real Postgres and a real lake.
#![expect(clippy::unwrap_used, reason = "a test that cannot have its portfolio has failed")]

use granary_billing::{InvoiceFilter, NewPayment};
use granary_foundation::Silent;
use granary_lake::Lake;
use granary_simulator::{Portfolio, PortfolioSpec, SimCustomer};
use granary_tenants::{Granted, Msp, MspScope, NewContract, NewCustomer, NewMsp, OperatorScope, ReadGrant, TenantScope};
use granary_test_support::TestDatabase;
use granary_types::{Period, Role};
use granary_warehouse::{Budget, Warehouse};
use jiff::ToSpan;
use serde::Deserialize;

#[derive(Debug, Deserialize)]
struct Health {
    customer_code: String,
    score: Option<i64>,
    state: String,
    points: i64,
    coverage_percent: i64,
}

#[derive(Debug, Deserialize)]
struct Churn {
    probability: f64,
    log_odds: f64,
    base_log_odds: f64,
    reasons: String,
    model: String,
    state: String,
    top_reason: String,
}

async fn provision(test: &TestDatabase, msp: &Msp, sim: &SimCustomer) {
    let noon = |day: jiff::civil::Date| day.at(12, 0, 0, 0).to_zoned(msp.time_zone.clone()).unwrap().timestamp();
    let contract = NewContract {
        months: sim.contract.months.try_into().unwrap(),
        contracted_machines: sim.contract.contracted_machines.map(|count| count.try_into().unwrap()),
        ..NewContract::new(sim.contract.starts_on, msp.currency, sim.contract.default_tier, sim.contract.storage_limit_gib)
    };
    let new = NewCustomer {
        status: sim.statuses[0].status,
        created_at: Some(noon(sim.created_on)),
        control_planes: vec![("main".to_owned(), sim.source.clone())],
        ..NewCustomer::new(msp.id, sim.code.clone(), &sim.name, sim.time_zone.clone(), contract)
    };
    let customer = test.tenants().provision_customer(&new).await.unwrap();
    if let Some(notice) = &sim.notice {
        test.tenants().give_notice(customer.id, notice.given_on, notice.ends_on, notice.reason).await.unwrap();
    }
    for change in &sim.statuses[1..] {
        test.tenants().set_status(customer.id, change.status, Some(change.reason), noon(change.on)).await.unwrap();
    }
}

/// Ingests every event, bills every month on its own days, and exports.
async fn live(test: &TestDatabase, portfolio: &Portfolio, msp: &Msp) -> Lake {
    let tenants = test.tenants();
    for sim in &portfolio.customers {
        provision(test, msp, sim).await;
        let customer = tenants.get_customer_by_code(msp.id, &sim.code).await.unwrap();
        let scope = TenantScope::for_job(msp.clone(), customer, "test");
        for batch in portfolio.events(sim.index) {
            let tx = tenants.begin_tenant(&scope).await.unwrap();
            let report = granary_metering::ingest(&tx, Some(&sim.source), &batch.body).await.unwrap();
            assert_eq!((report.invalid, report.conflicts), (0, 0), "{report:?}");
            tx.commit().await.unwrap();
        }
        for months in 0..portfolio.spec.months {
            granary_metering::project_month(tenants, &scope, portfolio.first_period.plus_months(months as i32)).await.unwrap();
        }
    }
    let tx = tenants.begin_operator(&OperatorScope::for_job("test", "prices")).await.unwrap();
    granary_billing::seed_list_prices(&tx, msp.currency, portfolio.first_period.first_day()).await.unwrap();
    tx.commit().await.unwrap();
    for months in 0..portfolio.spec.months {
        let period = portfolio.first_period.plus_months(months as i32);
        test.clock().set(period.end_at(&msp.time_zone) + 72.hours());
        granary_billing::draft_period(tenants, msp, period, Silent::shared()).await.unwrap();
        granary_billing::finalise_period(tenants, msp, period).await.unwrap();
        pay(test, portfolio, msp, period).await;
    }
    test.clock().set("2025-11-10T12:00:00Z".parse().unwrap());
    let datasets =
        [granary_tenants::DATASETS, granary_metering::DATASETS, granary_billing::DATASETS, granary_intelligence::DATASETS].concat();
    let lake = Lake::new(tenants.clone(), test.keys().clone(), test.objects().clone(), datasets);
    let night = lake.export_night(portfolio.spec.until, Silent::shared()).await.unwrap();
    assert_eq!(night.failures().count(), 0, "{night:?}");
    lake
}

/// Records the payments of a period's invoices that came before the end.
async fn pay(test: &TestDatabase, portfolio: &Portfolio, msp: &Msp, period: Period) {
    let customers = test.tenants().list_customers(msp.id).await.unwrap();
    let tx = test.tenants().begin_msp(&MspScope::for_job(msp.clone(), "test")).await.unwrap();
    for invoice in granary_billing::list_invoices(&tx, &InvoiceFilter { period: Some(period), customer: None }).await.unwrap() {
        let customer = customers.iter().find(|customer| customer.id == invoice.customer_id).unwrap();
        let sim = portfolio.customers.iter().find(|sim| sim.code == customer.code).unwrap();
        let habit = sim.payments.iter().find(|habit| habit.period == period).and_then(|habit| habit.days_late);
        let Some(received_on) = habit.zip(invoice.due_on).map(|(late, due)| due.checked_add(i64::from(late).days()).unwrap()) else {
            continue;
        };
        if received_on < portfolio.spec.until && invoice.total_minor > 0 {
            let payment = NewPayment {
                customer: customer.id,
                invoice: Some(invoice.id),
                amount_minor: invoice.total_minor,
                currency: invoice.currency,
                method: "wire".to_owned(),
                reference: invoice.number,
                received_on,
            };
            granary_billing::record_payment(&tx, &payment).await.unwrap();
        }
    }
    tx.commit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_portfolio_is_scored_from_its_lake_and_every_number_adds_up() {
    let test = TestDatabase::new().await;
    let zone = jiff::tz::TimeZone::get("America/New_York").unwrap();
    let spec = PortfolioSpec { customers: 10, months: 7, until: "2025-11-10".parse().unwrap(), seed: 7, zone: zone.clone() };
    let portfolio = Portfolio::generate(&spec);
    let msp = test.tenants().create_msp(&NewMsp::new(portfolio.msp.code, portfolio.msp.name, zone)).await.unwrap();
    let lake = live(&test, &portfolio, &msp).await;
    let warehouse = Warehouse::new(lake.clone(), Budget::default()).unwrap();
    let open: Period = "2025-11".parse().unwrap();
    let score = async || granary_intelligence::score_msp(&warehouse, &lake, test.tenants(), &msp, open).await.unwrap();
    let summary = score().await;
    assert_eq!(summary.as_of.to_string(), "2025-10", "an open period is not scored");
    assert_eq!((summary.periods, summary.model), (7, "rule"));
    assert!(summary.state.ends_with("too few to learn"), "{}", summary.state);
    assert_eq!(score().await.version, summary.version, "nothing changed: nothing is written");

    let grant = ReadGrant { msp: msp.id, customers: Granted::All, role: Role::MspAdmin, can_read_billing: false };
    let session = warehouse.session(&grant).await.unwrap();
    let health: Vec<Health> = session
        .rows(
            "select customer_code, score, state, coverage_percent, coalesce(backup_points, 0) + coalesce(payment_points, 0)
                + coalesce(tickets_points, 0) + coalesce(adoption_points, 0) + coalesce(utilisation_points, 0) + cap_points as points
            from lake.health_scores where period = '2025-10' order by customer_code",
        )
        .await
        .unwrap();
    assert_eq!(health.len(), 10, "{health:?}");
    assert!(health.iter().any(|row| row.customer_code == "ACME" && row.score.is_some()));
    for row in &health {
        match row.score {
            Some(score) => assert_eq!(row.points, score, "{row:?}"),
            None => assert!(row.state == "unknown" && row.coverage_percent < 60, "{row:?}"),
        }
    }
    let churn: Vec<Churn> = session
        .rows("select probability, log_odds, base_log_odds, reasons, model, state, top_reason from lake.churn_scores where period = '2025-10'")
        .await
        .unwrap();
    assert!((5..=10).contains(&churn.len()), "{churn:?}");
    for row in &churn {
        let reasons: Vec<serde_json::Value> = serde_json::from_str(&row.reasons).unwrap();
        let sum = row.base_log_odds + reasons.iter().map(|reason| reason["log_odds"].as_f64().unwrap()).sum::<f64>();
        assert!((sum - row.log_odds).abs() < 1e-9 && (0.0..0.6).contains(&row.probability), "{row:?}");
        assert!(row.model == "rule" && row.state == summary.state && !row.top_reason.is_empty(), "{row:?}");
    }
}
