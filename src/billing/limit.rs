//! The storage limit that a period is billed by: the average over its days.

use jiff::civil::Date;

/// A limit over some days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AverageLimit {
    /// Rounded once, half up, as the stored bytes are that it is compared with.
    pub bytes: i64,
    /// It was the same on every day.
    pub is_constant: bool,
}

impl AverageLimit {
    /// Makes a limit that never changes.
    pub const fn of_gib(gib: i64) -> Self {
        Self { bytes: gib.saturating_mul(1 << 30), is_constant: true }
    }

    /// Averages limits in GiB, each from a day on and oldest first, over the days `first..=last`; the first limit also holds on
    /// the days before it. Before the first day has come it is that day's.
    pub fn over(limits: &[(Date, i64)], first: Date, last: Date) -> Self {
        let on = |day: Date| {
            let begun = limits.iter().rev().find(|(from, _)| *from <= day).or_else(|| limits.first());
            begun.map_or(0, |(_, gib)| *gib)
        };
        let days: Vec<i64> = first.series(jiff::Span::new().days(1)).take_while(|day| *day == first || *day <= last).map(on).collect();
        let count = days.len() as i128;
        let sum: i128 = days.iter().map(|gib| i128::from(*gib) << 30).sum();
        let bytes = i64::try_from((sum + count / 2) / count.max(1)).unwrap_or(i64::MAX);
        Self { bytes, is_constant: days.windows(2).all(|two| two[0] == two[1]) }
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    fn october(limits: &[(Date, i64)]) -> AverageLimit {
        AverageLimit::over(limits, date(2025, 10, 1), date(2025, 10, 31))
    }

    #[test]
    fn a_limit_that_stands_is_its_own_average() {
        assert_eq!(october(&[(date(2025, 1, 1), 1_000)]), AverageLimit::of_gib(1_000));
        assert_eq!(october(&[(date(2025, 10, 20), 1_000)]), AverageLimit::of_gib(1_000), "the first one holds before its day too");
        assert_eq!(october(&[(date(2025, 1, 1), 7), (date(2025, 10, 1), 5), (date(2025, 11, 1), 9)]), AverageLimit::of_gib(5));
        let largest = i64::from(i32::MAX);
        assert_eq!(october(&[(date(2025, 1, 1), largest)]).bytes, largest << 30);
    }

    #[test]
    fn a_change_counts_from_its_day_on() {
        let changed = october(&[(date(2025, 1, 1), 1_000), (date(2025, 10, 12), 1_310)]);
        assert_eq!(changed, AverageLimit { bytes: 1_200 << 30, is_constant: false }, "11 days of 1,000 and 20 of 1,310");
        let thirds = AverageLimit::over(&[(date(2025, 1, 1), 0), (date(2025, 10, 2), 1)], date(2025, 10, 1), date(2025, 10, 3));
        assert_eq!(thirds.bytes, 715_827_883, "two thirds of a GiB, rounded");
    }

    #[test]
    fn an_open_month_is_averaged_over_the_days_that_it_had() {
        let limits = [(date(2025, 1, 1), 100), (date(2025, 10, 10), 200)];
        let first = date(2025, 10, 1);
        assert_eq!(AverageLimit::over(&limits, first, date(2025, 10, 9)), AverageLimit::of_gib(100));
        assert_eq!(AverageLimit::over(&limits, first, date(2025, 10, 10)).bytes, 110 << 30);
        assert_eq!(AverageLimit::over(&limits, first, date(2025, 9, 1)), AverageLimit::of_gib(100), "it has not begun");
    }
}
