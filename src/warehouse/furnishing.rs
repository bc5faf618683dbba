//! Sessions for a protocol that expects more than the grant's tables: a name for the database, a catalog to look them up in, and the
//! functions that its clients call. What is added belongs to one reader; the tables stay those of the grant, and no other is reached.

use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{
    CatalogProvider, CatalogProviderList, MemoryCatalogProvider, MemoryCatalogProviderList, MemorySchemaProvider, SchemaProvider,
    TableFunctionImpl, TableProvider,
};
use datafusion::common::config::Dialect;
use datafusion::error::DataFusionError;
use datafusion::execution::SessionStateBuilder;
use datafusion::logical_expr::planner::TypePlanner;
use datafusion::logical_expr::{ScalarUDF, TableType};
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast;
use granary_foundation::Boxed;

use crate::catalog::{LAKE_SCHEMA, MODEL_SCHEMA};
use crate::{Question, Session, WarehouseError, runtime};

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

/// What a protocol adds to a session.
pub struct Furnishing<'a> {
    /// What the database is called.
    pub database: &'a str,
    /// The schema of tables without one.
    pub default_schema: &'a str,
    /// Schemas of the protocol's own, by name, with their tables.
    pub schemas: Vec<(&'static str, Vec<(String, Arc<dyn TableProvider>)>)>,
    pub functions: Vec<ScalarUDF>,
    pub table_functions: Vec<(&'static str, Arc<dyn TableFunctionImpl>)>,
    /// How types are read that the engine does not know by name.
    pub types: Option<Arc<dyn TypePlanner>>,
}

impl std::fmt::Debug for Furnishing<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Furnishing({})", self.database)
    }
}

impl Session {
    /// Lists what the session shows, by schema and name.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub fn shown(&self) -> Boxed<'_, Result<Vec<Shown>, WarehouseError>> {
        Box::pin(async move {
            let engine = |error| WarehouseError::of_engine(error, &self.0.budget);
            let mut shown = Vec::new();
            for schema in [LAKE_SCHEMA, MODEL_SCHEMA] {
                let Some(tables) = self.own_schema(schema) else { continue };
                let mut names = tables.table_names();
                names.sort_unstable();
                for name in names {
                    if let Some(table) = tables.table(&name).await.map_err(engine)? {
                        shown.push(Shown { schema, columns: table.schema(), is_view: table.table_type() == TableType::View, name });
                    }
                }
            }
            Ok(shown)
        })
    }

    /// Returns a session with the same tables under a protocol's names. It shares nothing else: what is asked in one is not seen in
    /// another.
    ///
    /// # Errors
    /// When something of the furnishing bears a name that is taken.
    pub fn furnished(&self, furnishing: Furnishing<'_>) -> Result<Self, WarehouseError> {
        let engine = |error| WarehouseError::of_engine(error, &self.0.budget);
        let context = self.furnish(furnishing).map_err(engine)?;
        Ok(Self::new(context, self.version(), self.0.budget.clone()))
    }

    fn furnish(&self, furnishing: Furnishing<'_>) -> Result<SessionContext, DataFusionError> {
        let catalog = MemoryCatalogProvider::new();
        for schema in [LAKE_SCHEMA, MODEL_SCHEMA] {
            if let Some(tables) = self.own_schema(schema) {
                catalog.register_schema(schema, tables)?;
            }
        }
        for (name, tables) in furnishing.schemas {
            let schema = MemorySchemaProvider::new();
            for (name, table) in tables {
                schema.register_table(name, table)?;
            }
            catalog.register_schema(name, Arc::new(schema))?;
        }
        let catalogs = MemoryCatalogProviderList::new();
        catalogs.register_catalog(furnishing.database.to_owned(), Arc::new(catalog));
        let state = self.0.context.state();
        let mut config = state.config().clone().with_create_default_catalog_and_schema(false);
        config = config.with_default_catalog_and_schema(furnishing.database, furnishing.default_schema);
        // The protocol brings an information schema of its own, in its own words for types.
        config = config.with_information_schema(!has_information_schema(&catalogs, furnishing.database));
        config.options_mut().sql_parser.dialect = Dialect::PostgreSQL;
        let mut builder = SessionStateBuilder::new_from_existing(state).with_config(config).with_catalog_list(Arc::new(catalogs));
        if let Some(types) = furnishing.types {
            builder = builder.with_type_planner(types);
        }
        let context = SessionContext::new_with_state(builder.build());
        for function in furnishing.functions {
            context.register_udf(function);
        }
        for (name, function) in furnishing.table_functions {
            context.register_udtf(name, function);
        }
        Ok(context)
    }

    /// Plans a query that was read already, and nothing but a query.
    ///
    /// # Errors
    /// As [`Session::question`].
    pub fn question_of<'a>(&'a self, statement: ast::Statement) -> Boxed<'a, Result<Question, WarehouseError>> {
        Box::pin(Question::of_statement(&self.0.context, Statement::Statement(Box::new(statement)), &self.0.budget))
    }

    fn own_schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        self.0.context.catalog(runtime::CATALOG)?.schema(name)
    }
}

fn has_information_schema(catalogs: &MemoryCatalogProviderList, database: &str) -> bool {
    catalogs.catalog(database).is_some_and(|catalog| catalog.schema("information_schema").is_some())
}
