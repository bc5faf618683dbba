//! Two roads to every amount, compared.

use std::process::ExitCode;

use super::Failure;
use super::arguments::{Global, Reconcile};
use super::house::{House, Missing, Rooms};
use super::output::Rows;

pub(crate) async fn run(global: &Global, command: Reconcile) -> Result<ExitCode, Failure> {
    House::with(global, async |house| {
        let msp = house.msp(command.msp.as_deref()).await?;
        let found = granary_reconciliation::reconcile(&house.warehouse, &Rooms::grant(&msp), &house.tenants, &msp, command.period).await?;
        if found.rows.is_empty() {
            return Err(Missing(format!("nothing was used, rated or invoiced in {}; see granary billing list", command.period)).into());
        }
        let mut columns = vec![
            "customer_code",
            "recomputed_minor",
            "rated_minor",
            "invoiced_minor",
            "paid_minor",
            "difference_minor",
            "has_evidence",
            "causes",
        ];
        if found.rows.iter().any(|row| row.corrected_minor != 0) {
            columns.insert(4, "corrected_minor");
        }
        Rows::of(&columns, &found.rows).print(command.format)?;
        let (customers, differing) = (found.rows.len(), found.differing());
        if found.is_billed {
            say!("{customers} customers, {differing} differ");
        } else {
            let next = format!("granary billing draft --period {}", command.period);
            say!(
                "{} is open, not yet billed: {customers} customers recomputed so far, {differing} with faults; {next} bills it",
                command.period
            );
        }
        Ok(if differing == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
    .await
}
