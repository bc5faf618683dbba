//! The machines of a customer: when they come, which tier they hold from when, when they go.

use granary_types::Tier;
use jiff::ToSpan;
use jiff::civil::Date;
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use crate::names;
use crate::random::Draw;
use crate::trace;

/// A machine and its plan.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    pub(crate) number: u32,
    pub(crate) name: String,
    pub(crate) os: &'static str,
    /// The tier held from each day on; the first is the day on which protection begins.
    pub(crate) tiers: Vec<(Date, Tier)>,
    /// The night of the last run, and the day on which protection ends.
    pub(crate) ends: Option<(Date, Date)>,
    /// The number of the machine that took its place.
    pub(crate) replaced_by: Option<u32>,
    pub(crate) disk_bytes: Vec<u64>,
    /// What changes on an average day.
    pub(crate) change_bytes: f64,
    pub(crate) trace_row: usize,
    pub(crate) trace_shift: usize,
    /// When its nightly run begins, in seconds after the service day's midnight; may lie past the next one.
    pub(crate) run_at: i64,
}

/// The days that bound a customer's machines.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) start: Date,
    /// The golden period's first day.
    pub(crate) golden: Date,
    /// The first day after the golden period.
    pub(crate) open: Date,
    pub(crate) until: Date,
}

impl Machine {
    fn draw(rng: &mut ChaCha8Rng, number: u32, tier: Tier, from: Date) -> Self {
        let disks = 1 + rng.pick_weighted(&[0.6, 0.3, 0.1]);
        let change_bytes = 10_f64.powf(rng.normal(9.3, 0.44)).clamp(2e7, 4e10);
        let size = |rng: &mut ChaCha8Rng| (10_f64.powf(rng.normal(10.6, 0.35)).clamp(4e9, 1.5e12) / 4096.0) as u64 * 4096;
        Self {
            number,
            name: names::machine(number),
            os: ["Windows Server 2022", "Windows Server 2019", "Ubuntu 24.04", "Red Hat Enterprise Linux 9"]
                [rng.pick_weighted(&[0.45, 0.25, 0.2, 0.1])],
            tiers: vec![(from, tier)],
            ends: None,
            replaced_by: None,
            disk_bytes: (0..disks).map(|_| size(rng)).collect(),
            change_bytes,
            trace_row: rng.random_range(0..trace::machines()),
            trace_shift: 7 * rng.random_range(0..4_usize),
            run_at: rng.random_range(20 * 3600..27 * 3600),
        }
    }

    /// Returns the tier held on a day, none before the first.
    pub(crate) fn tier_on(&self, day: Date) -> Option<Tier> {
        self.tiers.iter().rev().find(|(from, _)| *from <= day).map(|(_, tier)| *tier)
    }

    /// Tells whether the machine's nightly run is due on a service day.
    pub(crate) fn runs_on(&self, day: Date) -> bool {
        self.tiers[0].0 <= day && self.ends.is_none_or(|(last, _)| day <= last)
    }

    /// Returns what the machine occupies in a repository once its chain is full.
    pub(crate) fn stored_bytes(&self) -> f64 {
        self.disk_bytes.iter().sum::<u64>() as f64 * 0.45 + self.change_bytes * 30.0
    }
}

/// Plans the machines of a customer that is active in the golden period with exactly `counts` machines by tier.
///
/// Nothing else may complete a run in that period, in any time zone: who leaves before it stops three days earlier, who
/// comes after it starts two days later, and a tier changes before it or after it.
pub(crate) fn plan_active(rng: &mut ChaCha8Rng, counts: [u32; 3], bounds: Bounds, decline: f64) -> Vec<Machine> {
    let mut machines = Vec::new();
    for (tier, count) in Tier::ALL.iter().zip(counts) {
        for _ in 0..count {
            golden(rng, &mut machines, *tier, bounds);
        }
    }
    let total = f64::from(counts.iter().sum::<u32>());
    for _ in 0..rng.poisson(total * decline) {
        gone_before(rng, &mut machines, bounds);
    }
    let first_new = add(bounds.open, 2);
    if add(bounds.until, -2) > first_new {
        for _ in 0..rng.poisson(total * 0.02) {
            let from = between(rng, first_new, add(bounds.until, -2));
            push(rng, &mut machines, Tier::Backup, from);
        }
    }
    machines
}

