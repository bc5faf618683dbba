//! What a customer used in a period.

use granary_foundation::Boxed;
use granary_tenants::TenantTx;
use granary_types::{CountingRule, Period, Quantity, Tier, UnitPrice, day_of};
use jiff::ToSpan;
use jiff::civil::Date;
use rust_decimal::{Decimal, RoundingStrategy};
use serde::{Deserialize, Serialize};

use crate::error::MeteringError;
use crate::store;
use crate::store::usage::StorageRow;

/// Machines per tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct MachineCounts {
    pub backup: Quantity,
    pub enterprise: Quantity,
    pub replication: Quantity,
}

impl MachineCounts {
    /// Returns the machines of a tier.
    pub const fn of(&self, tier: Tier) -> Quantity {
        match tier {
            Tier::Backup => self.backup,
            Tier::Enterprise => self.enterprise,
            Tier::Replication => self.replication,
        }
    }

    /// Returns the machines of all tiers.
    pub fn total(&self) -> Quantity {
        self.backup + self.enterprise + self.replication
    }
}

/// Machines in protection on one day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DayMachines {
    pub day: Date,
    pub backup: i64,
    pub enterprise: i64,
    pub replication: i64,
}

impl DayMachines {
    fn counts(&self) -> MachineCounts {
        MachineCounts { backup: self.backup.into(), enterprise: self.enterprise.into(), replication: self.replication.into() }
    }

    fn amount(&self, prices: &TierPrices) -> Decimal {
        let counts = self.counts();
        Tier::ALL.iter().map(|&tier| counts.of(tier) * prices.of(tier)).sum()
    }
}

/// Everything that is counted by day, on one day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DayUsage {
    pub day: Date,
    /// Machines in protection.
    pub backup: i64,
    pub enterprise: i64,
    pub replication: i64,
    /// Runs that completed, with or without a warning.
    pub runs_completed: i64,
    pub runs_failed: i64,
    pub cycles_completed: i64,
    /// Bytes of completed disks.
    pub transferred_bytes: i64,
    /// The day's last samples, summed over repositories.
    pub stored_bytes: i64,
}

impl DayUsage {
    const fn machines(&self) -> Option<DayMachines> {
        let Self { day, backup, enterprise, replication, .. } = *self;
        if backup + enterprise + replication == 0 { None } else { Some(DayMachines { day, backup, enterprise, replication }) }
    }
}

/// What a machine of each tier costs; decides which day is the peak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TierPrices {
    pub backup: UnitPrice,
    pub enterprise: UnitPrice,
    pub replication: UnitPrice,
}

impl TierPrices {
    /// The operator's list: 10, 25 and 100.
    pub const LIST: Self = Self {
        backup: Decimal::from_parts(10, 0, 0, false, 0),
        enterprise: Decimal::from_parts(25, 0, 0, false, 0),
        replication: Decimal::from_parts(100, 0, 0, false, 0),
    };

    /// Returns the price of a tier.
    pub const fn of(&self, tier: Tier) -> UnitPrice {
        match tier {
            Tier::Backup => self.backup,
            Tier::Enterprise => self.enterprise,
            Tier::Replication => self.replication,
        }
    }
}

/// What a customer used in a period. Quantities are rounded here, once; whoever multiplies them does not round them again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeriodUsage {
    pub period: Period,
    /// The MSP's counting rule.
    pub rule: CountingRule,
    /// Machines by that rule; the peak day by list prices (see [`PeriodUsage::count`] for others).
    pub machines: MachineCounts,
    /// Machines with at least one completed run or cycle, at their highest tier.
    pub distinct: MachineCounts,
    /// The days of the period that have come; all of them once it has ended.
    pub days_elapsed: i64,
    /// Machines in protection, day by day; a day without any is absent.
    pub days: Vec<DayMachines>,
    /// What was counted day by day; a day on which nothing was is absent.
    pub series: Vec<DayUsage>,
    /// The average over the elapsed days of each day's last sample, summed over repositories, copies included.
    pub stored_bytes_average: i64,
    /// A repository was silent for more than seven days: its storage is a guess.
    pub is_estimated: bool,
    pub runs_completed: i64,
    pub runs_with_warning: i64,
    pub runs_failed: i64,
    /// Bytes of completed disks.
    pub transferred_bytes: i64,
    pub replicated_bytes: i64,
    pub cycles_completed: i64,
    pub restores_completed: i64,
    pub restores_failed: i64,
    pub tickets_opened: i64,
    pub api_calls: i64,
}

impl PeriodUsage {
    /// Counts machines by a rule: whole, or to four decimals. The peak is the day with the highest amount at `prices`, the
    /// earliest on ties.
    pub fn count(&self, rule: CountingRule, prices: &TierPrices) -> MachineCounts {
        match rule {
            CountingRule::DistinctInPeriod => self.distinct,
            CountingRule::AverageDaily => average(&self.days, self.days_elapsed),
            CountingRule::PeakDaily => peak(&self.days, prices).map_or_else(MachineCounts::default, DayMachines::counts),
            CountingRule::LastDay => {
                let last = self.days.last().filter(|last| i64::from(last.day.day()) == self.days_elapsed);
                last.map_or_else(MachineCounts::default, DayMachines::counts)
            }
        }
    }

