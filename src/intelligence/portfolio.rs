//! From the warehouse's rows and the catalog to histories: what was known of each customer at each month's end.

use std::collections::{HashMap, HashSet};

use granary_tenants::{Contract, Customer, StatusChange};
use granary_types::{CustomerStatus, Period, Tier, day_of};
use jiff::ToSpan;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::observation::{CustomerHistory, MonthSeen};
use crate::store::{Inputs, InvoiceRow};

/// The features of each tier, by which adoption is measured; each tier has those of the one below.
const FEATURES: [&str; 12] = [
    "file_restore",
    "reports",
    "alerts",
    "encryption",
    "test_restore",
    "self_service",
    "immutability",
    "application_aware",
    "instant_restore",
    "api",
    "failover_plan",
    "replica_test",
];
/// A pause this long is a departure.
const PAUSE_DAYS: i32 = 30;

/// Returns the features that a tier offers.
pub(crate) fn features_of(tier: Tier) -> &'static [&'static str] {
    match tier {
        Tier::Backup => &FEATURES[..6],
        Tier::Enterprise => &FEATURES[..10],
        Tier::Replication => &FEATURES,
    }
}

/// What the catalog knows of an MSP's customers.
#[derive(Debug)]
pub(crate) struct Catalog {
    pub(crate) zone: TimeZone,
    pub(crate) customers: Vec<Customer>,
    pub(crate) contracts: Vec<Contract>,
    pub(crate) changes: Vec<StatusChange>,
}

/// Unpaid and past due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Overdue {
    pub(crate) amount_minor: i64,
    pub(crate) days: i32,
}

/// The histories of a portfolio up to a period, and what each customer owed at each month's end.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) histories: Vec<CustomerHistory>,
    pub(crate) overdue: HashMap<(String, Period), Overdue>,
}

/// Puts together the months up to `as_of`, each as it was known at its end, and the departures up to `known_until`.
pub(crate) fn histories(catalog: &Catalog, inputs: &Inputs, as_of: Period, known_until: Date) -> Known {
    let books = Books::of(inputs);
    let last_day = as_of.last_day();
    let mut known = Known { histories: Vec::new(), overdue: HashMap::new() };
    for customer in &catalog.customers {
        let id = customer.id.to_string();
        let past = Past::of(catalog, customer);
        let mut months = Vec::new();
        for row in books.months.get(id.as_str()).into_iter().flatten().map(|index| &inputs.months[*index]) {
            let end = row.period.last_day();
            let Some(contract) = past.contract_on(end).filter(|_| end <= last_day) else { continue };
            let status = past.status_on(end);
            if !matches!(status, Some(CustomerStatus::Active | CustomerStatus::Trial)) {
                continue;
            }
            let key = (id.as_str(), row.period);
            let (good, failed) = books.cycles.get(&key).copied().unwrap_or((0, 0));
            let (good, failed) = (row.runs_good + good, row.runs_failed + failed);
            let offered = features_of(contract.default_tier);
            let used = books.features.get(&key).map_or(0, |used| offered.iter().filter(|name| used.contains(*name)).count());
            let since = past.active_from.unwrap_or(end);
            known.overdue.insert((id.clone(), row.period), books.overdue(&id, end));
            months.push(MonthSeen {
                period: row.period,
                runs: (good + failed > 0).then_some((good, good + failed)),
                days_late: books.days_late(&id, row.period),
                tickets: Some(row.tickets_opened),
                // a portfolio that reports no use at all has no adoption factor; one silent customer has a low one
                features: (!inputs.features.is_empty()).then_some((used as u32, offered.len() as u32)),
                machines: Some(row.machines),
                machines_agreed: contract.contracted_machines.and_then(|agreed| u32::try_from(agreed).ok()),
                tenure_months: months_between(since, end),
                contract_months: contract.months.unsigned_abs(),
                months_to_renewal: to_renewal(contract, end),
                is_at_risk: status == Some(CustomerStatus::Active) && past.departed_on().is_none_or(|departed| departed > end),
            });
        }
        if !months.is_empty() {
            let departed_on = past.departed_on().filter(|departed| *departed <= known_until);
            known.histories.push(CustomerHistory { customer: id, code: customer.code.to_string(), months, departed_on });
        }
    }
    known
}

