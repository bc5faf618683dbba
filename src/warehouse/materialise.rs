//! Building: what changed is computed and goes back to the lake, all of it in one version; what did not change stays as it lies.

use granary_foundation::Boxed;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::datasource::MemTable;
use datafusion::logical_expr::{col, lit};
use granary_lake::Publication;
use granary_tenants::{Granted, ReadGrant};
use granary_types::{MspId, Role};
use serde::Serialize;

use crate::catalog::{Blueprint, Draft};
use crate::ledger::{Entry, Ledger, Sources, WHOLE, hex};
use crate::months::by_month;
use crate::session::run_plan;
use crate::warehouse::contents_of;
use crate::{Increment, Materialised, Model, Warehouse, WarehouseError, ledger};

/// What a build made.
#[derive(Debug, Clone, Serialize)]
pub struct BuildReport {
    /// The version of the lake that holds the marts.
    pub version: i64,
    /// The models that were computed; those whose inputs had not changed are not among them.
    pub models: Vec<BuiltModel>,
    /// How many models stayed as they were.
    pub models_kept: usize,
}

/// One model that a build computed.
#[derive(Debug, Clone, Serialize)]
pub struct BuiltModel {
    pub name: String,
    /// Rows that were computed.
    pub rows: usize,
    /// The parts that went to the lake because their rows are others than before: months, or `all`.
    pub written: Vec<String>,
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
    /// Computes what changed of the models that are tables since the last build, and publishes it to the lake in one version.
    ///
    /// # Errors
    /// When a model fails or the lake cannot be read or written; then nothing is published.
    pub fn build<'a>(&'a self, msp: MspId) -> Boxed<'a, Result<BuildReport, WarehouseError>> {
        Box::pin(async move {
            let snapshot = self.lake.snapshot(&whole_msp(msp), None).await?;
            let contents = contents_of(&snapshot, &self.footers)?;
            let before = match snapshot.files_of(ledger::DATASET).first() {
                Some(file) => Ledger::of_rows(&self.lake.read(file).await?),
                None => Ledger::default(),
            };
            let built = compute_all(&self.blueprint(&contents, None), &before).await?;
            let version = self.lake.publish_all(msp, built.publications, "warehouse build").await?;
            Ok(BuildReport { version, models: built.models, models_kept: built.models_kept })
        })
    }
}

/// What came of computing: what is to be published, and what there is to report.
#[derive(Debug)]
pub(crate) struct Built {
    pub(crate) publications: Vec<Publication>,
    pub(crate) models: Vec<BuiltModel>,
    pub(crate) models_kept: usize,
}

/// Computes every model that is not a view and whose inputs have changed; the tables among them are to be published.
pub(crate) async fn compute_all(blueprint: &Blueprint<'_>, before: &Ledger) -> Result<Built, WarehouseError> {
    let mut build = Build {
        blueprint,
        before,
        draft: Draft::new(blueprint)?,
        ledger: Ledger::default(),
        waiting: BTreeSet::new(),
        built: Built { publications: Vec::new(), models: Vec::new(), models_kept: 0 },
    };
    for model in blueprint.models.iter() {
        let schema = build.draft.add_view(model).await?;
        if model.description.materialised != Materialised::View {
            build.settle(model, &schema).await?;
        }
    }
    let Build { ledger, mut built, .. } = build;
    if ledger != *before {
        built.publications.push(ledger.publication()?);
    }
    Ok(built)
}

/// A build under way.
struct Build<'a> {
    blueprint: &'a Blueprint<'a>,
    /// What the last build made.
    before: &'a Ledger,
    draft: Draft,
    ledger: Ledger,
    /// Models that are held in memory when they are needed, and have not been needed so far.
    waiting: BTreeSet<&'a str>,
    built: Built,
}

/// Which part of a model is computed.
enum Scope {
    All,
    /// Everything but these months.
    Without(BTreeSet<String>),
}

