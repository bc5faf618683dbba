//! The making of a portfolio: who is in it, and how its machines add up.

use granary_types::{Currency, CustomerCode, PartnerTier, Period, Tier};
use jiff::ToSpan;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use rand_chacha::ChaCha8Rng;

use crate::customer::SimCustomer;
use crate::events::{Batches, batches};
use crate::life::Life;
use crate::names::{FIRST, Names, TRIAL};
use crate::random::{Draw, Purpose, stream};
use crate::terms::{self, Casting, Frame};

/// Machines per active customer, by tier, in the golden period.
const PER_CUSTOMER: [u32; 3] = [30, 15, 5];

/// What a portfolio shall be.
#[derive(Debug, Clone)]
pub struct PortfolioSpec {
    /// Active customers in the last period that can be closed; those who left, paused or are on trial come on top.
    pub customers: u32,
    /// Periods up to and including the last one that can be closed.
    pub months: u32,
    /// The first day that has not happened yet; its small hours, in which the last night ends, have.
    pub until: Date,
    pub seed: u64,
    /// The MSP's zone, in which billing days count.
    pub zone: TimeZone,
}

/// The MSP of a portfolio.
#[derive(Debug, Clone)]
pub struct SimMsp {
    pub code: &'static str,
    pub name: &'static str,
    pub time_zone: TimeZone,
    pub currency: Currency,
    pub partner_tier: PartnerTier,
    pub brand_color: &'static str,
}

/// An MSP and its customers with a past.
///
/// The same specification always gives the same portfolio and the same events, byte by byte.
#[derive(Debug, Clone)]
pub struct Portfolio {
    pub spec: PortfolioSpec,
    pub msp: SimMsp,
    pub customers: Vec<SimCustomer>,
    /// The first period with events.
    pub first_period: Period,
    /// The last period that can be closed: 72 hours after its end have passed. It has exactly `customers` active customers
    /// and 30, 15 and 5 machines for each of them.
    pub golden_period: Period,
}

impl Portfolio {
    /// Makes a portfolio.
    pub fn generate(spec: &PortfolioSpec) -> Self {
        let golden = last_closable(spec.until, &spec.zone);
        let months = i32::try_from(spec.months.max(1)).unwrap_or(i32::MAX);
        let first = golden.plus_months(1 - months);
        let frame = Frame { seed: spec.seed, first, golden, months, until: spec.until, size: spec.customers };
        let mut customers = cast(&frame);
        for (index, customer) in customers.iter_mut().enumerate() {
            customer.index = index;
        }
        let msp = SimMsp {
            code: "NORTHWIND",
            name: "Northwind Managed Services",
            time_zone: spec.zone.clone(),
            currency: Currency::USD,
            partner_tier: PartnerTier::Premier,
            brand_color: "#0b6e4f",
        };
        Self { spec: spec.clone(), msp, customers, first_period: first, golden_period: golden }
    }

    /// Returns a customer's usage events in the order of their arrival, as JSON arrays of CloudEvents.
    ///
    /// Customers are independent of one another and may be read in parallel. No customer has that index: no batches.
    pub fn events(&self, customer: usize) -> Batches {
        self.customers
            .get(customer)
            .map_or_else(Batches::none, |customer| batches(&self.spec, self.first_period, self.golden_period, customer))
    }
}

/// Returns the last period whose 72 hours after the end have passed when `until` begins.
fn last_closable(until: Date, zone: &TimeZone) -> Period {
    let now = until.to_zoned(zone.clone()).map(|midnight| midnight.timestamp());
    let period = Period::of(until).previous();
    let cut_off = period.end_at(zone) + 72.hours();
    if now.is_ok_and(|now| cut_off <= now) { period } else { period.previous() }
}

fn cast(frame: &Frame) -> Vec<SimCustomer> {
    let mut rng = stream(frame.seed, 0, Purpose::Portfolio);
    let mut names = Names::new(&mut rng);
    let (stayed, left) = lives(frame);
    let counts = share_out(&mut rng, frame, &stayed);
    let mut customers = Vec::new();
    for (number, (life, machines)) in stayed.into_iter().zip(counts).enumerate() {
        let (name, code) = named(&mut names, number, &life);
        customers.push(terms::active(frame, number as u64, life, machines, name, code));
    }
    let mut number = customers.len() as u64;
    let mut next = || {
        number += 1;
        number
    };
    if frame.size >= 3 {
        let share = (f64::from(frame.size) / 12.0).min(1.0);
        let machines = ((f64::from(TRIAL.3) * share) as u32).max(1);
        customers.push(terms::on_trial(frame, next(), machines, TRIAL.0.to_owned(), code(TRIAL.1)));
    }
    for life in left {
        let (name, code) = named(&mut names, usize::MAX, &life);
        customers.push(terms::departed(frame, next(), life, name, code));
    }
    if frame.size >= 10 && frame.months >= 6 {
        for casting in [Casting::Suspended, Casting::TrialThatEnded] {
            let (name, text) = names.next("retail");
            customers.push(terms::paused(frame, next(), casting, name, code(&text)));
        }
    }
    customers
}

