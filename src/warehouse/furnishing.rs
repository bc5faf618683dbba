//! Sessions for a protocol that expects more than the grant's tables: a name for the database, a catalog to look them up in, and the
//! functions that its clients call. What is added belongs to one reader; the tables stay those of the grant, and no other is reached.

use std::sync::Arc;

use datafusion::catalog::{
    CatalogProvider, CatalogProviderList, MemoryCatalogProvider, MemoryCatalogProviderList, MemorySchemaProvider, SchemaProvider,
    TableFunctionImpl, TableProvider,
};
use datafusion::common::config::Dialect;
use datafusion::error::DataFusionError;
use datafusion::execution::SessionStateBuilder;
use datafusion::logical_expr::ScalarUDF;
use datafusion::logical_expr::planner::TypePlanner;
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast;
use granary_foundation::Boxed;

use crate::catalog::{LAKE_SCHEMA, MODEL_SCHEMA};
use crate::{Question, Session, WarehouseError, runtime};

/// Tables by name.
pub type NamedTables = Vec<(String, Arc<dyn TableProvider>)>;

/// What a protocol adds to a session.
pub struct Furnishing<'a> {
    /// What the database is called.
    pub database: &'a str,
    /// The schema of tables without one.
    pub default_schema: &'a str,
    /// Schemas of the protocol's own, by name, with their tables.
    pub schemas: Vec<(&'static str, NamedTables)>,
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
    /// Returns a session with the same tables under a protocol's names. It shares nothing else: what is asked in one is not seen in
    /// another.
    ///
    /// # Errors
    /// When something of the furnishing bears a name that is taken.
    pub fn furnished(&self, furnishing: Furnishing<'_>) -> Result<Self, WarehouseError> {
        let engine = |error| WarehouseError::of_engine(error, &self.0.budget);
        let context = self.furnish(furnishing).map_err(engine)?;
        Ok(Self::new(context, self.version(), &self.0.engine, self.0.budget.clone()))
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
