//! What a customer takes along: an archive that opens without this program.

use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use granary_billing::{InvoiceFilter, InvoiceState};
use granary_foundation::SharedProgress;
use granary_lake::Archive;
use granary_pdf::TypstRenderer;
use granary_reports::{Renderer, monthly};
use granary_tenants::{Customer, Msp, TenantsError, get_limits, list_control_planes, list_sites};
use granary_types::{CustomerCode, CustomerStatus, Period};
use serde_json::{Value, json};

use super::Failure;
use super::files::Named;
use super::house::Rooms;
use super::output::print_json;
use super::progress::Reporter;

/// The control datasets of which a customer gets its own rows.
const OPEN: &[&str] = &[
    "contracts",
    "contract_limits",
    "retention_marks",
    "status_changes",
    "customer_months",
    "prices",
    "invoices",
    "payments",
    "run_rates",
];

const README: &str = "\
This archive holds everything that {name} had at {msp}, as of {now}.
It opens without the program that wrote it.

  customer.json    who the customer is: contacts, sites, backup systems, limits
  tables/          every table of the customer's database schema, whole, as CSV: UTF-8, RFC 4180, the first line names the
                   columns; an empty field is no value, \"\" is an empty text; instants are UTC
  parquet/         the same facts with their types, one Parquet file (zstd) for each subject
  control/         what the platform knew of the customer beside that: contracts, months, invoices, payments, as CSV
  reports/         the monthly reports, PDF/A
  manifest.json    every file with its size, SHA-256, number of rows and what it holds
  SHA256SUMS       the same sums, for: sha256sum --check SHA256SUMS

Amounts in columns that end in _minor are integers in minor units of the currency beside them: 1050 and USD are 10.50 dollars.
Sizes in columns that end in _bytes are bytes. The lines of an invoice are in tables/rated_lines.csv, by invoice_id.
";

/// Writes the archive; what lies under its name is replaced when it is complete.
pub(crate) async fn export(house: &Rooms, msp: Option<&str>, code: &CustomerCode, out: &Path) -> Result<(), Failure> {
    let (msp, customer) = house.customer(msp, code).await?;
    if customer.status == CustomerStatus::Erased {
        return Err(TenantsError::Left(customer.status).into());
    }
    house.note_opening([customer.id], "granary customer export").await?;
    let progress = Reporter::shared().port();
    // In the customer's own log, where its people see it.
    let scope = Rooms::tenant_scope(&msp, &customer);
    let tx = house.tenants.begin_tenant(&scope).await?;
    tx.record_audit("customer.export", &format!("customer:{code}"), &json!({}), None).await?;
    tx.commit().await?;

    let mut draft = out.as_os_str().to_owned();
    draft.push(".new");
    let draft = std::path::PathBuf::from(draft);
    let now = house.clock.now();
    // Said before the work is done, and in our own words. Contacts are in clear in it: nobody else reads it.
    std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft).named("create", &draft)?;
    let _draft = Draft(&draft);
    let mut archive = house.lake.archive(&scope, OPEN, Archive::create(&draft, now)?, &progress).await?;
    archive.add("customer.json", "who the customer is", &serde_json::to_vec_pretty(&about(house, &msp, &customer).await?)?)?;
    let reports = add_reports(house, &msp, &customer, &mut archive, &progress).await?;
    let words = README.replace("{name}", &customer.name).replace("{msp}", &msp.name).replace("{now}", &now.to_string());
    archive.add("README.txt", "how to read this", words.as_bytes())?;
    let files = archive.files().len() + 2;
    let about = json!({"customer": {"id": customer.id, "code": customer.code, "name": customer.name}, "msp": msp.code, "made_at": now});
    let bytes = archive.finish(&about)?;
    std::fs::rename(&draft, out).named("rename", &draft)?;
    Ok(print_json(&json!({"path": out, "bytes": bytes, "files": files, "reports": reports}))?)
}

/// A file that does not stay behind when what was to be written could not be.
struct Draft<'a>(&'a Path);

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        // After a success it has another name.
        std::fs::remove_file(self.0).ok();
    }
}

