//! How much real machines change from day to day; see `data/README.md`.

use std::sync::LazyLock;

const SAMPLE: &str = include_str!("data/daily_change_percent.csv");

/// By machine of the trace: each day's change in per cent of the machine's mean, from a Tuesday on.
static DAYS: LazyLock<Vec<Vec<u16>>> = LazyLock::new(|| {
    let rows = SAMPLE.lines().skip(1).filter_map(|line| line.split_once(','));
    rows.map(|(_, days)| days.split(' ').filter_map(|day| day.parse().ok()).collect()).filter(|days: &Vec<u16>| !days.is_empty()).collect()
});

/// Returns how many machines the trace has.
pub(crate) fn machines() -> usize {
    DAYS.len()
}

/// Returns the change on a day as a factor of the machine's mean; days count from a Tuesday.
pub(crate) fn factor(machine: usize, day: usize) -> f64 {
    let days = &DAYS[machine % DAYS.len()];
    f64::from(days[day % days.len()]) / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_four_whole_weeks_around_its_mean() {
        assert!(machines() > 30);
        for machine in 0..machines() {
            assert_eq!(DAYS[machine].len(), 28);
            assert!((0.1..3.0).contains(&((0..28).map(|day| factor(machine, day)).sum::<f64>() / 28.0)), "{machine}");
        }
    }
}
