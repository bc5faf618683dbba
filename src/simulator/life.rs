//! The hidden life of a customer: satisfaction and financial stress, month by month, what they let show, and when notice is given.
//!
//! Satisfaction drifts, falls with incidents, failing backups, a champion who leaves and a price step at renewal; stress walks
//! on its own. Both raise the monthly chance of notice; a contract lets go of its customer mostly around its renewal; some
//! leave for reasons that nothing shows (merger, closure). Much of what can be seen is trait, not mood: some always pay late,
//! some always write tickets, some have bad machines. So the departures can be foreseen in part, and only in part.

use rand::Rng;

use crate::random::Draw;

/// Months lived before the first one that is reported, so that states have settled.
const BURN_IN: i32 = 12;
/// The features whose use is counted for everybody in the grid.
pub(crate) const FEATURES: u32 = 12;

/// What never changes about a customer.
#[derive(Debug, Clone)]
pub(crate) struct Traits {
    pub(crate) seats: f64,
    pub(crate) contract_months: u32,
    pub(crate) vertical: &'static str,
    frailty: f64,
    infrastructure: f64,
    is_late_payer: bool,
    talkativeness: f64,
    licence_offset: f64,
    adoption_offset: f64,
    mood: f64,
    /// Months as a customer before month 0; negative for those who come later.
    pub(crate) tenure_at_start: i32,
}

/// One month of a customer's life.
#[derive(Debug, Clone)]
pub(crate) struct Month {
    pub(crate) tenure: i32,
    pub(crate) months_to_renewal: u32,
    /// The share of machine-days that fail after all retries.
    pub(crate) failure: f64,
    pub(crate) days_late: f64,
    pub(crate) tickets: u32,
    pub(crate) urgent_tickets: u32,
    /// The share of the features on offer that is used.
    pub(crate) adoption: f64,
    /// Machines protected as a share of the machines agreed.
    pub(crate) utilisation: f64,
    /// Nobody collected anything.
    pub(crate) is_missing: bool,
}

/// Why a customer gave notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    Unhappy,
    Broke,
    Outside,
}

/// A departure.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Departure {
    pub(crate) noticed: i32,
    /// The first month that the customer is gone.
    pub(crate) gone: i32,
    pub(crate) cause: Cause,
}

/// A life from the first month (0 or later) to the departure or the end of the horizon.
#[derive(Debug, Clone)]
pub(crate) struct Life {
    pub(crate) traits: Traits,
    pub(crate) first: i32,
    /// Months from `first` on.
    pub(crate) months: Vec<Month>,
    pub(crate) departure: Option<Departure>,
}

/// When a platform outage hits everybody, as a share of the months told; nobody leaves because of it.
const OUTAGES: [f64; 3] = [0.25, 0.61, 0.86];
/// How alike the machines of a customer fail in a month; real fleets show 0.15 (models of single machines, 0.37).
const FAILURE_CORRELATION: f64 = 0.15;

/// The world around all customers.
#[derive(Debug, Clone)]
pub(crate) struct World {
    /// How many months are lived.
    pub(crate) months: i32,
    /// The month of the year (0 to 11) of month 0.
    pub(crate) calendar: u32,
    outages: Vec<i32>,
}

impl World {
    /// A world of `months` months, of which the first `told` may have outages.
    pub(crate) fn new(months: i32, calendar: u32, told: i32) -> Self {
        let outages = OUTAGES.iter().map(|share| (share * f64::from(told)) as i32).collect();
        Self { months, calendar, outages }
    }
}

struct State {
    satisfaction: f64,
    stress: f64,
    recent: [f64; 3],
}

