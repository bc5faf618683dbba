//! Page 1: am I protected, what was agreed and delivered, the last restore.

use granary_reports::MonthlyReport;
use granary_reports::charts::{ChartSpec, Form, Unit};
use granary_reports::monthly::{RestoreLevel, SupportLevel};
use serde::Serialize;

use super::{FULL_WIDTH, Picture, Tone};
use crate::words::{self, Pen};

/// How many machines without a restore point fit on the first page; all stand in the annex.
const MOST_AT_RISK: usize = 8;

#[derive(Debug, Serialize)]
pub(super) struct ProtectionView {
    tone: Tone,
    headline: String,
    detail: String,
    figures: Vec<Figure>,
    at_risk: Vec<[String; 4]>,
    at_risk_more: Option<String>,
    levels: Vec<Level>,
    nights: Picture,
    restore: String,
}

/// A number in a box.
#[derive(Debug, Serialize)]
struct Figure {
    label: &'static str,
    value: String,
    note: String,
    tone: Tone,
}

/// A row of the table of service levels.
#[derive(Debug, Serialize)]
struct Level {
    name: &'static str,
    detail: String,
    target: String,
    actual: String,
    result: String,
    tone: Tone,
}

impl ProtectionView {
    pub(super) fn of(report: &MonthlyReport, pen: &Pen<'_>) -> Self {
        let (tone, headline, detail) = verdict(report);
        let at_risk = &report.protection.at_risk;
        let rows = at_risk.iter().take(MOST_AT_RISK).map(|machine| {
            let last = machine.last_good_at.map_or_else(|| "none".to_owned(), |at| pen.instant(at));
            [pen.text(&machine.name), words::tier(machine.tier).to_owned(), last, words::risk(machine)]
        });
        let more = at_risk.len().saturating_sub(MOST_AT_RISK) as u64;
        Self {
            tone,
            headline,
            detail,
            figures: vec![machines(report), backup(report), runs(report), restore_figure(report, pen)],
            at_risk: rows.collect(),
            at_risk_more: (more > 0)
                .then(|| format!("and {}; the annex lists every machine", words::counted(more, "more machine", "more machines"))),
            levels: levels(report),
            nights: nights(report),
            restore: restore(report, pen),
        }
    }
}

fn verdict(report: &MonthlyReport) -> (Tone, String, String) {
    let protection = &report.protection;
    let (all, risk) = (protection.machines_protected, protection.at_risk.len() as u64);
    let idle = match protection.machines_discovered_only {
        0 => String::new(),
        idle => format!(" {} known and not protected.", words::counted(idle, "more machine is", "more machines are")),
    };
    let age = words::counted(protection.rpo_hours.into(), "hour", "hours");
    match (all, risk) {
        (0, _) => {
            (Tone::Plain, "No machine is under protection.".to_owned(), format!("Nothing could be restored from this service.{idle}"))
        }
        (1, 0) => (Tone::Good, "The protected machine has a good restore point.".to_owned(), format!("It is younger than {age}.{idle}")),
        (all, 0) => {
            let all = words::counted(all, "", "").trim_end().to_owned();
            (Tone::Good, format!("All {all} protected machines have a good restore point."), format!("Each is younger than {age}.{idle}"))
        }
        (all, risk) => {
            let machines = words::counted(all, "protected machine has", "protected machines have");
            let headline = format!("{} of {machines} no good restore point.", words::counted(risk, "", "").trim_end());
            (
                Tone::Bad,
                headline,
                format!("A good restore point is younger than {age}; the machines and the reasons are listed below.{idle}"),
            )
        }
    }
}

fn machines(report: &MonthlyReport) -> Figure {
    let protection = &report.protection;
    let count = |count: u64| words::counted(count, "", "").trim_end().to_owned();
    let value = format!("{} of {}", count(protection.machines_safe()), count(protection.machines_protected));
    let (value, tone) = match (protection.machines_protected, protection.at_risk.len()) {
        (0, _) => ("None".to_owned(), Tone::Plain),
        (_, 0) => (value, Tone::Good),
        _ => (value, Tone::Bad),
    };
    Figure { label: "Protected machines", value, note: "with a good restore point".to_owned(), tone }
}

fn backup(report: &MonthlyReport) -> Figure {
    let level = &report.service_levels.backup;
    let (value, tone, word) = match (level.percent(), level.is_met()) {
        (Some(percent), Some(true)) => (Unit::Percent.format(percent), Tone::Good, "met"),
        (Some(percent), _) => (Unit::Percent.format(percent), Tone::Bad, "missed"),
        (None, _) => ("–".to_owned(), Tone::Plain, "nothing was scheduled"),
    };
    Figure { label: "Backup service level", value, note: format!("target {}: {word}", Unit::Percent.format(level.target_percent)), tone }
}

fn runs(report: &MonthlyReport) -> Figure {
    let runs = report.service_levels.runs;
    let value = runs.success_percent().map_or_else(|| "–".to_owned(), |percent| Unit::Percent.format(percent));
    let note = format!("{}, {} failed", words::counted(runs.total(), "run", "runs"), words::counted(runs.failed, "", "").trim_end());
    Figure { label: "Run success", value, note, tone: Tone::Plain }
}

