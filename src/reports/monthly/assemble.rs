//! Facts and terms to a report: pure, no clock, no database.

use granary_tenants::{Contract, Customer, Msp};
use granary_types::{Money, Period};
use jiff::{SignedDuration, Timestamp};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

use super::facts::{Facts, InvoiceFact, LevelFact, LineFact, MachineFact, MonthFact, RestoreFact};
use super::{
    BackupLevel, Brand, ChargeLine, Charges, MachineAtRisk, MachineMonth, MonthUsage, MonthlyReport, Protection, Recipient, Restore,
    RestoreLevel, RiskReason, RunCounts, ServiceLevels, SupportLevel, Tickets, Usage, changes,
};
use crate::charts::Color;
use crate::share::{level, share};

/// How many months before the period the charts go back.
pub(crate) const MONTHS_BACK: i32 = 12;

/// Says what one customer is told about one period, as known at `now`.
pub fn assemble(msp: &Msp, customer: &Customer, contract: &Contract, period: Period, now: Timestamp, facts: Facts) -> MonthlyReport {
    let as_of = now.min(period.end_at(&msp.time_zone));
    let charges = charges(contract, period, &facts);
    MonthlyReport {
        msp: Brand {
            name: msp.name.clone(),
            color: msp.brand_color.parse().unwrap_or(Color::HOUSE),
            logo_svg: msp.logo_svg.clone(),
            time_zone: zone_name(&msp.time_zone),
        },
        customer: Recipient { code: customer.code.clone(), name: customer.name.clone(), time_zone: zone_name(&customer.time_zone) },
        period,
        as_of,
        currency: contract.currency,
        protection: protection(contract, as_of, &facts),
        service_levels: service_levels(contract, period, &facts),
        last_restore: facts.restores.last().map(restore),
        usage: usage(contract, period, &facts),
        tickets: tickets(&facts),
        charges,
        machines: facts.machines.into_iter().map(machine).collect(),
    }
}

fn zone_name(zone: &jiff::tz::TimeZone) -> String {
    zone.iana_name().unwrap_or("UTC").to_owned()
}

/// A protected machine is safe when its newest restore point is younger than the agreed age.
fn protection(contract: &Contract, as_of: Timestamp, facts: &Facts) -> Protection {
    let oldest = as_of.saturating_sub(SignedDuration::from_hours(contract.rpo_hours.into())).unwrap_or(Timestamp::MIN);
    let held = || facts.machines.iter().filter_map(|machine| Some((machine, machine.tier_at_end?)));
    let mut at_risk: Vec<MachineAtRisk> = held()
        .filter(|(machine, _)| machine.last_good_at.is_none_or(|at| at < oldest))
        .map(|(machine, tier)| MachineAtRisk {
            name: machine.name.clone(),
            tier,
            last_good_at: machine.last_good_at,
            reason: risk(machine),
        })
        .collect();
    // The dearest first, then whoever waits longest.
    at_risk.sort_by(|a, b| b.tier.cmp(&a.tier).then_with(|| a.last_good_at.cmp(&b.last_good_at)).then_with(|| a.name.cmp(&b.name)));
    Protection {
        machines_protected: held().count() as u64,
        machines_discovered_only: facts.machines.iter().filter(|machine| machine.is_discovered_only).count() as u64,
        at_risk,
        rpo_hours: u32::try_from(contract.rpo_hours).unwrap_or(0),
    }
}

fn risk(machine: &MachineFact) -> RiskReason {
    match (machine.runs_failed_since, machine.last_good_at) {
        (0, None) => RiskReason::NeverRan,
        (0, Some(_)) => RiskReason::Silent,
        (runs_failed, _) => RiskReason::Failing { runs_failed },
    }
}

fn service_levels(contract: &Contract, period: Period, facts: &Facts) -> ServiceLevels {
    let fact = facts.level.as_ref();
    let number = |value: fn(&LevelFact) -> u64| fact.map_or(0, value);
    let now = facts.months.iter().find(|month| month.period == period);
    let uptime = fact.and_then(|level| share(level.heartbeats_received, level.heartbeats_expected));
    ServiceLevels {
        backup: BackupLevel {
            target_percent: hundredths(contract.backup_sla_percent),
            machine_days_met: number(|level| level.machine_days_met),
            machine_days_scheduled: number(|level| level.machine_days_scheduled),
            days: nights(period, facts),
        },
        runs: now.map_or_else(RunCounts::default, run_counts),
        restore: RestoreLevel {
            target_minutes: contract.restore_target_minutes.into(),
            completed: number(|level| level.restores_completed),
            failed: number(|level| level.restores_failed),
            is_met: fact.and_then(|level| level.is_restore_met),
            median_minutes: fact.and_then(|level| level.restore_median_minutes),
            p95_minutes: fact.and_then(|level| level.restore_p95_minutes),
        },
        support: SupportLevel {
            target_minutes: contract.support_target_minutes.into(),
            answered_in_time: number(|level| level.tickets_in_target),
            missed: number(|level| level.tickets_missed),
            median_minutes: fact.and_then(|level| level.answer_median_minutes),
        },
        uptime_percent: uptime,
    }
}