/// The rows of the warehouse by customer and period.
struct Books<'a> {
    months: HashMap<&'a str, Vec<usize>>,
    cycles: HashMap<(&'a str, Period), (u64, u64)>,
    features: HashMap<(&'a str, Period), HashSet<&'a str>>,
    invoices: HashMap<&'a str, Vec<&'a InvoiceRow>>,
    payments: HashMap<&'a str, Vec<(Date, i64)>>,
}

impl<'a> Books<'a> {
    fn of(inputs: &'a Inputs) -> Self {
        let mut books = Self {
            months: HashMap::new(),
            cycles: HashMap::new(),
            features: HashMap::new(),
            invoices: HashMap::new(),
            payments: HashMap::new(),
        };
        for (index, row) in inputs.months.iter().enumerate() {
            books.months.entry(&row.customer_id).or_default().push(index);
        }
        for row in &inputs.cycles {
            books.cycles.insert((&row.customer_id, row.period), (row.days_good, row.days_failed));
        }
        for row in &inputs.features {
            books.features.entry((&row.customer_id, row.period)).or_default().insert(&row.feature);
        }
        for row in &inputs.invoices {
            books.invoices.entry(&row.customer_id).or_default().push(row);
        }
        for row in &inputs.payments {
            books.payments.entry(&row.invoice_id).or_default().push((row.received_on, row.amount_minor));
        }
        books
    }

    /// Returns the day on which an invoice was paid in full by `end`; none when something was open then.
    fn paid_on(&self, invoice: &InvoiceRow, end: Date) -> Option<Date> {
        if invoice.total_minor <= 0 {
            return Some(invoice.due_on);
        }
        let mut paid = 0;
        let by_end = self.payments.get(invoice.invoice_id.as_str()).into_iter().flatten().filter(|(on, _)| *on <= end);
        by_end.into_iter().find_map(|(on, amount)| {
            paid += amount;
            (paid >= invoice.total_minor).then_some(*on)
        })
    }

    /// Mean days late of the invoices that fell due in a month or were still open at its beginning, as known at its end.
    fn days_late(&self, customer: &str, period: Period) -> Option<f64> {
        let (start, end) = (period.first_day(), period.last_day());
        let mut late = Vec::new();
        for invoice in self.invoices.get(customer).into_iter().flatten().filter(|invoice| invoice.due_on <= end) {
            let paid_on = self.paid_on(invoice, end);
            if invoice.due_on >= start || paid_on.is_none_or(|paid| paid >= start) {
                late.push(f64::from(days_between(invoice.due_on, paid_on.unwrap_or(end)).max(0)));
            }
        }
        (!late.is_empty()).then(|| crate::metrics::mean(late.into_iter()))
    }

    fn overdue(&self, customer: &str, end: Date) -> Overdue {
        let mut overdue = Overdue::default();
        for invoice in self.invoices.get(customer).into_iter().flatten().filter(|invoice| invoice.due_on < end) {
            if self.paid_on(invoice, end).is_some() {
                continue;
            }
            let payments = self.payments.get(invoice.invoice_id.as_str()).into_iter().flatten();
            let paid: i64 = payments.filter(|(on, _)| *on <= end).map(|(_, amount)| amount).sum();
            overdue.amount_minor += invoice.total_minor - paid;
            overdue.days = overdue.days.max(days_between(invoice.due_on, end));
        }
        overdue
    }
}

/// A customer's statuses and contracts in order.
struct Past<'a> {
    contracts: Vec<&'a Contract>,
    statuses: Vec<(Date, CustomerStatus)>,
    active_from: Option<Date>,
}

