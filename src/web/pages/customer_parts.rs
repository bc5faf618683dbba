//! The parts of a customer's page that its own people see as well: drawn from the same data as the monthly report.

use granary_reports::MonthlyReport;
use granary_reports::charts::{ChartSpec, Form, SeriesRole, Unit};
use granary_reports::monthly::{BackupLevel, RiskReason};
use granary_types::Tier;
use jiff::tz::TimeZone;
use maud::{Markup, html};

use crate::{format, layout};

/// Whether the target was met, in a word.
pub(crate) fn target(level: &BackupLevel) -> Markup {
    let words = format::percent_of_basis(level.target_percent);
    html! {
        @match level.is_met() {
            Some(true) => { (layout::chip("good", "met")) " target " (words) }
            Some(false) => { (layout::chip("bad", "missed")) " target " (words) }
            None => { "nothing was scheduled" }
        }
    }
}

/// A cell per day.
pub(crate) fn service_strip(report: &MonthlyReport) -> Markup {
    let level = &report.service_levels.backup;
    let days = level.days.iter().map(|(day, share)| (format::short_day(*day), *share));
    let spec =
        ChartSpec::new("days", "Backup service level by day", Unit::Percent, Form::HeatStrip, days).with_target(level.target_percent);
    layout::chart(&spec)
}

/// What is stored, against the limit, and how it grew.
pub(crate) fn storage(report: &MonthlyReport) -> Markup {
    let now = report.usage.months.iter().find(|month| month.period == report.period).map_or(0, |month| month.stored_bytes_average);
    if report.usage.months.iter().all(|month| month.stored_bytes_average == 0) {
        return layout::empty("Nothing stored yet", "The figure appears with the first sample of a repository.");
    }
    let points = report.usage.months.iter().map(|month| (format::short_month(month.period), Some(month.stored_bytes_average)));
    let mut spec = ChartSpec::new("storage", "Average stored", Unit::Bytes, Form::Area, points);
    if let Some(limit) = report.usage.storage_limit_bytes {
        spec = spec.with_target(limit);
    }
    html! {
        @if let Some(limit) = report.usage.storage_limit_bytes.filter(|limit| *limit > 0) {
            @let share = format::per_mille(now, limit).unwrap_or(0);
            @let tone = match share { ..800 => "good", 800..1_000 => "warn", _ => "bad" };
            div.pair {
                div { strong { (format::bytes(now)) } span.soft { "of " (format::bytes(limit)) } }
                (layout::bar(tone, share))
                div { span {} (layout::chip(tone, &format::percent(now, limit))) }
            }
        } @else {
            div.pair { div { strong { (format::bytes(now)) } span.soft { "no limit agreed" } } }
        }
        (layout::chart(&spec))
    }
}

/// Machines by tier and month.
pub(crate) fn machine_trend(report: &MonthlyReport) -> Markup {
    let months = &report.usage.months;
    let points = months.iter().map(|month| (format::short_month(month.period), Some(month.machines_backup)));
    let spec = ChartSpec::new("machines", "Machines by tier", Unit::Count, Form::StackedBar, points)
        .named("backup")
        .with_series("enterprise", SeriesRole::Current, months.iter().map(|month| Some(month.machines_enterprise)).collect())
        .with_series("replication", SeriesRole::Current, months.iter().map(|month| Some(month.machines_replication)).collect());
    layout::chart(&spec)
}

