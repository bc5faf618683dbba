//! What a session shows: the tables of its catalog, for doors that list them.

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::logical_expr::TableType;
use granary_foundation::Boxed;

use crate::catalog::{LAKE_SCHEMA, MODEL_SCHEMA};
use crate::{Session, WarehouseError, runtime};

/// A table that a session shows.
#[derive(Debug, Clone)]
pub struct Shown {
    /// `lake` for raw datasets, `warehouse` for models.
    pub schema: &'static str,
    pub name: String,
    pub columns: SchemaRef,
    /// Whether it is computed when it is read.
    pub is_view: bool,
}

impl Session {
    /// Lists what the session shows, by schema and name.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub fn shown(&self) -> Boxed<'_, Result<Vec<Shown>, WarehouseError>> {
        Box::pin(async move {
            let mut shown = Vec::new();
            for schema in [LAKE_SCHEMA, MODEL_SCHEMA] {
                let tables = self.context().catalog(runtime::CATALOG).and_then(|catalog| catalog.schema(schema));
                let Some(tables) = tables else { continue };
                let mut names = tables.table_names();
                names.sort_unstable();
                for name in names {
                    if let Some(table) = tables.table(&name).await.map_err(WarehouseError::Engine)? {
                        shown.push(Shown { schema, columns: table.schema(), is_view: table.table_type() == TableType::View, name });
                    }
                }
            }
            Ok(shown)
        })
    }
}

#[cfg(test)]
mod tests {
    use granary_types::{CustomerId, Role};

    use crate::fixture::{Shed, datasets, grant, models};

    #[tokio::test]
    async fn a_session_shows_the_tables_of_its_grant_and_no_other() {
        let shed = Shed::new(datasets(), models());
        let names = async |role, customers: Option<&[CustomerId]>| -> Vec<String> {
            let tables = shed.session(&grant(role, customers)).await.unwrap().shown().await.unwrap();
            tables.into_iter().map(|table| format!("{}.{}", table.schema, table.name)).collect()
        };
        let admin = names(Role::OperatorAdmin, None).await;
        assert!(admin.iter().any(|name| name == "warehouse.margin") && admin.iter().any(|name| name == "lake.prices"), "{admin:?}");
        assert!(admin.is_sorted());
        let viewer = names(Role::CustomerViewer, Some(&[CustomerId::new()])).await;
        assert!(viewer.iter().any(|name| name == "warehouse.invoice_lines"), "{viewer:?}");
        for hidden in ["warehouse.margin", "warehouse.mrr_movements", "lake.prices", "lake.statements"] {
            assert!(!viewer.iter().any(|name| name == hidden), "{hidden}");
        }
    }
}
