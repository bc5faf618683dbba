//! Whether the house stands as it should: the walls between tenants, keys, lake, queues, nights, disks and clocks.

mod machine;

use std::process::ExitCode;

use granary_foundation::Silent;
use granary_tenants::{AuditFilter, Finding, Fleet, HOME, Inspected, Inspection, OperatorScope, Severity};
use granary_types::{Classify, Clock};

use super::Failure;
use super::arguments::{Doctor, Global};
use super::house::{self, ACTOR, House, Rooms, configuration};
use super::output::Rows;

/// Connections beside those of the pool: four of the owner, two of the key store.
const OTHER_CONNECTIONS: usize = 6;
/// What is looked at beside the questions to the catalogs: keys, lake, MSPs' own models, the last backup and its log, disks, drift, letters, and what the operations
/// page shows.
const OTHER_CHECKS: usize = 14;
/// Past this a backup that is made every night is missing.
const YOUNG_HOURS: i64 = 30;
/// What mends keys that open nothing.
const LOST_KEYS: &str = "bring back the master key (keys/master of the data directory, unless GRANARY_MASTER_KEY or [keys.kms] names it) and the key \
    store from one backup: what they seal opens with nothing else";

pub(crate) async fn run(global: &Global, command: Doctor) -> Result<ExitCode, Failure> {
    let config = configuration(global)?;
    house::must_stand(&config)?;
    let inspection = match House::open_with(config, Silent::shared()).await {
        Ok(house) => {
            let places = house.places();
            let outcome = inspect(&house, &command, &places).await;
            let closed = house.close().await;
            let inspection = outcome?;
            closed?;
            inspection
        }
        Err(failure) if is_closed(failure.as_ref()) => Inspection { checks: 1, silos: 0, findings: vec![closed_house(failure.as_ref())] },
        Err(failure) => return Err(failure),
    };
    Rows::of(&["severity", "cluster", "check", "subject", "found", "remedy"], &inspection.findings).print(command.format)?;
    let faults = inspection.faults().count();
    let advice = inspection.findings.len() - faults;
    say!("{} checks over {} silos: {faults} faults, {advice} pieces of advice", inspection.checks, inspection.silos);
    Ok(if faults == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn inspect(house: &Rooms, command: &Doctor, places: &[std::path::PathBuf]) -> Result<Inspection, Failure> {
    let operator = OperatorScope::for_job(ACTOR, "granary doctor");
    let entered = match house.tenants.begin_operator(&operator).await {
        Ok(tx) => tx.commit().await,
        Err(error) => Err(error),
    };
    let unwritten = match entered {
        Ok(()) => None,
        // Without its key nothing is written down; what is wrong with keys is what the doctor is asked about.
        Err(error) if error.code() == "audit_key_failed" => Some(fault("keys", "audit log", error.to_string(), LOST_KEYS)),
        Err(error) => return Err(error.into()),
    };
    if command.isolation {
        let mut inspection = house.tenants.inspect(Inspected::Isolation).await?;
        inspection.findings.extend(unwritten);
        return Ok(inspection);
    }
    let connections = house.config.database.max_connections + OTHER_CONNECTIONS;
    let mut inspection = match house.tenants.inspect(Inspected::Everything { connections }).await {
        Ok(inspection) => inspection,
        // The watch says which cluster does not answer; the walls of the others are looked at when it does.
        Err(error) => {
            let remedy = "mend what is named, and run granary doctor again: the walls between tenants were not looked at";
            Inspection { findings: vec![fault("walls", "catalogs", error.to_string(), remedy)], ..Inspection::default() }
        }
    };
    let findings = &mut inspection.findings;
    findings.extend(unwritten);
    findings.extend(keys(house).await?);
    findings.extend(machine::lake(house).await);
    findings.extend(own_models(house).await?);
    findings.extend(last_backup(house).await?);
    findings.extend(house.archive.as_ref().and_then(|(_, spool)| machine::log(spool)));
    findings.extend(places.iter().filter_map(|place| machine::disk(place)));
    // Notes what it finds where the watch reads it.
    if let Err(error) = Fleet::new(house.tenants.clone()).find_drift(None).await {
        findings.push(fault("schema_drifted", "schemas", error.to_string(), "granary migrate --status"));
    }
    let watch = house.tenants.keep_watch().await?;
    findings.extend(watch.findings());
    let kept: i64 = watch.mails.iter().filter(|count| count.state == "kept").map(|count| count.mails).sum();
    if kept > 0 && house.config.mail.url.is_none() {
        let found = format!("{kept} letters of the last week were kept: there is no mail server");
        let remedy = "set mail.url (GRANARY_MAIL_URL); granary mail show ID shows what a letter says";
        findings.push(Finding { severity: Severity::Advice, ..fault("mails_kept", "mail.url", found, remedy) });
    }
    findings.sort_by_key(|finding| finding.severity);
    inspection.checks += OTHER_CHECKS;
    Ok(inspection)
}

/// Whether the master key opens the MSPs' keys, and every customer has its own.
async fn keys(house: &Rooms) -> Result<Vec<Finding>, Failure> {
    let mut findings = Vec::new();
    for msp in house.tenants.list_msps().await? {
        let owner = granary_vault::Owner::Msp(msp.id);
        if let Err(error) =
            house.tenants.keys().seal_column(owner, b"granary doctor", granary_vault::Cell::of("keys", "wrapped", b"granary doctor")).await
        {
            findings.push(fault("keys", &msp.code, error.to_string(), LOST_KEYS));
        }
        for customer in house.tenants.list_customers(msp.id).await?.iter().filter(|customer| customer.schema_version > 0) {
            let present = house.tenants.keys().present(granary_vault::Owner::Customer(customer.id)).await?;
            if present.contains(&false) {
                let subject = format!("{} of {}", customer.code, msp.code);
                findings.push(fault("keys", subject, "the customer's keys are not there", LOST_KEYS));
            }
        }
    }
    Ok(findings)
}

/// Whether the models that MSPs brought can still be planned; one that cannot is missing in their sessions, and nowhere else.
async fn own_models(house: &Rooms) -> Result<Vec<Finding>, Failure> {
    let mut findings = Vec::new();
    for msp in house.tenants.list_msps().await? {
        let remedy = format!("granary warehouse push DIR --msp {0}, or granary warehouse rollback VERSION --msp {0}", msp.code);
        match house.warehouse.broken_own(msp.id).await {
            Ok(broken) => findings.extend(broken.into_iter().map(|(model, reason)| {
                let found = fault("own_models", format!("{model} of {}", msp.code), reason, remedy.as_str());
                Finding { severity: Severity::Advice, ..found }
            })),
            Err(error) => findings.push(fault("own_models", &msp.code, error.to_string(), "granary export verify")),
        }
    }
    Ok(findings)
}

/// Whether there is a backup that is young enough. A demo needs none.
async fn last_backup(house: &Rooms) -> Result<Option<Finding>, Failure> {
    if matches!(house.clock, Clock::Fixed(_)) {
        return Ok(None);
    }
    let filter = AuditFilter { action: Some("backup.make".to_owned()), ..AuditFilter::default() };
    let last = house.tenants.list_audit_as_operator(None, &filter, 1).await?;
    let found = match last.first() {
        None => "no backup was made yet".to_owned(),
        Some(line) => match (house.clock.now().as_second() - line.happened_at.as_second()) / 3_600 {
            ..=YOUNG_HOURS => return Ok(None),
            hours => format!("the last backup was made {hours} hours ago"),
        },
    };
    let remedy = "granary backup --to URL, every night; granary drill --from URL tries it out";
    Ok(Some(Finding { severity: Severity::Advice, ..fault("backup", "installation", found, remedy) }))
}

/// Whether keys or Postgres keep the house from being opened; other failures are told as everywhere.
fn is_closed(failure: &(dyn std::error::Error + 'static)) -> bool {
    failure.is::<granary_vault::VaultError>() || failure.is::<granary_db::DbError>() || failure.is::<granary_db::embedded::EmbeddedError>()
}

/// What keeps the house from being opened.
fn closed_house(failure: &(dyn std::error::Error + 'static)) -> Finding {
    let (subject, remedy) = if failure.is::<granary_vault::VaultError>() {
        (
            "keys",
            "bring back the master key: keys/master of the data directory, readable by its owner alone, or what GRANARY_MASTER_KEY or [keys.kms] names",
        )
    } else {
        ("postgres", "start Postgres (15 to 18), or mend database.url; a house without one has its own")
    };
    let cause = failure.source().map(|cause| format!(" because {cause}")).unwrap_or_default();
    fault("house_closed", subject, format!("{failure}{cause}"), remedy)
}

fn fault(check: &'static str, subject: impl Into<String>, found: impl Into<String>, remedy: impl Into<String>) -> Finding {
    let (subject, found, remedy) = (subject.into(), found.into(), remedy.into());
    Finding { severity: Severity::Fault, cluster: HOME.to_owned(), check, subject, found, remedy }
}
