//! An MSP's own models: versioned, tested before they are used, and never wider than their reader.
//!
//! Ours are planned over everything and then shown to whom they are for. Theirs are planned in the catalog of whoever asks, from what
//! stands there: a model that reads what somebody may not see is not there for that somebody, and rows of other customers
//! never reach it. They are views, so that a build knows nothing of them, and one that breaks is missing alone.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::error::DataFusionError;
use datafusion::execution::context::SQLOptions;
use datafusion::prelude::SessionContext;
use granary_foundation::Boxed;
use granary_lake::LakeError;
use granary_tenants::{Actor, Granted, MspScope, MspTx, ReadGrant, note};
use granary_types::{MspId, Role};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;

use crate::catalog::{MART_PREFIX, MODEL_SCHEMA, sees, session_context};
use crate::checks::{Severity, TestOutcome, run_own};
use crate::store::Files;
use crate::view::ModelView;
use crate::{Materialised, Model, Models, Session, Warehouse, WarehouseError, runtime, store};

/// More than anybody writes by hand.
const MOST_BYTES: usize = 1 << 20;
/// What names of ours begin with.
const TAKEN_PREFIXES: [&str; 3] = ["stg_", "int_", MART_PREFIX];
const ACTOR: Actor = Actor::System("warehouse");

/// The models of one version.
#[derive(Debug, Clone, Default)]
pub(crate) struct Own {
    /// Zero before the first push.
    pub(crate) version: i32,
    pub(crate) models: Arc<Vec<Model>>,
}

/// One version of an MSP's own models.
#[derive(Debug, Clone, Serialize)]
pub struct OwnVersion {
    pub version: i32,
    /// The version whose files these are again.
    pub restores: Option<i32>,
    pub pushed_by: String,
    pub pushed_at: Timestamp,
    /// The names of its models.
    pub models: Vec<String>,
}

/// What a trial of models found.
#[derive(Debug, Clone, Serialize)]
pub struct Trial {
    pub models: Vec<String>,
    pub outcomes: Vec<TestOutcome>,
}

/// The models in use, planned for their MSP's administrator.
struct Planned {
    session: Session,
    models: Vec<Model>,
    /// Names and reasons of those that do not fit any more.
    broken: Vec<(String, String)>,
}

