//! Scores as rows of the lake.

use std::sync::Arc;

use arrow::array::{ArrayRef, Date32Array, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::SchemaRef;
use granary_types::Period;

use crate::IntelligenceError;
use crate::churn::ChurnModel;
use crate::scoring::{ChurnRow, HealthRow};

/// Lays out health scores in the order of the dataset's columns.
///
/// # Errors
/// When they do not fit the description.
pub(crate) fn health_batch(schema: SchemaRef, rows: &[&HealthRow<'_>]) -> Result<RecordBatch, IntelligenceError> {
    let points = |factor: usize| ints(rows.iter().map(|row| row.score.points[factor].map(|points| points as i32)));
    let value = |factor: usize, scale: f64| floats(rows.iter().map(|row| row.score.values[factor].map(|value| value * scale)));
    let columns: Vec<ArrayRef> = vec![
        texts(rows.iter().map(|row| row.history.customer.as_str())),
        texts(rows.iter().map(|row| row.history.code.as_str())),
        periods(rows.iter().map(|row| row.period)),
        days(rows.iter().map(|row| row.period)),
        ints(rows.iter().map(|row| row.score.score.map(|score| score as i32))),
        texts(rows.iter().map(|row| row.score.state.as_str())),
        ints(rows.iter().map(|row| row.previous.map(|score| score as i32))),
        points(0),
        points(1),
        points(2),
        points(3),
        points(4),
        ints(rows.iter().map(|row| Some(row.score.cap_points))),
        ints(rows.iter().map(|row| Some(row.score.coverage_percent as i32))),
        value(0, 100.0),
        value(1, 1.0),
        value(2, 1.0),
        value(3, 100.0),
        value(4, 100.0),
        texts(rows.iter().map(|row| row.explanation.as_str())),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.overdue.amount_minor))),
        ints(rows.iter().map(|row| Some(row.overdue.days))),
    ];
    batch("health_scores", schema, columns)
}

/// Lays out churn scores in the order of the dataset's columns.
///
/// # Errors
/// When they do not fit the description.
pub(crate) fn churn_batch(schema: SchemaRef, rows: &[ChurnRow<'_>], model: &ChurnModel) -> Result<RecordBatch, IntelligenceError> {
    let state = model.state();
    let challenger = model.challenger.as_ref();
    let auc = challenger.and_then(|challenger| challenger.auc);
    let reasons: Vec<String> = rows.iter().map(|row| serde_json::to_string(&row.score.reasons).unwrap_or_default()).collect();
    let same = |value: Option<f64>| floats(rows.iter().map(move |_| value));
    let columns: Vec<ArrayRef> = vec![
        texts(rows.iter().map(|row| row.history.customer.as_str())),
        texts(rows.iter().map(|row| row.history.code.as_str())),
        periods(rows.iter().map(|row| row.period)),
        days(rows.iter().map(|row| row.period)),
        floats(rows.iter().map(|row| Some(row.score.probability))),
        texts(rows.iter().map(|row| row.risk)),
        floats(rows.iter().map(|row| Some(row.score.log_odds))),
        floats(rows.iter().map(|row| Some(row.score.base_log_odds))),
        texts(reasons.iter().map(String::as_str)),
        texts(rows.iter().map(|row| row.score.top_reason())),
        texts(rows.iter().map(|_| model.champion.kind.as_str())),
        texts(rows.iter().map(|_| state.as_str())),
        ints(rows.iter().map(|_| Some(model.evidence.departures as i32))),
        Arc::new(rows.iter().map(|_| challenger.map(|challenger| challenger.kind.as_str())).collect::<StringArray>()),
        floats(rows.iter().map(|row| row.score.challenger_probability)),
        same(auc.map(|auc| auc.value)),
        same(auc.map(|auc| auc.low)),
        same(auc.map(|auc| auc.high)),
    ];
    batch("churn_scores", schema, columns)
}

fn batch(dataset: &'static str, schema: SchemaRef, columns: Vec<ArrayRef>) -> Result<RecordBatch, IntelligenceError> {
    RecordBatch::try_new(schema, columns).map_err(|source| IntelligenceError::Publication { dataset, source })
}

fn texts<'a>(values: impl Iterator<Item = &'a str>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

fn ints(values: impl Iterator<Item = Option<i32>>) -> ArrayRef {
    Arc::new(values.collect::<Int32Array>())
}

fn floats(values: impl Iterator<Item = Option<f64>>) -> ArrayRef {
    Arc::new(values.collect::<Float64Array>())
}

fn periods(values: impl Iterator<Item = Period>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values.map(|period| period.to_string())))
}

fn days(values: impl Iterator<Item = Period>) -> ArrayRef {
    let epoch = jiff::civil::Date::constant(1970, 1, 1);
    let since = move |period: Period| epoch.until(period.first_day()).map_or(0, |span| span.get_days());
    Arc::new(Date32Array::from_iter_values(values.map(since)))
}
