//! `/operations`: what an operator looks at every morning, and the dead jobs that it gives another life.

use axum::Extension;
use axum::extract::{Form, State};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use granary_access::Permission;
use granary_tenants::{Finding, OperatorScope, Severity, Watch};
use granary_types::JobId;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use maud::{Markup, html};
use serde::Deserialize;

use crate::http::{Problem, Visitor};
use crate::layout::{self, Place};
use crate::{AppState, format};

/// What the page's forms send.
#[derive(Debug, Deserialize)]
pub(crate) struct OperationsIn {
    csrf: String,
    action: String,
    #[serde(default)]
    id: String,
}

/// The page.
pub(crate) async fn show(State(app): State<AppState>, Extension(visitor): Extension<Visitor>) -> Result<Html<String>, Problem> {
    page(&app, &visitor, None).await
}

/// Does what a form wants, and shows the page again.
pub(crate) async fn act(
    State(app): State<AppState>,
    Extension(visitor): Extension<Visitor>,
    Form(input): Form<OperationsIn>,
) -> Result<Response, Problem> {
    visitor.check_csrf(&input.csrf)?;
    let operator = OperatorScope::for_principal(visitor.principal.actor(), "retry a job");
    let is_retried = match (input.action.as_str(), input.id.parse::<JobId>()) {
        ("retry", Ok(id)) => app.tenants.retry_job(&operator, id).await?,
        _ => false,
    };
    if is_retried {
        return Ok(page(&app, &visitor, Some(Ok("The job is due again, with all its attempts."))).await?.into_response());
    }
    let page = page(&app, &visitor, Some(Err("this job is not dead any more"))).await?;
    Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
}

async fn page(app: &AppState, visitor: &Visitor, outcome: Option<Result<&str, &str>>) -> Result<Html<String>, Problem> {
    let watch = app.tenants.keep_watch().await?;
    let findings = watch.findings();
    let note = html! { "As of " (instant(watch.at)) ". Names of customers, and nothing of what they store." };
    let body = html! {
        (layout::head(&[], "Operations", &note, &html! {}))
        (layout::said(outcome))
        (tiles(&watch, &findings))
        div.stack {
            (layout::card("", "What needs you", &html! { "the same as " code { "granary doctor" } " says of the queues" }, &wrong(&findings)))
            (layout::card("", "Dead jobs", &html! { "out of attempts, until somebody looks" }, &dead(&watch, visitor)))
            (layout::card("", "Jobs", &html! { "that are to be done, run, or lie dead" }, &jobs(&watch)))
            (layout::card("", "Nights", &html! { "the last one of each MSP" }, &nights(&watch)))
            (layout::card("", "Queues", &html! { "news between rooms, and letters of the last week" }, &queues(&watch)))
            (layout::card("", "Schemas", &html! { "of the customers' silos" }, &schemas(&watch)))
            (layout::card("", "Customers in trouble", &html! { "the longest first" }, &troubles(&watch)))
        }
    };
    Ok(layout::page(visitor, Place::Operations, "Operations", &body))
}

fn instant(at: Timestamp) -> String {
    format::instant(at, &TimeZone::UTC)
}

fn tiles(watch: &Watch, findings: &[Finding]) -> Markup {
    let jobs_in = |state: &str| watch.jobs.iter().filter(|count| count.state == state).map(|count| count.jobs).sum::<i64>();
    let mails_in = |state: &str| watch.mails.iter().filter(|count| count.state == state).map(|count| count.mails).sum::<i64>();
    let faults = findings.iter().filter(|finding| finding.severity == Severity::Fault).count() as i64;
    let running = format::counted(jobs_in("running"), "runs", "run");
    let failed = watch.nights.iter().map(|night| night.failed).sum::<i64>();
    html! {
        div.tiles {
            (layout::tile("Faults", "#what-needs-you", &html! { (format::count(faults)) }, &html! { @if faults == 0 { "nothing is wrong" } @else { "each with its remedy" } }))
            (layout::tile("Jobs waiting", "#jobs", &html! { (format::count(jobs_in("ready"))) }, &html! { (running) ", " (jobs_in("dead")) " dead" }))
            (layout::tile("Exports failed", "#nights", &html! { (format::count(failed)) }, &html! { "in the last night" }))
            (layout::tile("Mails unsent", "#queues", &html! { (format::count(mails_in("waiting") + mails_in("failed"))) }, &html! { (mails_in("failed")) " refused" }))
        }
    }
}

