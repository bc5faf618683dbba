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

fn trained(histories: &[CustomerHistory]) -> ChurnModel {
    train(&rows(histories, known_until())).unwrap()
}

#[test]
fn an_honest_area_lies_in_its_band_and_beats_what_costs_nothing() {
    let evaluation = &*EVALUATED;
    let model = evaluation.in_charge().unwrap();
    let area = model.roc_auc.unwrap();
    assert!((0.68..=0.80).contains(&area.value), "{area:?}");
    assert!(area.low > 0.55 && area.high < 0.85, "above 0.85 something leaks: {area:?}");
    assert_eq!(model.name, "held");
    assert!(area.value > auc(evaluation, "health score"));
    assert!(model.pr_auc.unwrap() > 2.0 * evaluation.base_rate);
    assert!(model.top_decile_lift.unwrap() > 2.0);
    let nobody = evaluation.models.iter().find(|model| model.name == "nobody churns").unwrap();
    assert!(model.brier.unwrap() < nobody.brier.unwrap());
    assert!((0.5..2.0).contains(&model.observed_to_expected.unwrap()), "{:?}", model.observed_to_expected);
    assert_eq!(model.calibration.len(), 5);
}

#[test]
fn the_held_model_is_no_worse_than_the_rule_at_any_size() {
    for (customers, seed) in [(150, 3), (300, 4), (500, 7)] {
        let evaluation = evaluate(&portfolio(customers, seed), known_until(), 7).unwrap();
        assert!(auc(&evaluation, "held") >= auc(&evaluation, "rule") - 0.01, "{customers} customers");
    }
}

#[test]
fn evidence_decides_which_model_is_in_charge() {
    assert_eq!(ModelKind::in_charge(14), ModelKind::Rule);
    assert_eq!(ModelKind::in_charge(20), ModelKind::Held);
    assert_eq!(ModelKind::in_charge(100), ModelKind::Held);
    assert_eq!(ModelKind::in_charge(101), ModelKind::Learned);
    let few = trained(&portfolio(40, 2));
    assert_eq!(few.champion.kind, ModelKind::Rule);
    assert_eq!(few.state(), format!("{} departures, too few to learn", few.evidence.departures));
    assert_eq!(few.challenger.as_ref().unwrap().kind, ModelKind::Held);
    let auc = few.challenger.unwrap().auc.unwrap();
    assert!(auc.high - auc.low > 0.1, "an interval of few departures is wide: {auc:?}");
    assert_eq!(trained(&FIVE_HUNDRED).champion.kind, ModelKind::Learned);
}

#[test]
fn nobody_left_and_the_rule_still_answers() {
    let mut histories = portfolio(10, 1);
    histories.iter_mut().for_each(|history| history.departed_on = None);
    let model = trained(&histories);
    assert_eq!((model.champion.kind, model.evidence.departures), (ModelKind::Rule, 0));
    assert!(model.challenger.is_none());
}

#[test]
fn reasons_add_up_to_the_log_odds() {
    let model = trained(&FIVE_HUNDRED);
    for row in rows(&FIVE_HUNDRED, known_until()).iter().step_by(97) {
        let score = model.score(row);
        let sum = score.base_log_odds + score.reasons.iter().map(|reason| reason.log_odds).sum::<f64>();
        assert!((sum - score.log_odds).abs() < 1e-9);
        assert!((1.0 / (1.0 + (-sum).exp()) - score.probability).abs() < 1e-9);
        assert!(score.reasons.iter().all(|reason| !reason.words.is_empty()), "{:?}", score.reasons);
    }
}

#[test]
fn calibrated_probabilities_have_the_base_rate_as_their_mean() {
    let known = rows(&FIVE_HUNDRED, known_until());
    let model = train(&known).unwrap();
    let labelled: Vec<_> = known.iter().filter(|row| row.left.is_some()).collect();
    let said = labelled.iter().map(|row| model.score(row).probability).sum::<f64>() / labelled.len() as f64;
    let left = labelled.iter().filter(|row| row.left == Some(true)).count() as f64 / labelled.len() as f64;
    assert!((said / left - 1.0).abs() < 0.02, "{said} {left}");
}

#[test]
fn features_come_only_from_before_the_scoring_date() {
    let honest = portfolio(60, 9);
    let cut = period(20);
    let mut changed = honest.clone();
    for month in changed.iter_mut().flat_map(|history| &mut history.months).filter(|month| month.period > cut) {
        *month = MonthSeen {
            runs: Some((1, 100)),
            days_late: Some(90.0),
            tickets: Some(99),
            features: Some((0, 12)),
            machines: Some(1),
            ..month.clone()
        };
    }
    let until =
        |histories: &[CustomerHistory]| -> Vec<_> { rows(histories, known_until()).into_iter().filter(|row| row.period <= cut).collect() };
    assert_eq!(until(&honest), until(&changed));
}

#[test]
fn ninety_days_lie_between_what_is_learned_and_what_is_tested() {
    let parts = split(&rows(&FIVE_HUNDRED, known_until()), 0.34).unwrap();
    let learned = parts.train.iter().map(|row| row.period).max().unwrap();
    let tested = parts.test.iter().map(|row| row.period).min().unwrap();
    assert!(learned.last_day().until(tested.last_day()).unwrap().get_days() >= 89, "{learned} {tested}");
    assert!(parts.test.iter().all(|row| row.left.is_some()));
    let newest = parts.test.iter().map(|row| row.period).max().unwrap();
    assert!(newest <= period(MONTHS as i32 - 4), "labels of the last 90 days are not known yet");
}

#[test]
fn departures_that_mean_nothing_are_not_learned() {
    let mut histories = FIVE_HUNDRED.clone();
    // everybody gets the departure of somebody else
    let days: Vec<_> = histories.iter().map(|history| history.departed_on).collect();
    for (index, history) in histories.iter_mut().enumerate() {
        history.departed_on = days[(index * 211 + 57) % days.len()];
        history.months.iter_mut().for_each(|month| month.is_at_risk = true);
    }
    let evaluation = evaluate(&histories, known_until(), 7).unwrap();
    assert!((0.38..0.62).contains(&auc(&evaluation, "learned")), "{}", auc(&evaluation, "learned"));
}

#[test]
fn learning_from_the_wind_down_would_show() {
    let mut leaking = FIVE_HUNDRED.clone();
    for history in &mut leaking {
        // the end of the contract instead of the notice, and months after the notice kept
        history.departed_on = history.departed_on.map(|day| day.saturating_add(jiff::ToSpan::days(61)));
        history.months.iter_mut().for_each(|month| month.is_at_risk = true);
    }
    let leak = evaluate(&leaking, known_until(), 7).unwrap();
    assert!(auc(&leak, "learned") > auc(&EVALUATED, "learned") + 0.05, "{} against {}", auc(&leak, "learned"), auc(&EVALUATED, "learned"));
}
