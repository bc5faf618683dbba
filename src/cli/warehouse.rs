//! The SQL models.

use std::process::ExitCode;

use granary_warehouse::{Models, OwnVersion, Severity, Trial, WarehouseError};
use serde_json::json;

use super::Failure;
use super::arguments::{Global, GraphFormat, WarehouseCommand};
use super::files::Named;
use super::house::{House, Rooms};
use super::output::{Format, Rows, print_json, print_text};

pub(crate) async fn run(global: &Global, command: WarehouseCommand) -> Result<ExitCode, Failure> {
    let command = match command {
        WarehouseCommand::Lineage { model, format } => return show_lineage(model.as_deref(), format),
        WarehouseCommand::Docs { out } => {
            let models = Models::embedded()?;
            std::fs::write(&out, granary_web::models_document(&models.all())).named("write", &out)?;
            say!("the models are described in {}", out.display());
            return Ok(ExitCode::SUCCESS);
        }
        of_an_msp => of_an_msp,
    };
    House::with(global, async |house| match command {
        WarehouseCommand::Lineage { .. } | WarehouseCommand::Docs { .. } => Ok(ExitCode::SUCCESS),
        WarehouseCommand::Build { msp } => {
            let msp = house.msp(msp.as_deref()).await?;
            print_json(&house.warehouse.build(msp.id).await?)?;
            Ok(ExitCode::SUCCESS)
        }
        WarehouseCommand::Push { folder, msp, dry_run } => {
            let msp = house.msp(msp.as_deref()).await?;
            std::fs::read_dir(&folder).named("read", &folder)?;
            let files = Models::files(&folder)?;
            if dry_run {
                let trial = house.warehouse.try_own(msp.id, &files, house.clock.now()).await?;
                return show_trial(&trial);
            }
            let (version, trial) = house.warehouse.push_own(&Rooms::msp_scope(&msp), &files, house.clock.now()).await?;
            show_trial(&trial)?;
            say!("version {version} of the models of {} is in use", msp.code);
            Ok(ExitCode::SUCCESS)
        }
        WarehouseCommand::Models { msp, format } => {
            let msp = house.msp(msp.as_deref()).await?;
            show_versions(&house.warehouse.own_versions(&Rooms::msp_scope(&msp)).await?, format)
        }
        WarehouseCommand::Rollback { version, msp } => {
            let msp = house.msp(msp.as_deref()).await?;
            let now = house.warehouse.restore_own(&Rooms::msp_scope(&msp), version).await?;
            say!("version {now} of the models of {} is in use: the files of version {version}", msp.code);
            Ok(ExitCode::SUCCESS)
        }
        WarehouseCommand::Test { msp, format } => {
            let msp = house.msp(msp.as_deref()).await?;
            let outcomes = house.warehouse.test(msp.id, house.clock.now()).await?;
            let broken = |severity| outcomes.iter().filter(|outcome| !outcome.passed() && outcome.severity == severity).count();
            let (failed, stale) = (broken(Severity::Error), broken(Severity::Warning));
            let rows: Vec<_> = outcomes
                .iter()
                .map(|outcome| json!({"model": outcome.model, "test": outcome.test, "failures": outcome.failures, "severity": outcome.severity}))
                .collect();
            Rows::of(&["model", "test", "failures", "severity"], &rows).print(format)?;
            say!("{} passed, {failed} failed, {stale} stale", outcomes.len() - failed - stale);
            Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
    })
    .await
}

/// Shows the versions of an MSP's own models.
fn show_versions(versions: &[OwnVersion], format: Format) -> Result<ExitCode, Failure> {
    let rows: Vec<_> = versions
        .iter()
        .map(|version| {
            json!({"version": version.version, "models": version.models.join(", "), "restores": version.restores,
                "pushed_by": version.pushed_by, "pushed_at": version.pushed_at})
        })
        .collect();
    Rows::of(&["version", "models", "restores", "pushed_by", "pushed_at"], &rows).print(format)?;
    Ok(ExitCode::SUCCESS)
}

/// Shows which model reads which.
fn show_lineage(model: Option<&str>, format: GraphFormat) -> Result<ExitCode, Failure> {
    let models = Models::embedded()?;
    let mut lineage = models.all();
    if let Some(name) = model {
        if lineage.get(name).is_none() {
            return Err(WarehouseError::NoModel(name.to_owned()).into());
        }
        lineage = lineage.around(name);
    }
    let format = match format {
        GraphFormat::Dot => {
            print_text(&lineage.to_dot())?;
            return Ok(ExitCode::SUCCESS);
        }
        GraphFormat::Mermaid => {
            print_text(&lineage.to_mermaid())?;
            return Ok(ExitCode::SUCCESS);
        }
        GraphFormat::Table => Format::Table,
        GraphFormat::Json => Format::Json,
    };
    let words = |names: Vec<String>| names.join(", ");
    let rows: Vec<_> = lineage
        .models()
        .iter()
        .map(|model| {
            let raw = model.datasets().map(|dataset| format!("lake.{dataset}"));
            let reads = lineage.reads(model).into_iter().map(str::to_owned).chain(raw).collect();
            let read_by = lineage.read_by(&model.name).into_iter().map(str::to_owned).collect();
            json!({"model": model.name, "materialised": model.description.materialised, "reads": words(reads), "read_by": words(read_by)})
        })
        .collect();
    Rows::of(&["model", "materialised", "reads", "read_by"], &rows).print(format)?;
    Ok(ExitCode::SUCCESS)
}

/// Says what a trial of an MSP's own models found.
fn show_trial(trial: &Trial) -> Result<ExitCode, Failure> {
    let broken: Vec<_> = trial.outcomes.iter().filter(|outcome| !outcome.passed()).collect();
    for outcome in &broken {
        say!("{}: {} does not hold in {} rows", outcome.model.as_deref().unwrap_or_default(), outcome.test, outcome.failures);
    }
    say!("{}: {} promises, {} broken", trial.models.join(", "), trial.outcomes.len(), broken.len());
    let failed = broken.iter().any(|outcome| outcome.severity == Severity::Error);
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