impl<'a> Past<'a> {
    fn of(catalog: &'a Catalog, customer: &Customer) -> Self {
        let mut contracts: Vec<&Contract> = catalog.contracts.iter().filter(|contract| contract.customer_id == customer.id).collect();
        contracts.sort_by_key(|contract| contract.starts_on);
        let changes = catalog.changes.iter().filter(|change| change.customer_id == customer.id);
        let mut statuses: Vec<(Date, CustomerStatus)> =
            changes.map(|change| (day_of(change.changed_at, &catalog.zone), change.status)).collect();
        statuses.sort_by_key(|(on, _)| *on);
        if statuses.is_empty() {
            statuses.push((day_of(customer.created_at, &catalog.zone), customer.status));
        }
        let first_active = statuses.iter().find(|(_, status)| *status == CustomerStatus::Active).map(|(on, _)| *on);
        Self { contracts, statuses, active_from: customer.activated_on.or(first_active) }
    }

    /// The contract in force on a day; the first one for the trial before it.
    fn contract_on(&self, day: Date) -> Option<&'a Contract> {
        self.contracts.iter().rev().find(|contract| contract.starts_on <= day).or(self.contracts.first()).copied()
    }

    fn status_on(&self, day: Date) -> Option<CustomerStatus> {
        self.statuses.iter().rev().find(|(on, _)| *on <= day).map(|(_, status)| *status)
    }

    /// The day of notice, else of closing, else of the thirtieth day of a pause; only of those who were active.
    fn departed_on(&self) -> Option<Date> {
        self.active_from?;
        let noticed = self.contracts.iter().filter_map(|contract| contract.notice_given_on).min();
        let closed = self.statuses.iter().find(|(_, status)| matches!(status, CustomerStatus::Closed | CustomerStatus::Erased));
        let paused = self.statuses.iter().filter(|(_, status)| *status == CustomerStatus::Suspended).find_map(|(on, _)| {
            let lapsed = on.saturating_add(PAUSE_DAYS.days());
            (self.status_on(lapsed) == Some(CustomerStatus::Suspended)).then_some(lapsed)
        });
        noticed.or(closed.map(|(on, _)| *on)).into_iter().chain(paused).min()
    }
}

fn days_between(from: Date, to: Date) -> i32 {
    from.until(to).map_or(0, |span| span.get_days())
}

fn months_between(from: Date, to: Date) -> u32 {
    let index = |day: Date| i32::from(day.year()) * 12 + i32::from(day.month());
    u32::try_from(index(to) - index(from)).unwrap_or(0)
}

/// Months from a day's month to the one in which the contract renews.
fn to_renewal(contract: &Contract, on: Date) -> u32 {
    let term = contract.months.unsigned_abs().max(1);
    match months_between(contract.starts_on, on) {
        _ if term == 1 => 0,
        0 => term,
        age => (term - age % term) % term,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adoption_is_measured_by_the_features_that_control_planes_name() {
        for tier in Tier::ALL {
            assert_eq!(features_of(*tier), granary_simulator::features_of(*tier));
        }
    }

    #[test]
    fn lateness_is_what_was_known_at_the_months_end() {
        let day = |text: &str| text.parse::<Date>().unwrap();
        let invoice =
            |id: &str, due: &str| InvoiceRow { invoice_id: id.into(), customer_id: "c".into(), total_minor: 100, due_on: day(due) };
        let payment = |id: &str, amount: i64, on: &str| crate::store::PaymentRow {
            invoice_id: id.into(),
            amount_minor: amount,
            received_on: day(on),
        };
        let inputs = Inputs {
            months: vec![],
            cycles: vec![],
            features: vec![],
            invoices: vec![invoice("1", "2025-10-02"), invoice("2", "2025-11-02")],
            payments: vec![payment("1", 40, "2025-10-05"), payment("1", 60, "2025-11-12")],
        };
        let books = Books::of(&inputs);
        let period = |text: &str| text.parse::<Period>().unwrap();
        assert_eq!(books.days_late("c", period("2025-09")), None);
        assert_eq!(books.days_late("c", period("2025-10")), Some(29.0), "still open at the end of October");
        assert_eq!(books.overdue("c", day("2025-10-31")), Overdue { amount_minor: 60, days: 29 });
        assert_eq!(books.days_late("c", period("2025-11")), Some((41.0 + 28.0) / 2.0));
        assert_eq!(books.overdue("c", day("2025-11-30")), Overdue { amount_minor: 100, days: 28 });
    }
}
