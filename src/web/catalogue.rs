//! The fixed catalogue of what `/explore` can show: named queries with columns. Nothing else can be asked for by address.

use granary_access::Permission;

use crate::queries::explore_queries as sql;

/// How a column is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    /// A customer's code; leads to the customer's page.
    Customer,
    /// A word with underscores: a tier, a state.
    Word,
    Count,
    /// Minor units in the row's `currency`.
    Money,
    Bytes,
    /// Hundredths of a per cent.
    Percent,
    Minutes,
    /// A decimal, as text.
    Decimal,
    Date,
    Instant,
}

/// One column of a view.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    pub(crate) key: &'static str,
    pub(crate) title: &'static str,
    pub(crate) kind: Kind,
    /// Whether the last line adds it up.
    pub(crate) is_summed: bool,
}

/// A named query.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    /// One row per what, and how the number comes about.
    pub(crate) about: &'static str,
    pub(crate) permission: Permission,
    pub(crate) sql: &'static str,
    pub(crate) columns: &'static [Column],
}

const fn col(key: &'static str, title: &'static str, kind: Kind) -> Column {
    Column { key, title, kind, is_summed: false }
}

const fn sum(key: &'static str, title: &'static str, kind: Kind) -> Column {
    Column { key, title, kind, is_summed: true }
}

const CUSTOMER: Column = col("customer_code", "Customer", Kind::Customer);
const NAME: Column = col("customer_name", "Name", Kind::Text);

impl View {
    /// Tells whether it shows amounts, which need a currency beside them.
    pub(crate) fn has_amounts(&self) -> bool {
        self.columns.iter().any(|column| column.kind == Kind::Money || column.key == "unit_price")
    }
}

/// Returns a view by its name.
pub(crate) fn find(name: &str) -> Option<&'static View> {
    VIEWS.iter().find(|view| view.name == name)
}