    /// Returns the machines with a completed run or cycle per tier, as whole numbers.
    pub(crate) fn whole_machines(&self) -> [i32; 3] {
        [Tier::Backup, Tier::Enterprise, Tier::Replication].map(|tier| self.distinct.of(tier).try_into().unwrap_or(i32::MAX))
    }

    /// Returns the average stored GiB, to three decimals.
    pub fn stored_gib_average(&self) -> Quantity {
        round(Decimal::from(self.stored_bytes_average) / Decimal::from(1_i64 << 30), 3)
    }

    /// Returns the GiB above a limit, to three decimals; zero below it.
    pub fn overage_gib(&self, average_limit_gib: Quantity) -> Quantity {
        round(Decimal::from(self.stored_bytes_average) / Decimal::from(1_i64 << 30) - average_limit_gib, 3).max(Decimal::ZERO)
    }
}

/// Measures a period from the daily usage that [`crate::rebuild_days`] wrote. An open period is measured over the days that
/// have come, as if it ended now.
///
/// # Errors
/// When Postgres refuses.
pub fn measure<'a>(tx: &'a TenantTx, period: Period) -> Boxed<'a, Result<PeriodUsage, MeteringError>> {
    Box::pin(async move {
        let (zone, rule) = (&tx.msp().time_zone, tx.msp().counting_rule);
        let first = period.first_day();
        let last = period.last_day().min(day_of(tx.now(), zone));
        let days_elapsed = if last < first { 0 } else { i64::from(last.day()) };
        let series = store::usage::list_series(tx, first, last).await?;
        let days = series.iter().filter_map(DayUsage::machines).collect();
        let distinct = store::usage::count_distinct(tx, first, last).await?;
        let storage = store::usage::list_storage(tx, first, last).await?;
        let first_samples = store::usage::list_first_samples(tx).await?;
        let totals = store::usage::get_totals(tx, (first, last), (period.start_at(zone), period.end_at(zone))).await?;
        let is_silent = |row: &StorageRow| {
            let began_on = first_samples.iter().find(|(id, _)| *id == row.repository_id).map_or(row.first_on, |(_, day)| *day).max(first);
            row.first_on > began_on || row.last_on < last || row.days < i64::from(last.day()) - i64::from(began_on.day()) + 1
        };
        let mut usage = PeriodUsage {
            period,
            rule,
            machines: MachineCounts::default(),
            distinct,
            days_elapsed,
            days,
            series,
            stored_bytes_average: average_bytes(storage.iter().map(|row| row.byte_days).sum(), days_elapsed),
            is_estimated: storage.iter().any(is_silent),
            runs_completed: totals.runs_completed,
            runs_with_warning: totals.runs_with_warning,
            runs_failed: totals.runs_failed,
            transferred_bytes: totals.transferred_bytes,
            replicated_bytes: totals.replicated_bytes,
            cycles_completed: totals.cycles_completed,
            restores_completed: totals.restores_completed,
            restores_failed: totals.restores_failed,
            tickets_opened: totals.tickets_opened,
            api_calls: totals.api_calls,
        };
        usage.machines = usage.count(rule, &TierPrices::LIST);
        Ok(usage)
    })
}

/// Measures a period whose control plane fell silent: from the day after `known_on` on, that day's machines and stored bytes stand
/// in for what was not said, and machines that were in protection on it are billed though nothing of them completed.
///
/// # Errors
/// When Postgres refuses.
pub fn measure_estimated<'a>(tx: &'a TenantTx, period: Period, known_on: Date) -> Boxed<'a, Result<PeriodUsage, MeteringError>> {
    Box::pin(async move {
        let mut usage = measure(tx, period).await?;
        let (first, last) = (period.first_day(), period.last_day().min(day_of(tx.now(), &tx.msp().time_zone)));
        let known = store::usage::count_by_day(tx, known_on, known_on).await?.into_iter().next();
        if let Some(known) = known {
            let days = first.series(1.day()).take_while(|day| *day <= last);
            let reported = |day: Date| usage.days.iter().find(|reported| reported.day == day).copied();
            let stands_in = |day: Date| {
                let reported = reported(day);
                if day <= known_on {
                    return reported;
                }
                let said = reported.unwrap_or(DayMachines { day, backup: 0, enterprise: 0, replication: 0 });
                Some(DayMachines {
                    day,
                    backup: said.backup.max(known.backup),
                    enterprise: said.enterprise.max(known.enterprise),
                    replication: said.replication.max(known.replication),
                })
            };
            usage.days = days.filter_map(stands_in).collect();
        }
        usage.distinct = store::usage::count_distinct_known(tx, (first, last), known_on).await?;
        let days_elapsed = usage.days_elapsed;
        let said: i128 = store::usage::list_storage(tx, first, last).await?.iter().map(|row| row.byte_days).sum();
        let unsaid: i128 = store::usage::list_last_storage(tx, known_on, last)
            .await?
            .iter()
            .map(|(on, bytes)| i128::from(*bytes) * days_after(*on, (first, last)))
            .sum();
        usage.stored_bytes_average = average_bytes(said + unsaid, days_elapsed);
        usage.is_estimated = true;
        usage.machines = usage.count(usage.rule, &TierPrices::LIST);
        Ok(usage)
    })
}

