//! The value axis: a range of round numbers around the data.

use super::{ChartSpec, Form, SeriesRole, Unit};

/// How many steps a value axis has at most.
const STEPS: i128 = 5;

/// A range from the first to the last tick.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scale {
    pub(super) ticks: Vec<i64>,
}

impl Scale {
    /// Fits an axis to a chart: from zero, except for lines of percentages, which would all look alike.
    pub(super) fn of(spec: &ChartSpec) -> Self {
        let mut low = i64::MAX;
        let mut high = i64::MIN;
        let mut extend = |value: i64| {
            low = low.min(value);
            high = high.max(value);
        };
        if spec.form == Form::StackedBar {
            for bucket in 0..spec.buckets.len() {
                let values = || spec.current().filter_map(|(series, _)| spec.value(series, bucket));
                extend(values().filter(|value| *value > 0).fold(0, i64::saturating_add));
                extend(values().filter(|value| *value < 0).fold(0, i64::saturating_add));
            }
            spec.series
                .iter()
                .filter(|series| series.role == SeriesRole::Previous)
                .flat_map(|series| series.values.iter().flatten())
                .for_each(|value| extend(*value));
        } else {
            spec.series.iter().flat_map(|series| series.values.iter().flatten()).for_each(|value| extend(*value));
        }
        spec.target.into_iter().for_each(&mut extend);
        let fits = spec.unit == Unit::Percent && matches!(spec.form, Form::Line | Form::Area);
        if !fits {
            extend(0);
        }
        Self::between(low.min(high), high.max(low), spec.unit)
    }

    /// Fits an axis of round numbers around a range.
    pub(super) fn between(low: i64, high: i64, unit: Unit) -> Self {
        let span = i128::from(high) - i128::from(low);
        let step = nice_step(span, i128::from(unit.step()), i128::from(unit.finest()));
        let mut first = i128::from(low).div_euclid(step) * step;
        let mut last = (i128::from(high) + step - 1).div_euclid(step) * step;
        if unit == Unit::Percent && high <= 10_000 {
            last = last.min(10_000);
        }
        if last <= first {
            (first, last) = if unit == Unit::Percent && first >= 10_000 { (first - step, first) } else { (first, first + step) };
        }
        let count = (last - first + step - 1) / step;
        let ticks = (0..=count).map(|index| (first + index * step).min(last)).map(|tick| i64::try_from(tick).unwrap_or(i64::MAX)).collect();
        Self { ticks }
    }

    /// Where a value lies between the first (0) and the last tick (1).
    pub(super) fn position(&self, value: i64) -> f64 {
        let first = self.ticks.first().copied().unwrap_or(0) as f64;
        let last = self.ticks.last().copied().unwrap_or(1) as f64;
        if last > first { ((value as f64 - first) / (last - first)).clamp(0.0, 1.0) } else { 0.0 }
    }
}

/// The smallest of 1, 2, 2.5, 5 × 10ⁿ (of what people read) that covers the span in few steps.
fn nice_step(span: i128, unit_step: i128, finest: i128) -> i128 {
    let wanted = (span.max(1) + STEPS - 1) / STEPS;
    // Count in hundredths of the readable unit so that steps below one are round too.
    let base = (unit_step / 100).max(1);
    let mut power = base;
    loop {
        for (numerator, denominator) in [(1, 1), (2, 1), (5, 2), (5, 1)] {
            let step = power * numerator / denominator;
            let is_round = step > 0 && (power * numerator) % denominator == 0 || unit_step > 1_000_000;
            if is_round && step >= wanted && step >= finest {
                return step;
            }
        }
        power *= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use granary_types::Currency;

    fn ticks(low: i64, high: i64, unit: Unit) -> Vec<String> {
        Scale::between(low, high, unit).ticks.iter().map(|tick| unit.tick(*tick)).collect()
    }

    #[test]
    fn ticks_are_round_numbers() {
        assert_eq!(ticks(0, 5_875_000, Unit::Money(Currency::USD)), ["0", "20k", "40k", "60k"]);
        assert_eq!(ticks(0, 7, Unit::Count), ["0", "2", "4", "6", "8"]);
        assert_eq!(ticks(-300, 700, Unit::Count), ["−400", "−200", "0", "200", "400", "600", "800"]);
        assert_eq!(ticks(0, 1_325_000_000_000, Unit::Bytes), ["0", "250", "500", "750", "1,000", "1,250"]);
    }

    #[test]
    fn percentages_end_at_a_hundred() {
        assert_eq!(ticks(9_820, 10_000, Unit::Percent), ["98 %", "98.5 %", "99 %", "99.5 %", "100 %"]);
        assert_eq!(ticks(10_000, 10_000, Unit::Percent), ["99.9 %", "100 %"]);
    }

    #[test]
    fn every_range_has_an_axis() {
        for (low, high) in [(0, 0), (0, 1), (i64::MIN, i64::MAX), (5, 5), (-3, -3), (0, i64::MAX)] {
            for unit in [Unit::Count, Unit::Money(Currency::USD), Unit::Bytes, Unit::Percent, Unit::Minutes] {
                let count = Scale::between(low, high, unit).ticks.len();
                assert!((2..=8).contains(&count), "{low}..{high} {unit:?} has {count} ticks");
            }
        }
    }
}
