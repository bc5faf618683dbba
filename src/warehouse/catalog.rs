//! What a session sees: the datasets and models that its grant allows, and nothing else by name.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use datafusion::arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::catalog::{CatalogProvider, MemoryCatalogProvider, MemorySchemaProvider, SchemaProvider, TableProvider};
use datafusion::error::DataFusionError;
use datafusion::execution::parquet_encryption::EncryptionFactory;
use datafusion::prelude::SessionContext;
use granary_tenants::{Granted, ReadGrant};
use granary_types::{Dataset, Source};

use crate::files::{CustomerFiles, Files};
use crate::footers::Footers;
use crate::inventory::{self, Inventory};
use crate::runtime::Engine;
use crate::table::{LakeTable, MSP_PARTITIONS, TENANT_PARTITIONS, TableFile};
use crate::view::ModelView;
use crate::{Budget, Materialised, Model, Models, Need, WarehouseError, ledger, runtime};
use crate::{guard, patience};

/// The schema of raw datasets.
pub(crate) const LAKE_SCHEMA: &str = "lake";
/// The schema of models; the default one.
pub(crate) const MODEL_SCHEMA: &str = "warehouse";

/// What the dataset of a published model is called: this, and the model's name.
pub(crate) const MART_PREFIX: &str = "mart_";

/// The files of one snapshot by dataset, the keys that open them, and the footers that these have opened.
#[derive(Debug, Clone)]
pub(crate) struct Contents {
    pub(crate) files: HashMap<String, Vec<TableFile>>,
    /// Where the files of customers are found that are not among them.
    pub(crate) customers: Option<Arc<CustomerFiles>>,
    pub(crate) keys: Arc<dyn EncryptionFactory>,
    pub(crate) footers: Arc<Footers>,
    /// Digests of the files' rows by path, where they are known.
    pub(crate) digests: HashMap<String, String>,
}

impl Contents {
    fn opened_by(&self) -> (Arc<dyn EncryptionFactory>, Arc<Footers>) {
        (Arc::clone(&self.keys), Arc::clone(&self.footers))
    }

    /// Returns the files of a dataset.
    pub(crate) fn files_of(&self, dataset: &Dataset) -> Files {
        match &self.customers {
            Some(customers) if dataset.source == Source::Tenant => Files::Listed(Arc::clone(customers), dataset.name),
            _ => Files::Known(self.files.get(dataset.name).cloned().unwrap_or_default().into()),
        }
    }

    /// Returns what tells a file's rows from others: their digest, else the file's name, which is never used twice.
    pub(crate) fn identity<'a>(&'a self, file: &'a TableFile) -> &'a str {
        self.digests.get(&file.path).filter(|digest| !digest.is_empty()).unwrap_or(&file.path)
    }
}

/// Everything that a catalog is made from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Blueprint<'a> {
    pub(crate) engine: &'a Arc<Engine>,
    pub(crate) budget: &'a Budget,
    pub(crate) datasets: &'a [Dataset],
    pub(crate) models: &'a Models,
    pub(crate) contents: &'a Contents,
    /// The customers whose rows in shared files may pass; none for all of the MSP.
    pub(crate) only: Option<&'a BTreeSet<String>>,
}

/// A catalog in the making: raw datasets are there, models are added one by one.
pub(crate) struct Draft {
    pub(crate) context: SessionContext,
    lake: Arc<MemorySchemaProvider>,
    models: Arc<MemorySchemaProvider>,
}

impl Draft {
    fn empty(engine: &Engine, budget: &Budget) -> Result<Self, DataFusionError> {
        let context = runtime::context(engine, budget);
        let catalog = MemoryCatalogProvider::new();
        let (lake, models) = (Arc::new(MemorySchemaProvider::new()), Arc::new(MemorySchemaProvider::new()));
        catalog.register_schema(LAKE_SCHEMA, Arc::clone(&lake) as Arc<dyn SchemaProvider>)?;
        catalog.register_schema(MODEL_SCHEMA, Arc::clone(&models) as Arc<dyn SchemaProvider>)?;
        context.register_catalog(runtime::CATALOG, Arc::new(catalog));
        Ok(Self { context, lake, models })
    }

