//! Leaving: legal holds, erasing, certificates.

use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use granary_foundation::{Boxed, Config, SharedProgress};
use granary_lake::{EraseFiles, EraseRows, Lake};
use granary_tenants::{
    BeginErasure, BuryCustomer, Certificate, Change, DestroyKeys, DropSilo, Extent, IssueCertificate, Lifecycle, LifecycleStep, Operation,
    StepFailure, Subject, TenantsError, Transition,
};
use granary_types::{CustomerCode, CustomerStatus, Period};
use serde_json::json;

use super::arguments::{CertificateCommand, Global, Hold, Leaving};
use super::files::{FileTrouble, Named};
use super::house::{ACTOR, House, Missing, Rooms};
use super::output::print_json;
use super::progress::Reporter;
use super::report::REPORTS;
use super::{Failure, Usage, customer_export};

pub(crate) async fn run(global: &Global, command: Leaving) -> Result<ExitCode, Failure> {
    // What is signed can be checked anywhere.
    if let Leaving::Certificate(CertificateCommand::Verify { file, public_key }) = &command {
        return verify(file, public_key.as_deref());
    }
    House::with(global, async |house| {
        match command {
            Leaving::Erase { code, reason, yes, out, msp } => erase(house, msp.as_deref(), &code, &reason, yes, out.as_deref()).await?,
            Leaving::Export { code, out, msp } => customer_export::export(house, msp.as_deref(), &code, &out).await?,
            Leaving::Certificate(command) => certificate(house, command).await?,
            Leaving::Hold(command) => hold(house, command).await?,
            Leaving::KeptInvoice { number, msp } => {
                let msp = house.msp(msp.as_deref()).await?;
                print_json(&granary_billing::open_kept(&house.tenants, house.lake.keys(), &msp, &number).await?)?;
            }
        }
        Ok(ExitCode::SUCCESS)
    })
    .await
}

async fn erase(
    house: &Rooms,
    msp: Option<&str>,
    code: &CustomerCode,
    reason: &str,
    is_sure: bool,
    out: Option<&Path>,
) -> Result<(), Failure> {
    let msp = house.msp(msp).await?;
    // Half-way the row loses its code; whoever has the code then comes first.
    let customer = match house.tenants.get_customer_by_code(msp.id, code).await {
        Err(unknown @ TenantsError::UnknownCustomerCode(_)) => match house.tenants.find_erasure(msp.id, code).await? {
            Some(erasure) => house.tenants.get_customer(erasure.customer).await?,
            None => return Err(unknown.into()),
        },
        found => found?,
    };
    if !is_sure && customer.status != CustomerStatus::Erased {
        confirm(&format!("everything of {code} will be destroyed for ever"), "its code", code.as_str())?;
    }
    if let Some(out) = out {
        // Nobody should learn after the erasure that its certificate cannot be written.
        std::fs::OpenOptions::new().create(true).append(true).open(out).named("write", out)?;
    }
    let change = Change::now(Transition::Erase, Some(reason));
    let tx = house.tenants.begin_msp(&Rooms::msp_scope(&msp)).await?;
    let changed = house.lifecycle.change(&tx, customer.id, change).await?;
    tx.commit().await?;
    let progress = Reporter::shared().port();
    let lifecycle = house.lifecycle.clone();
    progress.begin("erasing", lifecycle.steps(Operation::Erase).len() as u64);
    let told = lifecycle.wrapped(|inner| Arc::new(Told { inner, progress: Arc::clone(&progress) }));
    told.settle(&msp, &changed, change).await?;
    progress.end();
    let certificate = house.tenants.erasure_of(customer.id).await?.and_then(|erasure| erasure.certificate);
    let certificate = certificate.ok_or_else(|| Missing(format!("the erasure of {code} has no certificate")))?;
    if let Some(out) = out {
        std::fs::write(out, serde_json::to_vec_pretty(&certificate)?).named("write", out)?;
    }
    Ok(print_json(&certificate)?)
}

/// Lets whoever asked type a word again.
pub(crate) fn confirm(what: &str, word: &str, wanted: &str) -> Result<(), Failure> {
    let mut screen = std::io::stderr();
    write!(screen, "{what}; type {word} again to go on: ")?;
    screen.flush()?;
    let mut typed = String::new();
    std::io::stdin().lock().read_line(&mut typed)?;
    if typed.trim().eq_ignore_ascii_case(wanted) {
        return Ok(());
    }
    Err(Usage(format!("{word} was not typed; nothing was done (--yes does not ask)")).into())
}

async fn find_certificate(house: &Rooms, msp: &granary_tenants::Msp, code: &CustomerCode) -> Result<Certificate, Failure> {
    let erasure = house.tenants.find_erasure(msp.id, code).await?;
    let certificate = erasure.and_then(|erasure| erasure.certificate);
    certificate.ok_or_else(|| Missing(format!("there is no certificate for {code}; was it erased to the end?")).into())
}

async fn certificate(house: &Rooms, command: CertificateCommand) -> Result<(), Failure> {
    match command {
        CertificateCommand::Show { code, msp } => {
            let msp = house.msp(msp.as_deref()).await?;
            print_json(&find_certificate(house, &msp, &code).await?)?;
        }
        CertificateCommand::PublicKey { msp } => {
            let msp = house.msp(msp.as_deref()).await?;
            print_json(&json!({"msp": msp.code, "public_key": house.tenants.public_key(msp.id).await?}))?;
        }
        CertificateCommand::Verify { file, public_key } => {
            verify(&file, public_key.as_deref())?;
        }
    }
    Ok(())
}

