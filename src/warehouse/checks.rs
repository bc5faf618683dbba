//! Testing the data: what the descriptions promise, and the queries of `warehouse/tests/` that must return no rows.

use std::collections::HashMap;

use granary_foundation::Boxed;
use granary_types::MspId;
use jiff::Timestamp;
use serde::Serialize;

use crate::materialise::whole_msp;
use crate::queries::{Probe, freshness, probes};
use crate::{Model, Models, Session, Warehouse, WarehouseError};

/// What became of one test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TestOutcome {
    /// The model, or none for a query of `warehouse/tests/`.
    pub model: Option<String>,
    pub test: String,
    /// Rows that break the promise.
    pub failures: i64,
    pub severity: Severity,
}

/// What it means that a promise does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// A number may be wrong.
    Error,
    /// Data is older than it should be.
    Warning,
}

impl TestOutcome {
    /// Tells whether the promise holds.
    pub fn passed(&self) -> bool {
        self.failures == 0
    }
}

impl Warehouse {
    /// Runs every test on the newest version of the lake, and looks at how old the data is by now.
    ///
    /// # Errors
    /// When a test cannot run; a promise that does not hold is an outcome, not an error.
    pub fn test<'a>(&'a self, msp: MspId, now: Timestamp) -> Boxed<'a, Result<Vec<TestOutcome>, WarehouseError>> {
        Box::pin(async move {
            let mut outcomes = run_all(&self.session(&whole_msp(msp)).await?, &self.models, now).await?;
            outcomes.extend(self.test_own(msp, now).await?);
            Ok(outcomes)
        })
    }
}

/// Runs the tests that stand beside one model.
pub(crate) async fn run_own(session: &Session, model: &Model, now: Timestamp) -> Result<Vec<TestOutcome>, WarehouseError> {
    let mut outcomes = Vec::new();
    for probe in probes(model) {
        outcomes.extend(run(session, Some(&model.name), probe, Severity::Error).await?);
    }
    if let Some(probe) = freshness(model, now) {
        outcomes.extend(run(session, Some(&model.name), probe, Severity::Warning).await?);
    }
    Ok(outcomes)
}

pub(crate) async fn run_all(session: &Session, models: &Models, now: Timestamp) -> Result<Vec<TestOutcome>, WarehouseError> {
    let mut outcomes = Vec::new();
    for model in models.iter() {
        outcomes.extend(run_own(session, model, now).await?);
    }
    for check in models.checks() {
        outcomes.extend(run(session, None, Probe::of_check(&check.name, &check.sql), Severity::Error).await?);
    }
    Ok(outcomes)
}

async fn run(session: &Session, model: Option<&String>, probe: Probe, severity: Severity) -> Result<Vec<TestOutcome>, WarehouseError> {
    let rows: Vec<HashMap<String, i64>> = session.rows(&probe.sql).await?;
    let failures = |index: usize| rows.first().and_then(|row| row.get(&format!("p{index}"))).copied().unwrap_or(0);
    let outcome = |(index, test)| TestOutcome { model: model.cloned(), test, failures: failures(index), severity };
    Ok(probe.promises.into_iter().enumerate().map(outcome).collect())
}
