//! One dataset of a snapshot as a table: immutable files, pruned by the manifest before any of them is opened.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::{BooleanArray, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::DFSchema;
use datafusion::common::cast::as_boolean_array;
use datafusion::common::tree_node::TreeNode;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::source::ParquetSource;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::Result;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::parquet_encryption::EncryptionFactory;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType, col, lit};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::filter::FilterExecBuilder;
use granary_lake::{FileStatistics, LakeFile};

use crate::files::Files;
use crate::footers::{Footers, Readers};
use crate::statistics::{TableStatistics, column, value};

/// The columns that the lake keeps in the manifest instead of in a tenant's files.
pub(crate) const TENANT_PARTITIONS: [&str; 3] = ["customer_id", "customer_code", "month"];
/// The column that the lake keeps in the manifest for files of an MSP; their rows carry the customer themselves.
pub(crate) const MSP_PARTITIONS: [&str; 1] = ["month"];

/// A scan of more files than this does not tell the engine the bounds of each: they would weigh more than they prune.
const DESCRIBED: usize = 4_096;

/// One file of the manifest.
#[derive(Debug, Clone)]
pub(crate) struct TableFile {
    pub(crate) path: String,
    pub(crate) size_bytes: u64,
    pub(crate) footer_bytes: usize,
    pub(crate) row_count: usize,
    /// In the order of the table's partition columns.
    pub(crate) partition: Vec<String>,
    pub(crate) statistics: Arc<FileStatistics>,
}

impl TableFile {
    /// Describes a file of the lake.
    pub(crate) fn of(file: &LakeFile) -> Self {
        let partition = match &file.customer {
            Some((id, code)) => vec![id.to_string(), code.to_string(), file.month.clone()],
            None => vec![file.month.clone()],
        };
        Self {
            path: file.path.clone(),
            size_bytes: file.size_bytes,
            footer_bytes: usize::try_from(file.footer_bytes).unwrap_or(usize::MAX),
            row_count: usize::try_from(file.row_count).unwrap_or(usize::MAX),
            partition,
            statistics: Arc::clone(&file.statistics),
        }
    }

    /// Returns the month whose rows it holds, or `all`.
    pub(crate) fn month(&self) -> &str {
        self.partition.last().map_or("all", String::as_str)
    }
}

/// A dataset as a session sees it.
#[derive(Debug)]
pub(crate) struct LakeTable {
    schema: TableSchema,
    files: Files,
    statistics: TableStatistics,
    keys: Arc<dyn EncryptionFactory>,
    footers: Arc<Footers>,
    store: ObjectStoreUrl,
    /// For files that hold rows of several customers: the column that names them, and the only ones that may pass.
    only: Option<(&'static str, BTreeSet<String>)>,
}

impl LakeTable {
    /// Describes a table by the columns in its files, the partition columns beside them, and its files.
    pub(crate) fn new(
        columns: SchemaRef,
        partitions: &[&str],
        files: Files,
        (keys, footers): (Arc<dyn EncryptionFactory>, Arc<Footers>),
        store: ObjectStoreUrl,
    ) -> Self {
        let partitions: Fields = partitions.iter().map(|name| Field::new(*name, DataType::Utf8, false)).collect();
        let file_columns = columns.fields().len();
        let schema = TableSchema::builder(columns).with_table_partition_cols(partitions.to_vec()).build();
        let statistics = TableStatistics::new(Arc::clone(schema.table_schema()), file_columns);
        Self { schema, files, statistics, keys, footers, store, only: None }
    }

    /// Reads texts as views of what was decoded.
    pub(crate) fn with_text_views(self) -> Self {
        let view = |field: &Arc<Field>| match field.data_type() {
            DataType::Utf8 => Field::clone(field).with_data_type(DataType::Utf8View),
            _ => Field::clone(field),
        };
        let columns: Schema = Schema::new(self.schema.file_schema().fields().iter().map(view).collect::<Vec<_>>());
        let partitions: Fields = self.schema.table_partition_cols().iter().map(view).collect();
        let schema = TableSchema::builder(Arc::new(columns)).with_table_partition_cols(partitions.to_vec()).build();
        let statistics = TableStatistics::new(Arc::clone(schema.table_schema()), schema.file_schema().fields().len());
        Self { schema, statistics, ..self }
    }

    /// Lets only the rows of some customers through, whatever a query asks.
    pub(crate) fn only(mut self, column: &'static str, customers: Option<BTreeSet<String>>) -> Self {
        let has_column = self.schema.file_schema().column_with_name(column).is_some();
        self.only = customers.filter(|_| has_column).map(|customers| (column, customers));
        self
    }

    fn partition_schema(&self) -> Schema {
        Schema::new(self.schema.table_partition_cols().clone())
    }

    fn is_of_partition(&self, filter: &Expr) -> bool {
        let is_column = |name: &str| self.schema.table_partition_cols().iter().any(|field| field.name() == name);
        !filter.is_volatile() && !contains_subquery(filter) && filter.column_refs().iter().all(|column| is_column(&column.name))
    }