fn verify(file: &Path, public_key: Option<&str>) -> Result<ExitCode, Failure> {
    let text = std::fs::read(file).map_err(|error| Usage(format!("cannot read {}: {error}", file.display())))?;
    let certificate: Certificate =
        serde_json::from_slice(&text).map_err(|error| Usage(format!("{} is not a certificate: {error}", file.display())))?;
    certificate.check().map_err(|fault| Usage(format!("{}: {fault}", file.display())))?;
    if public_key.is_some_and(|wanted| !wanted.eq_ignore_ascii_case(&certificate.public_key)) {
        return Err(Usage(format!("{} was signed with another key: {}", file.display(), certificate.public_key)).into());
    }
    print_json(&json!({"valid": true, "signer_is_checked": public_key.is_some(), "public_key": certificate.public_key,
        "customer": certificate.statement["customer"], "erased_at": certificate.statement["erased_at"]}))?;
    Ok(ExitCode::SUCCESS)
}

async fn hold(house: &Rooms, command: Hold) -> Result<(), Failure> {
    match command {
        Hold::Set { code, reason, msp } => {
            let (_, customer) = house.customer(msp.as_deref(), &code).await?;
            print_json(&house.tenants.set_hold(customer.id, &reason, ACTOR.into()).await?)?;
        }
        Hold::Release { code, reason, msp } => {
            let (_, customer) = house.customer(msp.as_deref(), &code).await?;
            house.tenants.release_hold(customer.id, &reason, ACTOR.into()).await?;
            print_json(&json!({"code": code, "hold": null}))?;
        }
        Hold::Show { code, msp } => {
            let (_, customer) = house.customer(msp.as_deref(), &code).await?;
            print_json(&json!({"code": code, "hold": house.tenants.hold_on(customer.id).await?}))?;
        }
    }
    Ok(())
}

/// A step that says when it is done.
#[derive(Debug)]
struct Told {
    inner: Arc<dyn LifecycleStep>,
    progress: SharedProgress,
}

impl LifecycleStep for Told {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn perform<'a>(&'a self, subject: &'a Subject) -> Boxed<'a, Result<(), StepFailure>> {
        Box::pin(async move {
            self.inner.perform(subject).await?;
            self.progress.advance(1);
            Ok(())
        })
    }

    fn undo<'a>(&'a self, subject: &'a Subject) -> Boxed<'a, Result<(), StepFailure>> {
        self.inner.undo(subject)
    }

    fn verify<'a>(&'a self, subject: &'a Subject) -> Boxed<'a, Result<Extent, StepFailure>> {
        self.inner.verify(subject)
    }
}

/// The reports that the demo leaves in the data directory go with their customer.
#[derive(Debug)]
struct RemoveReports {
    folder: PathBuf,
}

impl RemoveReports {
    /// Finds the files: `CODE-2025-10.pdf`. What a code begins with may be another's code.
    fn files_of(&self, code: &CustomerCode) -> Result<Vec<PathBuf>, FileTrouble> {
        let entries = match std::fs::read_dir(&self.folder) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.named("read", &self.folder)?,
        };
        let is_report = |name: &str| {
            let rest = name.strip_prefix(code.as_str()).and_then(|rest| rest.strip_prefix('-')).and_then(|rest| rest.strip_suffix(".pdf"));
            rest.is_some_and(|period| period.parse::<Period>().is_ok())
        };
        let paths = entries.map(|entry| Ok(entry.named("read", &self.folder)?.path())).collect::<Result<Vec<_>, FileTrouble>>()?;
        Ok(paths.into_iter().filter(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(is_report)).collect())
    }
}

impl LifecycleStep for RemoveReports {
    fn name(&self) -> &'static str {
        "reports.files"
    }

    fn perform<'a>(&'a self, subject: &'a Subject) -> Boxed<'a, Result<(), StepFailure>> {
        Box::pin(async move {
            for file in self.files_of(&subject.customer.code)? {
                std::fs::remove_file(&file).named("remove", &file)?;
            }
            Ok(())
        })
    }

    /// What was destroyed does not come back.
    fn undo<'a>(&'a self, _subject: &'a Subject) -> Boxed<'a, Result<(), StepFailure>> {
        Box::pin(async { Err(TenantsError::Irrevocable.into()) })
    }

    fn verify<'a>(&'a self, subject: &'a Subject) -> Boxed<'a, Result<Extent, StepFailure>> {
        Box::pin(async move { Ok(Extent::of([self.files_of(&subject.customer.code)?.is_empty()])) })
    }
}

/// The rooms' steps of an erasure, in the order in which they may happen.
pub(crate) fn register(lifecycle: Lifecycle, lake: &Lake, config: &Config) -> Lifecycle {
    let (reports, config) = (RemoveReports { folder: config.data_dir.join(REPORTS) }, &config.leaving);
    let keep = granary_billing::KeepInvoices { keys: lake.keys().clone(), years: config.keep_invoices_years };
    lifecycle
        .with(Operation::Erase, BeginErasure)
        .with(Operation::Erase, keep)
        .with(Operation::Erase, DestroyKeys)
        .with(Operation::Erase, EraseFiles(lake.clone()))
        .with(Operation::Erase, reports)
        .with(Operation::Erase, DropSilo)
        .with(Operation::Erase, BuryCustomer)
        .with(Operation::Erase, EraseRows(lake.clone()))
        .with(Operation::Erase, IssueCertificate { backup_days: config.backup_days })
}
