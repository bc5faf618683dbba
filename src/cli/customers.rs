//! MSPs and customers.

use std::process::ExitCode;

use granary_tenants::{NewContract, NewCustomer, NewMsp};
use jiff::tz::TimeZone;
use serde_json::json;

use super::arguments::{AddCustomer, Customer, Global, Msp};
use super::house::{ACTOR, House, Rooms};
use super::output::{Format, Rows, print_json};
use super::{Failure, Usage, customer_clones, customer_import, customer_leaving, customer_limits, customer_placement, life};

/// Finds a time zone by its IANA name.
pub(crate) fn time_zone(name: &str) -> Result<TimeZone, Usage> {
    TimeZone::get(name).map_err(|_| Usage(format!("'{name}' is not a time zone: write one such as America/New_York or Europe/Berlin")))
}

pub(crate) async fn msp(global: &Global, command: Msp) -> Result<ExitCode, Failure> {
    let format = match command {
        Msp::Add { code, name, time_zone: zone, currency, partner_tier } => {
            let new = NewMsp { currency, partner_tier, ..NewMsp::new(code.as_str(), name, time_zone(&zone)?) };
            return House::with_new(global, async |house| add_msp(house, &new).await).await;
        }
        Msp::List { format } => format,
    };
    House::with(global, async |house| {
        let msps = house.tenants.list_msps().await?;
        let rows: Vec<_> = msps
            .into_iter()
            .map(|msp| json!({"code": msp.code, "name": msp.name, "currency": msp.currency, "partner_tier": msp.partner_tier}))
            .collect();
        Rows::of(&["code", "name", "currency", "partner_tier"], &rows).print(format)?;
        Ok(ExitCode::SUCCESS)
    })
    .await
}

/// Adds an MSP; one that has the code already must be the same.
async fn add_msp(house: &Rooms, new: &NewMsp) -> Result<ExitCode, Failure> {
    let msp = house.tenants.create_msp(new).await?;
    unless_differing(
        &format!("MSP {}", msp.code),
        [
            ("name", msp.name.clone(), new.name.clone()),
            ("time zone", zone_name(&msp.time_zone), zone_name(&new.time_zone)),
            ("currency", msp.currency.to_string(), new.currency.to_string()),
            ("partner tier", msp.partner_tier.to_string(), new.partner_tier.to_string()),
        ],
    )?;
    let long_ago = jiff::civil::Date::constant(2000, 1, 1);
    super::demo::seed_prices(house, &msp, long_ago).await?;
    house.note(Some(&msp), None, "msp.add", &format!("msp:{}", msp.code), &json!({})).await?;
    print_json(&json!({"id": msp.id, "code": msp.code, "name": msp.name}))?;
    Ok(ExitCode::SUCCESS)
}

/// Refuses to pass over that what was added already is another: (what, as it stands, as it was given).
fn unless_differing<const N: usize>(whose: &str, values: [(&str, String, String); N]) -> Result<(), Usage> {
    let differing: Vec<String> = values
        .into_iter()
        .filter(|(_, stands, given)| stands != given)
        .map(|(what, stands, given)| format!("its {what} is '{stands}', not '{given}'"))
        .collect();
    if differing.is_empty() {
        return Ok(());
    }
    Err(Usage(format!("the {whose} exists and differs: {}; nothing was changed", differing.join(", "))))
}

fn zone_name(zone: &TimeZone) -> String {
    zone.iana_name().unwrap_or("UTC").to_owned()
}

pub(crate) async fn customer(global: &Global, command: Customer) -> Result<ExitCode, Failure> {
    match command {
        Customer::Limits(command) => customer_limits::run(global, command).await,
        Customer::Life(command) => life::run(global, command).await,
        Customer::Leaving(command) => customer_leaving::run(global, command).await,
        Customer::Clone(command) => customer_clones::run(global, command).await,
        Customer::Placement(command) => customer_placement::run(global, command).await,
        Customer::Import(command) => customer_import::run(global, command).await,
        Customer::List { msp, format } => list(global, msp.as_deref(), format).await,
        Customer::Add(new) => add(global, new).await,
    }
}

async fn add(global: &Global, command: AddCustomer) -> Result<ExitCode, Failure> {
    let AddCustomer { code, name, msp, time_zone: zone, since, source, tier, status, storage_limit_gib, region } = command;
    House::with(global, async |house| {
        let msp = house.msp(msp.as_deref()).await?;
        let zone = zone.as_deref().map_or_else(|| Ok(msp.time_zone.clone()), time_zone)?;
        let since = since.unwrap_or_else(|| granary_types::day_of(house.clock.now(), &msp.time_zone));
        let contract = NewContract::new(since, msp.currency, tier, storage_limit_gib);
        let created_at = since.to_zoned(msp.time_zone.clone())?.timestamp();
        let new = NewCustomer {
            status,
            region,
            created_at: Some(created_at),
            control_planes: vec![("control plane".to_owned(), source)],
            ..NewCustomer::new(msp.id, code, name, zone, contract)
        };
        let customer = house.lifecycle.provision(&new, ACTOR.into()).await?;
        unless_differing(
            &format!("customer {}", customer.code),
            [
                ("name", customer.name.clone(), new.name.clone()),
                ("time zone", zone_name(&customer.time_zone), zone_name(&new.time_zone)),
                ("region", customer.region.clone(), new.region.clone()),
            ],
        )?;
        print_json(
            &json!({"id": customer.id, "code": customer.code, "msp": msp.code, "schema": customer.schema_name, "status": customer.status}),
        )?;
        Ok(ExitCode::SUCCESS)
    })
    .await
}

async fn list(global: &Global, msp: Option<&str>, format: Format) -> Result<ExitCode, Failure> {
    House::with(global, async |house| {
        let msp = house.msp(msp).await?;
        let columns = ["code", "name", "status", "status_since", "region", "deployment", "schema_version"];
        let customers = house.tenants.list_customers(msp.id).await?;
        let rows: Vec<_> = customers
            .into_iter()
            .map(|customer| {
                json!({"code": customer.code, "name": customer.name, "status": customer.status, "status_since": customer.status_since,
                       "region": customer.region, "deployment": customer.deployment, "schema_version": customer.schema_version})
            })
            .collect();
        Rows::of(&columns, &rows).print(format)?;
        Ok(ExitCode::SUCCESS)
    })
    .await
}
