//! Testing the data: what the descriptions promise, and the queries of `warehouse/tests/` that must return no rows.

use std::collections::HashMap;

use granary_foundation::Boxed;
use granary_types::MspId;
use serde::Serialize;

use crate::materialise::whole_msp;
use crate::queries::{Probe, probes};
use crate::{Models, Session, Warehouse, WarehouseError};

/// What became of one test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TestOutcome {
    /// The model, or none for a query of `warehouse/tests/`.
    pub model: Option<String>,
    pub test: String,
    /// Rows that break the promise.
    pub failures: i64,
}

impl TestOutcome {
    /// Tells whether the promise holds.
    pub fn passed(&self) -> bool {
        self.failures == 0
    }
}

impl Warehouse {
    /// Runs every test on the newest version of the lake.
    ///
    /// # Errors
    /// When a test cannot run; a promise that does not hold is an outcome, not an error.
    pub fn test<'a>(&'a self, msp: MspId) -> Boxed<'a, Result<Vec<TestOutcome>, WarehouseError>> {
        Box::pin(async move { run_all(&self.session(&whole_msp(msp)).await?, &self.models).await })
    }
}

pub(crate) async fn run_all(session: &Session, models: &Models) -> Result<Vec<TestOutcome>, WarehouseError> {
    let mut outcomes = Vec::new();
    for model in models.iter() {
        for probe in probes(model) {
            outcomes.extend(run(session, Some(&model.name), probe).await?);
        }
    }
    for check in models.checks() {
        outcomes.extend(run(session, None, Probe::of_check(&check.name, &check.sql)).await?);
    }
    Ok(outcomes)
}

async fn run(session: &Session, model: Option<&String>, probe: Probe) -> Result<Vec<TestOutcome>, WarehouseError> {
    let rows: Vec<HashMap<String, i64>> = session.rows(&probe.sql).await?;
    let failures = |index: usize| rows.first().and_then(|row| row.get(&format!("p{index}"))).copied().unwrap_or(0);
    let outcome = |(index, test)| TestOutcome { model: model.cloned(), test, failures: failures(index) };
    Ok(probe.promises.into_iter().enumerate().map(outcome).collect())
}
