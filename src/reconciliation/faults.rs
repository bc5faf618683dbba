//! Faults that are planted into a clean month, and the causes that are found.

use std::collections::{BTreeMap, HashMap};

use granary_types::{Currency, CustomerId};
use polars::prelude::{DataFrame, df};

use crate::explain::CauseKind;
use crate::facts::{Facts, completions};
use crate::load::{InvoiceAmounts, Loaded, RatedLine};
use crate::price::{PriceVersion, Terms};
use crate::recount::{Rule, Span};
use crate::terms::Agreed;
use crate::{Party, Row, compare};

const OCTOBER: Span = Span { first: 20_362, last: 20_392 };

struct Month {
    party: Party,
    /// machine, day: one completed run each.
    runs: Vec<(&'static str, i32)>,
    /// machine, rank, from, to.
    assignments: Vec<(&'static str, i32, i32, i32)>,
    /// machine, day, rank: one counted run each.
    days: Vec<(&'static str, i32, i32)>,
    lines: Vec<RatedLine>,
    invoice: Option<InvoiceAmounts>,
    is_billed: bool,
}

fn line(position: i32, item: &str, machines: i128, price: i128) -> RatedLine {
    let amount_minor = i64::try_from(machines * price * 100).unwrap();
    RatedLine {
        position,
        item: item.to_owned(),
        is_recurring: true,
        quantity_e4: machines * 10_000,
        price_e8: price * 100_000_000,
        amount_minor,
    }
}

impl Month {
    /// Two machines at backup, one of them with a single run; one at enterprise from day 10 on. 45.00, tax 10 %.
    fn clean() -> Self {
        let terms = Terms {
            currency: Currency::USD,
            storage_limit_bytes: 100 << 30,
            minimum_minor: 0,
            discount_e2: 0,
            tax_e3: 10_000,
            has_premium_support: false,
            has_white_label: false,
            billable_days: 31,
            trial_days: 0,
            days_of_month: 31,
        };
        let day = |number: i32| OCTOBER.first + number;
        Self {
            party: Party {
                id: CustomerId::new(),
                code: "ACME".to_owned(),
                agreed: Some(Agreed { terms, billed_from: None }),
                has_evidence: true,
                corrected_minor: 0,
            },
            runs: vec![("web", day(1)), ("web", day(2)), ("db", day(3)), ("mail", day(9)), ("mail", day(10))],
            assignments: vec![("web", 0, 0, i32::MAX), ("db", 0, 0, i32::MAX), ("mail", 0, 0, day(10)), ("mail", 1, day(10), i32::MAX)],
            days: vec![("web", day(1), 0), ("web", day(2), 0), ("db", day(3), 0), ("mail", day(9), 0), ("mail", day(10), 1)],
            lines: vec![line(1, "machine_backup", 2, 10), line(2, "machine_enterprise", 1, 25)],
            invoice: Some(InvoiceAmounts { net_minor: 4_500, tax_minor: 450 }),
            is_billed: true,
        }
    }

    fn loaded(&self) -> Loaded {
        let key = self.party.id.to_string();
        let owned = |count: usize| vec![key.clone(); count];
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let machines: Vec<_> = self.runs.iter().map(|run| run.0).collect();
        let days = self.runs.iter().map(|run| run.1).collect();
        let price = |item: &str, price: i128| PriceVersion {
            customer: None,
            is_list: true,
            item: item.to_owned(),
            currency: "USD".to_owned(),
            price_e8: price * 100_000_000,
            valid_from: 0,
        };
        Loaded {
            facts: Facts {
                completions: completions(owned(machines.len()), names(&machines), days, vec![1; machines.len()]).unwrap(),
                assignments: self.assignment_frame(&key),
                machine_days: df![
                    "customer" => owned(self.days.len()), "machine" => names(&self.days.iter().map(|day| day.0).collect::<Vec<_>>()),
                    "day" => self.days.iter().map(|day| day.1).collect::<Vec<_>>(),
                    "rank" => self.days.iter().map(|day| day.2).collect::<Vec<_>>(), "runs" => vec![1_i64; self.days.len()],
                ]
                .unwrap(),
                samples: df![
                    "customer" => owned(1), "repository" => ["r"], "day" => [OCTOBER.first], "sampled_at" => [0_i64], "used" => [1_i64 << 30],
                ]
                .unwrap(),
            },
            names: HashMap::new(),
            limits: HashMap::new(),
            prices: vec![price("machine_backup", 10), price("machine_enterprise", 25), price("machine_replication", 100)],
            lines: BTreeMap::from([(key.clone(), self.lines.clone())]),
            invoices: self.invoice.map(|invoice| (key.clone(), invoice)).into_iter().collect(),
            paid: HashMap::from([(key, 4_950)]),
            is_billed: self.is_billed,
        }
    }

    fn assignment_frame(&self, key: &str) -> DataFrame {
        let list = &self.assignments;
        df![
            "customer" => vec![key.to_owned(); list.len()], "machine" => list.iter().map(|one| one.0.to_owned()).collect::<Vec<_>>(),
            "rank" => list.iter().map(|one| one.1).collect::<Vec<_>>(), "valid_from" => list.iter().map(|one| one.2).collect::<Vec<_>>(),
            "valid_to" => list.iter().map(|one| one.3).collect::<Vec<_>>(),
        ]
        .unwrap()
    }

    fn reconciled(self) -> Row {
        let loaded = self.loaded();
        compare(&loaded, &[self.party], OCTOBER, Rule::DistinctInPeriod, Currency::USD).unwrap().remove(0)
    }
}

fn found(row: &Row) -> Vec<(CauseKind, Option<&str>, i64)> {
    row.causes.iter().map(|cause| (cause.kind, cause.machine.as_deref().or(cause.item.as_deref()), cause.amount_minor)).collect()
}

#[test]
fn a_clean_month_agrees_on_every_road() {
    let row = Month::clean().reconciled();
    assert_eq!((row.recomputed_minor, row.rated_minor, row.invoiced_minor, row.paid_minor), (4_500, 4_500, 4_500, 4_950));
    assert_eq!((row.difference_minor, row.causes), (0, Vec::new()));
}

#[test]
fn a_missing_run_is_found_on_its_machine_and_day() {
    let mut month = Month::clean();
    month.runs.retain(|run| run.0 != "db");
    let row = month.reconciled();
    assert_eq!((row.difference_minor, found(&row)), (1_000, vec![(CauseKind::MissingRun, Some("db"), 1_000)]));
    assert_eq!(row.causes[0].day, Some("2025-10-04".parse().unwrap()));
    assert_eq!(row.causes[0].text, "db: completed runs on 2025-10-04: 1 counted, 0 in the lake");
}

#[test]
fn a_missing_run_is_found_although_it_changes_no_amount() {
    let mut month = Month::clean();
    month.runs.remove(0);
    let row = month.reconciled();
    assert_eq!((row.difference_minor, found(&row)), (0, vec![(CauseKind::MissingRun, Some("web"), 0)]));
}

#[test]
fn what_a_later_document_bills_is_no_difference() {
    let late = || {
        let mut month = Month::clean();
        month.runs.push(("new", OCTOBER.first + 5));
        month.assignments.push(("new", 2, 0, i32::MAX));
        month
    };
    let mut month = late();
    month.party.corrected_minor = 10_000;
    let row = month.reconciled();
    assert_eq!((row.recomputed_minor, row.invoiced_minor, row.difference_minor, found(&row)), (14_500, 4_500, 0, vec![]));
    let mut month = late();
    month.party.corrected_minor = 9_000;
    let row = month.reconciled();
    assert_eq!((row.difference_minor, found(&row)), (-1_000, vec![(CauseKind::UncountedRun, Some("new"), -10_000)]));
}

#[test]
fn a_run_that_nobody_counted_is_found() {
    let mut month = Month::clean();
    month.runs.push(("new", OCTOBER.first + 5));
    month.assignments.push(("new", 2, 0, i32::MAX));
    let row = month.reconciled();
    assert_eq!((row.difference_minor, found(&row)), (-10_000, vec![(CauseKind::UncountedRun, Some("new"), -10_000)]));
}

#[test]
fn a_wrong_tier_date_is_found_on_its_machine_and_day() {
    let mut month = Month::clean();
    let moved = OCTOBER.first + 20;
    month.assignments.retain(|one| one.0 != "mail");
    month.assignments.extend([("mail", 0, 0, moved), ("mail", 1, moved, i32::MAX)]);
    let row = month.reconciled();
    assert_eq!((row.difference_minor, found(&row)), (1_500, vec![(CauseKind::TierDate, Some("mail"), 1_500)]));
    assert_eq!(row.causes[0].text, "mail: counted at enterprise on 2025-10-11, its assignments say backup");
}

#[test]
fn an_edited_line_is_found_by_its_item() {
    type Edit = fn(&mut RatedLine);
    let edits: [(Edit, &str); 3] = [
        (|line| line.amount_minor = 2_600, "line 2 (machine_enterprise) says 26.00 USD, its quantity and price give 25.00 USD"),
        (|line| line.quantity_e4 = 20_000, "line 2 (machine_enterprise) says 2, counted 1"),
        (|line| line.price_e8 = 2_600_000_000, "line 2 (machine_enterprise) is priced at 26, in force is 25"),
    ];
    for (edit, text) in edits {
        let mut month = Month::clean();
        edit(&mut month.lines[1]);
        let row = month.reconciled();
        assert_eq!((row.causes[0].kind, row.causes[0].text.as_str()), (CauseKind::EditedLine, text));
    }
    let mut month = Month::clean();
    month.lines[1].amount_minor = 2_600;
    let row = month.reconciled();
    assert_eq!((row.rated_minor, row.invoiced_minor, row.difference_minor), (4_600, 4_500, 0));
    assert_eq!(found(&row), [(CauseKind::EditedLine, Some("machine_enterprise"), 100), (CauseKind::InvoiceTotal, None, -100)]);
}

#[test]
fn a_missing_line_and_a_missing_invoice_are_found() {
    let mut month = Month::clean();
    month.lines.pop();
    month.invoice = None;
    let row = month.reconciled();
    assert_eq!(row.difference_minor, -2_500);
    assert_eq!(found(&row), [(CauseKind::MissingLine, Some("machine_enterprise"), -2_500), (CauseKind::MissingInvoice, None, -2_000)]);
}

#[test]
fn an_open_month_misses_nothing_but_runs() {
    let mut month = Month::clean();
    (month.is_billed, month.invoice) = (false, None);
    month.lines.clear();
    month.runs.retain(|run| run.0 != "db");
    let row = month.reconciled();
    assert_eq!((row.recomputed_minor, row.rated_minor, row.difference_minor), (3_500, 0, 0));
    assert_eq!(found(&row), [(CauseKind::MissingRun, Some("db"), 1_000)], "counted and not in the lake is a fault in any month");
}

#[test]
fn a_line_of_nothing_is_not_missed() {
    let mut month = Month::clean();
    if let Some(agreed) = &mut month.party.agreed {
        (agreed.terms.billable_days, agreed.terms.trial_days) = (0, 31);
    }
    month.lines.clear();
    month.invoice = Some(InvoiceAmounts { net_minor: 0, tax_minor: 0 });
    let row = month.reconciled();
    assert_eq!((row.recomputed_minor, row.difference_minor, found(&row)), (0, 0, vec![]));
}

#[test]
fn a_wrong_tax_is_found_on_the_invoice() {
    let mut month = Month::clean();
    month.invoice = Some(InvoiceAmounts { net_minor: 4_500, tax_minor: 451 });
    assert_eq!(found(&month.reconciled()), [(CauseKind::InvoiceTotal, None, 1)]);
}

#[test]
fn a_month_whose_runs_were_let_go_is_not_called_wrong() {
    let mut month = Month::clean();
    month.runs.clear();
    month.days.clear();
    month.party.has_evidence = false;
    month.invoice = Some(InvoiceAmounts { net_minor: 4_600, tax_minor: 450 });
    let row = month.reconciled();
    assert_eq!((row.has_evidence, row.recomputed_minor, row.rated_minor, row.difference_minor), (false, 4_500, 4_500, 100));
    assert_eq!(found(&row), [(CauseKind::InvoiceTotal, None, 100)], "its documents must still agree");
}
