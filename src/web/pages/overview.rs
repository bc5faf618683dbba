//! The portfolio: what an MSP looks at in the morning.

use axum::response::Html;
use granary_access::Permission;
use granary_reports::charts::{ChartSpec, Form, SeriesRole, Unit};
use granary_types::Period;
use granary_warehouse::Session;
use maud::{Markup, html};
use serde::Deserialize;

use crate::http::{Problem, Visitor};
use crate::layout::{self, Place};
use crate::pages::portfolio::{HeadlineRow, Portfolio};
use crate::queries::{portfolio_queries as sql, rows};
use crate::{AppState, format, link};

/// The month that a page is asked for; the last one billed when none is named.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct PeriodQuery {
    #[serde(default)]
    pub(crate) period: Option<Period>,
}

#[derive(Debug, Deserialize)]
struct PeriodRow {
    period: Period,
    state: String,
}

/// Returns the months that were billed, the latest first, and the one that the address names, else the last
/// closed one: only a closed month has recurring revenue. None while no month was billed or named.
pub(crate) async fn chosen_period(session: &Session, query: &PeriodQuery) -> Result<Option<(Vec<Period>, Period)>, Problem> {
    let rows: Vec<PeriodRow> = rows(session, sql::BILLED_PERIODS).await?;
    let latest_closed = rows.iter().find(|row| row.state == "closed").map(|row| row.period);
    let mut periods: Vec<_> = rows.into_iter().map(|row| row.period).collect();
    let Some(chosen) = query.period.or(latest_closed).or(periods.first().copied()) else { return Ok(None) };
    if !periods.contains(&chosen) {
        periods.push(chosen);
        periods.sort_unstable_by(|one, other| other.cmp(one));
    }
    Ok(Some((periods, chosen)))
}

/// The page.
pub(crate) async fn show(app: &AppState, visitor: &Visitor, query: &PeriodQuery) -> Result<Html<String>, Problem> {
    let msp = visitor.msp()?;
    let session = app.warehouse.session(&visitor.principal.read_grant()?).await?;
    let Some((periods, period)) = chosen_period(&session, query).await? else {
        let body = nothing_yet("Overview", &msp.name, "Figures appear after the first month was closed and exported to the lake.");
        return Ok(layout::page(visitor, Place::Overview, "Overview", &body));
    };
    let portfolio = Portfolio::load(&session, visitor, period).await?;
    let note = html! {
        (format::month(period)) " · recurring revenue excludes tax · lake version " (session.version())
    };
    let body = html! {
        (layout::head(&[], "Overview", &note, &layout::period_choice(&periods, period, &[])))
        (tiles(&portfolio))
        div.grid {
            (layout::card("w-8", "Revenue", &html! { (format::counted(portfolio.trend.len() as i64, "month", "months")) ", excluding tax" }, &trend(&portfolio)))
            (charges(&portfolio, visitor))
            (layout::card("w-7", "Top customers", &html! { "by MRR" }, &top(&portfolio)))
            (layout::card("w-5", "Plan mix", &html! { "machines and their charges by tier" }, &mix(&portfolio)))
            @if visitor.may(Permission::IntelligenceRead) {
                (layout::card("w-7", "Churn risk", &html! { "notice within 90 days" }, &churn(&portfolio)))
                div.w-5.stack {
                    (layout::card("", "Health", &html! { "five factors, 0 to 100" }, &health(&portfolio)))
                    (layout::card("", "Service levels", &html! { "all customers together" }, &levels(&portfolio)))
                }
                (layout::card("", "Expansion opportunities", &html! { "per month, if taken" }, &expansion(&portfolio)))
            } @else {
                (layout::card("", "Service levels", &html! { "all customers together" }, &levels(&portfolio)))
            }
        }
    };
    Ok(layout::page(visitor, Place::Overview, "Overview", &body))
}

/// What a page says before the first month was billed, and what happens next.
pub(crate) fn nothing_yet(title: &str, note: &str, next: &str) -> Markup {
    html! {
        (layout::head(&[], title, &html! { (note) }, &html! {}))
        (layout::empty("Nothing has been billed yet", next))
    }
}

fn tiles(portfolio: &Portfolio) -> Markup {
    let (now, before) = (&portfolio.now, &portfolio.before);
    let currency = portfolio.currency;
    let period = portfolio.period;
    let machines = HeadlineRow::machines;
    let money = |minor: i64| html! { (format::amount(minor, currency)) span.unit { (currency) } };
    let since = |change| layout::delta(change, "to the month before");
    html! {
        div.tiles {
            (layout::tile("MRR", &link::rows("mrr", period), &money(now.mrr_minor), &since(format::growth(now.mrr_minor, before.mrr_minor))))
            @if let Some(rate) = &portfolio.run_rate {
                (layout::tile(
                    "Run rate",
                    &link::rows("run_rate", rate.period),
                    &money(rate.amount_minor),
                    &html! { (format::month(rate.period)) " so far " (layout::delta(format::growth(rate.amount_minor, now.billed_minor), "to the last bill")) },
                ))
            }
            (layout::tile(
                "Active customers",
                &link::rows("active_customers", period),
                &html! { (format::count(now.active_customers)) },
                &since(format::growth(now.active_customers, before.active_customers)),
            ))
            (layout::tile("Machines protected", &link::rows("machines", period), &html! { (format::count(machines(now))) }, &html! { (tiers(now)) }))
        }
    }
}

