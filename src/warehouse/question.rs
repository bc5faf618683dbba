//! A question: one query, planned within a session, with or without places for values.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{ParamValues, ScalarValue, plan_err};
use datafusion::error::DataFusionError;
use datafusion::execution::context::{SQLOptions, SessionContext};
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::parser::Statement;

use crate::catalog::{LAKE_SCHEMA, MODEL_SCHEMA};
use crate::{Budget, WarehouseError};

/// Steps of one query: scans, filters, joins and so on.
const MOST_STEPS: usize = 10_000;

/// One query, planned; it changes nothing and names only what its session sees.
#[derive(Debug, Clone)]
pub struct Question {
    pub(crate) plan: LogicalPlan,
}

impl Question {
    pub(crate) async fn new(context: &SessionContext, sql: &str, budget: &Budget) -> Result<Self, WarehouseError> {
        let engine = |error| WarehouseError::of_engine(error, budget);
        let plan = context.state().create_logical_plan(sql).await.map_err(engine)?;
        Self::of_plan(plan).map_err(engine)
    }

    /// Plans a query that a door has read already.
    pub(crate) async fn of_statement(context: &SessionContext, statement: Statement, budget: &Budget) -> Result<Self, WarehouseError> {
        let engine = |error| WarehouseError::of_engine(error, budget);
        let plan = context.state().statement_to_plan(statement).await.map_err(engine)?;
        Self::of_plan(plan).map_err(engine)
    }

    fn of_plan(plan: LogicalPlan) -> Result<Self, DataFusionError> {
        within_size(&plan)?;
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
        self.plan.get_parameter_types().map_err(|error| WarehouseError::Query(error.strip_backtrace()))
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

/// Refuses a query that is made of too many steps: a few common table expressions, each of which reads the one before it twice, make a
/// plan that nobody ends planning.
fn within_size(plan: &LogicalPlan) -> Result<(), DataFusionError> {
    let mut steps = 0;
    plan.apply_with_subqueries(|_| {
        steps += 1;
        Ok(if steps > MOST_STEPS { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    if steps > MOST_STEPS { plan_err!("the query has more than {MOST_STEPS} steps; say it in fewer") } else { Ok(()) }
}
