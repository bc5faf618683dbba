//! A table whose old rows may go, described for whoever lets them go.

/// The least time for which rows are kept, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Least {
    /// So many days, because of what needs them.
    Days(i32, &'static str),
    /// As long as the law wants invoices kept: these rows prove them.
    AsInvoices,
}

/// Who may let rows go. Statements take the first day that is kept and the most rows that go at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LetGo {
    /// The tenant's own role deletes rows.
    ByTenant(&'static str),
    /// The schema's owner empties rows of a log that the tenant can only add to; their keys stay.
    ByOwner(&'static str),
}

/// A dataset for which there may be a rule. Rooms publish these; whoever follows the rules knows no domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retained {
    /// Its name; where the lake has a dataset of the name, its months go too.
    pub dataset: &'static str,
    pub least: Least,
    /// Counts the rows before a day.
    pub count: &'static str,
    pub let_go: LetGo,
}
