//! Who is about to leave.

use std::process::ExitCode;

use granary_intelligence::{CustomerHistory, MonthSeen, churn};
use granary_simulator::Grid;
use granary_types::Period;
use jiff::ToSpan;
use jiff::civil::Date;
use serde_json::Value;

use super::arguments::{Churn, Global};
use super::house::{House, Missing, Rooms};
use super::output::{Rows, print_json};
use super::{Failure, Usage, queries};

/// Where the simulated grid begins; a name for its month 0 and nothing more.
const GRID_BEGINS: Date = Date::constant(2022, 1, 1);

pub(crate) async fn run(global: &Global, command: Churn) -> Result<ExitCode, Failure> {
    if let Churn::Evaluate { simulated: _, customers, months, seed } = command {
        return evaluate(customers, months, seed);
    }
    House::with(global, async |house| {
        match command {
            Churn::Train { msp } => {
                let msp = house.msp(msp.as_deref()).await?;
                print_json(&granary_intelligence::train_msp(&house.warehouse, &house.tenants, &msp).await?)?;
            }
            Churn::Score { msp, format } => {
                let msp = house.msp(msp.as_deref()).await?;
                super::night::publish(house, &msp).await?;
                let session = house.warehouse.session(&Rooms::grant(&msp)).await?;
                let scores: Vec<Value> = session.rows(queries::CHURN_SCORES).await?;
                Rows::of(&["customer_code", "period", "probability", "risk", "model", "state", "top_reason"], &scores).print(format)?;
            }
            Churn::Explain { customer, msp } => {
                let (msp, customer) = house.customer(msp.as_deref(), &customer).await?;
                let session = house.warehouse.session(&Rooms::grant(&msp)).await?;
                let scores: Vec<Value> = session.rows(queries::CHURN_EXPLANATIONS).await?;
                let mut score = scores.into_iter().find(|score| score["customer_code"] == customer.code.as_str()).ok_or_else(|| {
                    Missing(format!("{} has no churn score: only active customers without notice have one", customer.code))
                })?;
                score["reasons"] = serde_json::from_str(score["reasons"].as_str().unwrap_or("[]"))?;
                print_json(&score)?;
            }
            Churn::Evaluate { .. } => {}
        }
        Ok(ExitCode::SUCCESS)
    })
    .await
}

/// Measures the models on a simulated portfolio, on months that they have not seen.
fn evaluate(customers: u32, months: u32, seed: u64) -> Result<ExitCode, Failure> {
    if !(50..=20_000).contains(&customers) || !(18..=120).contains(&months) {
        return Err(Usage("evaluate takes 50 to 20,000 customers and 18 to 120 months".to_owned()).into());
    }
    let grid = granary_simulator::feature_rows(customers, months, seed);
    let first = Period::of(GRID_BEGINS);
    let known_until = first.plus_months(i32::try_from(months)?).first_day();
    let evaluation = churn::evaluate(&histories(&grid, first), known_until, seed)?;
    print_json(&evaluation)?;
    Ok(ExitCode::SUCCESS)
}

/// Reads the grid as an MSP would know it: months in order, and the middle of the month for a day of notice.
fn histories(grid: &Grid, first: Period) -> Vec<CustomerHistory> {
    let mut histories: Vec<CustomerHistory> = grid
        .notices
        .iter()
        .enumerate()
        .map(|(number, notice)| {
            let departed_on = notice.and_then(|month| first.plus_months(month).first_day().checked_add(14.days()).ok());
            let code = format!("SIM-{number:05}");
            CustomerHistory { customer: code.clone(), code, months: Vec::new(), departed_on }
        })
        .collect();
    for row in &grid.months {
        let Some(history) = usize::try_from(row.customer).ok().and_then(|number| histories.get_mut(number)) else { continue };
        history.months.push(MonthSeen {
            period: first.plus_months(row.month),
            runs: row.runs.map(|(completed, expected)| (u64::from(completed), u64::from(expected))),
            days_late: row.days_late,
            tickets: row.tickets,
            features: row.features_used.map(|used| (used, row.features_offered)),
            machines: row.machines,
            machines_agreed: Some(row.machines_agreed),
            tenure_months: row.tenure_months,
            contract_months: row.contract_months,
            months_to_renewal: row.months_to_renewal,
            is_at_risk: !row.is_leaving,
        });
    }
    histories
}