fn nights(period: Period, facts: &Facts) -> Vec<(jiff::civil::Date, Option<i64>)> {
    let night = |day| facts.nights.iter().find(|night| night.service_on == day);
    period.each_day().map(|day| (day, night(day).and_then(|night| level(night.machine_days_met, night.machine_days_scheduled)))).collect()
}

fn hundredths(percent: Decimal) -> i64 {
    (percent * Decimal::ONE_HUNDRED).round().to_i64().unwrap_or(10_000)
}

const fn run_counts(month: &MonthFact) -> RunCounts {
    RunCounts { completed: month.runs_completed, with_warning: month.runs_with_warning, failed: month.runs_failed }
}

fn restore(restore: &RestoreFact) -> Restore {
    Restore {
        ended_at: restore.ended_at,
        machine: restore.machine.clone(),
        kind: restore.kind,
        has_succeeded: restore.has_succeeded,
        // A minute begun is a minute.
        duration_minutes: restore.duration_ms.max(0).div_euclid(60_000) + i64::from(restore.duration_ms.rem_euclid(60_000) > 0),
        restored_bytes: restore.restored_bytes,
    }
}

fn usage(contract: &Contract, period: Period, facts: &Facts) -> Usage {
    let mut months: Vec<MonthUsage> = facts
        .months
        .iter()
        .filter(|month| (period.plus_months(-MONTHS_BACK)..=period).contains(&month.period))
        .map(|month| MonthUsage {
            period: month.period,
            machines_backup: month.machines_backup,
            machines_enterprise: month.machines_enterprise,
            machines_replication: month.machines_replication,
            runs: run_counts(month),
            stored_bytes_average: month.stored_bytes_average,
            transferred_bytes: month.transferred_bytes,
            tickets_opened: month.tickets_opened,
            net_minor: invoice(facts, month.period).map(|invoice| invoice.net_minor),
        })
        .collect();
    months.sort_by_key(|month| month.period);
    // A month is held against its own limits; one that the warehouse does not know against those of the contract.
    let now = facts.months.iter().find(|month| month.period == period);
    let agreed = || contract.storage_limit_gib.checked_mul(1 << 30);
    Usage {
        months,
        storage_limit_bytes: now.and_then(|month| month.storage_limit_bytes).or_else(agreed).filter(|limit| *limit > 0),
        machine_limit: now.map_or(contract.machine_limit.map(i64::from), |month| month.machine_limit),
    }
}

fn tickets(facts: &Facts) -> Tickets {
    let tickets = &facts.tickets;
    let rating = (tickets.rating_sum * 100 + tickets.rated / 2).checked_div(tickets.rated);
    Tickets {
        opened: tickets.opened,
        answered: tickets.answered,
        closed: tickets.closed,
        rating_average: rating.and_then(|rating| i64::try_from(rating).ok()),
    }
}

fn invoice(facts: &Facts, period: Period) -> Option<&InvoiceFact> {
    facts.invoices.iter().find(|invoice| invoice.period == period)
}

fn charges(contract: &Contract, period: Period, facts: &Facts) -> Charges {
    let money = |minor: i64| Money::new(minor, contract.currency);
    let lines_of = |period: Period| -> Vec<ChargeLine> {
        let line = |line: &LineFact| ChargeLine {
            item: line.item.clone(),
            description: line.description.clone(),
            quantity: line.quantity,
            unit_price: line.unit_price,
            amount: money(line.amount_minor),
        };
        facts.lines.iter().filter(|line| line.period == period).map(line).collect()
    };
    let (now, before) = (invoice(facts, period), invoice(facts, period.previous()));
    let lines = if now.is_some() { lines_of(period) } else { Vec::new() };
    let explained = match (now, before) {
        (Some(_), Some(_)) => changes(&lines_of(period.previous()), &lines, contract.currency),
        _ => Vec::new(),
    };
    Charges {
        invoice_number: now.and_then(|invoice| invoice.number.clone()),
        is_draft: now.map(|invoice| invoice.number.is_none()),
        due_on: now.and_then(|invoice| invoice.due_on),
        lines,
        net: money(now.map_or(0, |invoice| invoice.net_minor)),
        tax: money(now.map_or(0, |invoice| invoice.tax_minor)),
        total: money(now.map_or(0, |invoice| invoice.total_minor)),
        previous_net: now.and(before).map(|invoice| money(invoice.net_minor)),
        changes: explained,
    }
}

