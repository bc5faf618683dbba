//! The demo's past: provisioned, ingested, billed month by month, exported and scored.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Mutex;

use futures::{StreamExt, TryStreamExt};
use granary_billing::{InvoiceFilter, NewPayment, Price, PriceOwner};
use granary_simulator::{Portfolio, SimContract, SimCustomer};
use granary_tenants::{Customer, Msp, NewContract, NewCustomer, NewMsp, OperatorScope};
use granary_types::{CustomerStatus, Period};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use crate::cli::Failure;
use crate::cli::files::Named;
use crate::cli::house::{ACTOR, DemoFile, Rooms};
use crate::cli::{night, report};

/// Customers that are provisioned at the same time; the database syncs files most of that time.
const PROVISIONED_AT_ONCE: usize = 4;
/// Customers whose events are ingested at the same time.
const INGESTED_AT_ONCE: usize = 3;
/// A period is closed 72 hours after its end.
const CUT_OFF_HOURS: i64 = 72;

/// Brings a house to the demo's today.
pub(super) async fn build(rooms: &Rooms, portfolio: &Portfolio, demo: &DemoFile) -> Result<Msp, Failure> {
    let steps = Steps::open(rooms)?;
    // The demo's clock stands where each step needs it, and at the demo's today in the end.
    let first = portfolio.first_period.start_at(&portfolio.spec.zone);
    if !steps.is_done("past") {
        rooms.clock.set(first);
    }
    let msp = msp(rooms, portfolio).await?;
    provision(rooms, portfolio, &msp, &steps).await?;
    // All of the past is here before its months are closed: each is sealed with the events that it counts.
    ingest(rooms, portfolio, &msp, &steps).await?;
    // The days of the past are derived up to the present day.
    rooms.clock.set(demo.clock_at);
    derive_days(rooms, portfolio, &msp).await?;
    bill(rooms, portfolio, &msp, &steps).await?;
    rooms.clock.set(demo.clock_at);
    steps.finish("past")?;
    if !steps.is_done("night") {
        night::run(rooms, None).await?.whole()?;
        // The news of the past asks for nothing that this night has not done.
        granary_db::outbox::relay(&rooms.database, &|_| Vec::new()).await?;
        steps.finish("night")?;
    }
    if !steps.is_done("alerts") {
        let report = granary_metering::watch_msp(&rooms.tenants, &Rooms::msp_scope(&msp), true, rooms.progress.clone()).await?;
        if let Some(failure) = report.failures.first() {
            return Err(format!("a customer could not be looked at: {failure}").into());
        }
        steps.finish("alerts")?;
    }
    if !steps.is_done("reports") {
        report::write_all(rooms, &msp, portfolio.golden_period, &rooms.config.data_dir.join(report::REPORTS)).await?;
        steps.finish("reports")?;
    }
    Ok(msp)
}

async fn msp(rooms: &Rooms, portfolio: &Portfolio) -> Result<Msp, Failure> {
    let sim = &portfolio.msp;
    let new = NewMsp {
        currency: sim.currency,
        partner_tier: sim.partner_tier,
        brand_color: sim.brand_color.to_owned(),
        ..NewMsp::new(sim.code, sim.name, sim.time_zone.clone())
    };
    let msp = rooms.tenants.create_msp(&new).await?;
    seed_prices(rooms, &msp, portfolio.first_period.first_day()).await?;
    Ok(msp)
}

/// Makes the operator's list prices and the MSP's own for add-ons, in force from a day on, unless they are there.
pub(crate) async fn seed_prices(rooms: &Rooms, msp: &Msp, valid_from: Date) -> Result<(), Failure> {
    let tx = rooms.tenants.begin_operator(&OperatorScope::for_job(ACTOR, "list prices")).await?;
    granary_billing::seed_list_prices(&tx, msp.currency, valid_from).await?;
    tx.commit().await?;
    let tx = rooms.tenants.begin_msp(&Rooms::msp_scope(msp)).await?;
    granary_billing::seed_price_book(&tx, valid_from).await?;
    Ok(tx.commit().await?)
}

async fn provision(rooms: &Rooms, portfolio: &Portfolio, msp: &Msp, steps: &Steps) -> Result<(), Failure> {
    rooms.progress.begin("customers, each with a schema, a role and a key", portfolio.customers.len() as u64);
    futures::stream::iter(&portfolio.customers)
        .map(|sim| async move {
            let step = format!("provisioned {}", sim.code);
            if !steps.is_done(&step) {
                provision_one(rooms, msp, sim).await?;
                steps.finish(&step)?;
            }
            rooms.progress.advance(1);
            Ok::<(), Failure>(())
        })
        .buffer_unordered(PROVISIONED_AT_ONCE)
        .try_collect::<()>()
        .await?;
    rooms.progress.end();
    Ok(())
}

