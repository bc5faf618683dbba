//! A small lake on disk for tests: files sealed as the lake seals them, without a database.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::compute::concat_batches;
use datafusion::arrow::json::ReaderBuilder;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::encryption::decrypt::FileDecryptionProperties;
use datafusion::parquet::encryption::encrypt::FileEncryptionProperties;
use datafusion::parquet::file::properties::WriterProperties;
use granary_lake::Publication;
use granary_tenants::{Granted, ReadGrant};
use granary_types::{Column, ColumnKind, CustomerId, Dataset, MspId, Role, Source};
use object_store::local::LocalFileSystem;
use serde_json::Value;
use tempfile::TempDir;

use crate::catalog::{Blueprint, Contents, MART_PREFIX, plan_schemas, session_context};
use crate::footers::{FooterMemory, Footers};
use crate::keys::SessionKeys;
use crate::ledger::{DATASET, Ledger, hex};
use crate::materialise::{Built, compute_all};
use crate::runtime::Engine;
use crate::table::TableFile;
use crate::watched::{Reads, Watched};
use crate::{Budget, Models, Session, WarehouseError, runtime};

/// Every dataset that the house registers. The scores are published by a room above this one; their models pass them on
/// column by column, and that is all that is said of them here.
pub(crate) fn datasets() -> Vec<Dataset> {
    let mut datasets = [granary_tenants::DATASETS, granary_metering::DATASETS, granary_billing::DATASETS].concat();
    for model in models().iter().filter(|model| matches!(&*model.name, "health_scores" | "churn_scores")) {
        let name: &'static str = model.name.clone().leak();
        let column = |name: &String| Column::nullable(name.clone().leak(), ColumnKind::Text);
        let columns: Vec<Column> = model.description.columns.keys().map(column).collect();
        datasets.push(Dataset { name, source: Source::Published, month_column: None, columns: columns.leak(), sort: &[] });
    }
    datasets
}

/// A lake in a temporary folder.
pub(crate) struct Shed {
    folder: TempDir,
    /// What was read of its files.
    pub(crate) reads: Reads,
    pub(crate) budget: Budget,
    pub(crate) engine: Arc<Engine>,
    pub(crate) datasets: Vec<Dataset>,
    pub(crate) models: Models,
    pub(crate) files: HashMap<String, Vec<TableFile>>,
    pub(crate) keys: HashMap<String, Arc<FileDecryptionProperties>>,
    digests: HashMap<String, String>,
    ledger: Ledger,
}

impl Shed {
    pub(crate) fn new(datasets: Vec<Dataset>, models: Models) -> Self {
        let folder = TempDir::new().unwrap();
        let budget = Budget::default();
        let reads = Reads::default();
        let store = Watched { files: LocalFileSystem::new_with_prefix(folder.path()).unwrap(), reads: reads.clone() };
        let engine = runtime::shared(&budget, Arc::new(store)).unwrap();
        Self {
            folder,
            reads,
            budget,
            engine,
            datasets,
            models,
            files: HashMap::new(),
            keys: HashMap::new(),
            digests: HashMap::new(),
            ledger: Ledger::default(),
        }
    }

