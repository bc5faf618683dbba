//! Documents as their readers get them. The PDFs stay in the target's `tmp` folder for whoever wants to look.
#![expect(clippy::unwrap_used, reason = "a report that does not render has failed")]

use std::num::NonZeroUsize;
use std::path::Path;

use granary_pdf::TypstRenderer;
use granary_reports::monthly::{
    BackupLevel, Brand, ChargeLine, Charges, MachineAtRisk, MachineMonth, MonthUsage, Protection, Recipient, Restore, RestoreKind,
    RestoreLevel, RiskReason, RunCounts, ServiceLevels, SupportLevel, Tickets, Usage, changes,
};
use granary_reports::{MonthlyReport, Renderer};
use granary_types::{Currency, Money, Period, Tier, line_amount};
use jiff::Timestamp;
use rust_decimal::Decimal;

const LOGO: &str = r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 120 32"><path d="M4 28V12l12-8 12 8v16h-8V16h-8v12z" fill="#0b6e4f"/><circle cx="16" cy="11" r="2.4" fill="#fff"/></svg>"##;

fn period() -> Period {
    "2025-10".parse().unwrap()
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn line(item: &str, description: &str, quantity: &str, price: &str) -> ChargeLine {
    let (quantity, unit_price): (Decimal, Decimal) = (quantity.parse().unwrap(), price.parse().unwrap());
    let amount = line_amount(quantity, unit_price, Currency::USD).unwrap();
    ChargeLine { item: item.into(), description: description.into(), quantity, unit_price, amount }
}

fn charges() -> Charges {
    let before = [
        line("machine_backup", "Machines, backup", "26", "10"),
        line("machine_enterprise", "Machines, enterprise", "12", "25"),
        line("machine_replication", "Machines, replication", "5", "100"),
        line("storage_overage", "Storage over the limit, GiB-months", "96.5", "0.10"),
    ];
    let lines = vec![
        line("machine_backup", "Machines, backup", "28", "10"),
        line("machine_enterprise", "Machines, enterprise", "13", "25"),
        line("machine_replication", "Machines, replication", "5", "100"),
        line("storage_overage", "Storage over the limit, GiB-months", "341.208", "0.10"),
        line("premium_support", "Premium support", "1", "79"),
    ];
    let sum = |lines: &[ChargeLine]| Money::new(lines.iter().map(|line| line.amount.amount_minor).sum(), Currency::USD);
    let (net, previous) = (sum(&lines), sum(&before));
    let tax = Money::new(net.amount_minor * 8 / 100, Currency::USD);
    Charges {
        invoice_number: Some("NORTH-000412".into()),
        is_draft: Some(false),
        due_on: Some("2025-12-03".parse().unwrap()),
        changes: changes(&before, &lines, Currency::USD),
        lines,
        net,
        tax,
        total: net.checked_add(tax).unwrap(),
        previous_net: Some(previous),
    }
}

fn months(net: Money) -> Vec<MonthUsage> {
    (0..13_i32)
        .map(|index| {
            let size = i64::from(index);
            let now = index == 12;
            MonthUsage {
                period: period().plus_months(index - 12),
                machines_backup: if now { 28 } else { 16 + size * 10 / 11 },
                machines_enterprise: if now { 13 } else { 7 + size * 5 / 11 },
                machines_replication: 3 + size * 2 / 11,
                runs: RunCounts {
                    completed: 1_180 + index as u64 * 22,
                    with_warning: 9 + index as u64 % 4,
                    failed: 4 + (index as u64 * 7) % 11,
                },
                stored_bytes_average: (1_050 + size * 108) << 30,
                transferred_bytes: (880 + (size * 137) % 260) << 30,
                tickets_opened: (size * 5) % 7,
                net_minor: Some(if now { net.amount_minor } else { 72_000 + size * 3_180 }),
            }
        })
        .collect()
}

fn machines(count: usize) -> Vec<MachineMonth> {
    let names = ["sql", "web", "file", "dc", "app", "mail", "erp", "backup-proxy"];
    (0..count)
        .map(|index| MachineMonth {
            name: format!("acme-{}-{:02}", names[index % names.len()], index / names.len() + 1),
            tier: Some([Tier::Backup, Tier::Backup, Tier::Enterprise, Tier::Backup, Tier::Replication][index % 5]),
            is_discovered_only: false,
            first_on: Some("2025-10-01".parse().unwrap()),
            last_on: Some("2025-10-31".parse().unwrap()),
            runs: RunCounts { completed: 30, with_warning: (index % 3) as u64, failed: (index % 7 == 3).into() },
            last_good_at: Some(at("2025-11-01T02:10:00Z")),
        })
        .collect()
}

fn at_risk() -> Vec<MachineAtRisk> {
    let machine =
        |name: &str, tier, last: Option<&str>, reason| MachineAtRisk { name: name.into(), tier, last_good_at: last.map(at), reason };
    vec![
        machine("acme-sql-03", Tier::Enterprise, Some("2025-10-27T03:40:00Z"), RiskReason::Failing { runs_failed: 4 }),
        machine("acme-file-02", Tier::Backup, Some("2025-10-22T02:12:00Z"), RiskReason::Silent),
        machine("acme-app-06", Tier::Backup, None, RiskReason::NeverRan),
    ]
}

fn service_levels() -> ServiceLevels {
    let share = |day: i8| match day {
        5 => Some(9_782),
        6 => Some(9_130),
        19 => None,
        28..=31 => Some(9_782),
        _ => Some(10_000),
    };
    ServiceLevels {
        backup: BackupLevel {
            target_percent: 9_950,
            machine_days_met: 1_409,
            machine_days_scheduled: 1_420,
            days: period().each_day().map(|day| (day, share(day.day()))).collect(),
        },
        runs: RunCounts { completed: 1_444, with_warning: 12, failed: 11 },
        restore: RestoreLevel {
            target_minutes: 240,
            completed: 2,
            failed: 0,
            is_met: Some(true),
            median_minutes: Some(48),
            p95_minutes: Some(72),
        },
        support: SupportLevel { target_minutes: 240, answered_in_time: 3, missed: 1, median_minutes: Some(65) },
        uptime_percent: Some(9_993),
    }
}

/// A customer with something on every page.
fn sample() -> MonthlyReport {
    let charges = charges();
    MonthlyReport {
        msp: Brand {
            name: "Northwind IT".into(),
            color: "#0b6e4f".parse().unwrap(),
            logo_svg: Some(LOGO.into()),
            time_zone: "America/New_York".into(),
        },
        customer: Recipient { code: "ACME".parse().unwrap(), name: "Acme Manufacturing".into(), time_zone: "America/Chicago".into() },
        period: period(),
        as_of: at("2025-11-01T04:00:00Z"),
        currency: Currency::USD,
        protection: Protection { machines_protected: 46, machines_discovered_only: 2, at_risk: at_risk(), rpo_hours: 24 },
        service_levels: service_levels(),
        last_restore: Some(Restore {
            ended_at: at("2025-10-21T16:22:00Z"),
            machine: Some("acme-sql-01".into()),
            kind: RestoreKind::FullVm,
            has_succeeded: true,
            duration_minutes: 72,
            restored_bytes: 412 << 30,
        }),
        usage: Usage { months: months(charges.net), storage_limit_bytes: Some(2_048 << 30), machine_limit: Some(60) },
        tickets: Tickets { opened: 4, answered: 4, closed: 3, rating_average: Some(467) },
        charges,
        machines: machines(46),
    }
}

/// A customer of whom nothing is known yet.
fn empty() -> MonthlyReport {
    let zero = Money::zero(Currency::USD);
    let mut report = sample();
    report.msp.logo_svg = None;
    report.msp.color = "#ffe000".parse().unwrap();
    report.protection = Protection { machines_protected: 0, machines_discovered_only: 0, at_risk: Vec::new(), rpo_hours: 24 };
    report.service_levels = ServiceLevels {
        backup: BackupLevel { target_percent: 9_950, machine_days_met: 0, machine_days_scheduled: 0, days: Vec::new() },
        runs: RunCounts::default(),
        restore: RestoreLevel { target_minutes: 240, completed: 0, failed: 0, is_met: None, median_minutes: None, p95_minutes: None },
        support: SupportLevel { target_minutes: 240, answered_in_time: 0, missed: 0, median_minutes: None },
        uptime_percent: None,
    };
    report.last_restore = None;
    report.usage = Usage { months: Vec::new(), storage_limit_bytes: None, machine_limit: None };
    report.tickets = Tickets::default();
    report.charges = Charges {
        invoice_number: None,
        is_draft: None,
        due_on: None,
        lines: Vec::new(),
        net: zero,
        tax: zero,
        total: zero,
        previous_net: None,
        changes: Vec::new(),
    };
    report.machines = Vec::new();
    report
}

fn render(report: &MonthlyReport, name: &str) -> Vec<u8> {
    let pdf = TypstRenderer::new().render_monthly(report).unwrap();
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.pdf"));
    std::fs::write(&path, &pdf).unwrap();
    pdf
}

/// The metadata that the document standards ask for lies in the clear.
fn holds(pdf: &[u8], text: &str) -> bool {
    pdf.windows(text.len()).any(|window| window == text.as_bytes())
}

fn page_count(pdf: &[u8]) -> usize {
    let text = String::from_utf8_lossy(pdf);
    let count = text.split("/Type/Pages").nth(1).or_else(|| text.split("/Type /Pages").nth(1)).unwrap();
    let count = count.split("/Count").nth(1).unwrap();
    count.trim_start().chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap()
}

#[test]
fn a_report_is_archivable_and_accessible() {
    let pdf = render(&sample(), "sample");
    assert!(pdf.starts_with(b"%PDF-1.7"));
    for text in ["pdfaid:part>3<", "pdfaid:conformance>A<", "pdfuaid:part>1<", "Acme Manufacturing: protection report, October 2025"] {
        assert!(holds(&pdf, text), "{text}");
    }
    assert_eq!(page_count(&pdf), 5, "protection, usage, charges, two pages of machines");
}

#[test]
fn the_same_report_gives_the_same_bytes_on_any_thread() {
    let reports: Vec<_> = (0..6).map(|index| MonthlyReport { machines: machines(index * 9), ..sample() }).collect();
    let renderer = TypstRenderer::new();
    let one: Vec<_> = reports.iter().map(|report| renderer.render_monthly(report).unwrap()).collect();
    let many: Vec<_> = renderer.render_all(&reports, NonZeroUsize::new(3).unwrap()).into_iter().map(Result::unwrap).collect();
    assert!(one == many);
}

#[test]
fn an_empty_customer_gets_a_report_that_says_so() {
    let pdf = render(&empty(), "empty");
    assert_eq!(page_count(&pdf), 4);
}

#[test]
fn an_open_month_with_idle_machines_renders() {
    let mut report = sample();
    report.charges = Charges { previous_net: None, ..empty().charges };
    report.usage.months.last_mut().unwrap().net_minor = None;
    for machine in &mut report.machines[..2] {
        (machine.tier, machine.is_discovered_only, machine.first_on) = (None, true, None);
    }
    assert_eq!(page_count(&render(&report, "open")), 5);
}

#[test]
fn four_hundred_machines_flow_over_pages() {
    let mut report = sample();
    report.machines = machines(400);
    report.protection.at_risk = at_risk().into_iter().cycle().take(130).collect();
    let pdf = render(&report, "four-hundred");
    assert!((10..=16).contains(&page_count(&pdf)), "{} pages", page_count(&pdf));
}

#[test]
fn hostile_names_neither_break_nor_inject() {
    let hostile = [
        "#panic(\"injected\") #read(\"/etc/passwd\") *bold* _it_ $x$ <label> @ref \\ `raw` //c /*c*/ [x] {y}",
        "\u{202e}evil\u{202c} \u{5e9}\u{5dc}\u{5d5}\u{5dd} \u{645}\u{631}\u{62d}\u{628}\u{627} עברית العربية",
        "😀👩‍👩‍👧‍👦🇩🇪 日本語 ไทย हिन्दी \u{0}\u{7}\u{fffe}",
        "Z\u{335}\u{321}a\u{30a}\u{328}l\u{489}g\u{36f}o\u{fe0f} e\u{301}\u{323}",
        "</script><script>alert(1)</script>&amp;\"'",
        "",
    ];
    for (index, name) in hostile.iter().enumerate() {
        let mut report = sample();
        report.customer.name = (*name).to_owned();
        report.msp.name = (*name).to_owned();
        report.msp.logo_svg = Some("<svg><image href=\"file:///etc/passwd\"/><not closed".to_owned());
        report.machines[0].name = name.repeat(40);
        report.protection.at_risk[0].name = (*name).to_owned();
        report.charges.lines[0].description = (*name).to_owned();
        report.charges.invoice_number = Some((*name).to_owned());
        let pdf = render(&report, &format!("hostile-{index}"));
        assert!(pdf.starts_with(b"%PDF"));
    }
}

#[test]
fn a_report_never_names_what_customers_do_not_see() {
    let words = serde_json::to_string(&sample()).unwrap().to_lowercase();
    for word in ["wholesale", "margin", "health", "churn", "cost"] {
        assert!(!words.contains(word), "{word}");
    }
}
