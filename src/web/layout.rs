//! The frame of every page, and the parts that pages are made of.

use axum::response::Html;
use granary_access::Permission;
use granary_types::{Period, Role};
use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::assets;
use crate::format;
use crate::http::Visitor;

/// Where in the navigation a page stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Overview,
    Customers,
    Alerts,
    Invoices,
    Reconciliation,
    Warehouse,
    People,
    ApiKeys,
    Audit,
    Operations,
    Elsewhere,
}

/// A page around its body.
pub(crate) fn page(visitor: &Visitor, place: Place, title: &str, body: &Markup) -> Html<String> {
    let name = visitor.msp.as_ref().map_or("Granary", |msp| msp.name.as_str());
    let brand = visitor.msp.as_ref().map(|msp| msp.brand_color.trim_start_matches('#').to_owned());
    let content = html! {
        a.skip href="#main" { "Skip to the content" }
        header.top {
            div.top-in {
                a.brand href="/" { (mark()) span { (name) } }
                nav.nav aria-label="Main" {
                    @for (entry, href, words) in entries(visitor) {
                        a href=(href) aria-current=[(entry == place).then_some("page")] {
                            (words)
                            @if entry == Place::Alerts && visitor.critical_alerts > 0 {
                                " " span class="chip bad" { (visitor.critical_alerts) span.unseen { " open and critical" } }
                            }
                        }
                    }
                }
                div.who {
                    a.me href="/account" title=(role_words(visitor.principal.role())) { (visitor.principal.name()) }
                    button.quiet type="button" data-theme-switch hidden aria-label="Switch between light and dark" { (theme_mark()) }
                    form method="post" action="/logout" {
                        input type="hidden" name="csrf" value=(visitor.csrf_token());
                        button.quiet type="submit" { "Sign out" }
                    }
                }
            }
        }
        main id="main" tabindex="-1" { (body) }
    };
    Html(document(&format!("{title} · {name}"), brand.as_deref(), None, &content).into_string())
}

fn entries(visitor: &Visitor) -> Vec<(Place, &'static str, &'static str)> {
    let all = [
        (Place::Overview, "/", "Overview", Permission::PortfolioRead),
        (Place::Overview, "/", "Installation", Permission::InstallationRead),
        (Place::Operations, "/operations", "Operations", Permission::InstallationRead),
        (Place::Customers, "/customers", "Customers", Permission::PortfolioRead),
        (Place::Alerts, "/alerts", "Alerts", Permission::PortfolioRead),
        (Place::Invoices, "/invoices", "Invoices", Permission::InvoiceRead),
        (Place::Reconciliation, "/reconciliation", "Reconciliation", Permission::ReconciliationRead),
        (Place::Warehouse, "/warehouse", "Warehouse", Permission::Sql),
        (Place::People, "/people", "People", Permission::UserWrite),
        (Place::ApiKeys, "/api-keys", "API keys", Permission::KeyWrite),
        (Place::Audit, "/audit", "Audit", Permission::AccessRead),
    ];
    all.into_iter().filter(|entry| visitor.may(entry.3)).map(|(place, href, words, _)| (place, href, words)).collect()
}

pub(crate) const fn role_words(role: Role) -> &'static str {
    match role {
        Role::OperatorAdmin => "Operator",
        Role::MspAdmin => "Administrator",
        Role::MspOperator => "Operations",
        Role::MspAnalyst => "Analyst",
        Role::MspFinance => "Finance",
        Role::CustomerAdmin => "Administrator of a customer",
        Role::CustomerBilling => "Billing of a customer",
        Role::CustomerViewer => "Reader of a customer",
    }
}

/// A page for everybody, signed in or not.
pub(crate) fn open_page(title: &str, body: &Markup) -> Html<String> {
    let content = html! {
        a.skip href="#main" { "Skip to the content" }
        header.top {
            div.top-in {
                a.brand href="/" { (mark()) span { "Granary" } }
                div.who {
                    button.quiet type="button" data-theme-switch hidden aria-label="Switch between light and dark" { (theme_mark()) }
                }
            }
        }
        main id="main" tabindex="-1" { (body) }
    };
    Html(document(&format!("{title} · Granary"), None, None, &content).into_string())
}

/// A page with one thing in the middle.
pub(crate) fn centred(title: &str, refresh_seconds: Option<u32>, body: &Markup) -> Markup {
    let refresh = refresh_seconds.map(|seconds| seconds.to_string());
    document(title, None, refresh.as_deref(), &html! { main.centre id="main" { (body) } })
}

/// A page that leads to another site by itself: forms of ours may not, and are not to.
pub(crate) fn departing(title: &str, url: &str, body: &Markup) -> Markup {
    document(title, None, Some(&format!("0; url={url}")), &html! { main.centre id="main" { (body) } })
}

/// What a form had to say: that it was done, or why it was not.
pub(crate) fn said(outcome: Option<Result<&str, &str>>) -> Markup {
    match outcome {
        Some(Ok(words)) => html! { p.notice role="status" { (words) } },
        Some(Err(words)) => html! { p.alert role="alert" { (sentence(words)) } },
        None => html! {},
    }
}

