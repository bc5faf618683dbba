//! Testing the data: what the descriptions promise, and the queries of `warehouse/tests/` that must return no rows.

use granary_types::MspId;
use serde::{Deserialize, Serialize};

use crate::materialise::whole_msp;
use crate::{ColumnTest, Model, Session, Warehouse, WarehouseError};

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
    pub async fn test(&self, msp: MspId) -> Result<Vec<TestOutcome>, WarehouseError> {
        let session = self.session(&whole_msp(msp)).await?;
        let mut outcomes = Vec::new();
        for model in self.models.iter() {
            for (test, sql) in promises(model) {
                outcomes.push(TestOutcome { model: Some(model.name.clone()), test, failures: failures(&session, &sql).await? });
            }
        }
        for check in self.models.checks() {
            let sql = format!("select count(*) as failures from (\n{}\n)", check.sql.trim_end().trim_end_matches(';'));
            outcomes.push(TestOutcome { model: None, test: check.name.clone(), failures: failures(&session, &sql).await? });
        }
        Ok(outcomes)
    }
}

async fn failures(session: &Session, sql: &str) -> Result<i64, WarehouseError> {
    let rows: Vec<FailuresRow> = session.rows(sql).await?;
    Ok(rows.first().map_or(0, |row| row.failures))
}

/// Writes the queries that count what breaks a model's promises.
fn promises(model: &Model) -> Vec<(String, String)> {
    let name = &model.name;
    let count_where = |condition: String| format!("select count(*) as failures from {name} where {condition}");
    let count_repeats =
        |columns: &str| format!("select count(*) as failures from (select {columns} from {name} group by {columns} having count(*) > 1)");
    let mut promises = Vec::new();
    for (column, description) in &model.description.columns {
        for test in &description.tests {
            promises.push(match test {
                ColumnTest::NotNull => (format!("{column} is not null"), count_where(format!("{column} is null"))),
                ColumnTest::NotNegative => (format!("{column} is not negative"), count_where(format!("{column} < 0"))),
                ColumnTest::Unique => (format!("{column} is unique"), count_repeats(column)),
            });
        }
        if !description.accepted_values.is_empty() {
            let values = description.accepted_values.iter().map(|value| format!("'{value}'")).collect::<Vec<_>>().join(", ");
            promises.push((format!("{column} is one of {values}"), count_where(format!("{column} not in ({values})"))));
        }
        if let Some((parent, key)) = description.relationship.as_deref().and_then(|target| target.split_once('.')) {
            let sql = format!(
                "select count(*) as failures from {name} as child left anti join {parent} as parent on child.{column} = parent.{key} where child.{column} is not null"
            );
            promises.push((format!("{column} is in {parent}.{key}"), sql));
        }
    }
    promises.extend(model.description.unique.iter().map(|columns| {
        let columns = columns.join(", ");
        (format!("({columns}) is unique"), count_repeats(&columns))
    }));
    promises
}