fn tiers(now: &HeadlineRow) -> Markup {
    html! {
        (format::count(now.machines_backup)) " backup · " (format::count(now.machines_enterprise)) " enterprise · "
        (format::count(now.machines_replication)) " replication"
    }
}

fn trend(portfolio: &Portfolio) -> Markup {
    let unit = Unit::Money(portfolio.currency);
    let points = portfolio.trend.iter().map(|row| (format::short_month(row.period), Some(row.mrr_minor)));
    let usage = portfolio.trend.iter().map(|row| Some(row.usage_revenue_minor)).collect();
    let links = portfolio.trend.iter().map(|row| link::rows("mrr", row.period)).collect();
    let spec = ChartSpec::new("revenue", "Recurring and usage revenue by month", unit, Form::StackedBar, points)
        .named("Recurring")
        .with_series("Usage", SeriesRole::Current, usage)
        .with_links(links);
    html! {
        (layout::chart(&spec))
        p { a href=(link::rows("mrr_movements", portfolio.period)) { "What moved the recurring revenue this month" } }
    }
}

/// The machine charges: what customers pay for machines, what the MSP pays, and what is left.
fn charges(portfolio: &Portfolio, visitor: &Visitor) -> Markup {
    let (period, currency) = (portfolio.period, portfolio.currency);
    let sum = &portfolio.charges;
    let line = |words: &str, view: &str, minor: i64| {
        html! { div { dt { (words) } dd { a.num-link href=(link::rows(view, period)) { (format::money(minor, currency)) } } } }
    };
    let body = html! {
        dl.sum {
            @if visitor.may(Permission::InvoiceRead) {
                (line("Machine lines, retail", "machine_lines", sum.retail_minor))
            } @else {
                div { dt { "Machine lines, retail" } dd { (format::money(sum.retail_minor, currency)) } }
            }
            @if let Some(cost) = &sum.cost {
                (line("Machine lines, wholesale", "wholesale_lines", cost.wholesale_minor))
                (line("Platform fee", "platform_fee", cost.fee_minor))
                @let margin = sum.retail_minor - cost.wholesale_minor - cost.fee_minor;
                div.total {
                    dt { "Margin after fee, " (format::percent(margin, sum.retail_minor)) }
                    dd { a.num-link href=(link::rows("margin", period)) { (format::money(margin, currency)) } }
                }
            }
            @if visitor.may(Permission::InvoiceRead) {
                (line("Other lines, retail", "other_lines", sum.all_minor - sum.retail_minor))
                (line("All lines, net", "charges", sum.all_minor))
            }
        }
    };
    layout::card("w-4", "Machine charges", &html! { (format::month(period)) }, &body)
}

fn top(portfolio: &Portfolio) -> Markup {
    let most = portfolio.top.first().map_or(0, |row| row.mrr_minor);
    html! {
        div.scroll tabindex="0" role="region" aria-label="Top customers" {
            table {
                thead { tr { th scope="col" { "Customer" } th.n scope="col" { "Machines" } th.n scope="col" { "MRR" } th scope="col" { span.unseen { "Share of the largest" } } } }
                tbody {
                    @for row in &portfolio.top {
                        tr {
                            th scope="row" { a href=(link::customer(row.customer_code.as_str(), portfolio.period)) { (row.customer_name) } }
                            td.n { (format::count(row.machines)) }
                            td.n { (format::money(row.mrr_minor, portfolio.currency)) }
                            td.fill { (layout::bar("", format::per_mille(row.mrr_minor, most).unwrap_or(0))) }
                        }
                    }
                }
            }
        }
        p { a href=(link::rows("mrr", portfolio.period)) { "All customers by MRR" } }
    }
}

fn mix(portfolio: &Portfolio) -> Markup {
    let total: i64 = portfolio.mix.iter().map(|row| row.amount_minor).sum();
    html! {
        ul.plain.rows {
            @for row in &portfolio.mix {
                @let href = format!("/explore?{}", link::query(&[("view", "machines"), ("period", &portfolio.period.to_string()), ("word", row.tier.as_str())]));
                li {
                    span { span class={ "swatch " (row.tier) } {} (row.tier) }
                    span.n { (format::money(row.amount_minor, portfolio.currency)) " " small { (format::percent(row.amount_minor, total)) } }
                    small { a.num-link href=(href) { (format::decimal(row.machines)) " machines" } }
                    span {}
                }
            }
        }
        (mix_strip(portfolio, total))
    }
}

