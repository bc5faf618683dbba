//! The queries that test the data. Each counts, in columns `p0`, `p1` …, the rows that break one promise.

use jiff::Timestamp;

use crate::{ColumnTest, Model};

/// One query and the promises that it checks, in the order of its columns.
#[derive(Debug)]
pub(crate) struct Probe {
    pub(crate) promises: Vec<String>,
    pub(crate) sql: String,
}

impl Probe {
    fn single(promise: String, from: &str) -> Self {
        Self { promises: vec![promise], sql: format!("select count(*) as p0 from {from}") }
    }

    /// Counts the rows of a query that should have none.
    pub(crate) fn of_check(name: &str, sql: &str) -> Self {
        Self::single(name.to_owned(), &format!("(\n{}\n)", sql.trim_end().trim_end_matches(';')))
    }
}

/// Writes the query that looks at how old the newest row is; a model without rows is not stale, it is empty.
pub(crate) fn freshness(model: &Model, now: Timestamp) -> Option<Probe> {
    let freshness = model.description.freshness.as_ref()?;
    let oldest = now - jiff::SignedDuration::from_hours(24 * i64::from(freshness.warn_after_days));
    let (name, column) = (&model.name, &freshness.column);
    let stale =
        format!("(select max({column}) as newest from {name}) where cast(newest as timestamp) < cast('{}' as timestamp)", at(oldest));
    Some(Probe::single(format!("{column} is at most {} days old", freshness.warn_after_days), &stale))
}

/// An instant without a zone, as the engine casts it.
fn at(instant: Timestamp) -> impl std::fmt::Display {
    instant.strftime("%Y-%m-%dT%H:%M:%S")
}

/// Writes the queries that check a model's promises: one pass for all that concern single rows, one each for the others.
pub(crate) fn probes(model: &Model) -> Vec<Probe> {
    let name = &model.name;
    let mut rows: Vec<(String, String)> = Vec::new();
    let mut probes = Vec::new();
    let mut unique = model.description.unique.clone();
    for (column, description) in &model.description.columns {
        for test in &description.tests {
            match test {
                ColumnTest::NotNull => rows.push((format!("{column} is not null"), format!("{column} is null"))),
                ColumnTest::NotNegative => rows.push((format!("{column} is not negative"), format!("{column} < 0"))),
                ColumnTest::Unique => unique.push(vec![column.clone()]),
            }
        }
        if !description.accepted_values.is_empty() {
            let values = description.accepted_values.iter().map(|value| format!("'{value}'")).collect::<Vec<_>>().join(", ");
            rows.push((format!("{column} is one of {values}"), format!("{column} not in ({values})")));
        }
        if let Some((parent, key)) = description.relationship.as_deref().and_then(|target| target.split_once('.')) {
            let orphans = format!(
                "{name} as child left anti join {parent} as parent on child.{column} = parent.{key} where child.{column} is not null"
            );
            probes.push(Probe::single(format!("{column} is in {parent}.{key}"), &orphans));
        }
    }
    probes.extend(unique.iter().map(|columns| {
        let columns = columns.join(", ");
        let repeats = format!("(select {columns}, count(*) as n from {name} group by {columns} having count(*) > 1)");
        Probe::single(format!("({columns}) is unique"), &repeats)
    }));
    if !rows.is_empty() {
        let counts: Vec<String> =
            rows.iter().enumerate().map(|(index, (_, broken))| format!("count(*) filter (where {broken}) as p{index}")).collect();
        let sql = format!("select {} from {name}", counts.join(", "));
        probes.push(Probe { promises: rows.into_iter().map(|(promise, _)| promise).collect(), sql });
    }
    probes
}
