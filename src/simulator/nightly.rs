//! What a machine does in a night: a backup run with its attempts and disks, or a day of replication cycles.

use granary_types::{Period, Tier};
use jiff::civil::{Date, Weekday};
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use crate::delivery::{At, Outbound};
use crate::machine::Machine;
use crate::random::Draw;
use crate::trace;

/// The chance that a machine that failed last night fails again: failures are spells of a few machines.
const FAILS_AGAIN: f64 = 0.62;

/// A service day of a customer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Day {
    pub(crate) date: Date,
    /// Its number since a Tuesday.
    pub(crate) number: usize,
    /// Its first second.
    pub(crate) begins: i64,
    /// The share of machine-days that fail in this month.
    pub(crate) failure: f64,
    pub(crate) golden: Period,
}

/// Writes the events of machines, night after night, and remembers which of them are in a bad spell.
pub(crate) struct Night<'a> {
    pub(crate) rng: ChaCha8Rng,
    pub(crate) out: &'a mut Outbound,
    pub(crate) is_failing: Vec<bool>,
    disks: String,
}

impl<'a> Night<'a> {
    pub(crate) fn new(rng: ChaCha8Rng, out: &'a mut Outbound, machines: usize) -> Self {
        Self { rng, out, is_failing: vec![false; machines], disks: String::new() }
    }

    /// Writes what a machine reports of a day on which it is protected.
    pub(crate) fn machine(&mut self, machine: &Machine, day: &Day, tier: Tier) {
        // one night of the golden period always succeeds, so that every machine counts in it
        let is_sure = Period::of(day.date) == day.golden && day.date.day() == 11 + (machine.number % 9) as i8;
        if tier == Tier::Replication {
            self.replicate(machine, day, is_sure);
            if day.date.weekday() != Weekday::Sunday {
                return;
            }
        }
        let enter = day.failure * (1.0 - FAILS_AGAIN) / (1.0 - day.failure);
        let was_failing = self.is_failing[machine.number as usize];
        let fails = self.rng.chance(if was_failing { FAILS_AGAIN } else { enter }) && !is_sure;
        self.is_failing[machine.number as usize] = fails;
        match self.rng.random::<f64>() {
            lot if lot < 0.001 && !is_sure => self.skip(machine, day),
            lot if lot < 0.0025 && !is_sure => {}
            _ => self.run(machine, day, fails, is_sure),
        }
    }