async fn provision_one(rooms: &Rooms, msp: &Msp, sim: &SimCustomer) -> Result<(), Failure> {
    let zone = &msp.time_zone;
    let first_status = sim.statuses.first().map_or(CustomerStatus::Active, |change| change.status);
    let new = NewCustomer {
        status: first_status,
        vertical: Some(sim.vertical.to_owned()),
        contact_email: Some(format!("owner@{}.example", sim.code.as_str().to_lowercase())),
        created_at: Some(morning(sim.created_on, zone)?),
        control_planes: vec![("control plane".to_owned(), sim.source.clone())],
        ..NewCustomer::new(msp.id, sim.code.clone(), &sim.name, sim.time_zone.clone(), contract(msp, &sim.contract)?)
    };
    let customer = rooms.lifecycle.provision(&new, ACTOR.into()).await?;
    if let Some(notice) = &sim.notice {
        rooms.tenants.give_notice(customer.id, notice.given_on, notice.ends_on, notice.reason).await?;
    }
    let recorded: BTreeSet<Timestamp> = rooms
        .tenants
        .list_status_changes(msp.id)
        .await?
        .into_iter()
        .filter(|change| change.customer_id == customer.id)
        .map(|change| change.changed_at)
        .collect();
    for change in sim.statuses.iter().skip(1) {
        let at = morning(change.on, zone)?;
        if !recorded.contains(&at) {
            rooms.tenants.set_status(customer.id, change.status, Some(change.reason), at).await?;
        }
    }
    let tx = rooms.tenants.begin_msp(&Rooms::msp_scope(msp)).await?;
    for price in &sim.price_overrides {
        let owner = PriceOwner::Customer(customer.id);
        let price =
            Price { owner, item: price.item.parse()?, unit_price: price.unit_price, currency: msp.currency, valid_from: price.valid_from };
        granary_billing::set_price(&tx, &price).await?;
    }
    Ok(tx.commit().await?)
}

fn contract(msp: &Msp, sim: &SimContract) -> Result<NewContract, Failure> {
    Ok(NewContract {
        months: i32::try_from(sim.months)?,
        renews: sim.renews,
        notice_days: i32::try_from(sim.notice_days)?,
        contracted_machines: sim.contracted_machines.map(i32::try_from).transpose()?,
        machine_limit: sim.machine_limit.map(i32::try_from).transpose()?,
        minimum_minor: sim.minimum_minor,
        discount_percent: sim.discount_percent,
        payment_terms_days: i32::try_from(sim.payment_terms_days)?,
        has_premium_support: sim.has_premium_support,
        has_white_label: sim.has_white_label,
        ..NewContract::new(sim.starts_on, msp.currency, sim.default_tier, sim.storage_limit_gib)
    })
}

async fn ingest(rooms: &Rooms, portfolio: &Portfolio, msp: &Msp, steps: &Steps) -> Result<(), Failure> {
    rooms.progress.begin("usage events", 0);
    futures::stream::iter(&portfolio.customers)
        .map(|sim| async move {
            let step = format!("ingested {}", sim.code);
            if !steps.is_done(&step) {
                ingest_one(rooms, portfolio, msp, sim).await?;
                steps.finish(&step)?;
            }
            Ok::<(), Failure>(())
        })
        .buffer_unordered(INGESTED_AT_ONCE)
        .try_collect::<()>()
        .await?;
    rooms.progress.end();
    Ok(())
}

/// Derives every customer's days; doing it again changes nothing.
async fn derive_days(rooms: &Rooms, portfolio: &Portfolio, msp: &Msp) -> Result<(), Failure> {
    futures::stream::iter(&portfolio.customers)
        .map(|sim| async move {
            let customer = rooms.tenants.get_customer_by_code(msp.id, &sim.code).await?;
            let tx = rooms.tenants.begin_tenant(&Rooms::tenant_scope(msp, &customer)).await?;
            granary_metering::rebuild_days(&tx, portfolio.first_period, Period::of(portfolio.spec.until)).await?;
            Ok::<(), Failure>(tx.commit().await?)
        })
        .buffer_unordered(INGESTED_AT_ONCE)
        .try_collect::<()>()
        .await
}

