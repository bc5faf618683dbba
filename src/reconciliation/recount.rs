//! Counting a month again, from runs, cycles, tier assignments and storage samples.

use std::collections::{BTreeMap, HashMap};

use granary_types::Period;
use polars::prelude::{DataFrame, DataType, Expr, IntoLazy, JoinArgs, JoinType, LazyFrame, PolarsResult, UnionArgs, col, concat, lit};

use crate::facts::{Facts, day_number};
use crate::price::divide;

/// How long a completed run keeps a machine in protection, its own day included.
const PROTECTION_WINDOW_DAYS: i32 = 7;
/// How long a storage sample speaks for days without one.
const CARRIED_DAYS: i32 = 7;

/// The days that are counted, both included.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    pub(crate) first: i32,
    pub(crate) last: i32,
}

impl Span {
    /// Returns the billing days of a period.
    pub(crate) fn of(period: Period) -> Self {
        Self { first: day_number(period.first_day()), last: day_number(period.last_day()) }
    }

    fn days(self) -> i64 {
        i64::from(self.last - self.first + 1)
    }
}

/// Machines of a customer by rank of the tier.
pub(crate) type Ranks = [i64; 3];

/// A customer's counted machines, in whole ones and by day.
#[derive(Debug, Default, Clone)]
pub(crate) struct Counted {
    /// Each machine with a completed run, and the highest tier in force on a day of one.
    pub(crate) machines: BTreeMap<String, i32>,
    /// Machines in protection, by day.
    pub(crate) in_protection: BTreeMap<i32, Ranks>,
}

/// Counts every customer's machines; runs before a customer's day in `billed_from` do not count.
pub(crate) fn count_machines(facts: &Facts, span: Span, billed_from: &HashMap<String, i32>) -> PolarsResult<BTreeMap<String, Counted>> {
    let mut counted: BTreeMap<String, Counted> = BTreeMap::new();
    let runs = in_force(within(facts.completions.clone().lazy(), span), facts).collect()?;
    for (customer, machines) in billed_ranks(&runs, span, billed_from)? {
        counted.entry(customer).or_default().machines = machines;
    }
    let protected = in_force(protected_days(facts, span)?, facts).collect()?;
    for (customer, _, day, rank) in ranked_days(&protected)? {
        if billed_from.get(customer).is_none_or(|from| day >= *from) {
            let ranks = counted.entry(customer.to_owned()).or_default().in_protection.entry(day).or_default();
            if let Some(count) = usize::try_from(rank).ok().and_then(|rank| ranks.get_mut(rank)) {
                *count += 1;
            }
        }
    }
    Ok(counted)
}

/// Returns each customer's machines with the highest rank of a frame of machine-days on which something completed.
pub(crate) fn billed_ranks(
    days: &DataFrame,
    span: Span,
    billed_from: &HashMap<String, i32>,
) -> PolarsResult<BTreeMap<String, BTreeMap<String, i32>>> {
    let days = within(days.clone().lazy(), span).filter(col("rank").gt_eq(lit(0))).collect()?;
    let mut billed: BTreeMap<String, BTreeMap<String, i32>> = BTreeMap::new();
    for (customer, machine, day, rank) in ranked_days(&days)? {
        if billed_from.get(customer).is_none_or(|from| day >= *from) {
            let highest = billed.entry(customer.to_owned()).or_default().entry(machine.to_owned()).or_insert(rank);
            *highest = rank.max(*highest);
        }
    }
    Ok(billed)
}

/// Days on which a machine completed a run or within the six days after.
fn protected_days(facts: &Facts, span: Span) -> PolarsResult<LazyFrame> {
    let shifted = |days| facts.completions.clone().lazy().with_column((col("day") + lit(days)).alias("day"));
    let days: Vec<LazyFrame> = (0..PROTECTION_WINDOW_DAYS).map(shifted).collect();
    Ok(within(concat(days, UnionArgs::default())?, span))
}

fn within(frame: LazyFrame, span: Span) -> LazyFrame {
    frame.filter(col("day").gt_eq(lit(span.first)).and(col("day").lt_eq(lit(span.last))))
}