/// Who the customer is, contacts in clear.
async fn about(house: &Rooms, msp: &Msp, customer: &Customer) -> Result<Value, Failure> {
    let tx = house.tenants.begin_msp(&Rooms::msp_scope(msp)).await?;
    let contacts = house.tenants.list_contacts(&tx, customer).await?;
    let sites = list_sites(&tx, customer).await?;
    let planes = list_control_planes(&tx, customer).await?;
    let limits = get_limits(&tx, customer).await?;
    tx.commit().await?;
    let users = house.access.list_users_of(customer.id).await?;
    let contacts: Vec<Value> = contacts
        .iter()
        .map(|one| json!({"kind": one.kind, "name": one.name, "email": one.email, "phone": one.phone, "created_at": one.created_at}))
        .collect();
    let sites: Vec<Value> = sites
        .iter()
        .map(|site| {
            json!({"id": site.id, "name": site.name, "country": site.country, "city": site.city,
                "time_zone": site.time_zone.iana_name(), "created_at": site.created_at, "retired_at": site.retired_at})
        })
        .collect();
    let planes: Vec<Value> = planes
        .iter()
        .map(|plane| {
            json!({"id": plane.id, "name": plane.name, "source": plane.source, "version": plane.version, "site_id": plane.site_id,
                "enrolled_at": plane.enrolled_at, "last_seen_at": plane.last_seen_at, "retired_at": plane.retired_at})
        })
        .collect();
    Ok(json!({
        "id": customer.id, "code": customer.code, "name": customer.name, "status": customer.status, "since": customer.status_since,
        "time_zone": customer.time_zone.iana_name(), "country": customer.country, "region": customer.region,
        "vertical": customer.vertical, "contact_email": customer.contact_email, "deployment": customer.deployment,
        "trial_ends_on": customer.trial_ends_on, "activated_on": customer.activated_on, "created_at": customer.created_at,
        "limits": {
            "machines": limits.machines, "storage_gib": limits.storage_gib, "max_concurrent_jobs": limits.max_concurrent_jobs,
            "max_concurrent_jobs_enforcement": limits.jobs_enforcement, "api_rate_limit": limits.api_rate_limit,
            "api_rate_limit_enforcement": limits.api_enforcement,
        },
        "contacts": contacts, "users": users, "sites": sites, "control_planes": planes,
    }))
}

/// Adds the report of every month that was billed.
async fn add_reports(
    house: &Rooms,
    msp: &Msp,
    customer: &Customer,
    archive: &mut Archive,
    progress: &SharedProgress,
) -> Result<usize, Failure> {
    let tx = house.tenants.begin_msp(&Rooms::msp_scope(msp)).await?;
    let invoices = granary_billing::list_invoices(&tx, &InvoiceFilter { period: None, customer: Some(customer.id) }).await?;
    tx.commit().await?;
    let finalised = invoices.iter().filter(|invoice| invoice.state == InvoiceState::Finalised);
    let periods: std::collections::BTreeSet<Period> = finalised.map(|invoice| invoice.period).collect();
    progress.begin("reports", periods.len() as u64);
    let renderer = Arc::new(TypstRenderer::new());
    for period in &periods {
        let report = monthly::compose(&house.warehouse, &house.tenants, customer, *period).await?;
        let renderer = Arc::clone(&renderer);
        let pdf = tokio::task::spawn_blocking(move || renderer.render_monthly(&report)).await??;
        archive.add(&format!("reports/{period}.pdf"), "the report of a month", &pdf)?;
        progress.advance(1);
    }
    progress.end();
    Ok(periods.len())
}

#[cfg(test)]
mod tests {
    use granary_types::Source;

    use super::OPEN;

    /// What a customer never meets: wholesale.
    const WITHHELD: &[&str] = &["statement_lines"];

    #[test]
    fn of_every_control_dataset_it_is_decided_whether_a_customer_takes_it_along() {
        let datasets =
            [granary_tenants::DATASETS, granary_metering::DATASETS, granary_billing::DATASETS, granary_intelligence::DATASETS].concat();
        let about_customers: Vec<&str> = datasets
            .iter()
            .filter(|dataset| dataset.source == Source::Control && dataset.columns.iter().any(|column| column.name == "customer_id"))
            .map(|dataset| dataset.name)
            .collect();
        for dataset in &about_customers {
            assert!(OPEN.contains(dataset) != WITHHELD.contains(dataset), "does a customer take {dataset} along?");
        }
        assert!(OPEN.iter().all(|dataset| about_customers.contains(dataset)), "{about_customers:?}");
    }
}
