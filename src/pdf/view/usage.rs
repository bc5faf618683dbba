//! Page 2: what was used, this month and before.

use granary_reports::MonthlyReport;
use granary_reports::charts::{ChartSpec, Form, SeriesRole, Unit};
use granary_reports::monthly::MonthUsage;
use granary_types::Period;
use serde::Serialize;

use super::{FULL_WIDTH, HALF_WIDTH, Picture};
use crate::words;

#[derive(Debug, Serialize)]
pub(super) struct UsageView {
    before: String,
    limits: Option<Picture>,
    machines: Picture,
    storage: Picture,
    transferred: Picture,
    tickets: Picture,
    rows: Vec<[String; 4]>,
    tickets_sentence: String,
}

impl UsageView {
    pub(super) fn of(report: &MonthlyReport) -> Self {
        let months = &report.usage.months;
        let brand = report.msp.color;
        let points = |value: fn(&MonthUsage) -> i64| months.iter().map(move |month| (words::short_month(month.period), Some(value(month))));
        let machines = ChartSpec::new("machines", "Machines by tier", Unit::Count, Form::StackedBar, points(|month| month.machines_backup))
            .named("Backup")
            .with_series("Enterprise", SeriesRole::Current, months.iter().map(|month| Some(month.machines_enterprise)).collect())
            .with_series("Replication", SeriesRole::Current, months.iter().map(|month| Some(month.machines_replication)).collect());
        let mut storage = ChartSpec::new("storage", "Average stored", Unit::Bytes, Form::Area, points(|month| month.stored_bytes_average))
            .named("Stored");
        if let Some(limit) = report.usage.storage_limit_bytes {
            storage = storage.with_limit(limit);
        }
        let transferred = ChartSpec::new("transferred", "Transferred", Unit::Bytes, Form::Bar, points(|month| month.transferred_bytes));
        let tickets = ChartSpec::new("tickets", "Tickets opened", Unit::Count, Form::Bar, points(|month| month.tickets_opened));
        Self {
            before: words::month(report.period.previous()),
            limits: limits(report),
            machines: Picture::draw(&machines, brand, HALF_WIDTH).with_alt(machines_alt(months)),
            storage: Picture::draw(&storage, brand, HALF_WIDTH),
            transferred: Picture::draw(&transferred, brand, HALF_WIDTH),
            tickets: Picture::draw(&tickets, brand, HALF_WIDTH),
            rows: rows(report),
            tickets_sentence: tickets_sentence(report),
        }
    }
}

fn month(report: &MonthlyReport, period: Period) -> Option<&MonthUsage> {
    report.usage.months.iter().find(|month| month.period == period)
}

fn machines_alt(months: &[MonthUsage]) -> String {
    months.last().map_or_else(
        || "Machines by tier: no data".to_owned(),
        |last| {
            format!(
                "Machines by tier over {}; at the end {} backup, {} enterprise, {} replication",
                words::counted(months.len() as u64, "month", "months"),
                last.machines_backup,
                last.machines_enterprise,
                last.machines_replication
            )
        },
    )
}

fn limits(report: &MonthlyReport) -> Option<Picture> {
    let now = month(report, report.period)?;
    let storage =
        report.usage.storage_limit_bytes.map(|limit| ("Storage, average of the month", now.stored_bytes_average, limit, Unit::Bytes));
    let (name, value, limit, unit) = storage?;
    let spec = ChartSpec::new("limits", "Storage against limit", unit, Form::Meter, [(name.to_owned(), Some(value))]).with_series(
        "Limit",
        SeriesRole::Current,
        vec![Some(limit)],
    );
    let alt = format!("Average stored {} of {} agreed", unit.format(value), unit.format(limit));
    Some(Picture::draw(&spec, report.msp.color, FULL_WIDTH).with_alt(alt))
}

fn rows(report: &MonthlyReport) -> Vec<[String; 4]> {
    let (now, before) = (month(report, report.period), month(report, report.period.previous()));
    let row = |name: &str, unit: Unit, value: fn(&MonthUsage) -> i64| {
        let (now, before) = (now.map(value), before.map(value));
        let written = |value: Option<i64>| value.map_or_else(|| "–".to_owned(), |value| unit.format(value));
        let difference = match (now, before) {
            (Some(now), Some(before)) => match now.saturating_sub(before) {
                0 => "unchanged".to_owned(),
                more if more > 0 => format!("+{}", unit.format(more)),
                less => format!("−{}", unit.format(less.saturating_neg())),
            },
            _ => "–".to_owned(),
        };
        [name.to_owned(), written(now), written(before), difference]
    };
    vec![
        row("Machines, backup", Unit::Count, |month| month.machines_backup),
        row("Machines, enterprise", Unit::Count, |month| month.machines_enterprise),
        row("Machines, replication", Unit::Count, |month| month.machines_replication),
        row("Runs completed", Unit::Count, |month| signed(month.runs.completed)),
        row("Runs completed with warning", Unit::Count, |month| signed(month.runs.with_warning)),
        row("Runs failed", Unit::Count, |month| signed(month.runs.failed)),
        row("Stored, average", Unit::Bytes, |month| month.stored_bytes_average),
        row("Transferred", Unit::Bytes, |month| month.transferred_bytes),
        row("Tickets opened", Unit::Count, |month| month.tickets_opened),
    ]
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn tickets_sentence(report: &MonthlyReport) -> String {
    let tickets = report.tickets;
    if tickets.opened == 0 {
        return "No ticket was opened this month.".to_owned();
    }
    let rating = tickets
        .rating_average
        .map_or_else(String::new, |rating| format!(" Answers were rated {}.{:02} of 5 on average.", rating / 100, rating % 100));
    let number = |count: u64| words::counted(count, "", "").trim_end().to_owned();
    format!(
        "{} this month, {} answered and {} closed so far.{rating}",
        words::counted(tickets.opened, "ticket was opened", "tickets were opened"),
        number(tickets.answered),
        number(tickets.closed)
    )
}
