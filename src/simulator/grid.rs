//! The monthly grid: what an MSP with many customers would see of them, without the events behind it.

use rand::Rng;

use crate::life::{FEATURES, Life, World};
use crate::random::{Draw, Purpose, stream};

/// One customer in one month, as far as anybody collected it.
#[derive(Debug, Clone, PartialEq)]
pub struct GridMonth {
    /// The customer's number, from 0.
    pub customer: u32,
    /// The month's number, from 0.
    pub month: i32,
    /// Months since the customer came.
    pub tenure_months: u32,
    pub contract_months: u32,
    pub months_to_renewal: u32,
    /// Backup runs that succeeded after all retries, and runs expected; none when nothing was collected.
    pub runs: Option<(u32, u32)>,
    /// How late the month's invoice was paid.
    pub days_late: Option<f64>,
    pub tickets: Option<u32>,
    pub features_used: Option<u32>,
    pub features_offered: u32,
    pub machines: Option<u32>,
    pub machines_agreed: u32,
    /// Notice was given in an earlier month: the customer is winding down and no longer at risk.
    pub is_leaving: bool,
}

/// A portfolio as rows: the months seen, and the month in which each departure was *recorded*.
#[derive(Debug, Clone)]
pub struct Grid {
    pub months: Vec<GridMonth>,
    /// By customer: the month in which notice was recorded. One in twenty is recorded a month or two late, one in
    /// twenty-five never, as in real books.
    pub notices: Vec<Option<i32>>,
}

/// Returns the grid of `customers` customers over `months` months.
pub fn feature_rows(customers: u32, months: u32, seed: u64) -> Grid {
    let months = i32::try_from(months).unwrap_or(i32::MAX);
    let world = World::new(months, 0, months);
    let mut grid = Grid { months: Vec::new(), notices: Vec::new() };
    for customer in 0..customers {
        let life = Life::live(&mut stream(seed, u64::from(customer), Purpose::Life), &world);
        let mut rng = stream(seed, u64::from(customer), Purpose::Grid);
        let notice = life.departure.map(|departure| departure.noticed);
        let recorded = notice.filter(|_| !rng.chance(0.04)).map(|month| month + late_by(&mut rng));
        grid.months.extend((0..life.months.len()).map(|index| row(&mut rng, customer, &life, index, recorded)));
        grid.notices.push(recorded);
    }
    grid
}

fn late_by(rng: &mut impl Rng) -> i32 {
    if rng.chance(0.05) { rng.random_range(1..=2) } else { 0 }
}

fn row(rng: &mut impl Rng, customer: u32, life: &Life, index: usize, recorded: Option<i32>) -> GridMonth {
    let seen = &life.months[index];
    let month = life.first + index as i32;
    let agreed = life.traits.seats.round() as u32;
    let machines = (f64::from(agreed) * seen.utilisation).round() as u32;
    let expected = machines.max(1) * 30;
    let failed = (f64::from(expected) * seen.failure).round() as u32;
    let is_seen = !seen.is_missing;
    // a customer whose notice nobody wrote down still leaves, and nobody scores who is on the way out
    let noticed = life.departure.map(|departure| departure.noticed);
    GridMonth {
        customer,
        month,
        tenure_months: seen.tenure.max(0) as u32,
        contract_months: life.traits.contract_months,
        months_to_renewal: seen.months_to_renewal,
        runs: is_seen.then_some((expected - failed, expected)),
        days_late: (!rng.chance(0.02)).then_some(seen.days_late),
        tickets: is_seen.then_some(seen.tickets),
        features_used: is_seen.then(|| (seen.adoption * f64::from(FEATURES)).round() as u32),
        features_offered: FEATURES,
        machines: is_seen.then_some(machines),
        machines_agreed: agreed,
        is_leaving: recorded.or(noticed).is_some_and(|notice| month >= notice),
    }
}
