//! The queries that test the data: each counts the rows that break one promise, as `failures`.

use crate::{ColumnTest, Model};

/// Counts the rows of a query that should have none.
pub(crate) fn count_rows(sql: &str) -> String {
    format!("select count(*) as failures from (\n{}\n)", sql.trim_end().trim_end_matches(';'))
}

/// Writes the queries that count what breaks a model's promises.
pub(crate) fn promises(model: &Model) -> Vec<(String, String)> {
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
