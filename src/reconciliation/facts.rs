//! What the lake says happened, as polars frames: texts and integers only, days counted since 1970.

use jiff::civil::Date;
use polars::prelude::{DataFrame, PolarsResult, df};

/// A tier as a number, so that the highest is the greatest.
pub(crate) fn rank_of(tier: &str) -> Option<i32> {
    match tier {
        "backup" => Some(0),
        "enterprise" => Some(1),
        "replication" => Some(2),
        _ => None,
    }
}

/// Returns the days since 1970.
pub(crate) fn day_number(day: Date) -> i32 {
    (day - Date::constant(1970, 1, 1)).get_days()
}

/// Returns the day that is so many days after 1970 began.
pub(crate) fn day_of_number(number: i32) -> Date {
    use jiff::ToSpan;
    Date::constant(1970, 1, 1).checked_add(number.days()).unwrap_or(Date::MAX)
}

/// Completed runs and cycles, assignments and samples of all customers, and beside them the machine-days that billing used.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    /// customer, machine, day, runs: one row a completed run, or a day's completed cycles.
    pub(crate) completions: DataFrame,
    /// customer, machine, rank, valid_from, valid_to: half-open.
    pub(crate) assignments: DataFrame,
    /// customer, machine, day, rank, runs: as metering keeps them; rank −1 for none.
    pub(crate) machine_days: DataFrame,
    /// customer, repository, day, sampled_at, used.
    pub(crate) samples: DataFrame,
}

/// Makes the frame of completions from columns.
pub(crate) fn completions(customer: Vec<String>, machine: Vec<String>, day: Vec<i32>, runs: Vec<i64>) -> PolarsResult<DataFrame> {
    df!["customer" => customer, "machine" => machine, "day" => day, "runs" => runs]
}