    fn skip(&mut self, machine: &Machine, day: &Day) {
        let at = day.begins + 72_000;
        self.out.send(
            "backup.skipped",
            format_args!("skip-{}-{}", machine.number, day.date),
            at,
            format_args!(r#"{},"day":"{}","reason":"agreed maintenance","is_excused":true"#, Named(machine), day.date),
        );
    }

    fn run(&mut self, machine: &Machine, day: &Day, fails: bool, is_sure: bool) {
        let run = format!("{}-{}", machine.number, day.date);
        let kind = if machine.tiers[0].0 == day.date || self.rng.chance(0.005) { "full" } else { "incremental" };
        let mut started = day.begins + machine.run_at + self.rng.random_range(0..900);
        if self.rng.chance(0.004) {
            let data = format_args!(r#""run_id":"{run}",{},"kind":"{kind}","attempt":1,"started_at":"{}""#, Named(machine), At(started));
            self.out.send("backup.started", format_args!("{run}-1-started"), started, data);
        }
        let failed = if fails { 1 + u32::from(self.rng.chance(0.7)) } else { u32::from(self.rng.chance(0.02)) };
        for attempt in 1..=failed {
            let ended = started + self.rng.random_range(60..2_400);
            self.failed(machine, &run, kind, attempt, started, ended);
            started = ended + 1_800;
        }
        let recovers_later = fails && self.rng.chance(0.15);
        if recovers_later {
            // somebody repairs it in the morning: the same run, completed after all
            started = day.begins + 86_400 + 9 * 3_600 + self.rng.random_range(0..7_200);
        }
        if !fails || recovers_later {
            self.completed(machine, day, &run, kind, failed + 1, started, is_sure);
        }
    }

    fn failed(&mut self, machine: &Machine, run: &str, kind: &str, attempt: u32, started: i64, ended: i64) {
        let error = *self.rng.pick(&[
            "snapshot could not be created",
            "agent not reachable",
            "repository is out of space",
            "changed block tracking is invalid",
        ]);
        let data = format_args!(
            r#""run_id":"{run}",{},"kind":"{kind}","attempt":{attempt},"started_at":"{}","ended_at":"{}","error":"{error}""#,
            Named(machine),
            At(started),
            At(ended)
        );
        self.out.send("backup.failed", format_args!("{run}-{attempt}-failed"), ended, data);
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one event")]
    fn completed(&mut self, machine: &Machine, day: &Day, run: &str, kind: &str, attempt: u32, started: i64, is_sure: bool) {
        let change = machine.change_bytes * trace::factor(machine.trace_row, day.number + machine.trace_shift);
        let total: u64 = machine.disk_bytes.iter().sum();
        let mut moved = 0;
        self.disks.clear();
        for (index, size) in machine.disk_bytes.iter().enumerate() {
            let share = *size as f64 / total as f64;
            let bytes = if kind == "full" { *size as f64 * 0.45 } else { (change * share).min(*size as f64) };
            let bytes = (bytes * self.rng.random_range(0.9..1.1)) as u64;
            moved += bytes;
            let comma = if index == 0 { "" } else { "," };
            let disk = format_args!(r#"{comma}{{"index":{index},"size_bytes":{size},"transferred_bytes":{bytes},"state":"completed"}}"#);
            // writing to a string does not fail
            let _ = std::fmt::Write::write_fmt(&mut self.disks, disk);
        }
        let ended = started + 45 + (moved / 60_000_000).min(20_000) as i64 + self.rng.random_range(0..240);
        let has_warning = self.rng.chance(0.02);
        let data = format_args!(
            r#""run_id":"{run}",{},"kind":"{kind}","attempt":{attempt},"has_warning":{has_warning},"started_at":"{}","ended_at":"{}","disks":[{}]"#,
            Named(machine),
            At(started),
            At(ended),
            self.disks
        );
        let id = format_args!("{run}-{attempt}-completed");
        if is_sure {
            self.out.send_now("backup.completed", id, ended, data);
        } else {
            self.out.send("backup.completed", id, ended, data);
        }
    }

    fn replicate(&mut self, machine: &Machine, day: &Day, is_sure: bool) {
        let fails = self.rng.chance(day.failure);
        let failed: i64 = if fails { self.rng.random_range(1..=24) } else { 0 };
        let failed = if is_sure { failed.min(20) } else { failed };
        let lag = if fails { self.rng.random_range(3_600..43_200) } else { self.rng.random_range(300..3_500) };
        let bytes = (machine.change_bytes * trace::factor(machine.trace_row, day.number + machine.trace_shift) * 1.2) as u64;
        // seven in the evening is the same day in every zone of a portfolio, also when the clocks change
        let last = day.begins + 19 * 3_600 - if fails { lag / 2 } else { 0 };
        let data = format_args!(
            r#"{},"day":"{}","cycles_completed":{},"cycles_failed":{failed},"transferred_bytes":{bytes},"lag_seconds_max":{lag},"last_cycle_at":"{}""#,
            Named(machine),
            day.date,
            24 - failed,
            At(last)
        );
        let (id, at) = (format_args!("cycles-{}-{}", machine.number, day.date), day.begins + 19 * 3_600 + 600);
        if is_sure {
            self.out.send_now("replication.summary", id, at, data);
        } else {
            self.out.send("replication.summary", id, at, data);
        }
    }
}

/// The member that names a machine within an event's data.
pub(crate) struct Named<'a>(pub(crate) &'a Machine);

impl std::fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, r#""machine":{{"source_system":"vcenter","vendor_id":"vm-{}"}}"#, self.0.number + 100)
    }
}
