//! What reconciliation asks the lake: raw rows, and nothing that was derived for billing but the lines it checks.

use granary_types::Period;

use crate::facts::day_of_number;
use crate::recount::Span;

/// Days before the period that still matter: a run protects for seven days, a sample speaks for seven.
pub(crate) const DAYS_BEFORE: i32 = 7;

/// The statements of one period.
#[derive(Debug)]
pub(crate) struct Queries {
    pub(crate) runs: String,
    pub(crate) cycles: String,
    pub(crate) samples: String,
    pub(crate) machine_days: String,
    pub(crate) lines: String,
    pub(crate) invoices: String,
    pub(crate) payments: String,
    pub(crate) state: String,
}

pub(crate) const MACHINES: &str = "
    select
        arrow_cast(customer_id, 'Utf8') as customer,
        arrow_cast(id, 'Utf8') as machine,
        arrow_cast(name, 'Utf8') as name,
        arrow_cast(coalesce(replaced_by, ''), 'Utf8') as replaced_by
    from lake.machines";

pub(crate) const ASSIGNMENTS: &str = "
    select
        arrow_cast(customer_id, 'Utf8') as customer,
        arrow_cast(machine_id, 'Utf8') as machine,
        arrow_cast(tier, 'Utf8') as tier,
        arrow_cast(valid_from, 'Int32') as valid_from,
        arrow_cast(coalesce(valid_to, date '9999-01-01'), 'Int32') as valid_to
    from lake.tier_assignments";

pub(crate) const PRICES: &str = "
    select
        msp_id is null as is_list,
        arrow_cast(coalesce(customer_id, ''), 'Utf8') as customer,
        arrow_cast(item, 'Utf8') as item,
        arrow_cast(currency, 'Utf8') as currency,
        arrow_cast(unit_price, 'Decimal128(18, 8)') as price,
        arrow_cast(valid_from, 'Int32') as valid_from
    from lake.prices";

pub(crate) const LIMITS: &str = "
    select
        arrow_cast(contract_id, 'Utf8') as contract,
        arrow_cast(valid_from, 'Int32') as valid_from,
        storage_limit_gib as gib
    from lake.contract_limits";

impl Queries {
    /// Writes the statements for a period and its billing days. Files are months in UTC, so a day more on either side is read.
    pub(crate) fn new(period: Period, span: Span) -> Self {
        let month = |day: i32| Period::of(day_of_number(day));
        let months = format!("month between '{}' and '{}'", month(span.first - DAYS_BEFORE - 2), month(span.last + 2));
        let first = day_of_number(span.first);
        let (before, last) = (day_of_number(span.first - DAYS_BEFORE), day_of_number(span.last));
        let machine = "arrow_cast(customer_id, 'Utf8') as customer, arrow_cast(machine_id, 'Utf8') as machine, arrow_cast(billing_on, 'Int32') as day";
        Self {
            runs: format!(
                "select {machine}, arrow_cast(1, 'Int64') as runs from lake.backup_runs
                 where state in ('completed', 'completed_with_warning') and billing_on between date '{before}' and date '{last}' and {months}"
            ),
            cycles: format!(
                "select {machine}, arrow_cast(cycles_completed, 'Int64') as runs from lake.replication_cycles
                 where cycles_completed > 0 and billing_on between date '{before}' and date '{last}' and {months}"
            ),
            samples: format!(
                "select arrow_cast(customer_id, 'Utf8') as customer, arrow_cast(repository_id, 'Utf8') as repository,
                    arrow_cast(billing_on, 'Int32') as day, arrow_cast(sampled_at, 'Int64') as sampled_at, used_bytes as used
                 from lake.storage_samples where billing_on between date '{before}' and date '{last}' and {months}"
            ),
            machine_days: format!(
                "select {machine}, arrow_cast(coalesce(tier, ''), 'Utf8') as tier, arrow_cast(runs_completed + cycles_completed, 'Int64') as runs
                 from lake.machine_days
                 where runs_completed + cycles_completed > 0 and billing_on between date '{first}' and date '{last}' and {months}"
            ),
            lines: format!(
                "select arrow_cast(customer_id, 'Utf8') as customer, arrow_cast(position, 'Int32') as position, arrow_cast(item, 'Utf8') as item,
                    is_recurring, arrow_cast(quantity, 'Decimal128(18, 4)') as quantity, arrow_cast(unit_price, 'Decimal128(18, 8)') as price,
                    amount_minor
                 from lake.rated_lines where period = '{period}'"
            ),
            invoices: format!(
                "select arrow_cast(customer_id, 'Utf8') as customer, net_minor, tax_minor
                 from lake.invoices where period = '{period}' and kind = 'invoice'"
            ),
            payments: format!(
                "select arrow_cast(i.customer_id, 'Utf8') as customer, arrow_cast(sum(p.amount_minor), 'Int64') as paid
                 from lake.payments p join lake.invoices i on i.id = p.invoice_id
                 where i.period = '{period}' and i.kind = 'invoice' group by i.customer_id"
            ),
            state: format!("select arrow_cast(state, 'Utf8') as state from lake.periods where period = '{period}'"),
        }
    }
}