    /// Starts a catalog that holds every raw dataset of the snapshot.
    pub(crate) fn new(blueprint: &Blueprint<'_>) -> Result<Self, WarehouseError> {
        let engine = |error| WarehouseError::of_engine(error, blueprint.budget);
        let draft = Self::empty(blueprint.engine, blueprint.budget).map_err(engine)?;
        draft.lake.register_table(inventory::NAME.to_owned(), Arc::new(Inventory::new(blueprint))).map_err(engine)?;
        for dataset in blueprint.datasets {
            let table = raw_table(blueprint, dataset).map_err(engine)?;
            draft.lake.register_table(dataset.name.to_owned(), table).map_err(engine)?;
        }
        Ok(draft)
    }

    /// Adds a model as a view and returns its columns.
    pub(crate) async fn add_view(&self, model: &Model) -> Result<SchemaRef, WarehouseError> {
        let broken = |error: DataFusionError| WarehouseError::Model { model: model.name.clone(), problem: error.strip_backtrace() };
        let state = self.context.state();
        let plan = state.create_logical_plan(&model.sql).await.map_err(broken)?;
        // types are settled by the analyzer: those of a union, for instance
        let plan = state.analyzer().execute_and_check(plan, state.config_options(), |_, _| {}).map_err(broken)?;
        let view = Arc::new(ModelView::new(&model.name, &model.sql, plan));
        let schema = view.schema();
        self.add(model, view).map_err(broken)?;
        Ok(schema)
    }

    /// Adds a model, or puts what was computed in its view's place.
    pub(crate) fn add(&self, model: &Model, table: Arc<dyn TableProvider>) -> Result<(), DataFusionError> {
        self.models.deregister_table(&model.name)?;
        self.models.register_table(model.name.clone(), table).map(drop)
    }

    /// Adds a model whose rows lie in two places.
    pub(crate) async fn add_both(
        &self,
        model: &Model,
        schema: &SchemaRef,
        one: Arc<dyn TableProvider>,
        other: Arc<dyn TableProvider>,
    ) -> Result<(), DataFusionError> {
        let columns: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        let one = self.context.read_table(one)?.select_columns(&columns)?;
        let both = one.union(self.context.read_table(other)?.select_columns(&columns)?)?;
        self.add(model, Arc::new(ModelView::new(&model.name, &model.sql, both.into_unoptimized_plan())))
    }
}

/// Plans every model on an empty lake and returns its columns; fails on the first that does not plan.
pub(crate) async fn plan_schemas(blueprint: &Blueprint<'_>) -> Result<HashMap<String, SchemaRef>, WarehouseError> {
    let draft = Draft::new(blueprint)?;
    let mut schemas = HashMap::new();
    for model in blueprint.models.iter() {
        schemas.insert(model.name.clone(), nullable(&draft.add_view(model).await?));
    }
    Ok(schemas)
}

/// Makes the context of a session: models that were built are read from the lake, the others are views.
pub(crate) async fn session_context(
    blueprint: &Blueprint<'_>,
    schemas: &HashMap<String, SchemaRef>,
    grant: &ReadGrant,
) -> Result<SessionContext, WarehouseError> {
    let engine = |error| WarehouseError::of_engine(error, blueprint.budget);
    let hidden = Draft::new(blueprint)?;
    let shown = Draft::empty(blueprint.engine, blueprint.budget).map_err(engine)?;
    // before the first build there is nothing to read, and every model is a view
    let is_built = blueprint.contents.files.keys().any(|dataset| dataset.starts_with(MART_PREFIX));
    for model in blueprint.models.iter() {
        match schemas.get(&model.name) {
            Some(schema) if is_built && model.description.materialised == Materialised::Table => {
                let table = built_table(blueprint, model, schema, |_| true).map_err(engine)?;
                hidden.add(model, table).map_err(engine)?;
            }
            _ => drop(hidden.add_view(model).await?),
        }
        if let (true, Some(table)) = (sees(grant, model), hidden.models.table(&model.name).await.map_err(engine)?) {
            shown.add(model, table).map_err(engine)?;
        }
    }
    for dataset in blueprint.datasets.iter().filter(|dataset| sees_raw(grant, blueprint.models, dataset)) {
        if let Some(table) = hidden.lake.table(dataset.name).await.map_err(engine)? {
            shown.lake.register_table(dataset.name.to_owned(), table).map_err(engine)?;
        }
    }
    guard::bound(&shown.context).map_err(engine)?;
    patience::lead_aggregates(&shown.context).map_err(engine)?;
    Ok(shown.context)
}

/// Tells whether a grant has a model in its catalog.
pub(crate) fn sees(grant: &ReadGrant, model: &Model) -> bool {
    let has = |need: &Need| match need {
        Need::BillingRead => grant.can_read_billing,
        Need::AllCustomers => matches!(grant.customers, Granted::All),
    };
    model.description.roles.contains(&grant.role) && model.description.needs.iter().all(has)
}