impl Warehouse {
    /// Tries models within what the MSP's administrator sees: names, grain, columns, and every promise on the rows of today.
    ///
    /// # Errors
    /// When a file is wrong; the error names it, the line and the reason. A promise that does not hold is an outcome.
    pub fn try_own<'a>(
        &'a self,
        msp: MspId,
        files: &'a BTreeMap<String, String>,
        now: Timestamp,
    ) -> Boxed<'a, Result<Trial, WarehouseError>> {
        Box::pin(async move {
            let models = parse(files, &self.models)?;
            let (context, version) = self.administrators_context(msp).await?;
            for model in &models {
                let schema = add(&context, model).await.map_err(|error| misplanned(model, &error))?;
                describes(model, &schema)?;
            }
            let session = Session::new(context, version, &self.engine, self.budget.clone());
            let mut outcomes = Vec::new();
            for model in &models {
                outcomes.extend(run_own(&session, model, now).await?);
            }
            Ok(Trial { models: models.into_iter().map(|model| model.name).collect(), outcomes })
        })
    }

    /// Tries models and makes them the MSP's next version; sessions have them from then on. Returns the version.
    ///
    /// # Errors
    /// As [`Warehouse::try_own`], and when a promise does not hold: then nothing is kept.
    pub fn push_own<'a>(
        &'a self,
        scope: &'a MspScope,
        files: &'a BTreeMap<String, String>,
        now: Timestamp,
    ) -> Boxed<'a, Result<(i32, Trial), WarehouseError>> {
        Box::pin(async move {
            let trial = self.try_own(scope.msp.id, files, now).await?;
            if let Some(broken) = trial.outcomes.iter().find(|outcome| !outcome.passed() && outcome.severity == Severity::Error) {
                let model = broken.model.clone().unwrap_or_default();
                let problem = format!("{} does not hold in {} rows", broken.test, broken.failures);
                return Err(WarehouseError::OwnModel { place: format!("{model}.yml"), problem });
            }
            let tx = self.lake.tenants().begin_msp(scope).await.map_err(LakeError::from)?;
            let version = store::insert(&tx, files, None).await?;
            write_down(&tx, "warehouse.models_pushed", version, &json!({"version": version, "models": trial.models})).await?;
            tx.commit().await.map_err(LakeError::from)?;
            Ok((version, trial))
        })
    }

    /// Makes the files of an earlier version the next one. Returns the new version.
    ///
    /// # Errors
    /// When there is no such version.
    pub fn restore_own<'a>(&'a self, scope: &'a MspScope, wanted: i32) -> Boxed<'a, Result<i32, WarehouseError>> {
        Box::pin(async move {
            let tx = self.lake.tenants().begin_msp(scope).await.map_err(LakeError::from)?;
            let files = store::find_files(&tx, wanted).await?.ok_or(WarehouseError::NoOwnVersion(wanted))?;
            let version = store::insert(&tx, &files, Some(wanted)).await?;
            write_down(&tx, "warehouse.models_restored", version, &json!({"version": version, "restores": wanted})).await?;
            tx.commit().await.map_err(LakeError::from)?;
            Ok(version)
        })
    }

    /// Lists the versions of an MSP's own models, newest first.
    ///
    /// # Errors
    /// When the database fails.
    pub fn own_versions<'a>(&'a self, scope: &'a MspScope) -> Boxed<'a, Result<Vec<OwnVersion>, WarehouseError>> {
        Box::pin(async move {
            let tx = self.lake.tenants().begin_msp(scope).await.map_err(LakeError::from)?;
            let versions = store::list(&tx).await?;
            tx.commit().await.map_err(LakeError::from)?;
            Ok(versions)
        })
    }

    /// Tests the models in use: one that cannot be planned any more is named with the reason.
    ///
    /// # Errors
    /// When the lake or the database cannot be read.
    pub fn test_own<'a>(&'a self, msp: MspId, now: Timestamp) -> Boxed<'a, Result<Vec<TestOutcome>, WarehouseError>> {
        Box::pin(async move {
            let Some(planned) = self.plan_own(msp).await? else { return Ok(Vec::new()) };
            let broken = |(model, reason): (String, String)| TestOutcome {
                model: Some(model),
                test: format!("can be planned: {reason}"),
                failures: 1,
                severity: Severity::Error,
            };
            let mut outcomes: Vec<TestOutcome> = planned.broken.into_iter().map(broken).collect();
            for model in &planned.models {
                outcomes.extend(run_own(&planned.session, model, now).await?);
            }
            Ok(outcomes)
        })
    }

    /// Returns the models in use that cannot be planned any more, each with the reason. Sessions go on without them.
    ///
    /// # Errors
    /// When the lake or the database cannot be read.
    pub fn broken_own(&self, msp: MspId) -> Boxed<'_, Result<Vec<(String, String)>, WarehouseError>> {
        Box::pin(async move { Ok(self.plan_own(msp).await?.map(|planned| planned.broken).unwrap_or_default()) })
    }

    /// Plans the models in use as the MSP's administrator has them; nothing when there are none.
    async fn plan_own(&self, msp: MspId) -> Result<Option<Planned>, WarehouseError> {
        let own = self.own_models(msp).await?;
        if own.models.is_empty() {
            return Ok(None);
        }
        let (context, version) = self.administrators_context(msp).await?;
        let (mut models, mut broken) = (Vec::new(), Vec::new());
        for model in own.models.iter() {
            match add(&context, model).await {
                Ok(_) => models.push(model.clone()),
                Err(error) => broken.push((model.name.clone(), reason(&error))),
            }
        }
        Ok(Some(Planned { session: Session::new(context, version, &self.engine, self.budget.clone()), models, broken }))
    }

    /// Returns the models in use; a version is read once.
    pub(crate) async fn own_models(&self, msp: MspId) -> Result<Own, WarehouseError> {
        let tenants = self.lake.tenants();
        let scope = MspScope::for_job(tenants.get_msp(msp).await.map_err(LakeError::from)?, ACTOR);
        let tx = tenants.begin_msp(&scope).await.map_err(LakeError::from)?;
        let version = store::find_newest(&tx).await?.unwrap_or(0);
        let known = self.own.lock().unwrap_or_else(PoisonError::into_inner).get(&msp).cloned();
        if let Some(known) = known.filter(|known| known.version == version) {
            tx.commit().await.map_err(LakeError::from)?;
            return Ok(known);
        }
        let files = store::find_files(&tx, version).await?.unwrap_or_default();
        tx.commit().await.map_err(LakeError::from)?;
        let models = parse(&files, &self.models).unwrap_or_else(|error| {
            tracing::error!(msp.id = %msp, models.version = version, error = %error, "an MSP's own models cannot be read any more");
            Vec::new()
        });
        let own = Own { version, models: Arc::new(models) };
        self.own.lock().unwrap_or_else(PoisonError::into_inner).insert(msp, own.clone());
        Ok(own)
    }

    /// The catalog of whoever administers the MSP, without own models, in which errors say where they are.
    async fn administrators_context(&self, msp: MspId) -> Result<(SessionContext, i64), WarehouseError> {
        let grant = ReadGrant { msp, customers: Granted::All, role: Role::MspAdmin, can_read_billing: true };
        let version = self.lake.version(msp).await?;
        let contents = self.contents_at(&grant, version).await?;
        let context = session_context(&self.blueprint(&contents, None), self.schemas().await?, &grant).await?;
        context.state_ref().write().config_mut().options_mut().sql_parser.collect_spans = true;
        Ok((context, version))
    }
}