impl<'a> Build<'a> {
    /// Leaves a model as it lies, or computes what of it changed.
    async fn settle(&mut self, model: &'a Model, schema: &SchemaRef) -> Result<(), WarehouseError> {
        let sources = Sources::of(model, self.blueprint.models);
        let stays = self.stays(model);
        let inputs = sources.digest(None, self.blueprint.contents, &self.ledger);
        let is_known = self.before.get(model.name.as_str(), WHOLE).is_some_and(|entry| entry.inputs == inputs);
        if is_known && stays {
            self.ledger.keep(&model.name, self.before);
            self.built.models_kept += 1;
            return self.leave(model, schema).await;
        }
        let months = sources.months(self.blueprint.contents, &self.ledger);
        let kept = match model.description.increment {
            Increment::Month if stays => self.kept_months(model, &sources, &months),
            Increment::Month | Increment::Whole => BTreeSet::new(),
        };
        let digest_of = |build: &Self, month: &str| match model.description.increment {
            Increment::Month => sources.digest(Some(month), build.blueprint.contents, &build.ledger),
            Increment::Whole => inputs.clone(),
        };
        for month in &months {
            // also of a month without rows it is known that it was looked at
            if model.month_column().is_some() && model.description.increment == Increment::Month {
                let inputs = digest_of(self, month);
                let content = self.before.get(&model.name, month).filter(|_| kept.contains(month)).map(|entry| entry.content.clone());
                self.ledger.put(&model.name, month, Entry { inputs, content: content.unwrap_or_default() });
            }
        }
        let scope = if kept.is_empty() { Scope::All } else { Scope::Without(kept) };
        self.need(&sources).await?;
        let started = Instant::now();
        let (schema_now, batches) = compute(&self.draft, model, self.blueprint, &scope).await?;
        let rows = batches.iter().map(RecordBatch::num_rows).sum();
        let mut written = Vec::new();
        let mut seen = BTreeSet::new();
        for publication in by_month(model, &schema_now, &batches)? {
            let content = hex(&publication.digest()?);
            let month = publication.month.clone();
            let is_same = self.before.get(&model.name, &month).is_some_and(|entry| entry.content == content) && self.lies(model, &month);
            let inputs = digest_of(self, &month);
            self.ledger.put(&model.name, &month, Entry { inputs, content });
            seen.insert(month.clone());
            if !is_same && model.description.materialised == Materialised::Table {
                written.push(month);
                self.built.publications.push(publication);
            }
        }
        written.extend(self.empty_the_rest(model, &schema_now, &seen, &scope));
        // the entry of the whole says that nothing needs a look when nothing changed
        let content = self.ledger.get(&model.name, WHOLE).map(|entry| entry.content.clone()).unwrap_or_default();
        self.ledger.put(&model.name, WHOLE, Entry { inputs, content });
        self.put_in_place(model, &schema_now, batches, &scope).await?;
        self.built.models.push(BuiltModel { name: model.name.clone(), rows, written, duration: started.elapsed() });
        Ok(())
    }

    /// Months that need not be computed: what they are made from is the same, and what was made of it is there.
    fn kept_months(&self, model: &Model, sources: &Sources<'_>, months: &BTreeSet<String>) -> BTreeSet<String> {
        let is_kept = |month: &&String| {
            let same = |entry: &&Entry| entry.inputs == sources.digest(Some(month), self.blueprint.contents, &self.ledger);
            self.before.get(&model.name, month).filter(same).is_some_and(|entry| entry.content.is_empty() || self.lies(model, month))
        };
        months.iter().filter(is_kept).cloned().collect()
    }

    /// Tells whether what the last build wrote of a model lies in the lake.
    fn stays(&self, model: &Model) -> bool {
        let mut parts = self.before.months(&model.name).filter(|(_, entry)| !entry.content.is_empty());
        model.description.materialised != Materialised::Table || parts.all(|(month, _)| self.lies(model, month))
    }

    fn lies(&self, model: &Model, month: &str) -> bool {
        self.blueprint.contents.files.get(&model.dataset()).is_some_and(|files| files.iter().any(|file| file.month() == month))
    }