/// A raw dataset is seen by whoever sees a model made of it; one that no model reads is not for customers.
fn sees_raw(grant: &ReadGrant, models: &Models, dataset: &Dataset) -> bool {
    let mut readers = models.iter().filter(|model| model.datasets().any(|name| name == dataset.name)).peekable();
    if readers.peek().is_none() { !grant.role.is_customer() } else { readers.any(|model| sees(grant, model)) }
}

fn raw_table(blueprint: &Blueprint<'_>, dataset: &Dataset) -> Result<Arc<dyn TableProvider>, DataFusionError> {
    let files = blueprint.contents.files_of(dataset);
    let columns = granary_lake::arrow_schema(dataset);
    match dataset.source {
        Source::Tenant => {
            let opened_by = blueprint.contents.opened_by();
            let table = LakeTable::new(columns, &TENANT_PARTITIONS, files, opened_by, runtime::store_url()?);
            Ok(Arc::new(tuned(blueprint, table)))
        }
        Source::Control | Source::Published => {
            let customer_column = if dataset.name == "customers" { "id" } else { "customer_id" };
            shared_table(blueprint, columns, files, customer_column)
        }
    }
}

fn tuned(blueprint: &Blueprint<'_>, table: LakeTable) -> LakeTable {
    if blueprint.budget.tuning.has_text_views { table.with_text_views() } else { table }
}

/// What builds wrote of a model, of the months that are asked for. A model that is parted by month finds them in the manifest.
pub(crate) fn built_table(
    blueprint: &Blueprint<'_>,
    model: &Model,
    schema: &SchemaRef,
    is_wanted: impl Fn(&str) -> bool,
) -> Result<Arc<dyn TableProvider>, DataFusionError> {
    let mut files = blueprint.contents.files.get(&model.dataset()).cloned().unwrap_or_default();
    files.retain(|file| is_wanted(file.month()));
    let schema = nullable(schema);
    let is_parted = files.iter().all(|file| file.month() != ledger::WHOLE);
    let (columns, partitions) = match model.month_column().filter(|_| is_parted) {
        Some(month) => {
            let others = schema.fields().iter().filter(|field| field.name() != month).cloned().collect::<Vec<_>>();
            (Arc::new(Schema::new(others)), vec![month])
        }
        None => {
            files.iter_mut().for_each(|file| file.partition.clear());
            (schema, Vec::new())
        }
    };
    let table = LakeTable::new(columns, &partitions, Files::Known(files.into()), blueprint.contents.opened_by(), runtime::store_url()?);
    Ok(Arc::new(tuned(blueprint, table).only("customer_id", blueprint.only.cloned())))
}

/// A table whose files hold rows of several customers.
fn shared_table(
    blueprint: &Blueprint<'_>,
    columns: SchemaRef,
    files: Files,
    customer_column: &'static str,
) -> Result<Arc<dyn TableProvider>, DataFusionError> {
    let table = LakeTable::new(columns, &MSP_PARTITIONS, files, blueprint.contents.opened_by(), runtime::store_url()?);
    Ok(Arc::new(tuned(blueprint, table).only(customer_column, blueprint.only.cloned())))
}

/// A file of an older model may lack a column, so that none is required.
fn nullable(schema: &SchemaRef) -> SchemaRef {
    let field = |field: &Arc<Field>| Field::new(field.name(), field.data_type().clone(), true);
    Arc::new(Schema::new(schema.fields().iter().map(field).collect::<Vec<_>>()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use crate::fixture::{Shed, datasets, models};

    use super::*;

    #[tokio::test]
    async fn every_model_plans_on_an_empty_lake_and_describes_its_columns() {
        let shed = Shed::new(datasets(), models());
        let contents = shed.contents();
        let schemas = plan_schemas(&shed.blueprint(&contents, None)).await.unwrap();
        for model in shed.models.iter() {
            let planned: BTreeSet<&str> = schemas[&model.name].fields().iter().map(|field| field.name().as_str()).collect();
            let described: BTreeSet<&str> = model.description.columns.keys().map(String::as_str).collect();
            assert_eq!(planned, described, "{}", model.name);
            for column in model.description.unique.iter().flatten() {
                assert!(planned.contains(column.as_str()), "{} is unique by {column}", model.name);
            }
        }
        assert!(schemas.len() > 30);
    }
}
