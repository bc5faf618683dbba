//! `/periods/{period}`: a month on its way to its close, for finance.

use axum::Extension;
use axum::extract::{Form, Path, State};
use axum::response::Html;
use granary_billing::{
    Completeness, CustomerStanding, Finding, InvoiceState, PeriodStanding, accept_finding, approve_period, draft_period_as,
};
use granary_foundation::Silent;
use granary_metering::{FindingKind, PeriodState};
use granary_types::Period;
use maud::{Markup, html};
use serde::Deserialize;

use crate::api::periods::{close_period, customer_of, reason_of, standing};
use crate::http::{Problem, Visitor};
use crate::layout::{self, Place};
use crate::{AppState, format};

/// What the forms send.
#[derive(Debug, Deserialize)]
pub(crate) struct PeriodForm {
    csrf: String,
    action: String,
    #[serde(default)]
    customer: String,
    #[serde(default)]
    finding: String,
    #[serde(default)]
    reason: String,
}

/// The page.
pub(crate) async fn show(
    State(app): State<AppState>,
    Extension(visitor): Extension<Visitor>,
    Path(period): Path<Period>,
) -> Result<Html<String>, Problem> {
    let (_, standing) = standing(&app, &visitor, period).await?;
    Ok(page(&visitor, &standing, None))
}

/// Drafts, accepts, approves or closes.
pub(crate) async fn act(
    State(app): State<AppState>,
    Extension(visitor): Extension<Visitor>,
    Path(period): Path<Period>,
    Form(form): Form<PeriodForm>,
) -> Result<Html<String>, Problem> {
    visitor.check_csrf(&form.csrf)?;
    let outcome = perform(&app, &visitor, period, &form).await;
    let (_, standing) = standing(&app, &visitor, period).await?;
    let said = match &outcome {
        Ok(words) => Ok(words.as_str()),
        Err(problem) => Err(problem.detail()),
    };
    Ok(page(&visitor, &standing, Some(said)))
}

async fn perform(app: &AppState, visitor: &Visitor, period: Period, form: &PeriodForm) -> Result<String, Problem> {
    let scope = app.access.msp_scope(&visitor.principal).await?;
    match form.action.as_str() {
        "draft" => {
            let report = draft_period_as(&app.tenants, &scope, period, Silent::shared()).await?;
            let failed = report.failures.len() as i64;
            let words = format::counted(report.invoices as i64, "invoice is drafted", "invoices are drafted");
            Ok(if failed == 0 {
                words
            } else {
                format!("{words}, {}", format::counted(failed, "customer cannot be rated", "customers cannot be rated"))
            })
        }
        "approve" => {
            let tx = app.tenants.begin_msp(&scope).await?;
            let approved = approve_period(&tx, period).await?;
            tx.commit().await?;
            Ok(format::counted(approved as i64, "draft is approved", "drafts are approved"))
        }
        "accept" => {
            let (scope, standing) = standing(app, visitor, period).await?;
            let customer = customer_of(&standing, &form.customer)?;
            let kind: FindingKind = form.finding.parse().map_err(|_| Problem::not_found("such finding"))?;
            let tx = app.tenants.begin_msp(&scope).await?;
            accept_finding(&tx, &standing, customer, kind, reason_of(&form.reason)?).await?;
            tx.commit().await?;
            Ok("Accepted; draft the month again, so that it is billed with it".to_owned())
        }
        "close" => {
            let report = close_period(app, visitor, period).await?;
            Ok(if report.was_closed {
                "The month was closed before".to_owned()
            } else {
                format!("{period} is closed; {}", format::counted(report.numbered as i64, "invoice is numbered", "invoices are numbered"))
            })
        }
        _ => Err(Problem::not_found("such action")),
    }
}

fn page(visitor: &Visitor, standing: &PeriodStanding, outcome: Option<Result<&str, &str>>) -> Html<String> {
    let title = format!("Closing {}", format::month(standing.period));
    let note = html! { (state_words(standing)) };
    let body = html! {
        (layout::head(&[], &title, &note, &html! {}))
        (layout::said(outcome))
        @if standing.progress.state != PeriodState::Closed { (steps(visitor, standing)) }
        (layout::card("", "Customer by customer", &html! { "as drafted last" }, &table(visitor, standing)))
    };
    layout::page(visitor, Place::Reconciliation, &title, &body)
}

fn state_words(standing: &PeriodStanding) -> String {
    match standing.progress.state {
        PeriodState::Open => format!("open; it may be drafted from {} on", standing.cut_off_at),
        PeriodState::Drafted if standing.progress.approved_at.is_some() => "drafted and approved".to_owned(),
        PeriodState::Drafted => "drafted".to_owned(),
        PeriodState::Closed => "closed: nothing of it changes any more".to_owned(),
    }
}

