//! An MSP's existing customers, from a sheet: all of them, or none while anything is wrong with one.

mod sheet;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use granary_billing::{Price, PriceOwner, open_account, set_price};
use granary_tenants::{Customer, Msp, MspTx, NewContact, TenantsError, list_contracts_of, list_control_planes};
use serde::Serialize;

use self::sheet::{Fault, Line};
use super::arguments::Global;
use super::files::content_of;
use super::house::{House, Missing, Rooms};
use super::output::{Format, Rows};
use super::{Failure, Usage};

/// What the command is told.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  granary customer import customers.csv --dry-run     says what is wrong and what would be made
  granary customer import customers.csv --msp NORTH   a second time changes nothing; killed, it goes on
  cat north.csv | granary customer import - --dry-run

The file has a header and a line for each customer:
  customer_code,company_name,since,plan_tier,storage_gb,main_email,price_backup,opening_balance
  ACME,Acme Corporation,2023-04-01,enterprise,2000,ada@acme.example,42.50,1250.00
Only the first two columns are needed. The others: status (trial or active), since (first day, today unless told), time_zone,
country, region, deployment, vertical, plan_tier, currency, months, notice_days, contracted_vms, max_vms, storage_gb, minimum,
discount_percent, tax_percent, payment_terms_days, billing_channel, premium_support, white_label (yes or no), source (of its
control plane), main_name, main_email, main_phone, billing_name, billing_email, price_backup, price_enterprise,
price_replication, price_storage_gb (its own prices), opening_balance (what it owes today; below zero it has a credit).")]
pub(crate) struct ImportCustomers {
    /// The CSV file; - for standard input
    file: PathBuf,
    /// Say what is wrong and what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// The MSP, by its code; needed when there are several
    #[arg(long)]
    msp: Option<String>,
    /// How the answer is written: a table, JSON or CSV
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// What becomes of a line.
#[derive(Debug, Serialize)]
struct Outcome {
    line: u64,
    customer_code: String,
    /// `made`, or `known`: it was there as the line says, and an interrupted import of it is finished.
    outcome: &'static str,
}

pub(crate) async fn run(global: &Global, command: ImportCustomers) -> Result<ExitCode, Failure> {
    let content = content_of(&command.file)?;
    House::with(global, async |house| {
        let msp = house.msp(command.msp.as_deref()).await?;
        let today = granary_types::day_of(house.clock.now(), &msp.time_zone);
        let lines = match sheet::read(&content, &msp, today) {
            Ok(lines) => lines,
            Err(faults) => return refuse(&faults, command.format),
        };
        let (outcomes, faults) = rehearse(house, &msp, &lines).await?;
        if !faults.is_empty() {
            return refuse(&faults, command.format);
        }
        if !command.dry_run {
            bring_in(house, &msp, &lines).await?;
        }
        Rows::of(&["line", "customer_code", "outcome"], &outcomes).print(command.format)?;
        if command.dry_run {
            say!("nothing was done; without --dry-run it is");
        }
        Ok(ExitCode::SUCCESS)
    })
    .await
}

fn refuse(faults: &[Fault], format: Format) -> Result<ExitCode, Failure> {
    Rows::of(&["line", "column", "problem"], faults).print(format)?;
    say!("nothing was done: mend the sheet and run the command again");
    Ok(ExitCode::from(2))
}

/// Does every line without committing, so that what only the database knows is found before the first is made.
async fn rehearse(house: &Rooms, msp: &Msp, lines: &[Line]) -> Result<(Vec<Outcome>, Vec<Fault>), Failure> {
    let (mut outcomes, mut faults) = (Vec::new(), Vec::new());
    house.progress.begin("looking at customers", lines.len() as u64);
    for line in lines {
        let tx = house.tenants.begin_msp(&Rooms::msp_scope(msp)).await?;
        match enter(house, &tx, line).await {
            Ok((_, is_new)) => {
                let outcome = if is_new { "made" } else { "known" };
                outcomes.push(Outcome { line: line.number, customer_code: line.customer.code.to_string(), outcome });
            }
            Err(failure) if is_the_lines(failure.as_ref()) => {
                faults.push(Fault { line: line.number, column: String::new(), problem: failure.to_string() });
            }
            Err(failure) => return Err(failure),
        }
        tx.rollback().await?;
        house.progress.advance(1);
    }
    house.progress.end();
    Ok((outcomes, faults))
}

/// Tells whether a failure is a fault of the line: wrong, or against what stands.
fn is_the_lines(failure: &(dyn std::error::Error + 'static)) -> bool {
    use granary_types::ErrorKind::{Conflict, Invalid, NotFound};
    matches!(super::house::kind_of(failure), Some(Conflict | Invalid | NotFound))
}

/// Makes the customers, one after the other: the rows of each are committed together, then its silo and its keys are made,
/// then its contacts are sealed.
async fn bring_in(house: &Rooms, msp: &Msp, lines: &[Line]) -> Result<(), Failure> {
    house.progress.begin("bringing in customers", lines.len() as u64);
    for line in lines {
        let tx = house.tenants.begin_msp(&Rooms::msp_scope(msp)).await?;
        let (customer, _) = enter(house, &tx, line).await?;
        tx.commit().await?;
        let customer = house.lifecycle.open(msp.clone(), customer).await?;
        for contact in &line.contacts {
            add_contact(house, msp, &customer, contact).await?;
        }
        house.progress.advance(1);
    }
    house.progress.end();
    Ok(())
}

/// Adds a contact that is not there; one that another import adds at the same moment is.
async fn add_contact(house: &Rooms, msp: &Msp, customer: &Customer, contact: &NewContact) -> Result<(), Failure> {
    let tx = house.tenants.begin_msp(&Rooms::msp_scope(msp)).await?;
    let known = house.tenants.list_contacts(&tx, customer).await?;
    if known.iter().any(|known| known.kind == contact.kind && known.email.eq_ignore_ascii_case(&contact.email)) {
        return Ok(tx.rollback().await?);
    }
    match house.tenants.add_contact(&tx, customer, contact).await {
        Ok(_) => Ok(tx.commit().await?),
        Err(TenantsError::Taken(_)) => Ok(tx.rollback().await?),
        Err(error) => Err(error.into()),
    }
}

/// Enters a customer with its terms, prices and opening balance, and tells whether it is new. One that is there must be what the
/// line says, and gets nothing new: its prices and terms have billed already.
async fn enter(house: &Rooms, tx: &MspTx, line: &Line) -> Result<(Customer, bool), Failure> {
    for contact in &line.contacts {
        contact.check()?;
    }
    let (customer, is_new) = house.lifecycle.enter(tx, &line.customer).await?;
    let contract = list_contracts_of(tx, &customer).await?.into_iter().next();
    let contract = contract.ok_or_else(|| Missing(format!("{} has no contract", customer.code)))?;
    let refuse = |why: String| Usage(format!("{} is there already, and {why}", customer.code));
    if !is_new {
        let planes = list_control_planes(tx, &customer).await?;
        if let Some(difference) = line.difference(&customer, &contract, &planes) {
            return Err(refuse(difference).into());
        }
    }
    let (owner, currency) = (PriceOwner::Customer(customer.id), contract.currency);
    for &(item, unit_price) in &line.prices {
        let price = Price { owner, item, unit_price, currency, valid_from: contract.starts_on.first_of_month() };
        if set_price(tx, &price).await? && !is_new {
            return Err(refuse(format!("has no price of its own for {item} from {}", price.valid_from)).into());
        }
    }
    if let Some(balance) = line.opening_balance {
        let today = granary_types::day_of(tx.now(), &tx.msp().time_zone);
        if open_account(tx, customer.id, balance, today).await? && !is_new {
            return Err(refuse("its account opened without a balance".to_owned()).into());
        }
    }
    Ok((customer, is_new))
}
