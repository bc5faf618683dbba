//! A question: one query, planned within a session, with or without places for values.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{ParamValues, ScalarValue};
use datafusion::error::DataFusionError;
use datafusion::execution::context::{SQLOptions, SessionContext};
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::dialect::Dialect;

use crate::catalog::{LAKE_SCHEMA, MODEL_SCHEMA};
use crate::extent::{within_length, within_length_as_read, within_steps};
use crate::{Budget, WarehouseError};

/// One query, planned; it changes nothing and names only what its session sees.
#[derive(Debug, Clone)]
pub struct Question {
    pub(crate) plan: LogicalPlan,
}

impl Question {
    pub(crate) async fn new(context: &SessionContext, sql: &str, budget: &Budget) -> Result<Self, WarehouseError> {
        let engine = |error| WarehouseError::of_engine(error, budget);
        within_length(sql).map_err(engine)?;
        let plan = context.state().create_logical_plan(sql).await.map_err(engine)?;
        Self::of_plan(plan).map_err(engine)
    }

    /// Refuses what is too long or nests too deep to be read, for a door that reads statements itself, in its own dialect.
    ///
    /// # Errors
    /// When the statement is too long or chains too much.
    pub fn may_be_read(sql: &str, dialect: &dyn Dialect) -> Result<(), WarehouseError> {
        within_length_as_read(sql, dialect).map_err(|error| WarehouseError::Query(error.message().into_owned()))
    }

    /// Plans a query that a door has read already, and has asked [`Question::may_be_read`] about before.
    pub(crate) async fn of_statement(context: &SessionContext, statement: Statement, budget: &Budget) -> Result<Self, WarehouseError> {
        let engine = |error| WarehouseError::of_engine(error, budget);
        let plan = context.state().statement_to_plan(statement).await.map_err(engine)?;
        Self::of_plan(plan).map_err(engine)
    }

    fn of_plan(plan: LogicalPlan) -> Result<Self, DataFusionError> {
        within_steps(&plan)?;
        SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false).verify_plan(&plan)?;
        Ok(Self { plan })
    }

    /// Returns the columns of the answer.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(self.plan.schema().inner())
    }

    /// Tells whether rows of the lake or of a model are asked for; what there is, and how it is called, is told without.
    pub fn reads_rows(&self) -> bool {
        let mut reads = false;
        // The visit itself never fails.
        let _ = self.plan.apply_with_subqueries(|node| {
            if let LogicalPlan::TableScan(scan) = node {
                reads |= scan.table_name.schema().is_none_or(|schema| [LAKE_SCHEMA, MODEL_SCHEMA].contains(&schema));
            }
            Ok(if reads { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        });
        reads
    }

    /// Returns the places for values, `$1` and on, with their types where the query tells them.
    ///
    /// # Errors
    /// When one place would have to hold two types.
    pub fn parameters(&self) -> Result<HashMap<String, Option<DataType>>, WarehouseError> {
        let mut told = self.plan.get_parameter_types().map_err(|error| WarehouseError::Query(error.strip_backtrace()))?;
        // How many rows, and from which one on, is a number; the engine does not say so.
        let _ = self.plan.apply_with_subqueries(|node| {
            if let LogicalPlan::Limit(limit) = node {
                for place in [&limit.skip, &limit.fetch].into_iter().flatten() {
                    let _ = place.apply(|part| {
                        if let Expr::Placeholder(place) = part {
                            told.entry(place.id.clone()).or_default().get_or_insert(DataType::Int64);
                        }
                        Ok(TreeNodeRecursion::Continue)
                    });
                }
            }
            Ok(TreeNodeRecursion::Continue)
        });
        Ok(told)
    }

    /// Puts values into the places, in the order of their numbers.
    ///
    /// # Errors
    /// When there are too few values or one does not fit its place.
    pub fn with_values(self, values: Vec<ScalarValue>) -> Result<Self, WarehouseError> {
        let values = ParamValues::from(values);
        let plan = self.plan.with_param_values(values).map_err(|error| WarehouseError::Query(error.strip_backtrace()))?;
        Ok(Self { plan })
    }
}
