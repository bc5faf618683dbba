//! A customer's past as usage events: machines, nights, storage, support, liveness, use.

use granary_types::Period;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use crate::customer::SimCustomer;
use crate::delivery::{At, Batch, Delivered, Outbound};
use crate::machine::{Machine, add};
use crate::nightly::{Day, Named, Night};
use crate::portfolio::PortfolioSpec;
use crate::random::{Draw, Purpose, stream};

const GIB: u64 = 1 << 30;
const HOUR: i64 = 3_600;

/// A customer's deliveries in the order of their arrival, each of at most 1,000 events.
pub struct Batches(Delivered);

impl std::fmt::Debug for Batches {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batches").finish_non_exhaustive()
    }
}

impl Batches {
    pub(crate) const fn none() -> Self {
        Self(Delivered::nothing())
    }
}

impl Iterator for Batches {
    type Item = Batch;

    fn next(&mut self) -> Option<Batch> {
        self.0.next_batch()
    }
}

/// Makes the events of a customer.
pub(crate) fn batches(spec: &PortfolioSpec, first: Period, golden: Period, customer: &SimCustomer) -> Batches {
    let index = customer.index as u64;
    // the last night ends in the small hours
    let until = begin_of(spec.until, &spec.zone) + 6 * HOUR;
    let from = begin_of(customer.first_event_on, &customer.time_zone);
    let mut out = Outbound::new(stream(spec.seed, index, Purpose::Delivery), &customer.source, from, until);
    let mut past = Past { customer, first, golden, rng: stream(spec.seed, index, Purpose::Days) };
    past.machines(&mut out, until);
    past.days(&mut out, spec.until, stream(spec.seed ^ 0x6e69_6768_7473, index, Purpose::Days));
    Batches(out.deliver())
}

fn begin_of(day: Date, zone: &TimeZone) -> i64 {
    day.to_zoned(zone.clone()).map_or(0, |midnight| midnight.timestamp().as_second())
}

struct Past<'a> {
    customer: &'a SimCustomer,
    first: Period,
    golden: Period,
    rng: ChaCha8Rng,
}

