//! From a hidden life to the books: contract, statuses, prices, notice, payments.

use granary_types::{CustomerCode, CustomerStatus, EndReason, Period, Tier};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rust_decimal::Decimal;

use crate::customer::{Notice, PaymentHabit, PriceOverride, SimContract, SimCustomer, StatusChange};
use crate::features::features_of;
use crate::life::{Cause, Life, World};
use crate::machine::{Bounds, Machine, add, plan_active, plan_trial, plan_until};
use crate::random::{Draw, Purpose, stream};

const GIB: f64 = 1_073_741_824.0;

/// What all customers of a portfolio share.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame {
    pub(crate) seed: u64,
    pub(crate) first: Period,
    pub(crate) golden: Period,
    pub(crate) months: i32,
    pub(crate) until: Date,
    pub(crate) size: u32,
}

/// The parts for customers that are neither active nor gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Casting {
    Suspended,
    TrialThatEnded,
}

impl Frame {
    /// Returns the world of the portfolio: the golden period and the open one have no outage.
    pub(crate) fn world(&self) -> World {
        let calendar = u32::try_from(self.first.first_day().month() - 1).unwrap_or(0);
        World::new(self.months + 2, calendar, self.months - 1)
    }

    fn bounds(&self, start: Date) -> Bounds {
        Bounds { start, golden: self.golden.first_day(), open: self.golden.next().first_day(), until: self.until }
    }
}

/// A customer that is active in the golden period with these machines.
pub(crate) fn active(frame: &Frame, number: u64, life: Life, machines: [u32; 3], name: String, code: CustomerCode) -> SimCustomer {
    let mut rng = stream(frame.seed, number, Purpose::Terms);
    let start = arrival(&mut rng, frame, &life);
    let unhappy = life.at(frame.months - 1).map_or(0.0, |month| (0.75 - month.utilisation).max(0.0));
    let mut plan_rng = stream(frame.seed, number, Purpose::Machines);
    let plan = plan_active(&mut plan_rng, machines, frame.bounds(start), 0.05 + 0.5 * unhappy);
    let total: u32 = machines.iter().sum();
    let default_tier = Tier::ALL.iter().zip(machines).rev().max_by_key(|(_, count)| *count).map_or(Tier::Backup, |(tier, _)| *tier);
    let mut customer = base(&mut rng, frame, life, start, plan, default_tier, total, name, code);
    let paid_by = add(frame.golden.previous().first_day(), 0);
    if customer.life.traits.tenure_at_start < 0 && start < paid_by && rng.chance(0.5) {
        try_first(&mut customer, start, add(start, 30));
    }
    sell_extras(&mut rng, &mut customer, frame, number);
    announce(&mut rng, &mut customer, frame);
    customer.payments = payments(&mut rng, &customer, frame, 0);
    customer
}

/// A customer that was gone before the golden period began.
pub(crate) fn departed(frame: &Frame, number: u64, life: Life, name: String, code: CustomerCode) -> SimCustomer {
    let mut rng = stream(frame.seed, number, Purpose::Terms);
    let start = arrival(&mut rng, frame, &life);
    let count = (life.traits.seats.min(40.0) as u32).max(2);
    let noticed = life.departure.map(|departure| frame.first.plus_months(departure.noticed).last_day());
    let last = life.departure.map_or(frame.until, |departure| add(frame.first.plus_months(departure.gone).first_day(), -3));
    let plan = plan_until(&mut stream(frame.seed, number, Purpose::Machines), count, start, noticed, last);
    let mut customer = base(&mut rng, frame, life, start, plan, Tier::Backup, count, name, code);
    announce(&mut rng, &mut customer, frame);
    let unpaid = if customer.notice.as_ref().is_some_and(|notice| notice.reason == EndReason::NonPayment) { 2 } else { 0 };
    customer.payments = payments(&mut rng, &customer, frame, unpaid);
    customer
}

/// A customer whose trial began after the golden period and still runs.
pub(crate) fn on_trial(frame: &Frame, number: u64, machines: u32, name: String, code: CustomerCode) -> SimCustomer {
    let mut rng = stream(frame.seed, number, Purpose::Terms);
    let start = add(frame.golden.next().first_day(), 2).min(add(frame.until, -2)).max(frame.golden.next().first_day());
    let life = newcomer(frame, number, start);
    let plan = plan_trial(&mut stream(frame.seed, number, Purpose::Machines), machines, start);
    let mut customer = base(&mut rng, frame, life, start, plan, Tier::Backup, machines, name, code);
    customer.trial_ends_on = Some(add(start, 30));
    customer.activated_on = None;
    customer.contract.contracted_machines = None;
    customer.statuses = vec![StatusChange { status: CustomerStatus::Trial, on: start, reason: "trial" }];
    customer
}