/// The page of a failure.
pub(crate) fn problem(status: u16, title: &str, detail: &str, request_id: &str) -> Markup {
    let body = html! {
        div.panel.wide {
            p.soft { (status) " · " (title) }
            h1 { @if status == 404 { "Not found" } @else if status == 403 { "Not for this login" } @else { "That did not work" } }
            p { (sentence(detail)) }
            p { a.button href="/" { "Go to the start page" } }
            @if !request_id.is_empty() { small { "Request " code { (request_id) } } }
        }
    };
    centred(&format!("{title} · Granary"), None, &body)
}

fn document(title: &str, brand: Option<&str>, refresh: Option<&str>, content: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                @if let Some(refresh) = refresh { meta http-equiv="refresh" content=(refresh); }
                title { (title) }
                link rel="icon" type="image/svg+xml" href=(assets::href("icon.svg"));
                link rel="stylesheet" href=(assets::href("granary.css"));
                @if let Some(brand) = brand { link rel="stylesheet" href={ "/assets/brand/" (brand) ".css" }; }
                script type="module" src=(assets::href("granary.js")) {}
            }
            body { (content) }
        }
    }
}

/// The head of a page: where one is, its title, what one can do.
pub(crate) fn head(crumbs: &[(&str, &str)], title: &str, note: &Markup, actions: &Markup) -> Markup {
    html! {
        div.head {
            div {
                @if !crumbs.is_empty() {
                    nav.crumbs aria-label="Breadcrumb" { @for (href, words) in crumbs { a href=(href) { (words) } " / " } }
                }
                h1 { (title) }
                p.soft { (note) }
            }
            div.actions { (actions) }
        }
    }
}

/// The choice of a period; it lives in the address.
pub(crate) fn period_choice(periods: &[Period], chosen: Period, keep: &[(&str, &str)]) -> Markup {
    html! {
        form.inline-form method="get" data-auto {
            @for (name, value) in keep { input type="hidden" name=(name) value=(value); }
            label.unseen for="period" { "Period" }
            select id="period" name="period" {
                @for period in periods { option value=(period) selected[*period == chosen] { (format::month(*period)) } }
            }
            button type="submit" { "Show" }
        }
    }
}

/// A number that leads to its rows.
pub(crate) fn tile(label: &str, href: &str, value: &Markup, note: &Markup) -> Markup {
    html! {
        a.tile href=(href) {
            span.label { (label) }
            span.value { (value) }
            span.note { (note) }
        }
    }
}

/// A card with its heading; `note` says what the numbers are of.
pub(crate) fn card(width: &str, title: &str, note: &Markup, body: &Markup) -> Markup {
    html! {
        section class={ "card " (width) } {
            header { h2 { (title) } p { (note) } }
            (body)
        }
    }
}

/// A change of something that had better grow, in words and colour.
pub(crate) fn delta(change: Option<(String, i64)>, against: &str) -> Markup {
    let Some((text, size)) = change else { return html! {} };
    let (class, arrow) = match size.signum() {
        1 => ("good", "▲ "),
        -1 => ("bad", "▼ "),
        _ => ("flat", ""),
    };
    html! { span class={ "delta " (class) } { span aria-hidden="true" { (arrow) } (text) } " " (against) }
}

/// A word with its colour.
pub(crate) fn chip(tone: &str, words: &str) -> Markup {
    html! { span class={ "chip " (tone) } { (words) } }
}

/// A bar from 0 to 1,000.
pub(crate) fn bar(tone: &str, per_mille: i64) -> Markup {
    let width = per_mille.clamp(0, 1_000);
    html! {
        svg class={ "bar " (tone) } viewBox="0 0 1000 10" preserveAspectRatio="none" aria-hidden="true" {
            rect width=(width) height="10" {}
        }
    }
}

/// Says why there is nothing, and what would change that.
pub(crate) fn empty(what: &str, why: &str) -> Markup {
    html! { div.empty { strong { (what) } span { (why) } } }
}

/// A chart, rendered by the reports room.
pub(crate) fn chart(spec: &granary_reports::charts::ChartSpec) -> Markup {
    PreEscaped(granary_reports::charts::render(spec, granary_reports::charts::Target::Web))
}

/// Makes a sentence of an error's words.
pub(crate) fn sentence(words: &str) -> String {
    let mut chars = words.chars();
    let text: String = chars.next().into_iter().flat_map(char::to_uppercase).chain(chars).collect();
    if text.ends_with(['.', '!', '?']) { text } else { format!("{text}.") }
}

/// The mark of the house: a granary with its shelves.
pub(crate) fn mark() -> Markup {
    html! {
        svg viewBox="0 0 24 24" aria-hidden="true" {
            path fill="currentColor" d="M12 1.5 21.5 8v14.5h-19V8zM7 11v2h10v-2zm0 4v2h10v-2zm0 4v1.5h10V19z" fill-rule="evenodd" {}
        }
    }
}

fn theme_mark() -> Markup {
    html! {
        svg width="18" height="18" viewBox="0 0 24 24" aria-hidden="true" {
            path fill="currentColor" d="M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18m0 2v14a7 7 0 0 1 0-14" {}
        }
    }
}