impl Past<'_> {
    /// Discovery, protection, changes of tier, ends and replacements.
    fn machines(&mut self, out: &mut Outbound, until: i64) {
        for machine in &self.customer.machines {
            let number = machine.number;
            let morning = |day: Date| begin_of(day, &self.customer.time_zone) + 9 * HOUR;
            let flat = format!(r#""source_system":"vcenter","vendor_id":"vm-{}""#, number + 100);
            for (place, (from, tier)) in machine.tiers.iter().enumerate() {
                let at = morning(*from);
                if place == 0 {
                    let found = format_args!(r#"{flat},"name":"{}","os":"{}""#, machine.name, machine.os);
                    out.send_now("machine.discovered", format_args!("found-{number}"), at - HOUR, found);
                    let data = format_args!(
                        r#"{flat},"name":"{}","os":"{}","tier":"{tier}","from":"{from}","runs_per_day":1"#,
                        machine.name, machine.os
                    );
                    out.send_now("machine.protected", format_args!("protected-{number}"), at, data);
                } else {
                    let data = format_args!(r#"{flat},"tier":"{tier}","from":"{from}""#);
                    out.send_now("machine.tier_changed", format_args!("tier-{number}-{from}"), at, data);
                }
            }
            if let Some((_, on)) = machine.ends.filter(|(_, on)| morning(*on) < until) {
                if let Some(successor) = machine.replaced_by {
                    let data = format_args!(r#"{flat},"replaced_by":{{"source_system":"vcenter","vendor_id":"vm-{}"}}"#, successor + 100);
                    out.send_now("machine.replaced", format_args!("replaced-{number}"), morning(on) + 60, data);
                } else {
                    out.send_now(
                        "machine.unprotected",
                        format_args!("unprotected-{number}"),
                        morning(on),
                        format_args!(r#"{flat},"on":"{on}""#),
                    );
                }
            }
        }
        // found, and never protected
        for extra in 0..self.customer.machines.len() as u32 / 15 {
            let number = 5_000 + extra;
            let data = format_args!(r#""source_system":"vcenter","vendor_id":"vm-{number}","name":"LAB-{:02}""#, extra + 1);
            let at = begin_of(add(self.customer.first_event_on, 3), &self.customer.time_zone) + 9 * HOUR;
            out.send_now("machine.discovered", format_args!("found-{number}"), at, data);
        }
    }

    fn days(&mut self, out: &mut Outbound, until: Date, rng: ChaCha8Rng) {
        let customer = self.customer;
        let end = customer.silent_from().map_or(until, |day| day.min(until));
        let tuesday = Date::constant(2013, 8, 13);
        let mut night = Night::new(rng, out, customer.machines.len());
        let mut date = customer.first_event_on;
        let mut month = Period::of(date).previous();
        while date < end {
            let index = months_from(self.first, Period::of(date));
            let failure = customer.life.at(index).map_or(0.02, |seen| seen.failure);
            let number = usize::try_from(tuesday.until(date).map_or(0, |span| span.get_days())).unwrap_or(0);
            let day = Day { date, number, begins: begin_of(date, &customer.time_zone), failure, golden: self.golden };
            for machine in customer.machines.iter().filter(|machine| machine.runs_on(date)) {
                if let Some(tier) = machine.tier_on(date) {
                    night.machine(machine, &day, tier);
                }
            }
            if Period::of(date) != month {
                month = Period::of(date);
                self.month(night.out, month, index);
            }
            self.storage(night.out, &day);
            self.liveness(night.out, &day);
            date = add(date, 1);
        }
    }

    /// The last sample of the day of each repository: full backups and a chain that grows for thirty days.
    fn storage(&mut self, out: &mut Outbound, day: &Day) {
        let held = |machine: &&Machine| machine.tiers[0].0 <= day.date && machine.ends.is_none_or(|(_, on)| day.date < on);
        let mut used = 0.0;
        for machine in self.customer.machines.iter().filter(held) {
            let age = machine.tiers[0].0.until(day.date).map_or(0, |span| span.get_days()).min(30);
            used += machine.disk_bytes.iter().sum::<u64>() as f64 * 0.45 + machine.change_bytes * f64::from(age);
        }
        let used = (used * self.rng.random_range(0.995..1.005)) as u64;
        let at = day.begins + 19 * HOUR;
        let has_copy = self.customer.index % 3 != 1;
        for (name, is_copy, share) in [("main", false, 1.0), ("copy", true, 0.35)] {
            if is_copy && !has_copy {
                continue;
            }
            let data = format_args!(
                r#""repository":{{"vendor_id":"repo-{name}","name":"{} {name}","kind":"{}","capacity_bytes":{},"is_copy":{is_copy},"is_immutable":{is_copy},"retention_days":30}},"used_bytes":{},"sampled_at":"{}""#,
                self.customer.code,
                if is_copy { "object_store" } else { "disk" },
                self.customer.contract.storage_limit_gib.unsigned_abs() * 2 * GIB,
                (used as f64 * share) as u64,
                At(at)
            );
            out.send("repository.sampled", format_args!("sample-{name}-{}", day.date), at, data);
        }
    }

    fn liveness(&mut self, out: &mut Outbound, day: &Day) {
        let received = if self.rng.chance(0.03) { self.rng.random_range(60..96) } else { 96 };
        let (date, last) = (day.date, day.begins + 24 * HOUR - 600);
        let data = format_args!(r#""day":"{date}","received":{received},"expected":96,"last_at":"{}""#, At(last));
        out.send("heartbeat.summary", format_args!("heartbeat-{date}"), last + 300, data);
        if self.customer.index.is_multiple_of(4) {
            let calls = self.rng.random_range(20..400);
            self.activity(out, day.date, "api_call", calls);
        }
        if self.rng.chance(0.35) {
            let logins = self.rng.random_range(1..6);
            self.activity(out, day.date, "portal_login", logins);
        }
    }

    fn activity(&self, out: &mut Outbound, date: Date, kind: &str, amount: u32) {
        let at = begin_of(date, &self.customer.time_zone) + 23 * HOUR;
        let data = format_args!(r#""day":"{date}","kind":"{kind}","amount":{amount}"#);
        out.send("activity.summary", format_args!("activity-{kind}-{date}"), at, data);
    }

    /// What happens some time in a month: features used, tickets, restores.
    fn month(&mut self, out: &mut Outbound, month: Period, index: i32) {
        let Some(seen) = self.customer.life.at(index) else { return };
        let (adoption, tickets, urgent) = (seen.adoption, seen.tickets, seen.urgent_tickets);
        let used = (adoption * self.customer.features.len() as f64).round() as usize;
        for feature in self.customer.features.iter().take(used) {
            // once in each half of the month, so that no day has two summaries of one kind
            for half in 0..2 {
                let day = add(month.first_day(), 14 * half + self.rng.random_range(0..14));
                let amount = self.rng.random_range(1..20);
                if self.is_present(day) {
                    self.activity(out, day, &format!("feature:{feature}"), amount);
                }
            }
        }
        // a portfolio's customers are larger than their seats in the model; tickets follow the model
        for number in 0..tickets {
            self.ticket(out, month, number, number < urgent);
        }
        self.restores(out, month);
    }

    fn day_in(&mut self, month: Period) -> Date {
        let day = add(month.first_day(), self.rng.random_range(0..i32::from(month.days())));
        day.max(self.customer.first_event_on)
    }

    fn is_present(&self, day: Date) -> bool {
        day >= self.customer.first_event_on && self.customer.silent_from().is_none_or(|silent| day < silent)
    }

    fn ticket(&mut self, out: &mut Outbound, month: Period, number: u32, is_urgent: bool) {
        let day = self.day_in(month);
        let opened = begin_of(day, &self.customer.time_zone) + self.rng.random_range(7 * HOUR..19 * HOUR);
        if !self.is_present(day) {
            return;
        }
        let id = format!("T-{month}-{number}");
        let priority = if is_urgent { "urgent" } else { *self.rng.pick(&["low", "normal", "normal", "high"]) };
        let head = format!(r#""ticket_id":"{id}","priority":"{priority}","opened_at":"{}""#, At(opened));
        out.send("ticket.opened", format_args!("{id}-opened"), opened, format_args!("{head}"));
        if self.rng.chance(0.04) {
            return;
        }
        let answered = opened + (self.rng.normal(8.2, 0.9).exp() as i64).clamp(60, 20 * 24 * HOUR);
        out.send("ticket.answered", format_args!("{id}-answered"), answered, format_args!(r#"{head},"answered_at":"{}""#, At(answered)));
        let closed = answered + (self.rng.normal(10.2, 1.0).exp() as i64).clamp(600, 40 * 24 * HOUR);
        let rating = if self.rng.chance(0.4) { format!(r#","rating":{}"#, self.rng.random_range(2..=5)) } else { String::new() };
        out.send("ticket.closed", format_args!("{id}-closed"), closed, format_args!(r#"{head},"closed_at":"{}"{rating}"#, At(closed)));
    }

    fn restores(&mut self, out: &mut Outbound, month: Period) {
        for number in 0..self.rng.poisson(0.8) {
            let day = self.day_in(month);
            let protected: Vec<&Machine> = self.customer.machines.iter().filter(|machine| machine.runs_on(day)).collect();
            let Some(machine) = (!protected.is_empty()).then(|| *self.rng.pick(&protected)) else { return };
            let kind = *self.rng.pick(&["file_level", "file_level", "test", "full_vm"]);
            let requested = begin_of(day, &self.customer.time_zone) + self.rng.random_range(8 * HOUR..18 * HOUR);
            let minutes = self.rng.normal(if kind == "full_vm" { 4.6 } else { 3.0 }, 0.7).exp().clamp(1.0, 2_000.0);
            let ended = requested + (minutes * 60.0) as i64;
            let size: u64 = machine.disk_bytes.iter().sum();
            let bytes = if kind == "file_level" { self.rng.random_range(1_000_000..4_000_000_000) } else { size };
            let state = if self.rng.chance(0.04) { "failed" } else { "completed" };
            let data = format_args!(
                r#""restore_id":"R-{month}-{number}",{},"kind":"{kind}","requested_at":"{}","ended_at":"{}","restored_bytes":{bytes}"#,
                Named(machine),
                At(requested),
                At(ended)
            );
            out.send(&format!("restore.{state}"), format_args!("R-{month}-{number}-{state}"), ended, data);
        }
    }
}

fn months_from(from: Period, to: Period) -> i32 {
    let index = |period: Period| i32::from(period.first_day().year()) * 12 + i32::from(period.first_day().month());
    index(to) - index(from)
}