    /// Drops the files whose partition values fail the filters, and those whose bounds leave no row to pass them; opens none of them.
    fn prune<'a>(&self, files: &'a [TableFile], state: &dyn Session, filters: &[Expr]) -> Result<Vec<&'a TableFile>> {
        let mut keep = vec![true; files.len()];
        if files.is_empty() {
            return Ok(Vec::new());
        }
        if let Some(filter) = conjunction(filters.iter().filter(|filter| self.is_of_partition(filter)).cloned()) {
            let schema = Arc::new(self.partition_schema());
            let values = schema.fields().iter().enumerate().map(|(index, field)| {
                let values = files.iter().map(|file| file.partition.get(index).and_then(|text| value(text, field.data_type())));
                column(values, field.data_type())
            });
            let values = RecordBatch::try_new(Arc::clone(&schema), values.collect())?;
            let filter = state.create_physical_expr(filter, &DFSchema::try_from(Arc::clone(&schema))?)?;
            let passed = filter.evaluate(&values)?.into_array(files.len())?;
            let passed: &BooleanArray = as_boolean_array(&passed)?;
            keep = passed.iter().map(|passed| passed == Some(true)).collect();
        }
        if let Some(filter) = conjunction(self.data_filters(filters).filter(|filter| !filter.is_volatile() && !contains_subquery(filter))) {
            let filter = state.create_physical_expr(filter, &DFSchema::try_from(Arc::clone(self.schema.table_schema()))?)?;
            keep.iter_mut().zip(self.statistics.may_hold(files, filter)).for_each(|(keep, may_hold)| *keep &= may_hold);
        }
        Ok(files.iter().zip(keep).filter_map(|(file, keep)| keep.then_some(file)).collect())
    }

    fn data_filters(&self, filters: &[Expr]) -> impl Iterator<Item = Expr> {
        filters.iter().filter(|filter| !self.is_of_partition(filter)).cloned()
    }

    /// Deals the files to `count` groups, largest first, so that every thread reads about as many bytes.
    fn deal(&self, mut files: Vec<&TableFile>, count: usize) -> Vec<FileGroup> {
        files.sort_unstable_by_key(|file| std::cmp::Reverse(file.size_bytes));
        let mut groups = vec![Vec::with_capacity(files.len() / count.max(1) + 1); count.clamp(1, files.len().max(1))];
        let (dealt, is_described) = (groups.len(), files.len() <= DESCRIBED);
        for (index, file) in files.into_iter().enumerate() {
            groups[index % dealt].push(self.partitioned(file, is_described));
        }
        groups.into_iter().map(FileGroup::new).collect()
    }

    fn partitioned(&self, file: &TableFile, is_described: bool) -> PartitionedFile {
        let fields = self.schema.table_partition_cols().iter();
        let values = file.partition.iter().zip(fields).filter_map(|(text, field)| value(text, field.data_type()));
        let partitioned = PartitionedFile::new(file.path.clone(), file.size_bytes)
            .with_partition_values(values.collect())
            .with_metadata_size_hint(file.footer_bytes);
        if is_described { partitioned.with_statistics(Arc::new(self.statistics.of_file(file))) } else { partitioned }
    }

    fn grant_filter(&self, state: &dyn Session, column: &str, only: &BTreeSet<String>) -> Result<Arc<dyn PhysicalExpr>> {
        let granted = col(column).in_list(only.iter().map(|id| lit(id.as_str())).collect(), false);
        state.create_physical_expr(granted, &DFSchema::try_from(Arc::clone(self.schema.table_schema()))?)
    }
}

/// Tells whether a filter needs another query's answer.
pub(crate) fn contains_subquery(filter: &Expr) -> bool {
    filter.exists(|expr| Ok(matches!(expr, Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_)))).unwrap_or(true)
}

#[async_trait]
impl TableProvider for LakeTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.schema.table_schema())
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let support = |filter: &&Expr| match self.is_of_partition(filter) {
            true => TableProviderFilterPushDown::Exact,
            false => TableProviderFilterPushDown::Inexact,
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
        let table_schema = self.schema.table_schema();
        let every = self.files.get().await?;
        let files = self.prune(&every, state, filters)?;
        if files.is_empty() {
            let schema = projection.map_or_else(|| Ok(Arc::clone(table_schema)), |columns| table_schema.project(columns).map(Arc::new))?;
            return Ok(Arc::new(EmptyExec::new(schema)));
        }
        let mut source = ParquetSource::new(self.schema.clone())
            .with_table_parquet_options(state.table_options().parquet.clone())
            .with_encryption_factory(Arc::clone(&self.keys))
            .with_parquet_file_reader_factory(Arc::new(Readers::new(
                Arc::clone(&self.footers),
                state.runtime_env().object_store(&self.store)?,
            )));
        // What passes a filter or a grant is not counted by the manifest.
        let is_whole = self.data_filters(filters).next().is_none() && self.only.is_none();
        let columns: Vec<usize> = (0..table_schema.fields().len()).collect();
        let asked = if is_whole { projection.unwrap_or(&columns).as_slice() } else { &[] };
        let statistics = self.statistics.of_all(files.iter().copied(), asked);
        if let Some(filter) = conjunction(self.data_filters(filters)) {
            let filter = state.create_physical_expr(filter, &DFSchema::try_from(Arc::clone(table_schema))?)?;
            source = source.with_predicate(filter);
        }
        let config = FileScanConfigBuilder::new(self.store.clone(), Arc::new(source))
            .with_file_groups(self.deal(files, state.config().target_partitions()))
            .with_statistics(statistics);
        let Some((column, only)) = &self.only else {
            let config = config.with_limit(limit).with_projection_indices(projection.cloned())?.build();
            return Ok(DataSourceExec::from_data_source(config));
        };
        let scan = DataSourceExec::from_data_source(config.build());
        let filter =
            FilterExecBuilder::new(self.grant_filter(state, column, only)?, scan).apply_projection(projection.cloned())?.build()?;
        Ok(Arc::new(filter))
    }
}
