//! What the demo says when it is ready.

use std::io::Write;

use granary_billing::PortfolioSubtotals;
use granary_simulator::Portfolio;
use granary_tenants::Msp;
use granary_types::{CustomerStatus, Money, Period};
use serde::Serialize;
use serde_json::{Value, json};

use super::people;
use crate::cli::Failure;
use crate::cli::files::shell_quoted;
use crate::cli::house::Rooms;

/// The summary; the same after every start.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    msp: String,
    today: String,
    last_period: Period,
    customers_active: usize,
    customers_known: usize,
    golden: Value,
    reconciliation: Value,
    logins: Vec<Value>,
    look_at: Vec<String>,
    #[serde(skip)]
    subtotals: PortfolioSubtotals,
}

/// Computes the summary from billing and reconciliation.
pub(super) async fn summarise(rooms: &Rooms, msp: &Msp, portfolio: &Portfolio) -> Result<Summary, Failure> {
    let period = portfolio.golden_period;
    let tx = rooms.tenants.begin_msp(&Rooms::msp_scope(msp)).await?;
    let subtotals = granary_billing::portfolio_subtotals(&tx, period).await?;
    tx.commit().await?;
    let found = granary_reconciliation::reconcile(&rooms.warehouse, &Rooms::grant(msp), &rooms.tenants, msp, period).await?;
    let customers = rooms.tenants.list_customers(msp.id).await?;
    let data_dir = shell_quoted(&rooms.config.data_dir.to_string_lossy());
    let example = customers.first().map_or("ACME", |customer| customer.code.as_str());
    Ok(Summary {
        msp: msp.code.clone(),
        today: portfolio.spec.until.to_string(),
        last_period: period,
        customers_active: customers.iter().filter(|customer| customer.status == CustomerStatus::Active).count(),
        customers_known: customers.len(),
        golden: golden(&subtotals),
        reconciliation: json!({
            "customers": found.rows.len(),
            "difference_minor": found.rows.iter().map(|row| row.difference_minor.abs()).sum::<i64>(),
        }),
        logins: people::USERS
            .iter()
            .map(|(email, _, role, _)| json!({"email": email, "role": role, "password": people::PASSWORD}))
            .collect(),
        look_at: vec![
            format!("granary query \"select * from revenue_by_month order by period\" --data-dir {data_dir}"),
            format!("granary reconcile --period {period} --data-dir {data_dir}"),
            format!("granary report monthly --customer {example} --period {period} --out report.pdf --data-dir {data_dir}"),
        ],
        subtotals,
    })
}

fn golden(subtotals: &PortfolioSubtotals) -> Value {
    let machines: serde_json::Map<String, Value> = subtotals
        .tiers
        .iter()
        .map(|tier| (tier.tier.to_string(), serde_json::from_str(&tier.machines.normalize().to_string()).unwrap_or(Value::Null)))
        .collect();
    json!({
        "machines": machines,
        "retail_machines_minor": subtotals.machine_retail_minor,
        "wholesale_machines_minor": subtotals.machine_wholesale_minor,
        "platform_fee_minor": subtotals.platform_fee_minor,
        "wholesale_with_fee_minor": subtotals.machine_cost_minor,
        "machine_margin_minor": subtotals.machine_margin_minor,
        "machine_margin_percent": subtotals.machine_margin_percent,
        "currency": subtotals.currency,
    })
}

impl Summary {
    /// Prints the summary for people.
    pub(super) fn print(&self, url: &str) -> Result<(), Failure> {
        let money = |minor| Money::new(minor, self.subtotals.currency);
        let mut out = std::io::stdout().lock();
        writeln!(out, "\n{} is ready: {url}", self.msp)?;
        writeln!(
            out,
            "  today is {}; {} active customers; the last closed month is {}",
            self.today, self.customers_active, self.last_period
        )?;
        for tier in &self.subtotals.tiers {
            writeln!(out, "  {:<12} {:>6} machines  {:>16}", tier.tier, tier.machines.normalize(), money(tier.retail_minor).to_string())?;
        }
        writeln!(
            out,
            "  machine charges {}, wholesale with platform fee {}",
            money(self.subtotals.machine_retail_minor),
            money(self.subtotals.machine_cost_minor)
        )?;
        let difference = money(self.reconciliation["difference_minor"].as_i64().unwrap_or(i64::MAX));
        writeln!(out, "  recomputed from its runs, the month differs by {difference}\n")?;
        writeln!(out, "Log in with the password {}:", people::PASSWORD)?;
        for (email, _, role, _) in people::USERS {
            writeln!(out, "  {email:<30} {role}")?;
        }
        writeln!(out, "\nOr, in another terminal:")?;
        for line in &self.look_at {
            writeln!(out, "  {line}")?;
        }
        Ok(out.flush()?)
    }
}
