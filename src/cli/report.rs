//! Reports as PDF.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use granary_billing::InvoiceFilter;
use granary_pdf::TypstRenderer;
use granary_reports::{MonthlyReport, monthly};
use granary_tenants::{Customer, Msp};
use granary_types::Period;
use serde_json::json;

use super::Failure;
use super::arguments::{Global, Report};
use super::files::Named;
use super::house::{House, Missing, Rooms};
use super::output::print_json;

/// Where the demo leaves its reports, in the data directory.
pub(crate) const REPORTS: &str = "reports";

pub(crate) async fn run(global: &Global, command: Report) -> Result<ExitCode, Failure> {
    let Report::Monthly { customer, all: _, period, msp, out } = command;
    House::with(global, async |house| {
        match customer {
            Some(code) => {
                let (msp, customer) = house.customer(msp.as_deref(), &code).await?;
                house.note(Some(&msp), Some(customer.id), "report.read", &format!("customer:{code}"), &json!({"period": period})).await?;
                house.note_opening([customer.id], "granary report").await?;
                let report = monthly::compose(&house.warehouse, &house.tenants, &customer, period).await?;
                let pdf = render(vec![report]).await?.remove(0);
                write(&out, &pdf)?;
                print_json(&json!({"path": out, "bytes": pdf.len()}))?;
            }
            None => {
                let msp = house.msp(msp.as_deref()).await?;
                house.note(Some(&msp), None, "report.read", &format!("msp:{}", msp.code), &json!({"period": period})).await?;
                house.note_grant(&Rooms::grant(&msp), "granary report").await?;
                let written = write_all(house, &msp, period, &out).await?;
                print_json(&json!({"folder": out, "reports": written.len()}))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    })
    .await
}

/// Writes the report of every customer that was billed in a period into a folder, and returns the files.
pub(crate) async fn write_all(house: &Rooms, msp: &Msp, period: Period, folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let tx = house.tenants.begin_msp(&Rooms::msp_scope(msp)).await?;
    let billed = granary_billing::list_invoices(&tx, &InvoiceFilter { period: Some(period), customer: None }).await?;
    tx.commit().await?;
    if billed.is_empty() {
        return Err(Missing(format!("nobody was billed in {period}; see granary billing list --period {period}")).into());
    }
    let customers: Vec<Customer> = house
        .tenants
        .list_customers(msp.id)
        .await?
        .into_iter()
        .filter(|customer| billed.iter().any(|invoice| invoice.customer_id == customer.id))
        .collect();
    house.progress.begin("reports", customers.len() as u64);
    let reports = monthly::compose_all(&house.warehouse, &house.tenants, msp, &customers, period).await?;
    let files: Vec<PathBuf> = reports.iter().map(|report| folder.join(format!("{}-{period}.pdf", report.customer.code))).collect();
    let documents = render(reports).await?;
    std::fs::create_dir_all(folder).named("make the folder", folder)?;
    for (file, pdf) in files.iter().zip(documents) {
        write(file, &pdf)?;
        house.progress.advance(1);
    }
    house.progress.end();
    Ok(files)
}

async fn render(reports: Vec<MonthlyReport>) -> Result<Vec<Vec<u8>>, Failure> {
    let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let rendered = tokio::task::spawn_blocking(move || TypstRenderer::new().render_all(&reports, threads)).await?;
    Ok(rendered.into_iter().collect::<Result<Vec<_>, _>>()?)
}

/// Writes a file whole or not at all; what is no file, such as a pipe, is written directly.
fn write(path: &Path, content: &[u8]) -> Result<(), Failure> {
    let is_file = std::fs::metadata(path).map_or(true, |found| found.is_file());
    let outcome = match path.file_name() {
        Some(name) if is_file => {
            let draft = path.with_file_name(format!(".{}.new", name.to_string_lossy()));
            let written = std::fs::write(&draft, content).and_then(|()| std::fs::rename(&draft, path));
            written.inspect_err(|_| {
                // The first error is the one to tell of.
                let _ = std::fs::remove_file(&draft);
            })
        }
        _ => std::fs::write(path, content),
    };
    Ok(outcome.named("write", path)?)
}