    /// Puts what lies in the lake in the view's place; what is held in memory waits until it is needed.
    async fn leave(&mut self, model: &'a Model, schema: &SchemaRef) -> Result<(), WarehouseError> {
        if model.description.materialised == Materialised::DuringBuild {
            self.waiting.insert(&model.name);
            return Ok(());
        }
        let table = crate::catalog::built_table(self.blueprint, model, schema, |_| true).map_err(|error| self.engine(error))?;
        self.draft.add(model, table).map_err(|error| self.engine(error))
    }

    /// Computes what is to be held in memory and has not been needed so far, parents first.
    async fn need(&mut self, sources: &Sources<'_>) -> Result<(), WarehouseError> {
        let models = self.blueprint.models;
        let mut wanted: BTreeSet<&str> = BTreeSet::new();
        let mut open: Vec<&str> = sources.computed.iter().copied().collect();
        while let Some(name) = open.pop() {
            if self.waiting.contains(name) && wanted.insert(name) {
                open.extend(models.get(name).into_iter().flat_map(|model| Sources::of(model, models).computed));
            }
        }
        for model in models.iter().filter(|model| wanted.contains(model.name.as_str())) {
            self.waiting.remove(model.name.as_str());
            // its parents may be tables by now, so that it is planned anew
            self.draft.add_view(model).await?;
            let (schema, batches) = compute(&self.draft, model, self.blueprint, &Scope::All).await?;
            self.put_in_place(model, &schema, batches, &Scope::All).await?;
        }
        Ok(())
    }

    /// Empties the parts in the lake that have no rows any more; returns their months.
    fn empty_the_rest(&mut self, model: &Model, schema: &SchemaRef, seen: &BTreeSet<String>, scope: &Scope) -> Vec<String> {
        let is_kept = |month: &str| matches!(scope, Scope::Without(kept) if kept.contains(month));
        let files = self.blueprint.contents.files.get(&model.dataset()).into_iter().flatten();
        let gone: BTreeSet<String> =
            files.map(|file| file.month().to_owned()).filter(|month| !seen.contains(month) && !is_kept(month)).collect();
        let empty = |month: &String| Publication {
            dataset: model.dataset(),
            month: month.clone(),
            schema: Arc::clone(schema),
            batches: Vec::new(),
        };
        self.built.publications.extend(gone.iter().map(empty));
        gone.into_iter().collect()
    }

    /// Puts rows in the view's place, beside the months that stay in the lake, so that models above read them.
    async fn put_in_place(
        &self,
        model: &Model,
        schema: &SchemaRef,
        batches: Vec<RecordBatch>,
        scope: &Scope,
    ) -> Result<(), WarehouseError> {
        let engine = |error| self.engine(error);
        let computed = Arc::new(MemTable::try_new(Arc::clone(schema), vec![batches]).map_err(engine)?);
        let Scope::Without(kept) = scope else {
            return self.draft.add(model, computed).map_err(engine);
        };
        let lying = crate::catalog::built_table(self.blueprint, model, schema, |month| kept.contains(month)).map_err(engine)?;
        self.draft.add_both(model, schema, lying, computed).await.map_err(engine)
    }

    fn engine(&self, error: datafusion::error::DataFusionError) -> WarehouseError {
        WarehouseError::of_engine(error, self.blueprint.budget)
    }
}

/// Computes a model, or the months of it that are asked for.
async fn compute(
    draft: &Draft,
    model: &Model,
    blueprint: &Blueprint<'_>,
    scope: &Scope,
) -> Result<(SchemaRef, Vec<RecordBatch>), WarehouseError> {
    let engine = |error| WarehouseError::of_engine(error, blueprint.budget);
    let mut frame = draft.context.table(model.name.as_str()).await.map_err(engine)?;
    if let (Scope::Without(kept), Some(column)) = (scope, model.month_column()) {
        let kept = kept.iter().map(|month| lit(month.as_str())).collect();
        frame = frame.filter(col(column).in_list(kept, true)).map_err(engine)?;
    }
    let task = frame.task_ctx();
    let plan = frame.create_physical_plan().await.map_err(engine)?;
    run_plan(blueprint.engine, plan, task, blueprint.budget).await
}
