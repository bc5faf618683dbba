//! Closing a month.

use std::process::ExitCode;

use granary_billing::{PeriodStanding, Residual, accept_finding, approve_period, correct_period, let_editor_approve, list_entries};
use granary_metering::{FindingKind, find_seal, list_corrections, prove};
use granary_tenants::Msp;
use granary_types::{CustomerCode, Money, Period};
use serde_json::json;

use super::Failure;
use super::arguments::{Answer, FindingArgument, Global, PeriodCommand};
use super::house::{House, Missing, Rooms};
use super::output::{Format, Rows, print_json};

pub(crate) async fn run(global: &Global, command: PeriodCommand) -> Result<ExitCode, Failure> {
    House::with(global, async |house| match command {
        PeriodCommand::Status { period, msp, format } => {
            let msp = house.msp(msp.as_deref()).await?;
            let standing = standing(house, &msp, period).await?;
            show(&standing, format)?;
            Ok(if standing.blockers().is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        PeriodCommand::Accept { period, customer, finding, reason, msp } => {
            let (msp, customer) = house.customer(msp.as_deref(), &customer).await?;
            let standing = standing(house, &msp, period).await?;
            let kind = match finding {
                FindingArgument::Incomplete => FindingKind::Incomplete,
                FindingArgument::Quarantine => FindingKind::Quarantine,
                FindingArgument::Residual => FindingKind::Residual,
            };
            let tx = house.tenants.begin_msp(&Rooms::msp_scope(&msp)).await?;
            accept_finding(&tx, &standing, customer.id, kind, &reason).await?;
            tx.commit().await?;
            say!("accepted; granary billing draft --period {period} drafts the month with it");
            Ok(ExitCode::SUCCESS)
        }
        PeriodCommand::Approve { period, msp } => {
            let msp = house.msp(msp.as_deref()).await?;
            let tx = house.tenants.begin_msp(&Rooms::msp_scope(&msp)).await?;
            let approved = approve_period(&tx, period).await?;
            tx.commit().await?;
            print_json(&json!({"period": period, "approved": approved}))?;
            Ok(ExitCode::SUCCESS)
        }
        PeriodCommand::Close { period, msp } => {
            let msp = house.msp(msp.as_deref()).await?;
            let residuals = residuals(house, &msp, period).await?;
            let scope = Rooms::msp_scope(&msp);
            let report = granary_billing::close(&house.tenants, &scope, period, &residuals, house.progress.clone()).await?;
            print_json(&report)?;
            Ok(ExitCode::SUCCESS)
        }
        PeriodCommand::Corrections { period, msp, format } => corrections(house, msp.as_deref(), period, format).await,
        PeriodCommand::Proof { period, customer, source, id, msp } => {
            proof(house, msp.as_deref(), (period, &customer), (&source, &id)).await
        }
        PeriodCommand::Rule { editor_may_approve, msp } => {
            let msp = house.msp(msp.as_deref()).await?;
            let tx = house.tenants.begin_msp(&Rooms::msp_scope(&msp)).await?;
            let_editor_approve(&tx, editor_may_approve == Answer::Yes).await?;
            tx.commit().await?;
            Ok(ExitCode::SUCCESS)
        }
    })
    .await
}

async fn residuals(house: &Rooms, msp: &Msp, period: Period) -> Result<Vec<Residual>, Failure> {
    let grant = Rooms::grant(msp);
    Ok(granary_reconciliation::residuals(&house.warehouse, &grant, &house.tenants, msp, period).await?)
}

async fn standing(house: &Rooms, msp: &Msp, period: Period) -> Result<PeriodStanding, Failure> {
    let residuals = residuals(house, msp, period).await?;
    Ok(granary_billing::period_standing(&house.tenants, &Rooms::msp_scope(msp), period, &residuals).await?)
}

fn show(standing: &PeriodStanding, format: Format) -> Result<(), Failure> {
    if format == Format::Json {
        print_json(standing)?;
        return Ok(());
    }
    let rows: Vec<_> = standing
        .customers
        .iter()
        .map(|customer| {
            let findings = customer.findings.iter().map(|finding| {
                let accepted = finding.accepted.as_ref().map_or_else(String::new, |by| format!(", accepted by {}: {}", by.accepted_by, by.reason));
                format!("{} ({}){accepted}", finding.kind, finding.extent)
            });
            let net = customer.currency.map(|currency| Money::new(customer.net_minor, currency).to_decimal().to_string());
            json!({
                "customer_code": customer.customer_code, "completeness": customer.completeness, "invoice": customer.invoice_state, "net": net,
                "currency": customer.currency, "quarantined": customer.details.quarantined,
                "suspected_pairs": customer.details.suspected_pairs.len(), "findings": findings.collect::<Vec<_>>().join("; "),
                "is_reconciled": customer.is_reconciled, "is_closed": customer.is_closed,
            })
        })
        .collect();
    let columns = [
        "customer_code",
        "completeness",
        "invoice",
        "net",
        "currency",
        "quarantined",
        "suspected_pairs",
        "findings",
        "is_reconciled",
        "is_closed",
    ];
    Rows::of(&columns, &rows).print(format)?;
    let (blockers, unapproved) = (standing.blockers().len(), standing.unapproved());
    let state = standing.progress.state.as_str();
    say!("{} is {state}; {blockers} findings block its close, {unapproved} drafts are not approved", standing.period);
    Ok(())
}

async fn corrections(house: &Rooms, msp: Option<&str>, period: Period, format: Format) -> Result<ExitCode, Failure> {
    let msp = house.msp(msp).await?;
    let compared = correct_period(&house.tenants, &msp, period, house.progress.clone()).await?;
    if compared.compared + compared.skipped.len() == 0 {
        return Err(Missing(format!("no month of {period} is closed; granary period status {period} says what is missing")).into());
    }
    let tx = house.tenants.begin_msp(&Rooms::msp_scope(&msp)).await?;
    let (meters, entries) = (list_corrections(&tx, period).await?, list_entries(&tx, Some(period)).await?);
    tx.commit().await?;
    if format == Format::Json {
        print_json(&json!({"report": compared, "meters": meters, "entries": entries}))?;
        return Ok(ExitCode::SUCCESS);
    }
    Rows::of(&["customer_code", "period", "meter", "closed", "now", "found_at"], &meters).print(format)?;
    for entry in &entries {
        let state = match (&entry.document_id, entry.chosen_for) {
            (Some(document), _) => format!("on document {document}"),
            (None, Some(later)) => format!("goes out with {later}"),
            (None, None) => "waits".to_owned(),
        };
        say!("{}: {}, {state}", entry.description, Money::new(entry.amount_minor, entry.currency));
    }
    for (code, why) in &compared.skipped {
        say!("{code} was not compared: {why}");
    }
    Ok(ExitCode::SUCCESS)
}

async fn proof(
    house: &Rooms,
    msp: Option<&str>,
    (period, customer): (Period, &CustomerCode),
    event: (&str, &str),
) -> Result<ExitCode, Failure> {
    let (msp, customer) = house.customer(msp, customer).await?;
    house.note_opening([customer.id], "granary period proof").await?;
    let tx = house.tenants.begin_msp(&Rooms::msp_scope(&msp)).await?;
    let seal = find_seal(&tx, customer.id, period).await?;
    tx.commit().await?;
    let seal = seal.ok_or_else(|| Missing(format!("{} has no closed month {period}", customer.code)))?;
    let tx = house.tenants.begin_tenant(&Rooms::tenant_scope(&msp, &customer)).await?;
    tx.record_audit(
        "events.prove",
        &format!("customer:{}", customer.code),
        &json!({"period": period, "source": event.0, "id": event.1}),
        None,
    )
    .await?;
    let proof = prove(&tx, period, &seal, event).await?;
    tx.commit().await?;
    print_json(
        &proof.ok_or_else(|| Missing(format!("{} did not count the event '{}' of {} in {period}", customer.code, event.1, event.0)))?,
    )?;
    Ok(ExitCode::SUCCESS)
}
