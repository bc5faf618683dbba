//! How long rows are kept: the rules, and following them.

use std::process::ExitCode;

use granary_foundation::SharedProgress;
use granary_lake::{Letting, WentOrHeld};
use granary_tenants::Msp;

use super::Failure;
use super::arguments::{Global, Retention};
use super::house::{House, Rooms};
use super::output::{Rows, print_json};
use super::progress::Reporter;

pub(crate) async fn run(global: &Global, command: Retention) -> Result<ExitCode, Failure> {
    House::with(global, async |house| {
        match command {
            Retention::List { msp, format } => {
                let msp = house.msp(msp.as_deref()).await?;
                let tx = house.tenants.begin_msp(&Rooms::msp_scope(&msp)).await?;
                let kept = house.retention.list(&tx).await?;
                tx.commit().await?;
                Rows::of(&["dataset", "keep_days", "least_days", "because"], &kept).print(format)?;
            }
            Retention::Set { dataset, days, for_ever: _, msp } => {
                let msp = house.msp(msp.as_deref()).await?;
                let tx = house.tenants.begin_msp(&Rooms::msp_scope(&msp)).await?;
                let kept = house.retention.put(&tx, &dataset, days).await?;
                tx.commit().await?;
                print_json(&kept)?;
            }
            Retention::Run { dry_run, msp, format } => {
                let msp = house.msp(msp.as_deref()).await?;
                let letting = if dry_run { Letting::Counted } else { Letting::Done };
                let went = follow(house, &msp, letting, Reporter::shared().port()).await?;
                Rows::of(&["customer_code", "dataset", "kept_from", "rows", "files", "is_held", "error"], &went).print(format)?;
                let rows: u64 = went.iter().filter(|one| !one.is_held).map(|one| one.rows).sum();
                let held = went.iter().filter(|one| one.is_held).count();
                let verb = if dry_run { "would go" } else { "went" };
                say!("{rows} rows {verb}, {held} parts are held");
                if went.iter().any(|one| one.error.is_some()) {
                    return Ok(ExitCode::FAILURE);
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    })
    .await
}

/// Follows an MSP's rules, as far as its open periods let it.
pub(crate) async fn follow(rooms: &Rooms, msp: &Msp, letting: Letting, progress: SharedProgress) -> Result<Vec<WentOrHeld>, Failure> {
    let tx = rooms.tenants.begin_msp(&Rooms::msp_scope(msp)).await?;
    let open_from = granary_metering::first_open_day(&tx).await?;
    tx.commit().await?;
    Ok(rooms.retention.run(msp, open_from, letting, progress).await?)
}