impl Life {
    /// Lives from the first month to the last, or to the departure.
    pub(crate) fn live(rng: &mut impl Rng, world: &World) -> Self {
        let traits = Traits::draw(rng, world.months);
        let first = (-traits.tenure_at_start).max(0);
        let mut state = State { satisfaction: traits.mood, stress: rng.normal(0.0, 0.6), recent: [traits.mood; 3] };
        for _ in 0..BURN_IN {
            state.step(rng, &traits, 0.04, false);
        }
        let mut life = Self { traits, first, months: Vec::new(), departure: None };
        for month in first..world.months {
            if life.departure.is_some_and(|departure| month >= departure.gone) {
                break;
            }
            life.month(rng, &mut state, month, world);
        }
        life
    }

    /// Returns a month of the horizon, if the customer was there.
    pub(crate) fn at(&self, month: i32) -> Option<&Month> {
        usize::try_from(month - self.first).ok().and_then(|index| self.months.get(index))
    }

    fn month(&mut self, rng: &mut impl Rng, state: &mut State, month: i32, world: &World) {
        let to_renewal = self.traits.months_to_renewal(month);
        let failure = self.traits.failure(rng, state, world.outages.contains(&month));
        let is_renewal = self.traits.contract_months > 1 && to_renewal == 0;
        state.step(rng, &self.traits, failure, is_renewal);
        let mut seen = self.traits.observe(rng, state, failure, month, (world.calendar + month as u32) % 12);
        seen.months_to_renewal = to_renewal;
        if let Some(departure) = self.departure {
            wind_down(&mut seen, month - departure.noticed);
        } else if let Some(cause) = self.traits.leaves(rng, state, &seen, month, world.months) {
            let notice = rng.random_range(1..=3);
            self.departure = Some(Departure { noticed: month, gone: month + 1 + notice, cause });
        }
        self.months.push(seen);
    }
}

/// Between notice and end everything goes down, which is why these months must not be learned from.
fn wind_down(month: &mut Month, since: i32) {
    let left = 0.7_f64.powi(since);
    month.adoption *= left;
    month.utilisation *= left;
    month.tickets = (f64::from(month.tickets) * left) as u32;
    month.days_late += 4.0 * f64::from(since);
}

impl Traits {
    fn draw(rng: &mut impl Rng, horizon: i32) -> Self {
        let segment = rng.pick_weighted(&[0.55, 0.33, 0.12]);
        let seats = rng.normal([2.3, 3.5, 4.8][segment], 0.45).exp().max(3.0);
        let onboarding = rng.normal(0.0, 1.0);
        let is_present = rng.chance(0.55);
        let tenure_at_start = if is_present { (rng.exponential() * 20.0).min(120.0) as i32 } else { -rng.random_range(1..horizon.max(2)) };
        Self {
            seats,
            contract_months: [1, 12, 36][rng.pick_weighted(&[0.35, 0.50, 0.15])],
            vertical: ["office", "education", "retail", "construction"][rng.pick_weighted(&[0.40, 0.20, 0.25, 0.15])],
            frailty: rng.normal(0.0, 0.35),
            infrastructure: rng.normal(0.0, 0.6),
            is_late_payer: rng.chance(0.18),
            talkativeness: rng.normal(0.0, 0.5),
            licence_offset: rng.normal(0.9, 0.5),
            adoption_offset: rng.normal(0.0, 0.6),
            mood: 0.25 * onboarding + rng.normal(0.0, 0.45),
            tenure_at_start,
        }
    }

    /// Months until the contract renews; 0 in the month of renewal and for contracts by the month.
    fn months_to_renewal(&self, month: i32) -> u32 {
        let age = (month + self.tenure_at_start).max(0) as u32;
        match (self.contract_months, age) {
            (1, _) => 0,
            (months, 0) => months,
            (months, age) => (months - age % months) % months,
        }
    }

    /// Failures come in bursts that a month's machines share.
    fn failure(&self, rng: &mut impl Rng, state: &State, is_outage: bool) -> f64 {
        let logit = 3.5 + 0.5 * self.infrastructure - 0.33 * (-state.satisfaction).max(0.0) - if is_outage { 1.3 } else { 0.0 };
        rng.beta(1.0 - sigmoid(logit), FAILURE_CORRELATION).min(0.6)
    }

