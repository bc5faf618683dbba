//! A model as a view.
//!
//! Unlike DataFusion's own views it is planned on its own wherever it is read, with the reader's filters, columns and limit
//! pushed into it. Inlined, DataFusion 55 carries the keys of a model's aggregates out of it and takes them for keys of
//! what is made of them: grouping a view by two columns and counting the groups loses one of the two.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::internal_err;
use datafusion::error::Result;
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;

/// A query under a name.
#[derive(Debug)]
pub(crate) struct ModelView {
    name: String,
    sql: String,
    plan: LogicalPlan,
    schema: SchemaRef,
}

impl ModelView {
    /// Takes a planned query.
    pub(crate) fn new(name: &str, sql: &str, plan: LogicalPlan) -> Self {
        let schema = Arc::clone(plan.schema().inner());
        Self { name: name.to_owned(), sql: sql.to_owned(), plan, schema }
    }
}

#[async_trait]
impl TableProvider for ModelView {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    fn get_table_definition(&self) -> Option<&str> {
        Some(&self.sql)
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let support = |filter: &&Expr| match filter.is_volatile() || super::table::contains_subquery(filter) {
            true => TableProviderFilterPushDown::Unsupported,
            false => TableProviderFilterPushDown::Exact,
        };
        Ok(filters.iter().map(support).collect())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let mut plan = LogicalPlanBuilder::from(self.plan.clone()).alias(self.name.as_str())?;
        if let Some(filter) = conjunction(filters.iter().cloned()) {
            plan = plan.filter(filter)?;
        }
        if let Some(columns) = projection {
            let columns: Vec<Expr> = columns.iter().map(|index| Expr::Column(plan.schema().columns()[*index].clone())).collect();
            plan = plan.project(columns)?;
        }
        if limit.is_some() {
            plan = plan.limit(0, limit)?;
        }
        without_physical_rules(state)?.create_physical_plan(&plan.build()?).await
    }
}

/// A view's plan becomes a part of its reader's, which is made physical as a whole: rules such as the choice of a join's
/// sides do not stand being applied to a part and then to the whole.
fn without_physical_rules(state: &dyn Session) -> Result<SessionState> {
    let Some(state) = state.as_any().downcast_ref::<SessionState>() else {
        return internal_err!("a model is read in a session that is not the engine's");
    };
    if state.physical_optimizers().is_empty() {
        return Ok(state.clone());
    }
    Ok(SessionStateBuilder::new_from_existing(state.clone()).with_physical_optimizer_rules(Vec::new()).build())
}

#[cfg(test)]
mod tests {
    use granary_types::{CustomerId, Role};
    use serde::Deserialize;
    use serde_json::json;

    use crate::Models;
    use crate::fixture::{Shed, datasets, grant};

    #[derive(Debug, Deserialize)]
    struct Count {
        n: i64,
    }

    #[tokio::test]
    async fn keys_inside_a_model_are_not_keys_of_what_is_made_of_it() {
        let yml = "description: d\ngrain: g\nowner: o\nroles: [msp_admin]\ncolumns:\n    n:\n        description: d\n";
        let months = "select month as period, count(*) as n from lake.heartbeats group by 1";
        let customers = "select h.customer_code, months.period, count(*) as n from lake.heartbeats as h cross join months group by 1, 2";
        let files = [("months.sql", months), ("months.yml", yml), ("customers.sql", customers), ("customers.yml", yml)];
        let models = Models::from_files(files.map(|(path, text)| (path.to_owned(), text.to_owned()))).unwrap();
        let mut shed = Shed::new(datasets(), models);
        for code in ["ACME", "GLOBEX"] {
            let row =
                json!({"source": "dc1", "service_on": "2025-10-01", "received": 90, "expected": 96, "last_at": "2025-10-01T23:45:00Z"});
            shed.write_rows("heartbeats", Some((CustomerId::new(), code)), "2025-10", &[row]);
        }
        let session = shed.session(&grant(Role::MspAdmin, None)).await.unwrap();
        let repeats =
            "select count(*) as n from (select customer_code, period from customers group by customer_code, period having count(*) > 1)";
        let rows: Vec<Count> = session.rows(repeats).await.unwrap();
        assert_eq!(rows[0].n, 0);
    }
}
