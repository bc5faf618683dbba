//! What the models promise, on simulated portfolios.

use std::sync::LazyLock;

use granary_simulator::{Grid, GridMonth, feature_rows};
use granary_types::Period;
use jiff::civil::Date;

use crate::churn::{ChurnModel, Evaluation, ModelKind, evaluate, rows, split, train};
use crate::{CustomerHistory, MonthSeen};

const FIRST: &str = "2023-01";
const MONTHS: u32 = 36;

fn period(month: i32) -> Period {
    FIRST.parse::<Period>().unwrap().plus_months(month)
}

fn known_until() -> Date {
    period(MONTHS as i32 - 1).last_day()
}

fn seen(row: &GridMonth) -> MonthSeen {
    MonthSeen {
        period: period(row.month),
        runs: row.runs.map(|(good, all)| (u64::from(good), u64::from(all))),
        days_late: row.days_late,
        tickets: row.tickets,
        features: row.features_used.map(|used| (used, row.features_offered)),
        machines: row.machines,
        machines_agreed: Some(row.machines_agreed),
        tenure_months: row.tenure_months,
        contract_months: row.contract_months,
        months_to_renewal: row.months_to_renewal,
        is_at_risk: !row.is_leaving,
    }
}

fn histories(grid: &Grid) -> Vec<CustomerHistory> {
    let mut histories: Vec<CustomerHistory> = grid
        .notices
        .iter()
        .enumerate()
        .map(|(customer, notice)| CustomerHistory {
            customer: customer.to_string(),
            code: format!("C{customer}"),
            months: Vec::new(),
            departed_on: notice.map(|month| period(month).first_day().with().day(15).build().unwrap()),
        })
        .collect();
    grid.months.iter().for_each(|row| histories[row.customer as usize].months.push(seen(row)));
    histories
}

fn portfolio(customers: u32, seed: u64) -> Vec<CustomerHistory> {
    histories(&feature_rows(customers, MONTHS, seed))
}

static FIVE_HUNDRED: LazyLock<Vec<CustomerHistory>> = LazyLock::new(|| portfolio(500, 7));
static EVALUATED: LazyLock<Evaluation> = LazyLock::new(|| evaluate(&FIVE_HUNDRED, known_until(), 7).unwrap());

fn auc(evaluation: &Evaluation, name: &str) -> f64 {
    evaluation.models.iter().find(|model| model.name == name).and_then(|model| model.roc_auc).unwrap().value
}

#[test]
fn print_it() {
    for seed in [7, 1, 2, 3, 4, 5] {
        let e = evaluate(&portfolio(500, seed), known_until(), 7).unwrap();
        println!("seed {seed} learned {:?} tested {:?} base {:.4} from {}", e.learned_from, e.tested_on, e.base_rate, e.tested_from);
        for m in &e.models {
            println!(
                "  {:14} {} auc {:?} pr {:.3?} brier {:.5?} acc {:.4?} lift {:.2?} oe {:.2?}",
                m.name,
                m.is_in_charge,
                m.roc_auc.map(|a| (a.value, a.low, a.high)),
                m.pr_auc,
                m.brier,
                m.accuracy,
                m.top_decile_lift,
                m.observed_to_expected
            );
        }
    }
}
