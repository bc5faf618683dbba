//! `granary drill`: whether a backup leads back, tried out.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use granary_db::embedded;
use granary_foundation::{Config, SharedProgress, Silent};
use granary_recovery::{Restored, Restoring, current_lines, restore};
use serde::Serialize;

use super::arguments::{Drill, Global};
use super::files::Named;
use super::house::{self, House, Rooms, configuration};
use super::output::Rows;
use super::progress::Reporter;
use super::recovery::{existing, master_of};
use super::{Failure, audit};

/// What scratch directories begin with; the number of their process follows.
const SCRATCH: &str = "granary-drill-";

/// One thing that was tried.
#[derive(Debug, Serialize)]
struct Tried {
    check: &'static str,
    subject: String,
    outcome: Outcome,
    found: String,
    seconds: f64,
    size_bytes: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    Ok,
    Fault,
    Skipped,
}

/// What was tried so far, and since when the next is.
struct Log {
    tried: Vec<Tried>,
    since: Instant,
}

impl Log {
    fn add(&mut self, check: &'static str, subject: impl Into<String>, outcome: Outcome, found: impl Into<String>, size: Option<u64>) {
        let seconds = (self.since.elapsed().as_secs_f64() * 10.0).round() / 10.0;
        self.tried.push(Tried { check, subject: subject.into(), outcome, found: found.into(), seconds, size_bytes: size });
        self.since = Instant::now();
    }

    fn faults(&mut self, check: &'static str, subject: &str, faults: Vec<String>, fine: String) {
        if faults.is_empty() {
            self.add(check, subject, Outcome::Ok, fine, None);
        }
        for fault in faults {
            self.add(check, subject, Outcome::Fault, fault, None);
        }
    }
}