fn machine(machine: MachineFact) -> MachineMonth {
    MachineMonth {
        name: machine.name,
        tier: machine.tier,
        is_discovered_only: machine.is_discovered_only,
        first_on: machine.first_on,
        last_on: machine.last_on,
        runs: RunCounts { completed: machine.runs_completed, with_warning: machine.runs_with_warning, failed: machine.runs_failed },
        last_good_at: machine.last_good_at,
    }
}

#[cfg(test)]
mod tests {
    use granary_types::{BillingChannel, ContractId, CountingRule, Currency, CustomerId, CustomerStatus, MspId, PartnerTier, Tier};
    use jiff::tz::TimeZone;

    use super::super::facts::NightFact;
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn msp() -> Msp {
        Msp {
            id: MspId::new(),
            code: "NORTH".into(),
            name: "Northwind IT".into(),
            time_zone: TimeZone::get("America/New_York").unwrap(),
            currency: Currency::USD,
            partner_tier: PartnerTier::Premier,
            counting_rule: CountingRule::DistinctInPeriod,
            brand_color: "not a colour".into(),
            logo_svg: None,
            created_at: at("2024-01-01T00:00:00Z"),
        }
    }

    fn customer(msp: &Msp) -> Customer {
        Customer {
            id: CustomerId::new(),
            msp_id: msp.id,
            code: "ACME".parse().unwrap(),
            name: "Acme".into(),
            status: CustomerStatus::Active,
            status_since: at("2024-01-01T00:00:00Z"),
            time_zone: TimeZone::get("America/Chicago").unwrap(),
            country: "US".into(),
            region: "local".into(),
            vertical: None,
            contact_email: None,
            deployment: granary_types::Deployment::Shared,
            brand_color: None,
            logo_url: None,
            schema_name: "t".into(),
            role_name: "t".into(),
            bucket: 1,
            cluster: "local".to_owned(),
            schema_version: 1,
            trial_ends_on: None,
            activated_on: None,
            created_at: at("2024-01-01T00:00:00Z"),
        }
    }

    fn contract(customer: &Customer) -> Contract {
        Contract {
            id: ContractId::new(),
            msp_id: customer.msp_id,
            customer_id: customer.id,
            starts_on: "2024-01-01".parse().unwrap(),
            months: 12,
            renews: true,
            notice_days: 30,
            notice_given_on: None,
            ends_on: None,
            end_reason: None,
            currency: Currency::USD,
            default_tier: Tier::Backup,
            contracted_machines: None,
            machine_limit: None,
            storage_limit_gib: 100,
            minimum_minor: 0,
            discount_percent: Decimal::ZERO,
            tax_percent: Decimal::ZERO,
            payment_terms_days: 30,
            billing_channel: BillingChannel::Manual,
            has_premium_support: false,
            has_white_label: false,
            rpo_hours: 24,
            backup_sla_percent: "99.50".parse().unwrap(),
            restore_target_minutes: 240,
            support_target_minutes: 240,
            created_at: at("2024-01-01T00:00:00Z"),
        }
    }

    fn machine(customer: &Customer, name: &str, tier: Option<Tier>, last_good_at: Option<&str>, runs_failed_since: u64) -> MachineFact {
        MachineFact {
            customer_id: customer.id,
            name: name.into(),
            tier,
            first_on: None,
            last_on: None,
            runs_completed: 0,
            runs_with_warning: 0,
            runs_failed: runs_failed_since,
            last_good_at: last_good_at.map(at),
            tier_at_end: tier,
            runs_failed_since,
            is_discovered_only: false,
        }
    }

    fn report(now: &str, facts: impl FnOnce(&Customer) -> Facts) -> MonthlyReport {
        let msp = msp();
        let customer = customer(&msp);
        assemble(&msp, &customer, &contract(&customer), "2025-10".parse().unwrap(), at(now), facts(&customer))
    }

