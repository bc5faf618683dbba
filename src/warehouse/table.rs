//! One dataset of a snapshot as a table: immutable files, pruned by the manifest before any of them is opened.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::{ArrayRef, BooleanArray, RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::cast::as_boolean_array;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNode;
use datafusion::common::{DFSchema, ScalarValue, Statistics};
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

/// The columns that the lake keeps in the manifest instead of in a tenant's files.
pub(crate) const TENANT_PARTITIONS: [&str; 3] = ["customer_id", "customer_code", "month"];
/// The column that the lake keeps in the manifest for files of an MSP; their rows carry the customer themselves.
pub(crate) const MSP_PARTITIONS: [&str; 1] = ["month"];

/// One file of the manifest.
#[derive(Debug, Clone)]
pub(crate) struct TableFile {
    pub(crate) path: String,
    pub(crate) size_bytes: u64,
    pub(crate) footer_bytes: usize,
    pub(crate) row_count: usize,
    /// In the order of the table's partition columns.
    pub(crate) partition: Vec<String>,
}

impl TableFile {
    /// Returns the month whose rows it holds, or `all`.
    pub(crate) fn month(&self) -> &str {
        self.partition.last().map_or("all", String::as_str)
    }
}

/// A dataset as a session sees it.
#[derive(Debug)]
pub(crate) struct LakeTable {
    schema: TableSchema,
    files: Vec<TableFile>,
    keys: Arc<dyn EncryptionFactory>,
    store: ObjectStoreUrl,
    /// For files that hold rows of several customers: the column that names them, and the only ones that may pass.
    only: Option<(&'static str, BTreeSet<String>)>,
}

impl LakeTable {
    /// Describes a table by the columns in its files, the partition columns beside them, and its files.
    pub(crate) fn new(
        columns: SchemaRef,
        partitions: &[&str],
        files: Vec<TableFile>,
        keys: Arc<dyn EncryptionFactory>,
        store: ObjectStoreUrl,
    ) -> Self {
        let partitions: Fields = partitions.iter().map(|name| Field::new(*name, DataType::Utf8, false)).collect();
        let schema = TableSchema::builder(columns).with_table_partition_cols(partitions.to_vec()).build();
        Self { schema, files, keys, store, only: None }
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

    /// Drops the files whose partition values fail the filters; opens none of them.
    fn prune(&self, state: &dyn Session, filters: &[Expr]) -> Result<Vec<&TableFile>> {
        let filters = filters.iter().filter(|filter| self.is_of_partition(filter)).cloned();
        let (Some(filter), false) = (conjunction(filters), self.files.is_empty()) else {
            return Ok(self.files.iter().collect());
        };
        let schema = Arc::new(self.partition_schema());
        let column =
            |index: usize| -> ArrayRef { Arc::new(StringArray::from_iter_values(self.files.iter().map(|file| &file.partition[index]))) };
        let values = RecordBatch::try_new(Arc::clone(&schema), (0..schema.fields().len()).map(column).collect())?;
        let filter = state.create_physical_expr(filter, &DFSchema::try_from(Arc::clone(&schema))?)?;
        let kept = filter.evaluate(&values)?.into_array(self.files.len())?;
        let kept: &BooleanArray = as_boolean_array(&kept)?;
        Ok(self.files.iter().zip(kept).filter_map(|(file, keep)| (keep == Some(true)).then_some(file)).collect())
    }

    /// Deals the files to `count` groups, largest first, so that every thread reads about as many bytes.
    fn deal(&self, mut files: Vec<&TableFile>, count: usize) -> Vec<FileGroup> {
        files.sort_unstable_by_key(|file| std::cmp::Reverse(file.size_bytes));
        let mut groups = vec![Vec::with_capacity(files.len() / count.max(1) + 1); count.clamp(1, files.len().max(1))];
        let dealt = groups.len();
        for (index, file) in files.into_iter().enumerate() {
            groups[index % dealt].push(self.partitioned(file));
        }
        groups.into_iter().map(FileGroup::new).collect()
    }

    fn partitioned(&self, file: &TableFile) -> PartitionedFile {
        let mut statistics = Statistics::new_unknown(self.schema.file_schema());
        statistics.num_rows = Precision::Exact(file.row_count);
        PartitionedFile::new(file.path.clone(), file.size_bytes)
            .with_partition_values(file.partition.iter().map(|value| ScalarValue::Utf8(Some(value.clone()))).collect())
            .with_metadata_size_hint(file.footer_bytes)
            .with_statistics(Arc::new(statistics))
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
        let files = self.prune(state, filters)?;
        if files.is_empty() {
            let schema = projection.map_or_else(|| Ok(Arc::clone(table_schema)), |columns| table_schema.project(columns).map(Arc::new))?;
            return Ok(Arc::new(EmptyExec::new(schema)));
        }
        let row_count = files.iter().map(|file| file.row_count).sum();
        let mut source = ParquetSource::new(self.schema.clone())
            .with_table_parquet_options(state.table_options().parquet.clone())
            .with_encryption_factory(Arc::clone(&self.keys));
        let data_filters = filters.iter().filter(|filter| !self.is_of_partition(filter)).cloned();
        if let Some(filter) = conjunction(data_filters) {
            let filter = state.create_physical_expr(filter, &DFSchema::try_from(Arc::clone(table_schema))?)?;
            source = source.with_predicate(filter);
        }
        let mut statistics = Statistics::new_unknown(table_schema);
        statistics.num_rows = Precision::Exact(row_count);
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