/// Returns how many of the days `first..=last` come after `on`.
fn days_after(on: Date, (first, last): (Date, Date)) -> i128 {
    first.series(1.day()).take_while(|day| *day <= last).filter(|day| *day > on).count() as i128
}

/// Counts the machines that completed a run or cycle on the days `first..=last`, each at its highest tier in force on such a
/// day: after a trial only what ran since then is billed.
///
/// # Errors
/// When Postgres refuses.
pub fn count_completed<'a>(tx: &'a TenantTx, first: Date, last: Date) -> Boxed<'a, Result<MachineCounts, MeteringError>> {
    Box::pin(async move { store::usage::count_distinct(tx, first, last).await })
}

fn round(value: Decimal, places: u32) -> Decimal {
    value.round_dp_with_strategy(places, RoundingStrategy::MidpointAwayFromZero)
}

fn average(days: &[DayMachines], elapsed: i64) -> MachineCounts {
    let over = |sum: i64| if elapsed == 0 { Decimal::ZERO } else { round(Decimal::from(sum) / Decimal::from(elapsed), 4) };
    MachineCounts {
        backup: over(days.iter().map(|day| day.backup).sum()),
        enterprise: over(days.iter().map(|day| day.enterprise).sum()),
        replication: over(days.iter().map(|day| day.replication).sum()),
    }
}

fn peak<'d>(days: &'d [DayMachines], prices: &TierPrices) -> Option<&'d DayMachines> {
    // Of equal days `max_by_key` keeps the last one that it meets: from behind, that is the earliest.
    days.iter().rev().max_by_key(|day| day.amount(prices))
}

fn average_bytes(byte_days: i128, days: i64) -> i64 {
    if days == 0 {
        return 0;
    }
    let days = i128::from(days);
    i64::try_from((byte_days + days / 2) / days).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    fn usage(days: Vec<DayMachines>, days_elapsed: i64) -> PeriodUsage {
        PeriodUsage {
            period: "2025-10".parse().unwrap(),
            rule: CountingRule::DistinctInPeriod,
            machines: MachineCounts::default(),
            distinct: MachineCounts { backup: 3.into(), enterprise: 2.into(), replication: 1.into() },
            days_elapsed,
            days,
            series: Vec::new(),
            stored_bytes_average: 0,
            is_estimated: false,
            runs_completed: 0,
            runs_with_warning: 0,
            runs_failed: 0,
            transferred_bytes: 0,
            replicated_bytes: 0,
            cycles_completed: 0,
            restores_completed: 0,
            restores_failed: 0,
            tickets_opened: 0,
            api_calls: 0,
        }
    }

    fn day(number: i8, backup: i64, enterprise: i64) -> DayMachines {
        DayMachines { day: date(2025, 10, number), backup, enterprise, replication: 0 }
    }

    #[test]
    fn the_four_rules_count() {
        // 2 backup and 1 enterprise cost 45, as do 4.5 backup; 5 backup cost 50, as do 2 enterprise.
        let usage = usage(vec![day(1, 2, 1), day(2, 5, 0), day(3, 0, 2), day(31, 1, 1)], 31);
        let count = |rule| usage.count(rule, &TierPrices::LIST);
        assert_eq!(count(CountingRule::DistinctInPeriod).total(), 6.into());
        assert_eq!(count(CountingRule::PeakDaily), MachineCounts { backup: 5.into(), ..MachineCounts::default() });
        assert_eq!(count(CountingRule::LastDay), MachineCounts { backup: 1.into(), enterprise: 1.into(), replication: 0.into() });
        assert_eq!(count(CountingRule::AverageDaily).backup.to_string(), "0.2581");
        let dear = TierPrices { enterprise: 26.into(), ..TierPrices::LIST };
        assert_eq!(usage.count(CountingRule::PeakDaily, &dear).enterprise, 2.into());
    }

    #[test]
    fn a_last_day_without_machines_counts_none() {
        assert_eq!(usage(vec![day(30, 9, 0)], 31).count(CountingRule::LastDay, &TierPrices::LIST).total(), 0.into());
        assert_eq!(usage(Vec::new(), 0).count(CountingRule::AverageDaily, &TierPrices::LIST).total(), 0.into());
    }

    #[test]
    fn gib_are_rounded_once_after_the_limit_is_taken_off() {
        let mut usage = usage(Vec::new(), 31);
        usage.stored_bytes_average = (1 << 30) * 5 / 3;
        assert_eq!(usage.stored_gib_average().to_string(), "1.667");
        assert_eq!(usage.overage_gib(1.into()).to_string(), "0.667");
        assert_eq!(usage.overage_gib(2.into()), Decimal::ZERO);
        assert_eq!(average_bytes(7, 2), 4);
    }
}