/// One row a machine and day, with the highest rank in force on it and the runs; days without a tier are gone.
pub(crate) fn in_force(days: LazyFrame, facts: &Facts) -> LazyFrame {
    let key = [col("customer"), col("machine"), col("day")];
    let machine = [col("customer"), col("machine")];
    days.group_by(key.clone())
        .agg([col("runs").sum()])
        .join(facts.assignments.clone().lazy(), machine.clone(), machine, JoinArgs::new(JoinType::Inner))
        .filter(col("valid_from").lt_eq(col("day")).and(col("day").lt(col("valid_to"))))
        .group_by(key)
        .agg([col("rank").max(), col("runs").max()])
}

fn ranked_days(frame: &DataFrame) -> PolarsResult<impl Iterator<Item = (&str, &str, i32, i32)>> {
    let customer = frame.column("customer")?.str()?;
    let machine = frame.column("machine")?.str()?;
    let day = frame.column("day")?.i32()?;
    let rank = frame.column("rank")?.i32()?;
    let rows = customer.iter().zip(machine.iter()).zip(day.iter()).zip(rank.iter());
    Ok(rows.filter_map(|(((customer, machine), day), rank)| Some((customer?, machine?, day?, rank?))))
}

/// How an MSP counts the machines of a period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    DistinctInPeriod,
    AverageDaily,
    PeakDaily,
    LastDay,
}

impl Counted {
    /// Returns the billed quantity by rank in ten-thousandths; `worth` puts a price on one day's machines.
    pub(crate) fn quantity_e4(&self, rule: Rule, span: Span, worth: &dyn Fn(Ranks) -> i128) -> Ranks {
        let whole = |ranks: Ranks| ranks.map(|count| count * 10_000);
        match rule {
            Rule::DistinctInPeriod => {
                let mut ranks = Ranks::default();
                for rank in self.machines.values() {
                    if let Some(count) = usize::try_from(*rank).ok().and_then(|rank| ranks.get_mut(rank)) {
                        *count += 1;
                    }
                }
                whole(ranks)
            }
            Rule::AverageDaily => {
                let mut sums = Ranks::default();
                for ranks in self.in_protection.values() {
                    for (sum, count) in sums.iter_mut().zip(ranks) {
                        *sum += count;
                    }
                }
                sums.map(|sum| i64::try_from(divide(i128::from(sum) * 10_000, span.days().into())).unwrap_or(i64::MAX))
            }
            Rule::PeakDaily => {
                let mut best: Option<(i128, Ranks)> = None;
                for ranks in self.in_protection.values() {
                    if best.is_none_or(|(amount, _)| worth(*ranks) > amount) {
                        best = Some((worth(*ranks), *ranks));
                    }
                }
                whole(best.map(|(_, ranks)| ranks).unwrap_or_default())
            }
            Rule::LastDay => whole(self.in_protection.get(&span.last).copied().unwrap_or_default()),
        }
    }
}

/// Returns each customer's stored bytes as the average over the days: of each day the last sample of every repository, carried
/// over at most seven days without one.
pub(crate) fn stored_bytes_average(facts: &Facts, span: Span) -> PolarsResult<BTreeMap<String, i64>> {
    let key = [col("customer"), col("repository"), col("day")];
    let latest = facts.samples.clone().lazy().group_by(key.clone()).agg([col("sampled_at").max()]);
    let on = [col("customer"), col("repository"), col("day"), col("sampled_at")];
    let joined = facts.samples.clone().lazy().join(latest, on.clone(), on, JoinArgs::new(JoinType::Inner));
    let daily = joined.group_by(key).agg([col("used").max()]).collect()?;
    let (customer, repository) = (daily.column("customer")?.str()?, daily.column("repository")?.str()?);
    let (day, used) = (daily.column("day")?.i32()?, daily.column("used")?.i64()?);
    let mut gauges: BTreeMap<(&str, &str), BTreeMap<i32, i64>> = BTreeMap::new();
    for (((customer, repository), day), used) in customer.iter().zip(repository.iter()).zip(day.iter()).zip(used.iter()) {
        if let (Some(customer), Some(repository), Some(day), Some(used)) = (customer, repository, day, used) {
            gauges.entry((customer, repository)).or_default().insert(day, used);
        }
    }
    let mut sums: BTreeMap<String, i128> = BTreeMap::new();
    for ((customer, _), gauge) in &gauges {
        let on = |day: i32| gauge.range(day - CARRIED_DAYS..=day).next_back().map_or(0, |(_, used)| i128::from(*used));
        *sums.entry((*customer).to_owned()).or_default() += (span.first..=span.last).map(on).sum::<i128>();
    }
    let average = |sum| i64::try_from(divide(sum, span.days().into())).unwrap_or(i64::MAX);
    Ok(sums.into_iter().map(|(customer, sum)| (customer, average(sum))).collect())
}

