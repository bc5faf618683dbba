//! What is known of a customer, month by month, before anything is concluded from it.

use granary_types::Period;
use jiff::civil::Date;

/// One month of a customer; what nobody collected is none, never zero.
#[derive(Debug, Clone, PartialEq)]
pub struct MonthSeen {
    pub period: Period,
    /// Machine-days with a good run, and machine-days under a schedule (or runs; the share counts).
    pub runs: Option<(u64, u64)>,
    /// Mean days past due of the invoices that fell due.
    pub days_late: Option<f64>,
    pub tickets: Option<u32>,
    /// Features used in the month, and features on offer.
    pub features: Option<(u32, u32)>,
    pub machines: Option<u32>,
    /// The quantity agreed in the contract; none, no licence factor.
    pub machines_agreed: Option<u32>,
    pub tenure_months: u32,
    /// 1 for a contract by the month.
    pub contract_months: u32,
    pub months_to_renewal: u32,
    /// Active, and no notice given, at the month's end.
    pub is_at_risk: bool,
}

/// A customer's months in order, and the day of its departure.
#[derive(Debug, Clone, PartialEq)]
pub struct CustomerHistory {
    /// Identifies the customer within the portfolio.
    pub customer: String,
    pub code: String,
    pub months: Vec<MonthSeen>,
    /// The day of notice, else of closing, else of the thirtieth day of suspension.
    pub departed_on: Option<Date>,
}

impl CustomerHistory {
    /// Returns the place of a period among the months.
    pub fn index_of(&self, period: Period) -> Option<usize> {
        self.months.binary_search_by_key(&period, |month| month.period).ok()
    }
}
