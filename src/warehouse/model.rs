//! One model: a query with a name, and the description beside it.

use std::collections::BTreeMap;

use datafusion::common::TableReference;
use granary_types::Role;
use serde::Deserialize;

use crate::{WarehouseError, yaml};

/// How a model exists outside its SQL text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
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

/// What a reader of a model must have beside a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
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

/// What the description says about a column.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColumnDescription {
    pub description: String,
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
    #[serde(default)]
    pub materialised: Materialised,
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

/// A model: its name, query, description and the tables that it reads.
#[derive(Debug, Clone)]
pub struct Model {
    pub name: String,
    pub sql: String,
    pub description: Description,
    pub(crate) inputs: Vec<TableReference>,
}

impl Model {
    /// Parses a model from the two files that make it up.
    pub(crate) fn parse(name: &str, sql: &str, yml: &str, inputs: Vec<TableReference>) -> Result<Self, WarehouseError> {
        let value = yaml::parse(yml).map_err(|source| WarehouseError::Description { model: name.to_owned(), source })?;
        let description =
            serde_json::from_value(value).map_err(|error| WarehouseError::Model { model: name.to_owned(), problem: error.to_string() })?;
        Ok(Self { name: name.to_owned(), sql: sql.to_owned(), description, inputs })
    }

    /// Returns the name of the dataset that holds the published rows.
    pub(crate) fn dataset(&self) -> String {
        format!("{}{}", crate::catalog::MART_PREFIX, self.name)
    }

    /// Returns the names of the raw datasets that the query reads.
    pub(crate) fn datasets(&self) -> impl Iterator<Item = &str> {
        self.inputs.iter().filter(|input| input.schema() == Some(crate::catalog::LAKE_SCHEMA)).map(TableReference::table)
    }

    /// Returns the names of the models that the query reads.
    pub(crate) fn parents(&self) -> impl Iterator<Item = &str> {
        self.inputs.iter().filter(|input| input.schema() != Some(crate::catalog::LAKE_SCHEMA)).map(TableReference::table)
    }
}
