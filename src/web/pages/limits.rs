//! `/customers/{code}/limits`: how much a customer may use, how much it does, and changing that.

use axum::Extension;
use axum::extract::{Form, Path, State};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use granary_access::Permission;
use granary_metering::{LimitUse, limit_use};
use granary_tenants::{Enforcement, Limits, MspScope, TenantScope, TenantsError, get_limits, put_limits};
use granary_types::{Classify, ErrorKind};
use maud::{Markup, html};
use serde::Deserialize;

use crate::http::{Problem, Visitor};
use crate::layout::{self, Place};
use crate::{AppState, format};

/// What the form sends; an empty number is no limit.
#[derive(Debug, Deserialize)]
pub(crate) struct LimitsIn {
    csrf: String,
    #[serde(default)]
    max_vms: String,
    #[serde(default)]
    max_vms_enforcement: Enforcement,
    #[serde(default)]
    storage_gb: String,
    #[serde(default)]
    storage_gb_enforcement: Enforcement,
    #[serde(default)]
    max_concurrent_jobs: String,
    #[serde(default)]
    max_concurrent_jobs_enforcement: Enforcement,
    #[serde(default)]
    api_rate_limit: String,
    #[serde(default)]
    api_rate_limit_enforcement: Enforcement,
}

impl LimitsIn {
    fn limits(&self) -> Result<Limits, TenantsError> {
        let number = |text: &str| {
            let text = text.trim();
            let read = || text.parse::<i32>().map_err(|_| TenantsError::Invalid("a limit is a whole number; leave it empty for none"));
            if text.is_empty() { Ok(None) } else { read().map(Some) }
        };
        let storage = number(&self.storage_gb)?.ok_or(TenantsError::Invalid("storage has a limit: overage is billed above it"))?;
        Ok(Limits {
            machines: number(&self.max_vms)?,
            machines_enforcement: self.max_vms_enforcement,
            storage_gib: storage.into(),
            storage_enforcement: self.storage_gb_enforcement,
            max_concurrent_jobs: number(&self.max_concurrent_jobs)?,
            jobs_enforcement: self.max_concurrent_jobs_enforcement,
            api_rate_limit: number(&self.api_rate_limit)?,
            api_enforcement: self.api_rate_limit_enforcement,
        })
    }
}

/// The page.
pub(crate) async fn show(
    State(app): State<AppState>,
    Extension(visitor): Extension<Visitor>,
    Path(code): Path<String>,
) -> Result<Html<String>, Problem> {
    let scope = visitor.scope(&app, &code).await?;
    page(&app, &visitor, &scope, None).await
}

/// Replaces the limits, and shows the page again.
pub(crate) async fn act(
    State(app): State<AppState>,
    Extension(visitor): Extension<Visitor>,
    Path(code): Path<String>,
    Form(input): Form<LimitsIn>,
) -> Result<Response, Problem> {
    let scope = visitor.scope(&app, &code).await?;
    visitor.check_csrf(&input.csrf)?;
    let replaced = async {
        let limits = input.limits()?;
        let tx = app.tenants.begin_msp(&MspScope::for_principal(scope.msp.clone(), scope.actor)).await?;
        put_limits(&tx, &scope.customer, &limits).await?;
        tx.commit().await
    };
    match replaced.await {
        Ok(()) => Ok(page(&app, &visitor, &scope, Some(Ok("The limits hold from today on."))).await?.into_response()),
        Err(error) if matches!(error.kind(), ErrorKind::Invalid | ErrorKind::Conflict) => {
            let page = page(&app, &visitor, &scope, Some(Err(&error.to_string()))).await?;
            Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
        }
        Err(error) => Err(error.into()),
    }
}