/// Delivers a customer's past as its control plane would have.
async fn ingest_one(rooms: &Rooms, portfolio: &Portfolio, msp: &Msp, sim: &SimCustomer) -> Result<(), Failure> {
    let customer = rooms.tenants.get_customer_by_code(msp.id, &sim.code).await?;
    let scope = Rooms::tenant_scope(msp, &customer);
    let mut batches = portfolio.events(sim.index);
    loop {
        // Making events is work for a thread of its own, so that the other customers' statements are answered meanwhile.
        let (batch, rest) = tokio::task::spawn_blocking(move || (batches.next(), batches)).await?;
        batches = rest;
        let Some(batch) = batch else { break };
        let tx = rooms.tenants.begin_tenant(&scope).await?;
        let report = granary_metering::ingest(&tx, Some(&sim.source), &batch.body).await?;
        tx.commit().await?;
        if report.invalid > 0 {
            return Err(format!("the simulator made {} invalid events for {}", report.invalid, sim.code).into());
        }
        rooms.progress.advance(batch.events as u64);
    }
    Ok(())
}

/// Rates, drafts, finalises and closes every past month, and takes the payments that came.
async fn bill(rooms: &Rooms, portfolio: &Portfolio, msp: &Msp, steps: &Steps) -> Result<(), Failure> {
    let periods: Vec<Period> =
        std::iter::successors(Some(portfolio.first_period), |period| (*period < portfolio.golden_period).then(|| period.next())).collect();
    rooms.progress.begin("months: rated, invoiced, closed", periods.len() as u64);
    for period in periods {
        let step = format!("billed {period}");
        if !steps.is_done(&step) {
            rooms.clock.set(period.end_at(&msp.time_zone) + CUT_OFF_HOURS.hours());
            bill_one(rooms, portfolio, msp, period).await?;
            steps.finish(&step)?;
        }
        rooms.progress.advance(1);
    }
    rooms.progress.end();
    Ok(())
}

async fn bill_one(rooms: &Rooms, portfolio: &Portfolio, msp: &Msp, period: Period) -> Result<(), Failure> {
    let silent = granary_foundation::Silent::shared();
    let drafted = granary_billing::draft_period(&rooms.tenants, msp, period, silent).await?;
    if !drafted.failures.is_empty() {
        return Err(format!("{period} could not be rated: {:?}", drafted.failures).into());
    }
    granary_billing::finalise_period(&rooms.tenants, msp, period).await?;
    granary_metering::close_period(&rooms.tenants, &Rooms::msp_scope(msp), period).await?;
    pay(rooms, portfolio, msp, period).await
}

/// Records the payments for a period's invoices that have come by the demo's today.
async fn pay(rooms: &Rooms, portfolio: &Portfolio, msp: &Msp, period: Period) -> Result<(), Failure> {
    let customers: Vec<Customer> = rooms.tenants.list_customers(msp.id).await?;
    let tx = rooms.tenants.begin_msp(&Rooms::msp_scope(msp)).await?;
    for invoice in granary_billing::list_invoices(&tx, &InvoiceFilter { period: Some(period), customer: None }).await? {
        let Some(customer) = customers.iter().find(|customer| customer.id == invoice.customer_id) else { continue };
        let Some(sim) = portfolio.customers.iter().find(|sim| sim.code == customer.code) else { continue };
        let habit = sim.payments.iter().find(|habit| habit.period == period);
        let (Some(due_on), Some(days_late)) = (invoice.due_on, habit.and_then(|habit| habit.days_late)) else { continue };
        let received_on = due_on.checked_add(i64::from(days_late).days())?;
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
            granary_billing::record_payment(&tx, &payment).await?;
        }
    }
    Ok(tx.commit().await?)
}

fn morning(day: Date, zone: &TimeZone) -> Result<Timestamp, Failure> {
    Ok(day.at(9, 0, 0, 0).to_zoned(zone.clone())?.timestamp())
}

/// The steps that are finished, one a line, in the data directory.
#[derive(Debug)]
struct Steps {
    path: PathBuf,
    done: Mutex<BTreeSet<String>>,
}

impl Steps {
    fn open(rooms: &Rooms) -> Result<Self, Failure> {
        let path = rooms.config.data_dir.join("demo.steps");
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Ok(Err(error).named("read", path)?),
        };
        // A line without its end was cut off by a kill: the step is repeated.
        let done = text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')).map(str::to_owned).collect();
        Ok(Self { path, done: Mutex::new(done) })
    }

    fn is_done(&self, step: &str) -> bool {
        self.done.lock().is_ok_and(|done| done.contains(step))
    }

    fn finish(&self, step: &str) -> Result<(), Failure> {
        let mut done = self.done.lock().map_err(|_| "the list of finished steps is broken")?;
        if done.insert(step.to_owned()) {
            let mut file = OpenOptions::new().create(true).append(true).open(&self.path).named("open", &self.path)?;
            file.write_all(format!("{step}\n").as_bytes()).and_then(|()| file.sync_data()).named("write", &self.path)?;
        }
        Ok(())
    }
}
