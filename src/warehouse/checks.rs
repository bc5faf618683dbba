//! Testing the data: what the descriptions promise, and the queries of `warehouse/tests/` that must return no rows.

use granary_foundation::Boxed;
use granary_types::MspId;
use serde::{Deserialize, Serialize};

use crate::materialise::whole_msp;
use crate::queries::{count_rows, promises};
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

#[derive(Debug, Deserialize)]
struct FailuresRow {
    failures: i64,
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
        for (test, sql) in promises(model) {
            outcomes.push(TestOutcome { model: Some(model.name.clone()), test, failures: failures(session, &sql).await? });
        }
    }
    for check in models.checks() {
        outcomes.push(TestOutcome { model: None, test: check.name.clone(), failures: failures(session, &count_rows(&check.sql)).await? });
    }
    Ok(outcomes)
}

async fn failures(session: &Session, sql: &str) -> Result<i64, WarehouseError> {
    let rows: Vec<FailuresRow> = session.rows(sql).await?;
    Ok(rows.first().map_or(0, |row| row.failures))
}