/// Every view.
pub(crate) const VIEWS: &[View] = &[
    View {
        name: "active_customers",
        title: "Active customers",
        about: "One row per customer that was active at the end of the month and had recurring revenue.",
        permission: Permission::PortfolioRead,
        sql: sql::ACTIVE_CUSTOMERS,
        columns: &[CUSTOMER, NAME, sum("machines", "Machines", Kind::Count), sum("mrr_minor", "MRR", Kind::Money)],
    },
    View {
        name: "mrr",
        title: "Monthly recurring revenue",
        about: "One row per customer: its recurring lines after discounts, excluding tax; zero unless active at the month's end.",
        permission: Permission::PortfolioRead,
        sql: sql::MRR,
        columns: &[
            CUSTOMER,
            NAME,
            col("status", "Status", Kind::Word),
            sum("mrr_minor", "MRR", Kind::Money),
            sum("usage_revenue_minor", "Usage revenue beside it", Kind::Money),
            sum("net_minor", "Billed, net", Kind::Money),
        ],
    },
    View {
        name: "mrr_movements",
        title: "What moved the recurring revenue",
        about: "One row per customer and movement against the month before; losses are negative, so that start plus sum is the end.",
        permission: Permission::PortfolioRead,
        sql: sql::MRR_MOVEMENTS,
        columns: &[
            CUSTOMER,
            NAME,
            col("movement", "Movement", Kind::Word),
            col("reason", "Reason", Kind::Word),
            sum("amount_minor", "Amount", Kind::Money),
        ],
    },
    View {
        name: "run_rate",
        title: "Run rate",
        about: "One row per customer: what the open month would bill if it ended now. It is not MRR.",
        permission: Permission::PortfolioRead,
        sql: sql::RUN_RATE,
        columns: &[CUSTOMER, NAME, col("period", "Open month", Kind::Text), sum("amount_minor", "Run rate", Kind::Money)],
    },
    View {
        name: "machines",
        title: "Machines protected",
        about: "One row per machine that completed at least one run or replication cycle in the month, at its highest tier. Runs are all that ended, the failed ones included.",
        permission: Permission::UsageRead,
        sql: sql::MACHINES,
        columns: &[
            CUSTOMER,
            col("machine_name", "Machine", Kind::Text),
            col("tier", "Tier", Kind::Word),
            col("first_on", "First day", Kind::Date),
            col("last_on", "Last day", Kind::Date),
            sum("runs_total", "Runs", Kind::Count),
            sum("runs_failed", "Failed", Kind::Count),
            sum("cycles_completed", "Cycles", Kind::Count),
            col("last_good_at", "Last restore point", Kind::Instant),
        ],
    },
    View {
        name: "machine_lines",
        title: "Machine lines, retail",
        about: "One row per customer and tier: quantity times unit price, as on the invoice.",
        permission: Permission::InvoiceRead,
        sql: sql::MACHINE_LINES,
        columns: LINE_COLUMNS,
    },
    View {
        name: "other_lines",
        title: "Other lines, retail",
        about: "One row per line that does not charge for machines: storage, support, add-ons, discounts, top-ups.",
        permission: Permission::InvoiceRead,
        sql: sql::OTHER_LINES,
        columns: LINE_COLUMNS,
    },
    View {
        name: "charges",
        title: "Charges",
        about: "One row per line of the month's invoices, before tax.",
        permission: Permission::InvoiceRead,
        sql: sql::CHARGES,
        columns: LINE_COLUMNS,
    },
    View {
        name: "invoices",
        title: "Invoices",
        about: "One row per document of the month.",
        permission: Permission::InvoiceRead,
        sql: sql::INVOICES,
        columns: &[
            CUSTOMER,
            col("number", "Number", Kind::Text),
            col("state", "State", Kind::Word),
            sum("net_minor", "Net", Kind::Money),
            sum("tax_minor", "Tax", Kind::Money),
            sum("total_minor", "Total", Kind::Money),
            sum("paid_minor", "Paid", Kind::Money),
            sum("open_minor", "Open", Kind::Money),
            col("due_on", "Due", Kind::Date),
        ],
    },
    View {
        name: "statement",
        title: "Statement",
        about: "One row per line of what the operator charges.",
        permission: Permission::MarginRead,
        sql: sql::STATEMENT,
        columns: LINE_COLUMNS,
    },
    View {
        name: "wholesale_lines",
        title: "Machine lines, wholesale",
        about: "One row per line of the operator's statement that charges for machines.",
        permission: Permission::MarginRead,
        sql: sql::WHOLESALE_LINES,
        columns: LINE_COLUMNS,
    },
    View {
        name: "platform_fee",
        title: "Platform fee",
        about: "The operator's fee per started block of 50 customers with a billable line.",
        permission: Permission::MarginRead,
        sql: sql::PLATFORM_FEE,
        columns: LINE_COLUMNS,
    },
    View {
        name: "margin",
        title: "Margin of the machine lines",
        about: "One row per customer and tier: retail less wholesale; the platform fee, which belongs to no customer, stands first.",
        permission: Permission::MarginRead,
        sql: sql::MARGIN,
        columns: &[
            CUSTOMER,
            col("item", "Line", Kind::Word),
            sum("retail_minor", "Retail", Kind::Money),
            sum("wholesale_minor", "Wholesale", Kind::Money),
            sum("margin_minor", "Margin", Kind::Money),
        ],
    },
    View {
        name: "service_levels",
        title: "Service levels",
        about: "One row per customer: machine-days with a restore point young enough, of the machine-days under a schedule.",
        permission: Permission::UsageRead,
        sql: sql::SERVICE_LEVELS,
        columns: &[
            CUSTOMER,
            sum("machine_days_met", "Days met", Kind::Count),
            sum("machine_days_scheduled", "Days scheduled", Kind::Count),
            col("backup_percent", "Backup SLA", Kind::Percent),
            sum("runs_succeeded", "Runs succeeded", Kind::Count),
            sum("runs_total", "Runs", Kind::Count),
            sum("restores_completed", "Restores", Kind::Count),
            col("restore_median_minutes", "Median restore", Kind::Minutes),
            sum("tickets_opened", "Tickets", Kind::Count),
            sum("tickets_in_target", "Answered in time", Kind::Count),
        ],
    },
    View {
        name: "health",
        title: "Health",
        about: "One row per customer; the points of the five factors add up to the score.",
        permission: Permission::IntelligenceRead,
        sql: sql::HEALTH,
        columns: &[
            CUSTOMER,
            NAME,
            col("score", "Score", Kind::Count),
            col("state", "Band", Kind::Word),
            sum("mrr_minor", "MRR", Kind::Money),
        ],
    },
    View {
        name: "churn",
        title: "Churn risk",
        about: "One row per customer, the highest risk first: the chance of a notice within 90 days after the month.",
        permission: Permission::IntelligenceRead,
        sql: sql::CHURN,
        columns: &[
            CUSTOMER,
            NAME,
            col("risk_percent", "Risk", Kind::Percent),
            col("risk", "Level", Kind::Word),
            col("top_reason", "First reason", Kind::Text),
            sum("mrr_minor", "MRR", Kind::Money),
        ],
    },
    View {
        name: "expansion",
        title: "Expansion opportunities",
        about: "One row per opportunity in the newest rated month, with what it would add to a month at prices in force.",
        permission: Permission::IntelligenceRead,
        sql: sql::EXPANSION,
        columns: &[
            CUSTOMER,
            NAME,
            col("period", "Month", Kind::Text),
            col("kind", "Opportunity", Kind::Word),
            col("item", "Item", Kind::Word),
            col("quantity", "Quantity", Kind::Decimal),
            sum("monthly_minor", "Per month", Kind::Money),
        ],
    },
    View {
        name: "storage",
        title: "Storage",
        about: "One row per customer: the average of each day's last sample, against the contract's limit.",
        permission: Permission::UsageRead,
        sql: sql::STORAGE,
        columns: &[
            CUSTOMER,
            sum("stored_bytes_average", "Average stored", Kind::Bytes),
            sum("limit_bytes", "Limit", Kind::Bytes),
            col("overage_gib", "Over the limit, GiB", Kind::Decimal),
            sum("amount_minor", "Charged for it", Kind::Money),
        ],
    },
    View {
        name: "usage",
        title: "Usage",
        about: "One row per customer and month.",
        permission: Permission::UsageRead,
        sql: sql::USAGE,
        columns: &[
            CUSTOMER,
            sum("machines", "Machines", Kind::Count),
            sum("runs_completed", "Runs completed", Kind::Count),
            sum("runs_with_warning", "With warning", Kind::Count),
            sum("runs_failed", "Failed", Kind::Count),
            sum("stored_bytes_average", "Average stored", Kind::Bytes),
            sum("transferred_bytes", "Transferred", Kind::Bytes),
            sum("tickets_opened", "Tickets", Kind::Count),
        ],
    },
    View {
        name: "revenue",
        title: "Revenue by month",
        about: "One row per month of the last 18: recurring and usage revenue, excluding tax.",
        permission: Permission::PortfolioRead,
        sql: sql::REVENUE,
        columns: &[
            col("period", "Month", Kind::Text),
            sum("mrr_minor", "Recurring", Kind::Money),
            sum("usage_revenue_minor", "Usage", Kind::Money),
        ],
    },
];

const LINE_COLUMNS: &[Column] = &[
    CUSTOMER,
    col("description", "Line", Kind::Text),
    col("quantity", "Quantity", Kind::Decimal),
    col("unit_price", "Unit price", Kind::Decimal),
    sum("amount_minor", "Amount", Kind::Money),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_columns_are_selected() {
        for (index, view) in VIEWS.iter().enumerate() {
            assert!(VIEWS[index + 1..].iter().all(|other| other.name != view.name), "{}", view.name);
            for column in view.columns {
                assert!(view.sql.contains(column.key), "{} does not select {}", view.name, column.key);
            }
        }
    }
}