/// A customer that stopped paying, or a trial that came to nothing.
pub(crate) fn paused(frame: &Frame, number: u64, casting: Casting, name: String, code: CustomerCode) -> SimCustomer {
    let mut rng = stream(frame.seed, number, Purpose::Terms);
    let is_trial = casting == Casting::TrialThatEnded;
    let start = if is_trial { add(frame.golden.plus_months(-3).first_day(), 4) } else { frame.first.first_day() };
    let end = if is_trial { add(start, 30) } else { add(frame.golden.plus_months(-2).first_day(), 9) };
    let count = if is_trial { 6 } else { 12 };
    let life = newcomer(frame, number, start);
    let plan = plan_until(&mut stream(frame.seed, number, Purpose::Machines), count, start, None, end);
    let mut customer = base(&mut rng, frame, life, start, plan, Tier::Backup, count, name, code);
    customer.contract.storage_limit_gib *= 2;
    if is_trial {
        customer.trial_ends_on = Some(end);
        customer.activated_on = None;
        customer.statuses = vec![
            StatusChange { status: CustomerStatus::Trial, on: start, reason: "trial" },
            StatusChange { status: CustomerStatus::Closed, on: end, reason: "trial ended" },
        ];
    } else {
        customer.statuses.push(StatusChange { status: CustomerStatus::Suspended, on: end, reason: "non_payment" });
        customer.payments = payments(&mut rng, &customer, frame, 3);
    }
    customer
}

/// Lives a life that begins in the month of `start` and stays.
fn newcomer(frame: &Frame, number: u64, start: Date) -> Life {
    let mut rng = stream(frame.seed, number, Purpose::Newcomer);
    let world = frame.world();
    let mut life = Life::live(&mut rng, &world);
    while life.departure.is_some() || life.first > 0 {
        life = Life::live(&mut rng, &world);
    }
    life.traits.tenure_at_start = -months_between(frame.first, Period::of(start));
    life
}

fn months_between(from: Period, to: Period) -> i32 {
    let index = |period: Period| i32::from(period.first_day().year()) * 12 + i32::from(period.first_day().month());
    index(to) - index(from)
}

/// The day of the first event: the portfolio's first day for those who were there before, some day of the month for others.
fn arrival(rng: &mut ChaCha8Rng, frame: &Frame, life: &Life) -> Date {
    let month = frame.first.plus_months(life.first).first_day();
    if life.traits.tenure_at_start > 0 { month } else { add(month, rng.random_range(1..=9)) }
}

#[expect(clippy::too_many_arguments, reason = "the parts of one customer, put together in one place")]
fn base(
    rng: &mut ChaCha8Rng,
    frame: &Frame,
    life: Life,
    start: Date,
    machines: Vec<Machine>,
    default_tier: Tier,
    total: u32,
    name: String,
    code: CustomerCode,
) -> SimCustomer {
    let tenure = life.traits.tenure_at_start.max(0);
    let created_on = if tenure > 0 { frame.first.plus_months(-tenure).first_day() } else { start };
    let utilisation = life.at(frame.months - 1).map_or(0.8, |month| month.utilisation);
    let agreed = (f64::from(total) / utilisation.max(0.3)).ceil() as u32;
    let stored: f64 = machines.iter().map(Machine::stored_bytes).sum();
    let limit = (stored * 1.4 * rng.random_range(0.88..2.1) / GIB / 100.0).ceil() as i64 * 100;
    let zone = ["America/New_York", "America/Chicago", "America/Los_Angeles", "Europe/London"][rng.pick_weighted(&[0.6, 0.25, 0.1, 0.05])];
    let contract = SimContract {
        starts_on: created_on,
        months: life.traits.contract_months,
        renews: true,
        notice_days: if life.traits.contract_months == 1 { 30 } else { 60 },
        default_tier,
        contracted_machines: rng.chance(0.85).then_some(agreed),
        machine_limit: rng.chance(0.4).then_some(agreed + agreed / 4 + 2),
        storage_limit_gib: limit.max(100),
        minimum_minor: 0,
        discount_percent: Decimal::ZERO,
        payment_terms_days: 30,
        has_premium_support: false,
        has_white_label: false,
    };
    SimCustomer {
        index: 0,
        source: format!("urn:control-plane:{}", code.as_str().to_ascii_lowercase()),
        code,
        name,
        vertical: life.traits.vertical,
        time_zone: TimeZone::get(zone).unwrap_or(TimeZone::UTC),
        created_on,
        trial_ends_on: None,
        activated_on: Some(created_on),
        statuses: vec![StatusChange { status: CustomerStatus::Active, on: created_on, reason: "signed" }],
        contract,
        price_overrides: Vec::new(),
        notice: None,
        payments: Vec::new(),
        first_event_on: start,
        machines,
        life,
        features: features_of(default_tier),
    }
}