/// Runs, restores, support, uptime.
pub(crate) fn service(report: &MonthlyReport) -> Markup {
    let levels = &report.service_levels;
    let dash = || "–".to_owned();
    html! {
        dl.sum {
            div {
                dt { "Run success" br; small { (format::count(signed(levels.runs.total()))) " runs, " (levels.runs.with_warning) " with a warning, " (levels.runs.failed) " failed" } }
                dd { (levels.runs.success_percent().map_or_else(dash, format::percent_of_basis)) }
            }
            div {
                dt { "Restores" br; small { "target " (format::minutes(levels.restore.target_minutes)) } }
                dd {
                    @match levels.restore.median_minutes {
                        Some(median) => { (levels.restore.completed) ", median " (format::minutes(median)) }
                        None => { "none this month" }
                    }
                }
            }
            div {
                dt { "Support answered in time" br; small { "target " (format::minutes(levels.support.target_minutes)) } }
                dd {
                    @match levels.support.percent() {
                        Some(share) => { (format::percent_of_basis(share)) " of " (levels.support.answered_in_time + levels.support.missed) }
                        None => { "no tickets" }
                    }
                }
            }
            div { dt { "Uptime" br; small { "heartbeats received" } } dd { (levels.uptime_percent.map_or_else(dash, format::percent_of_basis)) } }
            @if let Some(month) = report.usage.months.last() {
                div { dt { "Transferred" } dd { (format::bytes(month.transferred_bytes)) } }
            }
        }
    }
}

/// Machines that could not be restored to a recent state.
pub(crate) fn at_risk(report: &MonthlyReport) -> Markup {
    let zone = TimeZone::get(&report.customer.time_zone).unwrap_or(TimeZone::UTC);
    html! {
        div.scroll tabindex="0" role="region" aria-label="Machines without a good restore point" {
            table {
                thead { tr { th scope="col" { "Machine" } th scope="col" { "Tier" } th scope="col" { "Last good restore point" } th scope="col" { "Why" } } }
                tbody {
                    @for machine in &report.protection.at_risk {
                        tr {
                            th scope="row" { (machine.name) }
                            td { (tier(Some(machine.tier))) }
                            td.whole { (machine.last_good_at.map_or_else(|| "never".to_owned(), |at| format::instant(at, &zone))) }
                            td { (reason(machine.reason)) }
                        }
                    }
                }
            }
        }
    }
}

fn reason(reason: RiskReason) -> String {
    match reason {
        RiskReason::NeverRan => "no backup was ever completed".to_owned(),
        RiskReason::Failing { runs_failed } => format!("failing: {}", format::counted(signed(runs_failed), "failed run", "failed runs")),
        RiskReason::Silent => "no run since".to_owned(),
    }
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn tier(tier: Option<Tier>) -> Markup {
    html! { @match tier { Some(tier) => { span class={ "swatch " (tier) } {} (tier) } None => { span.soft { "not billed" } } } }
}

/// Every machine of the month; a long list is opened on demand.
pub(crate) fn machines(report: &MonthlyReport) -> Markup {
    let zone = TimeZone::get(&report.customer.time_zone).unwrap_or(TimeZone::UTC);
    if report.machines.is_empty() {
        let what = format!("No machines in {}", format::month(report.period));
        return layout::empty(&what, "A machine is listed from the first event on that names it.");
    }
    let table = html! {
        div.scroll tabindex="0" role="region" aria-label="Machines" {
            table {
                thead {
                    tr {
                        th scope="col" { "Machine" } th scope="col" { "Tier" } th scope="col" { "First day" } th scope="col" { "Last day" }
                        th.n scope="col" { "Runs" } th.n scope="col" { "Failed" } th scope="col" { "Last good restore point" }
                    }
                }
                tbody {
                    @for machine in &report.machines {
                        tr {
                            th scope="row" { (machine.name) }
                            td { @if machine.is_discovered_only { span.soft { "not protected" } } @else { (tier(machine.tier)) } }
                            td.whole { (machine.first_on.map_or_else(String::new, |day| day.to_string())) }
                            td.whole { (machine.last_on.map_or_else(String::new, |day| day.to_string())) }
                            td.n { (machine.runs.total()) }
                            td.n { (machine.runs.failed) }
                            td.whole { (machine.last_good_at.map_or_else(|| "never".to_owned(), |at| format::instant(at, &zone))) }
                        }
                    }
                }
            }
        }
    };
    if report.machines.len() <= 25 {
        table
    } else {
        html! { details { summary { "Show all " (report.machines.len()) " machines" } (table) } }
    }
}