/// The buttons, and what is in their way.
fn steps(visitor: &Visitor, standing: &PeriodStanding) -> Markup {
    let (blockers, unapproved) = (standing.blockers(), standing.unapproved());
    let is_drafted = standing.progress.state == PeriodState::Drafted;
    let button = |action: &str, words: &str| {
        html! {
            form.inline-form method="post" {
                input type="hidden" name="csrf" value=(visitor.csrf_token());
                button type="submit" name="action" value=(action) { (words) }
            }
        }
    };
    html! {
        section.card {
            (button("draft", if is_drafted { "Draft again" } else { "Draft" }))
            @if is_drafted {
                (button("approve", "Approve the drafts"))
                (button("close", "Close for good"))
                p.soft {
                    (format::counted(unapproved as i64, "draft is not approved", "drafts are not approved"))
                    @if !standing.editor_may_approve { "; whoever drafted or accepted something does not approve" }
                }
            }
            @if !blockers.is_empty() { ul.reasons { @for blocker in &blockers { li { (blocker) } } } }
        }
    }
}

fn table(visitor: &Visitor, standing: &PeriodStanding) -> Markup {
    if standing.customers.is_empty() {
        return layout::empty("Nothing yet", "Once the month is drafted, every customer stands here with what was found.");
    }
    html! {
        div.scroll tabindex="0" role="region" aria-label="Customers" {
            table {
                thead {
                    tr {
                        th scope="col" { "Customer" } th scope="col" { "Usage" } th scope="col" { "Invoice" } th.n scope="col" { "Net" }
                        th scope="col" { "Found" }
                    }
                }
                tbody { @for customer in &standing.customers { (row(visitor, standing, customer)) } }
            }
        }
    }
}

fn row(visitor: &Visitor, standing: &PeriodStanding, customer: &CustomerStanding) -> Markup {
    let (tone, words) = match customer.completeness {
        Completeness::Complete => ("good", "complete"),
        Completeness::Incomplete => ("bad", "incomplete"),
        Completeness::Estimated => ("", "estimated"),
    };
    let invoice = match customer.invoice_state {
        None => "none",
        Some(InvoiceState::Draft) => "draft",
        Some(InvoiceState::Approved) => "approved",
        Some(InvoiceState::Finalised) => "finalised",
    };
    html! {
        tr {
            th scope="row" { (customer.customer_code) br; small { (customer.customer_name) } }
            td { (layout::chip(tone, words)) @if customer.is_closed { " " (layout::chip("good", "closed")) } }
            td { (invoice) }
            td.n { @match customer.currency { Some(currency) => (format::money(customer.net_minor, currency)), None => span.soft { "–" } } }
            td {
                @for finding in &customer.findings { (found(visitor, standing, customer, finding)) }
                @if !customer.is_reconciled { p.soft { "not reconciled since it was drafted; the night does it" } }
                @for pair in &customer.details.suspected_pairs {
                    p.soft { (pair.name) " stands under two ids: " (pair.one.0) "/" (pair.one.1) " and " (pair.other.0) "/" (pair.other.1) }
                }
                @if let Some(hash) = &customer.events_hash { small title=(hash) { (customer.events_count.unwrap_or(0)) " events, " (hash.get(..12).unwrap_or(hash)) "…" } }
            }
        }
    }
}

fn found(visitor: &Visitor, standing: &PeriodStanding, customer: &CustomerStanding, finding: &Finding) -> Markup {
    let words = match finding.kind {
        FindingKind::Incomplete => "A control plane is silent",
        FindingKind::Quarantine => "Refused events that nobody decided on",
        FindingKind::Residual => "Recomputed, the amount differs",
    };
    let id = format!("reason-{}-{}", customer.customer_code, finding.kind);
    html! {
        p { (words) ": " (finding.extent) }
        @if let Some(accepted) = &finding.accepted {
            p.soft { "accepted by " (accepted.accepted_by) ": " (accepted.reason) }
        } @else if standing.progress.state != PeriodState::Closed {
            form.inline-form method="post" {
                input type="hidden" name="csrf" value=(visitor.csrf_token());
                input type="hidden" name="customer" value=(customer.customer_code);
                input type="hidden" name="finding" value=(finding.kind);
                label.unseen for=(id) { "Why " (customer.customer_code) "'s finding is accepted" }
                input id=(id) name="reason" required maxlength="200" placeholder="Why this is accepted";
                button.quiet type="submit" name="action" value="accept" { "Accept" }
            }
        }
    }
}