pub(crate) async fn run(global: &Global, command: Drill) -> Result<ExitCode, Failure> {
    let config = configuration(global)?;
    let parent = command.scratch.clone().unwrap_or_else(std::env::temp_dir);
    remove_abandoned(&parent);
    let scratch = Scratch::make(&parent)?;
    let mut log = Log { tried: Vec::new(), since: Instant::now() };
    let outcome = drill(&config, &command, &scratch.0, &mut log).await;
    scratch.remove()?;
    if let Err(failure) = outcome {
        log.add("restore", &command.from, Outcome::Fault, failure.to_string(), None);
    }
    Rows::of(&["check", "subject", "outcome", "found", "seconds", "size_bytes"], &log.tried).print(command.format)?;
    let faults = log.tried.iter().filter(|tried| tried.outcome == Outcome::Fault).count();
    say!("{} checks, {faults} faults", log.tried.len());
    Ok(if faults == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn drill(config: &Config, command: &Drill, scratch: &Path, log: &mut Log) -> Result<(), Failure> {
    let progress = Reporter::shared().port();
    let from = existing(config, &command.from)?;
    let file = command.master_key.clone().unwrap_or_else(|| config.data_dir.join("keys/master"));
    let master = master_of(config, command.master_key.as_deref(), &config.data_dir)?;
    let (bases, damaged) = from.list().await?;
    for error in damaged {
        log.add("manifest", &command.from, Outcome::Fault, error.to_string(), None);
    }
    let at = match (command.at, bases.last()) {
        (None, Some(newest)) => newest.open(&master).await?.golden_at,
        (at, _) => at,
    };
    let lake = house::lake_url(config, &std::fs::canonicalize(&config.data_dir).unwrap_or_else(|_| config.data_dir.clone()));
    let has_lake = config.lake.url.is_some();
    let restoring = Restoring {
        from: &from,
        at,
        data_dir: scratch,
        master: &master,
        master_file: file.is_file().then_some(file.as_path()),
        lake_url: has_lake.then_some(lake.as_str()),
        progress: &progress,
    };
    let restored = restore(&restoring).await?;
    log.add("restore", &restored.base, Outcome::Ok, format!("as of {}", restored.at), Some(restored.size_bytes));
    // Nothing but the scratch directory is looked at, whatever else is configured.
    let mut config = Config { data_dir: scratch.to_owned(), clusters: std::collections::BTreeMap::new(), ..config.clone() };
    config.database.url = None;
    inspect(&config, restored, log, &progress).await
}

async fn inspect(config: &Config, restored: Restored, log: &mut Log, progress: &SharedProgress) -> Result<(), Failure> {
    progress.begin("reading pages", 0);
    let cluster = restored.cluster;
    let checked = tokio::task::spawn_blocking(move || cluster.check_pages()).await?;
    progress.end();
    match checked {
        Ok(Some(pages)) => {
            let outcome = if pages.damaged == 0 { Outcome::Ok } else { Outcome::Fault };
            log.add("pages", "postgres", outcome, format!("{} pages, {} damaged", pages.pages, pages.damaged), Some(pages.pages * 8_192));
        }
        Ok(None) => log.add("pages", "postgres", Outcome::Skipped, "the cluster was made without checksums", None),
        Err(error) => log.add("pages", "postgres", Outcome::Fault, error.to_string(), None),
    }
    let (server, url) = house::postgres(config, &Silent::shared()).await?;
    let looked = async {
        if restored.kept.golden_at == Some(restored.at) {
            let found = current_lines(&url).await?;
            compare(&restored.kept.golden, &found, log);
        } else {
            let known = restored.kept.golden_at.map_or_else(|| "none were taken".to_owned(), |at| format!("they were taken at {at}"));
            log.add("sums", &restored.base, Outcome::Skipped, known, None);
        }
        let house = House::open_with(config.clone(), Silent::shared()).await?;
        let outcome = look(&house, log, progress).await;
        house.close().await?;
        outcome
    };
    let outcome = looked.await;
    if let Some(server) = server {
        server.stop().await?;
    }
    outcome
}

/// Compares sums line by line, both ways.
fn compare(expected: &[granary_recovery::GoldenLine], found: &[granary_recovery::GoldenLine], log: &mut Log) {
    for line in expected {
        let subject = format!("{} of {}", line.name, line.msp);
        match found.iter().find(|other| (&other.name, other.msp) == (&line.name, line.msp)) {
            Some(other) if other == line => log.add("sums", subject, Outcome::Ok, format!("{}, sum {}", line.count, line.sum), None),
            other => {
                let other = other.map_or_else(|| "nothing".to_owned(), |other| format!("{}, sum {}", other.count, other.sum));
                log.add("sums", subject, Outcome::Fault, format!("{other}, instead of {}, sum {}", line.count, line.sum), None);
            }
        }
    }
    for line in found.iter().filter(|line| !expected.iter().any(|other| (&other.name, other.msp) == (&line.name, line.msp))) {
        let subject = format!("{} of {}", line.name, line.msp);
        log.add("sums", subject, Outcome::Fault, format!("{}, instead of nothing", line.count), None);
    }
}

/// Looks through the front door: keys, audit chains, lake.
async fn look(house: &Rooms, log: &mut Log, progress: &SharedProgress) -> Result<(), Failure> {
    for report in audit::verify_everything(house, progress).await? {
        let subject = report.customer.as_ref().map_or_else(|| report.msp.clone(), |customer| format!("{customer} of {}", report.msp));
        let faults = report.faults.iter().map(ToString::to_string).collect();
        log.faults("audit", &subject, faults, format!("{} records", report.records));
    }
    for msp in house.tenants.list_msps().await? {
        progress.begin("reading the lake", 0);
        let verified = house.lake.verify(msp.id).await?;
        progress.end();
        let named = |row: &granary_lake::Verified| {
            let whose = row.customer.as_ref().map(|code| format!("{code} ")).unwrap_or_default();
            format!("{whose}{} {}: {:?}", row.dataset, row.month, row.outcome)
        };
        let faults = verified.faults().map(named).collect();
        log.faults("lake", &msp.code, faults, format!("version {}, {} files", verified.version, verified.rows.len()));
    }
    Ok(())
}

/// A directory that goes, whatever happens short of being killed; what was left then goes at the next drill.
struct Scratch(PathBuf);

impl Scratch {
    fn make(parent: &Path) -> Result<Self, Failure> {
        let path = parent.join(format!("{SCRATCH}{}", std::process::id()));
        std::fs::create_dir_all(&path).named("make", &path)?;
        // The account that Postgres runs as goes through it.
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o711);
        std::fs::set_permissions(&path, mode).named("set the rights of", &path)?;
        Ok(Self(path))
    }

    fn remove(self) -> Result<(), Failure> {
        Ok(embedded::discard(&self.0)?)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if self.0.exists()
            && let Err(error) = embedded::discard(&self.0)
        {
            tracing::warn!(%error, path = %self.0.display(), "a scratch directory stays");
        }
    }
}

/// Removes what drills that were killed have left.
fn remove_abandoned(parent: &Path) {
    for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_dead = name.strip_prefix(SCRATCH).is_some_and(|process| !Path::new("/proc").join(process).exists());
        if is_dead && let Err(error) = embedded::discard(&entry.path()) {
            tracing::warn!(%error, path = %entry.path().display(), "a scratch directory stays");
        }
    }
}