/// A table, or why there is none. The id is where a tile leads.
fn table(id: &str, label: &str, columns: &[&str], rows: &[Vec<Markup>], nothing: (&str, &str)) -> Markup {
    html! {
        div id=(id) {
            @if rows.is_empty() { (layout::empty(nothing.0, nothing.1)) } @else {
                div.scroll tabindex="0" role="region" aria-label=(label) {
                    table {
                        thead { tr { @for column in columns { th scope="col" { (column) } } } }
                        tbody {
                            @for row in rows {
                                tr { @for (at, cell) in row.iter().enumerate() { @if at == 0 { th scope="row" { (cell) } } @else { td { (cell) } } } }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn wrong(findings: &[Finding]) -> Markup {
    let row = |finding: &Finding| {
        let (tone, word) = match finding.severity {
            Severity::Fault => ("bad", "fault"),
            Severity::Advice => ("plain", "advice"),
        };
        vec![
            html! { (finding.check.replace('_', " ")) },
            layout::chip(tone, word),
            html! { (finding.subject) },
            html! { (finding.found) },
            html! { (finding.remedy) },
        ]
    };
    let rows: Vec<_> = findings.iter().map(row).collect();
    table(
        "what-needs-you",
        "What needs you",
        &["What", "How bad", "Where", "Found", "Remedy"],
        &rows,
        ("Nothing is wrong", "The walls between tenants, keys and disks are looked at by granary doctor."),
    )
}

fn dead(watch: &Watch, visitor: &Visitor) -> Markup {
    html! {
        div id="dead" {
            @if watch.dead.is_empty() { (layout::empty("No dead jobs", "A job that fails comes again, with growing pauses, before it lies here.")) }
            ul.plain.rows {
                @for job in &watch.dead {
                    @let owner = [job.customer.as_deref(), job.msp.as_deref()].into_iter().flatten().collect::<Vec<_>>().join(" of ");
                    li {
                        div {
                            strong { (job.kind) } @if !owner.is_empty() { " · " (owner) }
                            p.hint { (instant(job.died_at)) " · after " (format::counted(i64::from(job.attempt), "attempt", "attempts")) " · " (job.id) }
                            p { (job.error) }
                        }
                        @if visitor.may(Permission::InstallationWrite) {
                            form method="post" action="/operations" {
                                input type="hidden" name="csrf" value=(visitor.csrf_token());
                                input type="hidden" name="action" value="retry";
                                input type="hidden" name="id" value=(job.id);
                                button type="submit" aria-label={ "Retry " (job.kind) " " (job.id) } { "Retry" }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn jobs(watch: &Watch) -> Markup {
    let tone = |state: &str| match state {
        "dead" => "bad",
        "running" => "good",
        _ => "plain",
    };
    let row = |count: &granary_tenants::JobCount| {
        vec![
            html! { (count.kind) },
            layout::chip(tone(&count.state), &count.state),
            html! { (format::count(count.jobs)) },
            html! { (instant(count.oldest_at)) },
        ]
    };
    let rows: Vec<_> = watch.jobs.iter().map(row).collect();
    table("jobs", "Jobs", &["Kind", "State", "Jobs", "Oldest"], &rows, ("No jobs", "Everything that was queued is done."))
}

fn nights(watch: &Watch) -> Markup {
    let row = |night: &granary_tenants::LastNight| {
        let ended = night.night_on.map(|_| instant(night.ended_at));
        vec![
            html! { (night.msp) },
            html! { (night.night_on.map_or_else(|| "none yet".to_owned(), |night_on| night_on.to_string())) },
            html! { (ended.unwrap_or_else(|| "–".to_owned())) },
            html! { (format::count(night.owners)) },
            html! { @if night.failed > 0 { (layout::chip("bad", &night.failed.to_string())) } @else { "0" } },
        ]
    };
    let rows: Vec<_> = watch.nights.iter().map(row).collect();
    let nothing = ("No MSP yet", "Add one with granary msp add.");
    table("nights", "Nights", &["MSP", "Night", "Ended", "Exported", "Failed"], &rows, nothing)
}

fn queues(watch: &Watch) -> Markup {
    let outboxes = watch.clusters.iter().map(|cluster| {
        let (waiting, oldest) = match &cluster.seen {
            Ok(outbox) => (html! { (format::count(outbox.waiting)) }, outbox.oldest_at),
            Err(_) => (layout::chip("bad", "does not answer"), None),
        };
        (format!("outbox of {}", cluster.name), waiting, oldest)
    });
    let mails =
        watch.mails.iter().map(|count| (format!("mails {}", count.state), html! { (format::count(count.mails)) }, Some(count.oldest_at)));
    let row = |(name, waiting, oldest): (String, Markup, Option<Timestamp>)| {
        vec![html! { (name) }, waiting, html! { (oldest.map_or_else(|| "–".to_owned(), instant)) }]
    };
    let rows: Vec<_> = outboxes.chain(mails).map(row).collect();
    table("queues", "Queues", &["Queue", "Messages", "Oldest"], &rows, ("No queues", ""))
}

fn schemas(watch: &Watch) -> Markup {
    let schemas = watch.schemas;
    let counted = [
        ("At this program's version", schemas.current),
        ("Older: granary migrate", schemas.behind),
        ("Could not be migrated", schemas.failed),
        ("Changed by hand", schemas.drifted),
    ];
    html! {
        dl.sum id="schemas" { @for (words, schemas) in counted { div { dt { (words) } dd { (format::count(schemas)) } } } }
    }
}

fn troubles(watch: &Watch) -> Markup {
    let row = |trouble: &granary_tenants::Trouble| {
        vec![
            html! { (trouble.customer) " of " (trouble.msp) },
            layout::chip("bad", &trouble.kind.as_str().replace('_', " ")),
            html! { (instant(trouble.since_at)) },
            html! { (trouble.detail) },
            html! { (trouble.remedy()) },
        ]
    };
    let rows: Vec<_> = watch.troubles.iter().map(row).collect();
    let nothing = ("Nobody", "Failed migrations, exports, moves and operations stand here.");
    table("troubles", "Customers in trouble", &["Customer", "What", "Since", "Found", "Remedy"], &rows, nothing)
}