    /// Seals a file under its path, as the lake does.
    pub(crate) fn write(&mut self, dataset: &str, customer: Option<(CustomerId, &str)>, month: &str, batch: &RecordBatch) -> String {
        let owner = customer.map_or("msp".to_owned(), |(id, _)| id.to_string());
        // a name is never used twice, as in the lake
        let name = format!("{owner}/{dataset}/{month}");
        let path = (0..).map(|n| if n == 0 { format!("{name}.parquet") } else { format!("{name}.{n}.parquet") });
        let path = path.into_iter().find(|path| !self.keys.contains_key(path)).unwrap();
        let key = (0..32).map(|byte| byte + u8::try_from(self.keys.len() % 200).unwrap()).collect::<Vec<u8>>();
        let aad = path.as_bytes().to_vec();
        let sealed =
            FileEncryptionProperties::builder(key.clone()).with_aad_prefix(aad.clone()).with_aad_prefix_storage(false).build().unwrap();
        let properties = WriterProperties::builder().with_file_encryption_properties(sealed).build();
        let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).unwrap();
        writer.write(batch).unwrap();
        let content = writer.into_inner().unwrap();
        let full = self.folder.path().join(&path);
        std::fs::create_dir_all(full.parent().unwrap()).unwrap();
        std::fs::write(full, &content).unwrap();
        let mut partition: Vec<String> = customer.into_iter().flat_map(|(id, code)| [id.to_string(), code.to_owned()]).collect();
        partition.push(month.to_owned());
        let file = TableFile {
            path: path.clone(),
            size_bytes: content.len() as u64,
            footer_bytes: 4096,
            row_count: batch.num_rows(),
            partition,
            statistics: Arc::new(granary_lake::statistics_of(batch)),
        };
        let files = self.files.entry(dataset.to_owned()).or_default();
        files.retain(|other| other.partition != file.partition);
        files.push(file);
        let rows =
            Publication { dataset: dataset.to_owned(), month: month.to_owned(), schema: batch.schema(), batches: vec![batch.clone()] };
        self.digests.insert(path.clone(), hex(&rows.digest().unwrap()));
        self.keys.insert(path.clone(), FileDecryptionProperties::builder(key).with_aad_prefix(aad).build().unwrap());
        path
    }

    /// Seals a file of rows that are written as JSON objects.
    pub(crate) fn write_rows(&mut self, dataset: &str, customer: Option<(CustomerId, &str)>, month: &str, rows: &[Value]) -> String {
        let described = self.datasets.iter().find(|known| known.name == dataset).unwrap();
        let text = rows.iter().map(|row| format!("{row}\n")).collect::<String>();
        let mut reader = ReaderBuilder::new(granary_lake::arrow_schema(described)).with_strict_mode(true).build(text.as_bytes()).unwrap();
        let batch = reader.next().unwrap().unwrap();
        self.write(dataset, customer, month, &batch)
    }

    pub(crate) fn contents(&self) -> Contents {
        let keys = Arc::new(SessionKeys::new(self.keys.clone()));
        let footers = Footers::new(&FooterMemory::new(self.budget.footer_bytes));
        Contents { files: self.files.clone(), customers: None, keys, footers, digests: self.digests.clone() }
    }

    pub(crate) fn blueprint<'a>(&'a self, contents: &'a Contents, only: Option<&'a BTreeSet<String>>) -> Blueprint<'a> {
        Blueprint { engine: &self.engine, budget: &self.budget, datasets: &self.datasets, models: &self.models, contents, only }
    }

    /// Takes another shed's raw files, so that the same can be built from nothing.
    pub(crate) fn take_raw(&mut self, other: &Self) {
        let raw = other.files.iter().filter(|(dataset, _)| !dataset.starts_with(MART_PREFIX));
        self.files = raw.map(|(dataset, files)| (dataset.clone(), files.clone())).collect();
        for file in self.files.values().flatten() {
            let to = self.folder.path().join(&file.path);
            std::fs::create_dir_all(to.parent().unwrap()).unwrap();
            std::fs::copy(other.folder.path().join(&file.path), to).unwrap();
        }
        self.keys.clone_from(&other.keys);
        self.digests.clone_from(&other.digests);
    }

    /// Builds the models and keeps the tables among them as the lake would; returns what was computed.
    pub(crate) async fn build(&mut self) -> Built {
        let contents = self.contents();
        let built = compute_all(&self.blueprint(&contents, None), &self.ledger).await.unwrap();
        for publication in &built.publications {
            let batch = concat_batches(&publication.schema, &publication.batches).unwrap();
            if publication.dataset == DATASET {
                self.ledger = Ledger::of_rows(&publication.batches);
            } else if batch.num_rows() > 0 {
                self.write(&publication.dataset, None, &publication.month, &batch);
            } else if let Some(files) = self.files.get_mut(&publication.dataset) {
                files.retain(|file| file.month() != publication.month);
            }
        }
        built
    }

    pub(crate) async fn session(&self, grant: &ReadGrant) -> Result<Session, WarehouseError> {
        let contents = self.contents();
        let only = match &grant.customers {
            Granted::All => None,
            Granted::Only(customers) => Some(customers.iter().map(ToString::to_string).collect()),
        };
        let blueprint = self.blueprint(&contents, only.as_ref());
        let schemas = plan_schemas(&blueprint).await?;
        let context = session_context(&blueprint, &schemas, grant).await?;
        Ok(Session::new(context, 1, &self.engine, self.budget.clone()))
    }
}

/// A grant for a role; for every customer unless some are named.
pub(crate) fn grant(role: Role, customers: Option<&[CustomerId]>) -> ReadGrant {
    let customers = customers.map_or(Granted::All, |customers| Granted::Only(customers.iter().copied().collect()));
    ReadGrant { msp: MspId::new(), customers, role, can_read_billing: role == Role::OperatorAdmin }
}

/// The models as they stand in the folder.
pub(crate) fn models() -> Models {
    Models::read(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../warehouse")).unwrap()
}

/// A row of a dataset without anything personal in it.
pub(crate) fn plain_row(dataset: &Dataset) -> Value {
    let value = |column: &Column| match column.kind {
        ColumnKind::Bool => Value::Bool(false),
        ColumnKind::Int32 | ColumnKind::Int64 | ColumnKind::Float64 => Value::from(1),
        ColumnKind::Decimal { .. } => Value::from("1"),
        ColumnKind::Text | ColumnKind::Uuid => Value::from("plain"),
        ColumnKind::Date => Value::from("2025-01-03"),
        ColumnKind::Timestamp => Value::from("2025-01-03T01:00:00Z"),
    };
    dataset.columns.iter().map(|column| (column.name.to_owned(), value(column))).collect()
}