/// A machine and day on which the lake's runs and metering's machine-days disagree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Disagreement {
    pub(crate) customer: String,
    pub(crate) machine: String,
    pub(crate) day: i32,
    /// Completed runs and the rank of the tier, in the lake and in the machine-day; none without a row.
    pub(crate) in_lake: Option<(i64, i32)>,
    pub(crate) in_metering: Option<(i64, i32)>,
}

/// Compares every machine-day of the span, by customer, machine and day.
pub(crate) fn disagreements(facts: &Facts, span: Span) -> PolarsResult<Vec<Disagreement>> {
    let key = [col("customer"), col("machine"), col("day")];
    let side = |frame: LazyFrame, [rank, runs]: [&str; 2], [no_rank, no_runs]: [&str; 2]| {
        let none = [lit(-1).cast(DataType::Int32).alias(no_rank), lit(0).cast(DataType::Int64).alias(no_runs)];
        frame.select([&key[..], &[col("rank").alias(rank), col("runs").alias(runs)], &none].concat())
    };
    let (lake, metered) = (["rank", "runs"], ["metered_rank", "metered_runs"]);
    let ran = within(facts.completions.clone().lazy(), span);
    let untiered = ran.clone().group_by(key.clone()).agg([col("runs").sum()]).with_column(lit(-1).cast(DataType::Int32).alias("rank"));
    let days = within(facts.machine_days.clone().lazy(), span).filter(col("runs").gt(lit(0_i64)));
    let columns = ["rank", "runs", "metered_rank", "metered_runs"].map(col);
    let order = [&key[..], &columns].concat();
    let sides = [side(in_force(ran, facts), lake, metered), side(untiered, lake, metered), side(days, metered, lake)];
    let both = concat(sides.map(|side| side.select(order.clone())), UnionArgs::default())?
        .group_by(key)
        .agg(columns.map(Expr::max))
        .filter(col("rank").neq(col("metered_rank")).or(col("runs").neq(col("metered_runs"))))
        .collect()?;
    let (customer, machine) = (both.column("customer")?.str()?, both.column("machine")?.str()?);
    let day = both.column("day")?.i32()?;
    let (rank, metered_rank) = (both.column("rank")?.i32()?, both.column("metered_rank")?.i32()?);
    let (runs, metered_runs) = (both.column("runs")?.i64()?, both.column("metered_runs")?.i64()?);
    let mut found: Vec<Disagreement> = (0..both.height())
        .filter_map(|row| {
            Some(Disagreement {
                customer: customer.get(row)?.to_owned(),
                machine: machine.get(row)?.to_owned(),
                day: day.get(row)?,
                in_lake: runs.get(row).zip(rank.get(row)).filter(|(runs, _)| *runs > 0),
                in_metering: metered_runs.get(row).zip(metered_rank.get(row)).filter(|(runs, _)| *runs > 0),
            })
        })
        .collect();
    found.sort_by(|a, b| (&a.customer, &a.machine, a.day).cmp(&(&b.customer, &b.machine, b.day)));
    Ok(found)
}

#[cfg(test)]
mod tests {
    use polars::prelude::df;

    use super::*;

    const OCTOBER: Span = Span { first: 100, last: 130 };

    /// ACME: m1 backup with two runs, m2 backup → enterprise on day 120, m3 without a tier, m4 with a run before the month.
    fn facts() -> Facts {
        let customer = |n: usize| vec!["acme".to_owned(); n];
        let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        Facts {
            completions: crate::facts::completions(
                customer(7),
                texts(&["m1", "m1", "m1", "m2", "m2", "m3", "m4"]),
                vec![101, 101, 130, 119, 121, 110, 97],
                vec![1, 1, 1, 1, 1, 1, 1],
            )
            .unwrap(),
            assignments: df!["customer" => customer(4), "machine" => texts(&["m1", "m2", "m2", "m4"]), "rank" => [0, 0, 1, 2],
                "valid_from" => [0, 0, 120, 0], "valid_to" => [i32::MAX, 120, i32::MAX, i32::MAX]]
            .unwrap(),
            machine_days:
                df!["customer" => customer(5), "machine" => texts(&["m1", "m1", "m2", "m2", "m3"]), "day" => [101, 130, 119, 121, 110],
                "rank" => [0, 0, 0, 1, -1], "runs" => [2_i64, 1, 1, 1, 1]]
                .unwrap(),
            samples: df!["customer" => customer(4), "repository" => texts(&["r1", "r1", "r1", "r2"]), "day" => [95, 101, 101, 130],
                "sampled_at" => [1_i64, 2, 3, 4], "used" => [310_i64, 999, 620, 31]]
            .unwrap(),
        }
    }

