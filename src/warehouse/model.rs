//! One model: a query with a name, and the description beside it.

use std::collections::BTreeMap;

use datafusion::common::TableReference;
use granary_types::Role;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::{WarehouseError, yaml};

/// How a model exists outside its SQL text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Materialised {
    /// A view: planned into whatever reads it.
    #[default]
    View,
    /// Computed once during a build and held in memory for the models above it; a view elsewhere.
    DuringBuild,
    /// Published to the lake by a build and read from there.
    Table,
}

/// Which months of a published model a build computes anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Increment {
    /// All of them as soon as anything that it reads has changed: its months depend on one another.
    #[default]
    Whole,
    /// A month whose own inputs, or those of its neighbours, have changed: what it says of a month follows from that month's rows.
    Month,
}

/// When data counts as stale.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Freshness {
    /// The day or instant whose newest value is looked at.
    pub column: String,
    /// Older than this many days, and a test says so.
    #[serde(deserialize_with = "number")]
    pub warn_after_days: u32,
}

/// A number as the files have it: plain text.
fn number<'de, D: Deserializer<'de>>(source: D) -> Result<u32, D::Error> {
    let text = String::deserialize(source)?;
    text.parse().map_err(|_| D::Error::custom(format!("'{text}' is not a whole number")))
}

/// What a reader of a model must have beside a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
pub enum Need {
    /// The right to see margin and wholesale prices.
    #[serde(rename = "billing.read")]
    BillingRead,
    /// A grant for every customer of the MSP, because rows are sums over them.
    #[serde(rename = "all_customers")]
    AllCustomers,
}

/// A check on one column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnTest {
    NotNull,
    Unique,
    NotNegative,
}

impl ColumnTest {
    /// Says what must be true of a value.
    pub const fn words(self) -> &'static str {
        match self {
            Self::NotNull => "not null",
            Self::Unique => "unique",
            Self::NotNegative => "not negative",
        }
    }
}

/// What the description says about a column.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColumnDescription {
    pub description: String,
    /// Whether it may name somebody, or was written by somebody.
    #[serde(default)]
    pub personal: bool,
    #[serde(default)]
    pub tests: Vec<ColumnTest>,
    /// The only values that may occur.
    #[serde(default)]
    pub accepted_values: Vec<String>,
    /// `model.column` in which every value must occur.
    pub relationship: Option<String>,
}

/// The `.yml` beside a model.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    pub description: String,
    /// What one row is.
    pub grain: String,
    /// Who answers for it.
    pub owner: String,
    #[serde(default)]
    pub materialised: Materialised,
    #[serde(default)]
    pub increment: Increment,
    pub freshness: Option<Freshness>,
    /// Who has the model in the catalog.
    pub roles: Vec<Role>,
    #[serde(default)]
    pub needs: Vec<Need>,
    /// Sets of columns that identify a row.
    #[serde(default)]
    pub unique: Vec<Vec<String>>,
    /// Every column, with what it means.
    pub columns: BTreeMap<String, ColumnDescription>,
}

impl Description {
    /// Returns every promise about the rows, in words.
    pub fn promises(&self) -> Vec<String> {
        let mut promises: Vec<String> = self.unique.iter().map(|columns| format!("({}) is unique", columns.join(", "))).collect();
        for (column, described) in &self.columns {
            promises.extend(described.tests.iter().map(|test| format!("{column} is {}", test.words())));
            if !described.accepted_values.is_empty() {
                promises.push(format!("{column} is one of {}", described.accepted_values.join(", ")));
            }
            promises.extend(described.relationship.iter().map(|target| format!("{column} is in {target}")));
        }
        promises.extend(self.freshness.iter().map(|fresh| format!("{} is at most {} days old", fresh.column, fresh.warn_after_days)));
        promises
    }

    /// Finds what the fields say that cannot be, together.
    fn check(&self) -> Result<(), String> {
        let has = |column: &String| self.columns.contains_key(column);
        if let Some(column) = self.unique.iter().flatten().find(|column| !has(column)) {
            return Err(format!("unique names {column}, which is no column"));
        }
        if let Some(freshness) = self.freshness.as_ref().filter(|freshness| !has(&freshness.column)) {
            return Err(format!("freshness names {}, which is no column", freshness.column));
        }
        if self.increment == Increment::Month && self.materialised != Materialised::Table {
            return Err("increment: month is for tables".to_owned());
        }
        if self.increment == Increment::Month && !["period", "source_month"].iter().any(|column| self.columns.contains_key(*column)) {
            return Err("increment: month needs a column period or source_month".to_owned());
        }
        Ok(())
    }
}

/// A model: its name, query, description and the tables that it reads.
#[derive(Debug, Clone)]
pub struct Model {
    pub name: String,
    pub sql: String,
    pub description: Description,
    pub(crate) inputs: Vec<TableReference>,
}

impl Need {
    /// Says what it is.
    pub const fn words(self) -> &'static str {
        match self {
            Self::BillingRead => "billing.read",
            Self::AllCustomers => "all customers",
        }
    }
}

impl Model {
    /// Parses a model from the two files that make it up.
    pub(crate) fn parse(name: &str, sql: &str, yml: &str, inputs: Vec<TableReference>) -> Result<Self, WarehouseError> {
        let value = yaml::parse(yml).map_err(|source| WarehouseError::Description { model: name.to_owned(), source })?;
        let broken = |problem: String| WarehouseError::Model { model: name.to_owned(), problem };
        let description: Description = serde_json::from_value(value).map_err(|error| broken(error.to_string()))?;
        description.check().map_err(broken)?;
        Ok(Self { name: name.to_owned(), sql: sql.to_owned(), description, inputs })
    }

    /// Returns the column by whose months the published rows are parted; none for a model that is one part.
    pub(crate) fn month_column(&self) -> Option<&'static str> {
        ["period", "source_month"].into_iter().find(|column| self.description.columns.contains_key(*column))
    }

    /// Returns the name of the dataset that holds the published rows.
    pub(crate) fn dataset(&self) -> String {
        format!("{}{}", crate::catalog::MART_PREFIX, self.name)
    }

    /// Returns the names of the raw datasets that the query reads.
    pub fn datasets(&self) -> impl Iterator<Item = &str> {
        self.inputs.iter().filter(|input| input.schema() == Some(crate::catalog::LAKE_SCHEMA)).map(TableReference::table)
    }

    /// Returns the names of the models that the query reads.
    pub fn parents(&self) -> impl Iterator<Item = &str> {
        self.inputs.iter().filter(|input| input.schema() != Some(crate::catalog::LAKE_SCHEMA)).map(TableReference::table)
    }
}