/// Puts a trial before the contract.
fn try_first(customer: &mut SimCustomer, start: Date, converted: Date) {
    customer.trial_ends_on = Some(converted);
    customer.activated_on = Some(converted);
    customer.contract.starts_on = converted;
    customer.statuses = vec![
        StatusChange { status: CustomerStatus::Trial, on: start, reason: "trial" },
        StatusChange { status: CustomerStatus::Active, on: converted, reason: "converted" },
    ];
}

/// Add-ons, minimums, discounts and prices of a customer's own. Machine prices are the list's in the golden period.
fn sell_extras(rng: &mut ChaCha8Rng, customer: &mut SimCustomer, frame: &Frame, number: u64) {
    let contract = &mut customer.contract;
    contract.has_premium_support = rng.chance(0.15);
    contract.has_white_label = rng.chance(0.08);
    if rng.chance(0.05) {
        contract.minimum_minor = 25_000;
    }
    if number == 3 || number % 17 == 11 {
        contract.discount_percent = Decimal::new(50, 1);
    }
    let price = |item, unit_price, valid_from| PriceOverride { item, unit_price, valid_from };
    let start = Period::of(contract.starts_on).first_day();
    if number == 0 || number % 16 == 9 {
        // an old agreement that ran out: the list's price since some months before the golden period
        let ended = frame.golden.plus_months(-(frame.months / 3)).first_day();
        if start < ended {
            customer.price_overrides.push(price("machine_backup", Decimal::new(950, 2), start));
            customer.price_overrides.push(price("machine_backup", Decimal::new(1000, 2), ended));
        }
    }
    if number % 12 == 6 {
        customer.price_overrides.push(price("storage_overage", Decimal::new(8, 2), start));
    }
}

/// Writes down the departure as far as it is known by the portfolio's end.
fn announce(rng: &mut ChaCha8Rng, customer: &mut SimCustomer, frame: &Frame) {
    let Some(departure) = customer.life.departure else { return };
    let month = frame.first.plus_months(departure.noticed).first_day();
    let given_on = add(month, rng.random_range(2..=27));
    let gone_on = frame.first.plus_months(departure.gone).first_day();
    let reason = match departure.cause {
        Cause::Unhappy => EndReason::Voluntary,
        Cause::Broke => *rng.pick(&[EndReason::NonPayment, EndReason::Voluntary]),
        Cause::Outside => EndReason::Closed,
    };
    if given_on < frame.until {
        customer.notice = Some(Notice { given_on, ends_on: add(gone_on, -1), reason });
    }
    if gone_on <= frame.until {
        customer.statuses.push(StatusChange { status: CustomerStatus::Closed, on: gone_on, reason: reason.as_str() });
    }
}

fn payments(rng: &mut ChaCha8Rng, customer: &SimCustomer, frame: &Frame, unpaid: usize) -> Vec<PaymentHabit> {
    let mut habits = Vec::new();
    for month in 0..frame.months {
        let period = frame.first.plus_months(month);
        if customer.status_on(period.last_day()) != Some(CustomerStatus::Active) {
            continue;
        }
        let late = customer.life.at(month).map_or(0.0, |seen| seen.days_late);
        let jitter = if late > 0.0 { rng.random_range(0.0..1.0) } else { 0.0 };
        habits.push(PaymentHabit { period, days_late: Some((late + jitter) as u32) });
    }
    let paid = habits.len().saturating_sub(unpaid);
    for habit in &mut habits[paid..] {
        habit.days_late = None;
    }
    habits
}