fn named(names: &mut Names, number: usize, life: &Life) -> (String, CustomerCode) {
    match FIRST.get(number) {
        Some((name, text, ..)) => ((*name).to_owned(), code(text)),
        None => {
            let (name, text) = names.next(life.traits.vertical);
            (name, code(&text))
        }
    }
}

#[expect(clippy::expect_used, reason = "codes are made of the constant names in this room, and a test makes them all")]
fn code(text: &str) -> CustomerCode {
    text.parse().expect("a name of the list is a code")
}

/// Lives candidates until enough of them are active in the golden period; those who had left by then come along.
fn lives(frame: &Frame) -> (Vec<Life>, Vec<Life>) {
    let size = frame.size as usize;
    let (mut named, mut others, mut left) = (Vec::new(), Vec::new(), Vec::new());
    let golden = frame.months - 1;
    let world = frame.world();
    for candidate in 0_u64.. {
        let life = Life::live(&mut stream(frame.seed, candidate, Purpose::Life), &world);
        let gone = life.departure.map(|departure| departure.gone);
        if life.first <= golden && gone.is_none_or(|gone| gone > golden) {
            // the first names stay: they are looked at from the first month to the last
            if named.len() < FIRST.len().min(size) && life.first == 0 && gone.is_none() && life.traits.seats > 15.0 {
                named.push(life);
            } else if others.len() + FIRST.len().min(size) < size {
                others.push(life);
            }
        } else if gone.is_some_and(|gone| gone <= golden && gone >= life.first + 3) && left.len() < size / 4 {
            left.push(life);
        }
        if named.len() + others.len() >= size {
            break;
        }
    }
    named.extend(others);
    (named, left)
}

/// Shares the golden machines out: the first names have theirs, the others by size, everybody at least one.
fn share_out(rng: &mut ChaCha8Rng, frame: &Frame, lives: &[Life]) -> Vec<[u32; 3]> {
    // in a small portfolio the first names shrink with it
    let small = (f64::from(frame.size) / 12.0).min(1.0);
    let mut counts: Vec<[u32; 3]> = lives
        .iter()
        .enumerate()
        .map(|(number, _)| FIRST.get(number).map_or([1, 0, 0], |(.., machines)| machines.map(|count| (f64::from(count) * small) as u32)))
        .collect();
    let begin = if lives.len() > FIRST.len() { FIRST.len() } else { 0 };
    for tier in 0..Tier::ALL.len() {
        let total = PER_CUSTOMER[tier] * frame.size;
        let given: u32 = counts.iter().map(|machines| machines[tier]).sum();
        let weights: Vec<f64> = lives[begin..]
            .iter()
            .map(|life| {
                let leaning = [0.35, 0.9, 1.4][tier];
                life.traits.seats.min(150.0) * rng.normal(0.0, leaning).exp()
            })
            .collect();
        for (machines, extra) in counts[begin..].iter_mut().zip(apportion(total.saturating_sub(given), &weights)) {
            machines[tier] += extra;
        }
    }
    counts
}

/// Divides `total` in proportion to the weights, by largest remainder.
fn apportion(total: u32, weights: &[f64]) -> Vec<u32> {
    let sum: f64 = weights.iter().sum();
    let exact: Vec<f64> = weights.iter().map(|weight| f64::from(total) * weight / sum).collect();
    let mut parts: Vec<u32> = exact.iter().map(|part| part.floor() as u32).collect();
    let mut order: Vec<usize> = (0..parts.len()).collect();
    order.sort_by(|a, b| exact[*b].fract().total_cmp(&exact[*a].fract()).then(a.cmp(b)));
    let rest = total.saturating_sub(parts.iter().sum());
    for index in order.into_iter().cycle().take(rest as usize) {
        parts[index] += 1;
    }
    parts
}