/// The tiers' shares of the machine charges, side by side.
fn mix_strip(portfolio: &Portfolio, total: i64) -> Markup {
    let mut from = 0;
    let shares: Vec<_> = portfolio
        .mix
        .iter()
        .map(|row| {
            let share = format::per_mille(row.amount_minor, total).unwrap_or(0);
            from += share;
            (row.tier, from - share, share)
        })
        .collect();
    let words: Vec<_> = portfolio.mix.iter().map(|row| format!("{} {}", row.tier, format::percent(row.amount_minor, total))).collect();
    html! {
        svg.bar.mix viewBox="0 0 1000 10" preserveAspectRatio="none" role="img" aria-label={ "Machine charges: " (words.join(", ")) } {
            @for (tier, from, share) in shares {
                rect class=(tier) x=(from) width=(share) height="10" {}
            }
        }
    }
}

fn churn(portfolio: &Portfolio) -> Markup {
    if portfolio.churn.is_empty() {
        return layout::empty("No scores yet", "They are made every night after the first closed month.");
    }
    html! {
        ul.plain.rows {
            @for row in &portfolio.churn {
                li {
                    span { a href=(link::customer(row.customer_code.as_str(), portfolio.period)) { (row.customer_name) } }
                    span.n { (layout::chip(row.score.tone(), &row.score.words())) }
                    ul.reasons { @for reason in row.score.reasons() { li { (reason) } } }
                    small.n { (format::money(row.mrr_minor, portfolio.currency)) " MRR" }
                }
            }
        }
        @if let Some(first) = portfolio.churn.first() { p.soft { (first.score.sentence()) } }
        p { a href=(link::rows("churn", portfolio.period)) { "All customers by risk" } }
    }
}

/// The tone of a health band.
pub(crate) fn band_tone(band: &str) -> &'static str {
    match band {
        "healthy" => "good",
        "at_risk" => "warn",
        "critical" => "bad",
        _ => "",
    }
}

fn health(portfolio: &Portfolio) -> Markup {
    let all: i64 = portfolio.health.iter().map(|row| row.customers).sum();
    if all == 0 {
        return layout::empty("No scores yet", "They are made every night after the first closed month.");
    }
    html! {
        ul.plain.rows {
            @for row in &portfolio.health {
                @let href = format!("/explore?{}", link::query(&[("view", "health"), ("period", &portfolio.period.to_string()), ("word", &row.band)]));
                li {
                    span { (layout::chip(band_tone(&row.band), &row.band.replace('_', " "))) }
                    span.n { a.num-link href=(href) { (format::counted(row.customers, "customer", "customers")) } }
                    span.bar-row { (layout::bar(band_tone(&row.band), format::per_mille(row.customers, all).unwrap_or(0))) }
                    small.n { (format::percent(row.customers, all)) }
                }
            }
        }
    }
}

fn levels(portfolio: &Portfolio) -> Markup {
    let levels = &portfolio.levels;
    let href = link::rows("service_levels", portfolio.period);
    html! {
        dl.sum {
            div {
                dt { "Backup SLA" br; small { "machine-days with a restore point young enough" } }
                dd { a.num-link href=(href) { (format::level(levels.machine_days_met, levels.machine_days_scheduled)) } br; (met(levels.customers_met, levels.customers)) }
            }
            div { dt { "Run success" br; small { "after retries; a warning is a success" } } dd { a.num-link href=(href) { (format::share(levels.runs_succeeded, levels.runs_total)) } } }
            div { dt { "Restores" } dd { @if levels.restores == 0 { "none this month" } @else { a.num-link href=(href) { (format::count(levels.restores)) } } } }
            div { dt { "Support answered in time" } dd { @if levels.tickets == 0 { "no tickets" } @else { a.num-link href=(href) { (format::level(levels.tickets_in_target, levels.tickets)) } } } }
        }
    }
}

fn met(customers_met: i64, customers: i64) -> Markup {
    let words = format!("{} of {} customers at target", format::count(customers_met), format::count(customers));
    layout::chip(if customers_met == customers { "good" } else { "warn" }, &words)
}

fn expansion(portfolio: &Portfolio) -> Markup {
    if portfolio.expansion.is_empty() {
        return layout::empty("Nothing in sight", "Upgrades, trials and limits that come close are listed here.");
    }
    html! {
        ul.plain.rows.columns {
            @for row in &portfolio.expansion {
                li {
                    span { a href=(link::customer(row.customer_code.as_str(), portfolio.period)) { (row.customer_name) } }
                    span.n { "+ " (format::money(row.monthly_minor, portfolio.currency)) }
                    small { (row.words()) }
                    span {}
                }
            }
        }
        p {
            a href=(link::rows("expansion", portfolio.period)) { "All opportunities" }
            ", together " strong { (format::money(portfolio.expansion_minor, portfolio.currency)) } " per month"
        }
    }
}