    #[test]
    fn a_machine_counts_once_at_its_highest_tier_in_force_on_a_day_of_a_run() {
        let counted = count_machines(&facts(), OCTOBER, &HashMap::new()).unwrap();
        let machines: Vec<_> = counted["acme"].machines.iter().map(|(machine, rank)| (machine.as_str(), *rank)).collect();
        assert_eq!(machines, [("m1", 0), ("m2", 1)]);
        assert_eq!(counted["acme"].quantity_e4(Rule::DistinctInPeriod, OCTOBER, &|_| 0), [10_000, 10_000, 0]);
    }

    #[test]
    fn runs_before_the_first_billed_day_do_not_count() {
        let converted = HashMap::from([("acme".to_owned(), 120)]);
        let counted = count_machines(&facts(), OCTOBER, &converted).unwrap();
        assert_eq!(counted["acme"].machines, BTreeMap::from([("m1".to_owned(), 0), ("m2".to_owned(), 1)]));
        let later = HashMap::from([("acme".to_owned(), 122)]);
        let counted = count_machines(&facts(), OCTOBER, &later).unwrap();
        assert_eq!(counted["acme"].machines, BTreeMap::from([("m1".to_owned(), 0)]));
    }

    #[test]
    fn protection_lasts_seven_days_and_starts_before_the_month() {
        let counted = &count_machines(&facts(), OCTOBER, &HashMap::new()).unwrap()["acme"];
        let on = |day| counted.in_protection.get(&day).copied().unwrap_or_default();
        assert_eq!((on(100), on(103), on(104), on(107), on(108)), ([0, 0, 1], [1, 0, 1], [1, 0, 0], [1, 0, 0], [0, 0, 0]));
        assert_eq!((on(119), on(120), on(127), on(128), on(130)), ([1, 0, 0], [0, 1, 0], [0, 1, 0], [0, 0, 0], [1, 0, 0]));
        let worth = |ranks: Ranks| i128::from(ranks[0] * 10 + ranks[1] * 25 + ranks[2] * 100);
        assert_eq!(counted.quantity_e4(Rule::LastDay, OCTOBER, &worth), [10_000, 0, 0]);
        assert_eq!(counted.quantity_e4(Rule::PeakDaily, OCTOBER, &worth), [10_000, 0, 10_000]);
        assert_eq!(counted.quantity_e4(Rule::AverageDaily, OCTOBER, &worth), [2_903, 2_581, 1_290], "9, 8 and 4 machine-days of 31");
    }

    #[test]
    fn storage_is_the_last_sample_of_a_day_carried_for_a_week() {
        let average = stored_bytes_average(&facts(), OCTOBER).unwrap();
        assert_eq!(average["acme"], (310 + 8 * 620 + 31 + 15) / 31, "day 100, days 101 to 108, and the second repository on day 130");
    }

    #[test]
    fn a_missing_run_and_a_moved_tier_show_on_their_machine_and_day() {
        let mut facts = facts();
        assert_eq!(disagreements(&facts, OCTOBER).unwrap(), []);
        facts.completions = facts.completions.slice(1, 6);
        facts.assignments = df!["customer" => ["acme"; 4], "machine" => ["m1", "m2", "m2", "m4"], "rank" => [0, 0, 1, 2],
            "valid_from" => [0, 0, 125, 0], "valid_to" => [i32::MAX, 125, i32::MAX, i32::MAX]]
        .unwrap();
        let found = disagreements(&facts, OCTOBER).unwrap();
        let days: Vec<_> = found.iter().map(|one| (one.machine.as_str(), one.day, one.in_lake, one.in_metering)).collect();
        assert_eq!(days, [("m1", 101, Some((1, 0)), Some((2, 0))), ("m2", 121, Some((1, 0)), Some((1, 1)))]);
    }
}
