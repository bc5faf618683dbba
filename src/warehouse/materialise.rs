//! Building: every mart is computed once and goes back to the lake, all of them in one version.

use granary_foundation::Boxed;
use std::sync::Arc;
use std::time::{Duration, Instant};

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::datasource::MemTable;
use granary_lake::Publication;
use granary_tenants::{Granted, ReadGrant};
use granary_types::{MspId, Role};
use serde::Serialize;

use crate::catalog::{Blueprint, Draft};
use crate::session::run_plan;
use crate::warehouse::contents_of;
use crate::{Materialised, Model, Warehouse, WarehouseError};

/// What a build made.
#[derive(Debug, Clone, Serialize)]
pub struct BuildReport {
    /// The version of the lake that holds the marts.
    pub version: i64,
    pub models: Vec<BuiltModel>,
}

/// One model that a build computed.
#[derive(Debug, Clone, Serialize)]
pub struct BuiltModel {
    pub name: String,
    pub rows: usize,
    #[serde(rename = "duration_ms", serialize_with = "as_milliseconds")]
    pub duration: Duration,
}

fn as_milliseconds<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

/// The grant of the warehouse itself: everything of one MSP.
pub(crate) fn whole_msp(msp: MspId) -> ReadGrant {
    ReadGrant { msp, customers: Granted::All, role: Role::OperatorAdmin, can_read_billing: true }
}

impl Warehouse {
    /// Computes every model that is a table and publishes them to the lake in one version.
    ///
    /// # Errors
    /// When a model fails or the lake cannot be read or written; then nothing is published.
    pub fn build<'a>(&'a self, msp: MspId) -> Boxed<'a, Result<BuildReport, WarehouseError>> {
        Box::pin(async move {
            let snapshot = self.lake.snapshot(&whole_msp(msp), None).await?;
            let contents = contents_of(&snapshot, &self.footers)?;
            let (publications, models) = compute_all(&self.blueprint(&contents, None)).await?;
            let version = self.lake.publish_all(msp, publications, "warehouse build").await?;
            Ok(BuildReport { version, models })
        })
    }
}

/// Computes every model that is not a view, each once; the tables among them are to be published.
pub(crate) async fn compute_all(blueprint: &Blueprint<'_>) -> Result<(Vec<Publication>, Vec<BuiltModel>), WarehouseError> {
    let draft = Draft::new(blueprint)?;
    let (mut publications, mut models) = (Vec::new(), Vec::new());
    for model in blueprint.models.iter() {
        draft.add_view(model).await?;
        if model.description.materialised == Materialised::View {
            continue;
        }
        let started = Instant::now();
        let (schema, batches) = compute(&draft, model, blueprint).await?;
        let rows = batches.iter().map(RecordBatch::num_rows).sum();
        models.push(BuiltModel { name: model.name.clone(), rows, duration: started.elapsed() });
        if model.description.materialised == Materialised::Table {
            publications.push(Publication { dataset: model.dataset(), month: "all".to_owned(), schema, batches });
        }
    }
    Ok((publications, models))
}

/// Computes a model and puts the rows in the view's place, so that models above it read them instead of the lake.
async fn compute(draft: &Draft, model: &Model, blueprint: &Blueprint<'_>) -> Result<(SchemaRef, Vec<RecordBatch>), WarehouseError> {
    let budget = blueprint.budget;
    let engine = |error| WarehouseError::of_engine(error, budget);
    let frame = draft.context.table(model.name.as_str()).await.map_err(engine)?;
    let task = frame.task_ctx();
    let plan = frame.create_physical_plan().await.map_err(engine)?;
    let (schema, batches) = run_plan(blueprint.engine, plan, task, budget).await?;
    let table = MemTable::try_new(Arc::clone(&schema), vec![batches.clone()]).map_err(engine)?;
    draft.add(model, Arc::new(table)).map_err(engine)?;
    Ok((schema, batches))
}