fn restore_figure(report: &MonthlyReport, pen: &Pen<'_>) -> Figure {
    let (value, note, tone) = match &report.last_restore {
        None => ("None this month".to_owned(), "so no restore was measured".to_owned(), Tone::Plain),
        Some(restore) => {
            let day = words::short_day(restore.ended_at.to_zoned(pen.zone.clone()).date());
            let (word, tone) = if restore.has_succeeded { ("in", Tone::Plain) } else { ("failed after", Tone::Bad) };
            (day, format!("{} {word} {}", words::restore_kind(restore.kind), Unit::Minutes.format(restore.duration_minutes)), tone)
        }
    };
    Figure { label: "Last restore", value, note, tone }
}

fn levels(report: &MonthlyReport) -> Vec<Level> {
    let levels = &report.service_levels;
    let backup = &levels.backup;
    let (result, tone) = match backup.is_met() {
        Some(true) => ("met", Tone::Good),
        Some(false) => ("missed", Tone::Bad),
        None => ("nothing scheduled", Tone::Plain),
    };
    let days = |count: u64| words::counted(count, "", "").trim_end().to_owned();
    let mut rows = vec![
        Level {
            name: "Backup",
            detail: format!(
                "{} of {} had a restore point younger than {}",
                days(backup.machine_days_met),
                words::counted(backup.machine_days_scheduled, "machine-day", "machine-days"),
                words::counted(report.protection.rpo_hours.into(), "hour", "hours")
            ),
            target: Unit::Percent.format(backup.target_percent),
            actual: backup.percent().map_or_else(|| "–".to_owned(), |percent| Unit::Percent.format(percent)),
            result: result.to_owned(),
            tone,
        },
        restore_level(levels.restore),
        support_level(levels.support),
    ];
    if let Some(uptime) = levels.uptime_percent {
        rows.push(Level {
            name: "Uptime",
            detail: "signs of life received from the backup system".to_owned(),
            target: "–".to_owned(),
            actual: Unit::Percent.format(uptime),
            result: "for information".to_owned(),
            tone: Tone::Plain,
        });
    }
    rows
}

fn restore_level(level: RestoreLevel) -> Level {
    let time = |minutes: Option<i64>| minutes.map_or_else(|| "–".to_owned(), |minutes| Unit::Minutes.format(minutes));
    let (result, tone) = match level.is_met {
        None if level.failed == 0 => ("none this month", Tone::Plain),
        Some(true) => ("met", Tone::Good),
        _ => ("missed", Tone::Bad),
    };
    let restores = words::counted(level.completed, "restore", "restores");
    let detail = match (level.completed, level.failed) {
        (0, 0) => "no restore was asked for".to_owned(),
        (0, failed) => words::counted(failed, "restore failed", "restores failed"),
        (_, 0) => format!("{restores}, half of them within {}", time(level.median_minutes)),
        (_, failed) => format!("{restores}, half of them within {}; {failed} failed", time(level.median_minutes)),
    };
    let (target, actual) = (Unit::Minutes.format(level.target_minutes), time(level.p95_minutes));
    Level { name: "Restore time, p95", detail, target, actual, result: result.to_owned(), tone }
}

fn support_level(level: SupportLevel) -> Level {
    let due = level.answered_in_time + level.missed;
    let (result, tone) = match (due, level.missed) {
        (0, _) => ("none this month".to_owned(), Tone::Plain),
        (_, 0) => ("all in time".to_owned(), Tone::Good),
        (_, missed) => (format!("{missed} late"), Tone::Fair),
    };
    let median = level.median_minutes.map_or_else(String::new, |median| format!(", half of them within {}", Unit::Minutes.format(median)));
    Level {
        name: "Support, first answer",
        detail: if due == 0 { "no answer was due".to_owned() } else { format!("{}{median}", words::counted(due, "answer", "answers")) },
        target: Unit::Minutes.format(level.target_minutes),
        actual: level.percent().map_or_else(|| "–".to_owned(), |percent| format!("{} in time", Unit::Percent.format(percent))),
        result,
        tone,
    }
}

fn nights(report: &MonthlyReport) -> Picture {
    let level = &report.service_levels.backup;
    let points = level.days.iter().map(|(day, percent)| (day.day().to_string(), *percent));
    let spec =
        ChartSpec::new("nights", "Service level night by night", Unit::Percent, Form::HeatStrip, points).with_target(level.target_percent);
    let met = level.days.iter().filter(|(_, percent)| percent.is_some_and(|percent| percent >= level.target_percent)).count();
    let known = level.days.iter().filter(|(_, percent)| percent.is_some()).count();
    let alt = format!("Service level night by night: {met} of {known} nights reached {}", Unit::Percent.format(level.target_percent));
    Picture::draw(&spec, report.msp.color, FULL_WIDTH).with_alt(alt)
}

fn restore(report: &MonthlyReport, pen: &Pen<'_>) -> String {
    let Some(restore) = &report.last_restore else {
        return "None this month. Nothing was restored, not even as a test, so this report cannot say how long a restore would take."
            .to_owned();
    };
    let what = restore.machine.as_ref().map_or_else(String::new, |machine| format!(" of {}", pen.text(machine)));
    let outcome = if restore.has_succeeded { "completed" } else { "failed" };
    let time = Unit::Minutes.format(restore.duration_minutes);
    let target = Unit::Minutes.format(report.service_levels.restore.target_minutes);
    let size =
        if restore.restored_bytes > 0 { format!(", {} restored", Unit::Bytes.format(restore.restored_bytes)) } else { String::new() };
    let kind = words::restore_kind(restore.kind);
    format!("{}: {kind}{what}, {outcome} after {time} (target {target}){size}.", pen.instant(restore.ended_at))
}