async fn page(
    app: &AppState,
    visitor: &Visitor,
    scope: &TenantScope,
    outcome: Option<Result<&str, &str>>,
) -> Result<Html<String>, Problem> {
    let customer = &scope.customer;
    let tx = app.tenants.begin_msp(&MspScope::for_principal(scope.msp.clone(), scope.actor)).await?;
    let limits = match get_limits(&tx, customer).await {
        Ok(limits) => Some(limits),
        Err(TenantsError::NoContract(_)) => None,
        Err(error) => return Err(error.into()),
    };
    tx.commit().await?;
    let silo = app.tenants.begin_tenant(scope).await?;
    let used = limit_use(&silo).await?;
    silo.commit().await?;
    let (href, name) = (format!("/customers/{}", customer.code), customer.name.clone());
    let body = html! {
        (layout::head(&[(&href, &name)], "Limits", &html! { "what is used now beside what is agreed; facts are counted in any case" }, &html! {}))
        (layout::said(outcome))
        div.stack {
            @match &limits {
                None => { section.card { (layout::empty("No contract is in force", "Limits are terms of a contract.")) } }
                Some(limits) => {
                    (layout::card("", "In use", &html! { "alerts at 80 % and 100 %" }, &in_use(limits, used)))
                    @if visitor.may(Permission::CustomerWrite) {
                        (layout::card("", "Change them", &html! { "from today on; the days before keep theirs" }, &form(visitor, &href, limits)))
                    }
                }
            }
        }
    };
    Ok(layout::page(visitor, Place::Customers, &format!("Limits of {name}"), &body))
}

fn in_use(limits: &Limits, used: LimitUse) -> Markup {
    let rows = [
        ("Machines protected", Some(used.machines), limits.machines.map(i64::from), limits.machines_enforcement),
        ("Storage, GiB", Some(used.storage_gib), Some(limits.storage_gib), limits.storage_enforcement),
        ("Jobs running", Some(used.jobs_running), limits.max_concurrent_jobs.map(i64::from), limits.jobs_enforcement),
        ("API requests a minute", None, limits.api_rate_limit.map(i64::from), limits.api_enforcement),
    ];
    html! {
        ul.plain.rows {
            @for (name, used, limit, enforcement) in rows {
                li {
                    span { (name) @if limit.is_some() && enforcement == Enforcement::Hard { " " (layout::chip("plain", "hard")) } }
                    span.n {
                        @if let Some(used) = used { (format::count(used)) @if limit.is_some() { " of " } }
                        @match limit { Some(limit) => { (format::count(limit)) } None => { @if used.is_some() { ", " } "no limit" } }
                    }
                    @if let (Some(used), Some(limit)) = (used, limit) {
                        @let per_mille = format::per_mille(used, limit).unwrap_or(1_000 * i64::from(used > 0));
                        span.bar-row { (layout::bar(tone(per_mille), per_mille)) }
                        small.n { (per_mille / 10) " %" }
                    }
                }
            }
        }
    }
}

const fn tone(per_mille: i64) -> &'static str {
    match per_mille {
        1_000.. => "bad",
        800.. => "warn",
        _ => "good",
    }
}

fn form(visitor: &Visitor, href: &str, limits: &Limits) -> Markup {
    let shown = |limit: Option<i64>| limit.map(|limit| limit.to_string()).unwrap_or_default();
    let rows = [
        ("max_vms", "Machines", shown(limits.machines.map(i64::from)), limits.machines_enforcement),
        ("storage_gb", "Storage, GiB", shown(Some(limits.storage_gib)), limits.storage_enforcement),
        ("max_concurrent_jobs", "Jobs at once", shown(limits.max_concurrent_jobs.map(i64::from)), limits.jobs_enforcement),
        ("api_rate_limit", "API requests a minute", shown(limits.api_rate_limit.map(i64::from)), limits.api_enforcement),
    ];
    html! {
        form.form method="post" action={ (href) "/limits" } {
            input type="hidden" name="csrf" value=(visitor.csrf_token());
            @for (name, words, value, enforcement) in rows {
                div.field {
                    label for=(name) { (words) }
                    input id=(name) name=(name) value=(value) inputmode="numeric" pattern="[0-9]{0,10}" autocomplete="off" required[name == "storage_gb"];
                    label.unseen for={ (name) "_enforcement" } { (words) ": what happens at the limit" }
                    select id={ (name) "_enforcement" } name={ (name) "_enforcement" } {
                        option value="soft" selected[enforcement == Enforcement::Soft] { "soft: it alerts" }
                        option value="hard" selected[enforcement == Enforcement::Hard] { "hard: it alerts and refuses" }
                    }
                }
            }
            p.hint { "Empty for no limit. A hard limit refuses requests of programs at the door, and what is ordered from here; what a control plane reports is a fact and counts." }
            button.primary type="submit" { "Replace the limits" }
        }
    }
}