    #[test]
    fn nothing_known_is_an_empty_report_and_not_a_good_one() {
        let report = report("2025-12-01T00:00:00Z", |_| Facts::default());
        assert_eq!(report.as_of, at("2025-11-01T04:00:00Z"), "the period's end in the MSP's zone");
        assert_eq!((report.service_levels.backup.percent(), report.last_restore, report.charges.previous_net), (None, None, None));
        assert_eq!(report.service_levels.backup.days.len(), 31);
        assert_eq!(report.msp.color, Color::HOUSE);
    }

    #[test]
    fn a_machine_is_at_risk_when_its_restore_point_is_older_than_agreed() {
        let report = report("2025-12-01T00:00:00Z", |customer| Facts {
            machines: vec![
                machine(customer, "safe", Some(Tier::Backup), Some("2025-10-31T04:00:00Z"), 0),
                machine(customer, "silent", Some(Tier::Backup), Some("2025-10-31T03:59:59Z"), 0),
                machine(customer, "failing", Some(Tier::Replication), Some("2025-10-20T00:00:00Z"), 7),
                machine(customer, "new", Some(Tier::Backup), None, 0),
                machine(customer, "gone", None, None, 0),
            ],
            ..Facts::default()
        });
        let risks: Vec<_> = report.protection.at_risk.iter().map(|machine| (machine.name.as_str(), machine.reason)).collect();
        assert_eq!(
            risks,
            [("failing", RiskReason::Failing { runs_failed: 7 }), ("new", RiskReason::NeverRan), ("silent", RiskReason::Silent)]
        );
        assert_eq!((report.protection.machines_protected, report.protection.machines_safe(), report.machines.len()), (4, 1, 5));
    }

    #[test]
    fn an_open_period_is_measured_until_now() {
        let report = report("2025-10-10T12:00:00Z", |customer| Facts {
            machines: vec![machine(customer, "safe", Some(Tier::Backup), Some("2025-10-09T13:00:00Z"), 0)],
            nights: vec![NightFact {
                customer_id: customer.id,
                service_on: "2025-10-02".parse().unwrap(),
                machine_days_met: 3,
                machine_days_scheduled: 4,
            }],
            ..Facts::default()
        });
        assert_eq!(report.as_of, at("2025-10-10T12:00:00Z"));
        assert!(report.protection.at_risk.is_empty());
        assert_eq!(
            report.service_levels.backup.days[..3].iter().map(|(_, percent)| *percent).collect::<Vec<_>>(),
            [None, Some(7_500), None]
        );
    }

    #[test]
    fn changes_need_two_invoices() {
        let invoice = |customer: &Customer, period: &str, net_minor| InvoiceFact {
            customer_id: customer.id,
            period: period.parse().unwrap(),
            number: None,
            due_on: None,
            net_minor,
            tax_minor: 0,
            total_minor: net_minor,
        };
        let line = |customer: &Customer, period: &str, quantity: i64| LineFact {
            customer_id: customer.id,
            period: period.parse().unwrap(),
            item: "machine_backup".into(),
            description: "Machines, backup".into(),
            quantity: quantity.into(),
            unit_price: 10.into(),
            amount_minor: quantity * 1_000,
        };
        let both = report("2025-12-01T00:00:00Z", |customer| Facts {
            invoices: vec![invoice(customer, "2025-09", 2_000), invoice(customer, "2025-10", 3_000)],
            lines: vec![line(customer, "2025-09", 2), line(customer, "2025-10", 3)],
            ..Facts::default()
        });
        assert_eq!(both.charges.changes.iter().map(|change| change.difference.amount_minor).sum::<i64>(), 1_000);
        assert_eq!(both.charges.is_draft, Some(true));
        let first = report("2025-12-01T00:00:00Z", |customer| Facts {
            invoices: vec![invoice(customer, "2025-10", 3_000)],
            lines: vec![line(customer, "2025-10", 3)],
            ..Facts::default()
        });
        assert!(first.charges.changes.is_empty() && first.charges.lines.len() == 1);
        let none = report("2025-12-01T00:00:00Z", |customer| Facts { lines: vec![line(customer, "2025-10", 3)], ..Facts::default() });
        assert_eq!((none.charges.is_draft, none.charges.lines.len(), none.charges.net.amount_minor), (None, 0, 0));
        let open = report("2025-10-20T00:00:00Z", |customer| Facts {
            invoices: vec![invoice(customer, "2025-09", 2_000)],
            lines: vec![line(customer, "2025-09", 2)],
            ..Facts::default()
        });
        assert_eq!((open.charges.is_draft, open.charges.previous_net), (None, None), "what is not billed yet has not fallen");
    }
}