fn golden(rng: &mut ChaCha8Rng, machines: &mut Vec<Machine>, tier: Tier, bounds: Bounds) {
    let is_first = rng.chance(0.6);
    let from = if is_first { bounds.start } else { between(rng, bounds.start, add(bounds.golden, -3)) };
    let lower = [None, Some(Tier::Backup), Some(Tier::Enterprise)][tier as usize];
    let changed = between(rng, add(from, 5), add(bounds.golden, -20));
    let changed = if rng.chance(0.7) { changed.first_of_month() } else { changed };
    let is_upgraded = rng.chance(0.14) && changed > from;
    let begins_as = lower.filter(|_| is_upgraded);
    let replaces = rng.chance(0.01) && add(from, 40) < add(bounds.golden, -20);
    if replaces {
        // new hardware under a new id: the old machine ends where the new one begins
        let swapped = between(rng, add(from, 20), add(bounds.golden, -20));
        push(rng, machines, tier, from);
        let successor = machines.len() as u32;
        if let Some(old) = machines.last_mut() {
            old.ends = Some((add(swapped, -1), swapped));
            old.replaced_by = Some(successor);
        }
        push(rng, machines, tier, swapped);
    } else {
        push(rng, machines, begins_as.unwrap_or(tier), from);
        if let (Some(machine), Some(_)) = (machines.last_mut(), begins_as) {
            machine.tiers.push((changed, tier));
        }
    }
    let Some(machine) = machines.last_mut() else { return };
    let last = add(bounds.until, -1);
    if rng.chance(0.015) && last > add(bounds.open, 1) {
        let removed = between(rng, add(bounds.open, 1), last);
        machine.ends = Some((add(removed, -1), removed));
    } else if rng.chance(0.015) && tier == Tier::Backup && last > bounds.open {
        machine.tiers.push((bounds.open, Tier::Enterprise));
    }
}

fn gone_before(rng: &mut ChaCha8Rng, machines: &mut Vec<Machine>, bounds: Bounds) {
    let last = add(bounds.golden, -3);
    if add(bounds.start, 30) >= last {
        return;
    }
    let removed = between(rng, add(bounds.start, 30), last);
    push(rng, machines, Tier::Backup, bounds.start);
    if let Some(machine) = machines.last_mut() {
        machine.ends = Some((add(removed, -1), removed));
    }
}

/// Plans the machines of a customer that is gone, paused or on trial: all from the start; from `noticed` on some stop early.
pub(crate) fn plan_until(rng: &mut ChaCha8Rng, count: u32, start: Date, noticed: Option<Date>, last: Date) -> Vec<Machine> {
    let mut machines = Vec::new();
    for _ in 0..count {
        let tier = Tier::ALL[rng.pick_weighted(&[0.62, 0.32, 0.06])];
        push(rng, &mut machines, tier, start);
        let is_early = rng.chance(0.4);
        let end = noticed.filter(|noticed| is_early && *noticed < last).map_or(last, |noticed| between(rng, noticed, last));
        if let Some(machine) = machines.last_mut() {
            machine.ends = Some((add(end, -1), end));
        }
    }
    machines
}

/// Plans the machines of a customer on trial.
pub(crate) fn plan_trial(rng: &mut ChaCha8Rng, count: u32, start: Date) -> Vec<Machine> {
    let mut machines = Vec::new();
    for _ in 0..count {
        push(rng, &mut machines, Tier::Backup, start);
    }
    machines
}

fn push(rng: &mut ChaCha8Rng, machines: &mut Vec<Machine>, tier: Tier, from: Date) {
    let number = machines.len() as u32;
    machines.push(Machine::draw(rng, number, tier, from));
}

/// Returns a day of `[from, to]`; `from` when there is none.
fn between(rng: &mut impl Rng, from: Date, to: Date) -> Date {
    let span = from.until(to).map_or(0, |span| span.get_days());
    if span <= 0 { from } else { add(from, rng.random_range(0..=span)) }
}

/// Adds days to a day.
pub(crate) fn add(day: Date, days: i32) -> Date {
    day.saturating_add(days.days())
}