    fn observe(&self, rng: &mut impl Rng, state: &State, failure: f64, month: i32, in_year: u32) -> Month {
        let tenure = month + self.tenure_at_start;
        let (satisfaction, stress) = (state.satisfaction, state.stress);
        let late = rng.normal(-4.0, 3.0) + if self.is_late_payer { 18.0 } else { 0.0 };
        let days_late = (late + 5.0 * stress.max(0.0) + 2.2 * (-satisfaction).max(0.0) + rng.normal(0.0, 6.0)).max(0.0);
        let is_disengaged = satisfaction < -1.0;
        let season = match (self.vertical, in_year) {
            ("education", 5..=7) => 0.65,
            ("retail", 9..=11) => 1.25,
            _ => 1.0,
        };
        let mood = 0.45 * (-satisfaction).max(0.0) - if is_disengaged { 0.35 } else { 0.0 } + self.talkativeness;
        let tickets_mean = 0.14 * self.seats.powf(0.85) * mood.exp() * season;
        let tickets_rate = rng.gamma(2.5, tickets_mean / 2.5);
        let tickets = rng.poisson(tickets_rate);
        let urgent_tickets = rng.binomial(tickets, sigmoid(-2.2 - 0.4 * satisfaction));
        let engagement = 0.55 * satisfaction + self.adoption_offset + 1.1 * (1.0 - (-f64::from(tenure) / 6.0).exp()) - 0.6;
        let used = rng.binomial(FEATURES, sigmoid(engagement));
        Month {
            tenure,
            months_to_renewal: 0,
            failure,
            days_late,
            tickets,
            urgent_tickets,
            adoption: f64::from(used) / f64::from(FEATURES),
            utilisation: sigmoid(self.licence_offset + 0.33 * satisfaction - 0.30 * stress.max(0.0) + rng.normal(0.0, 0.25)),
            is_missing: rng.chance(if is_disengaged { 0.12 } else { 0.06 }),
        }
    }

    fn leaves(&self, rng: &mut impl Rng, state: &State, seen: &Month, month: i32, horizon: i32) -> Option<Cause> {
        let mean = state.recent.iter().sum::<f64>() / 3.0;
        let young = if (3..=9).contains(&seen.tenure) { 0.5 } else { 0.0 };
        let base = (0.12_f64 / 12.0).ln() - 1.9 - 0.20 * (self.seats.ln() - 2.8) + self.frailty + young;
        let near = seen.months_to_renewal <= 3;
        let gate = match (self.contract_months, near) {
            (1, _) => 1.0,
            (12, true) => 2.2,
            (12, false) => 0.35,
            (_, true) => 2.5,
            (_, false) => 0.12,
        };
        let competitor = if month >= horizon * 2 / 3 { 1.35 } else { 1.0 };
        let (unhappy, broke) = ((-1.6 * mean).exp(), (0.8 * state.stress).exp());
        let hazard = base.exp() * unhappy * broke * gate * competitor;
        if rng.chance(hazard.min(0.9)) {
            return Some(if broke > unhappy { Cause::Broke } else { Cause::Unhappy });
        }
        rng.chance(0.0015).then_some(Cause::Outside)
    }
}

impl State {
    fn step(&mut self, rng: &mut impl Rng, traits: &Traits, failure: f64, is_renewal: bool) {
        let mut next = traits.mood + 0.90 * (self.satisfaction - traits.mood) + rng.normal(0.0, 0.33);
        if rng.chance(0.03) {
            next -= 0.9 * rng.exponential();
        }
        if rng.chance(0.012) {
            next -= 1.2;
        }
        if is_renewal {
            next -= 0.25;
        }
        next -= 0.6 * (failure - 0.08).clamp(0.0, 0.5);
        self.satisfaction = next;
        self.stress = 0.93 * self.stress + rng.normal(0.0, 0.30);
        self.recent = [self.recent[1], self.recent[2], next];
    }
}

/// The logistic function.
pub(crate) fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}
