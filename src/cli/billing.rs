//! Invoices, by hand.

use std::process::ExitCode;

use granary_billing::InvoiceFilter;
use granary_tenants::Msp;
use granary_types::{Money, Period};
use serde_json::json;

use super::Failure;
use super::arguments::{Billing, Global};
use super::house::{House, Missing, Rooms};
use super::output::{Rows, print_json};

pub(crate) async fn run(global: &Global, command: Billing) -> Result<ExitCode, Failure> {
    House::with(global, async |house| {
        match command {
            Billing::Draft { period, msp } => {
                let msp = house.msp(msp.as_deref()).await?;
                let customers = house.tenants.list_customers(msp.id).await?;
                if customers.iter().all(|customer| customer.created_at >= period.end_at(&msp.time_zone)) {
                    return Err(Missing(format!("nobody was a customer of {} in {period}: there is nothing to draft", msp.code)).into());
                }
                let report = granary_billing::draft_period(&house.tenants, &msp, period, house.progress.clone()).await?;
                house.note(Some(&msp), None, "billing.draft", &format!("msp:{}", msp.code), &json!({"period": period})).await?;
                print_json(&report)?;
                return Ok(if report.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
            }
            Billing::Finalise { period, msp } => {
                let msp = house.msp(msp.as_deref()).await?;
                let report = granary_billing::finalise_period(&house.tenants, &msp, period).await?;
                if report.numbered.is_empty() && report.already_final == 0 {
                    return Err(Missing(format!("{} has no invoices for {period}: there is nothing to finalise", msp.code)).into());
                }
                let detail = json!({"period": period, "numbered": report.numbered.len()});
                house.note(Some(&msp), None, "billing.finalise", &format!("msp:{}", msp.code), &detail).await?;
                print_json(&report)?;
            }
            Billing::List { period, msp, format } => {
                let msp = house.msp(msp.as_deref()).await?;
                let tx = house.tenants.begin_msp(&Rooms::msp_scope(&msp)).await?;
                let invoices = granary_billing::list_invoices(&tx, &InvoiceFilter { period: Some(period), customer: None }).await?;
                tx.commit().await?;
                Rows::of(
                    &["customer_code", "number", "state", "currency", "net_minor", "tax_minor", "total_minor", "paid_minor", "due_on"],
                    &invoices,
                )
                .print(format)?;
            }
            Billing::Accounts { msp, format } => {
                let msp = house.msp(msp.as_deref()).await?;
                let tx = house.tenants.begin_msp(&Rooms::msp_scope(&msp)).await?;
                let accounts = granary_billing::list_accounts(&tx).await?;
                tx.commit().await?;
                let columns = ["customer_code", "customer_name", "currency", "opening_minor", "invoiced_minor", "paid_minor", "open_minor"];
                Rows::of(&columns, &accounts).print(format)?;
            }
            Billing::Show { customer, period, msp, format } => {
                let (msp, customer) = house.customer(msp.as_deref(), &customer).await?;
                let lines = lines(house, &msp, &customer, period).await?;
                Rows::of(&["item", "description", "quantity", "unit_price", "amount", "amount_minor", "currency"], &lines).print(format)?;
            }
        }
        Ok(ExitCode::SUCCESS)
    })
    .await
}

async fn lines(house: &Rooms, msp: &Msp, customer: &granary_tenants::Customer, period: Period) -> Result<Vec<serde_json::Value>, Failure> {
    let tx = house.tenants.begin_tenant(&Rooms::tenant_scope(msp, customer)).await?;
    tx.record_audit("invoice_lines.read", &format!("customer:{}", customer.code), &json!({"period": period}), None).await?;
    let lines = granary_billing::list_lines(&tx, period).await?;
    tx.commit().await?;
    if lines.is_empty() {
        return Err(
            Missing(format!("{} has no lines for {period}; draft it with granary billing draft --period {period}", customer.code)).into()
        );
    }
    Ok(lines
        .into_iter()
        .map(|line| {
            json!({"item": line.item, "description": line.description, "quantity": line.quantity.normalize().to_string(),
                   "unit_price": line.unit_price.normalize().to_string(), "amount": Money::new(line.amount_minor, line.currency).to_decimal().to_string(),
                   "amount_minor": line.amount_minor, "currency": line.currency})
        })
        .collect())
}