async fn write_down(tx: &MspTx, action: &str, version: i32, detail: &serde_json::Value) -> Result<(), WarehouseError> {
    note(tx, None, action, &format!("models:{version}"), detail).await.map_err(LakeError::from)?;
    Ok(())
}

/// Adds to a catalog what of the models its reader may see; one that does not fit is left out alone.
pub(crate) async fn add_seen(context: &SessionContext, models: &[Model], grant: &ReadGrant) {
    for model in models.iter().filter(|model| sees(grant, model)) {
        if let Err(error) = add(context, model).await {
            tracing::debug!(model = %model.name, error = %reason(&error), "an own model is not in a catalog");
        }
    }
}

/// Plans a model from what stands in a catalog, as a query and nothing else, and puts it beside the others.
async fn add(context: &SessionContext, model: &Model) -> Result<SchemaRef, DataFusionError> {
    let state = context.state();
    let plan = state.create_logical_plan(&model.sql).await?;
    SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false).verify_plan(&plan)?;
    let plan = state.analyzer().execute_and_check(plan, state.config_options(), |_, _| {})?;
    let view = Arc::new(ModelView::new(&model.name, &model.sql, plan));
    let schema = datafusion::catalog::TableProvider::schema(view.as_ref());
    let models = context.catalog(runtime::CATALOG).and_then(|catalog| catalog.schema(MODEL_SCHEMA));
    let models = models.ok_or_else(|| DataFusionError::Internal("a session without models".to_owned()))?;
    models.register_table(model.name.clone(), view)?;
    Ok(schema)
}

/// The names of the models among files.
pub(crate) fn names_of(files: &Files) -> Vec<String> {
    let name = |path: &String| Some(path.strip_suffix(".sql")?.rsplit('/').next()?.to_owned());
    files.keys().filter_map(name).collect()
}

/// Reads models from files, and refuses what would not be told from ours, or is not one of a tenant.
fn parse(files: &Files, ours: &Models) -> Result<Vec<Model>, WarehouseError> {
    let wrong = |place: &str, problem: String| WarehouseError::OwnModel { place: place.to_owned(), problem };
    if files.iter().map(|(path, text)| path.len() + text.len()).sum::<usize>() > MOST_BYTES {
        return Err(wrong("the files", format!("are more than {} KiB", MOST_BYTES >> 10)));
    }
    if let Some(path) = files.keys().find(|path| path.ends_with(".yml") && !files.contains_key(&path.replace(".yml", ".sql"))) {
        return Err(wrong(path, "stands beside no .sql".to_owned()));
    }
    let models = Models::beside(files, ours)?;
    if models.is_empty() && !files.is_empty() {
        return Err(wrong("the folder", "holds no .sql file".to_owned()));
    }
    for model in &models {
        let sql = format!("{}.sql", model.name);
        let yml = format!("{}.yml", model.name);
        let is_name = model.name.len() <= 63
            && model.name.starts_with(|first: char| first.is_ascii_lowercase())
            && model.name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
        if !is_name {
            return Err(wrong(&sql, "a model is named by lower-case letters, digits and _, and begins with a letter".to_owned()));
        }
        if ours.get(&model.name).is_some() || TAKEN_PREFIXES.iter().any(|prefix| model.name.starts_with(prefix)) {
            return Err(wrong(&sql, format!("the name {} is taken by the house: choose another", model.name)));
        }
        if model.description.materialised != Materialised::View {
            return Err(wrong(&yml, "own models are views: leave materialised out".to_owned()));
        }
        let names_tenant = |columns: &Vec<String>| columns.iter().any(|column| column == "customer_id");
        if !model.description.unique.iter().any(names_tenant) {
            return Err(wrong(&yml, "the grain needs the tenant: name customer_id in unique".to_owned()));
        }
    }
    Ok(models)
}

/// Compares the columns that a model has with those that are described.
fn describes(model: &Model, schema: &SchemaRef) -> Result<(), WarehouseError> {
    let described = &model.description.columns;
    let missing = schema
        .fields()
        .iter()
        .find(|field| !described.contains_key(field.name()))
        .map(|field| format!("does not describe {}", field.name()));
    let extra = described
        .keys()
        .find(|name| schema.field_with_name(name).is_err())
        .map(|name| format!("describes {name}, which the query does not return"));
    match missing.or(extra) {
        Some(problem) => Err(WarehouseError::OwnModel { place: format!("{}.yml", model.name), problem }),
        None => Ok(()),
    }
}

/// Says where in the file the engine stumbled, if it knows.
fn misplanned(model: &Model, error: &DataFusionError) -> WarehouseError {
    let line = error.diagnostic().and_then(|found| found.span).map(|span| format!(":{}", span.start.line)).unwrap_or_default();
    WarehouseError::OwnModel { place: format!("{}.sql{line}", model.name), problem: reason(error) }
}

fn reason(error: &DataFusionError) -> String {
    error.find_root().strip_backtrace().lines().next().unwrap_or_default().to_owned()
}
