//! How a share of two counts becomes hundredths of a percent: the one place, so that every page and document says the same.

/// A service level: cut off, never rounded, so that a target that was missed is not printed as reached.
///
/// 99.499 % is 99.49 %, and a level is at least its target exactly when the target was met. None of nothing.
pub fn level(part: u64, whole: u64) -> Option<i64> {
    (u128::from(part) * 10_000).checked_div(u128::from(whole)).and_then(|level| i64::try_from(level).ok())
}

/// Any other share, which nobody promised: half up; less than the whole is never 100 %. None of nothing.
pub fn share(part: u64, whole: u64) -> Option<i64> {
    let doubled = u128::from(part) * 20_000 + u128::from(whole);
    let rounded = doubled.checked_div(u128::from(whole) * 2).and_then(|share| i64::try_from(share).ok())?;
    Some(if part < whole { rounded.min(9_999) } else { rounded })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_never_rounded_up_to_a_target() {
        assert_eq!(level(791, 866), Some(9_133), "91.3395 %");
        assert_eq!((level(99_499, 100_000), level(995, 1_000), level(0, 0)), (Some(9_949), Some(9_950), None));
        for (part, whole) in (1..400_u64).flat_map(|whole| (0..=whole).map(move |part| (part, whole))) {
            let is_met = part * 10_000 >= whole * 9_950;
            assert_eq!(level(part, whole).unwrap() >= 9_950, is_met, "{part} of {whole}");
        }
    }

    #[test]
    fn a_share_is_rounded_and_never_up_to_the_whole() {
        assert_eq!((share(13_043 - 98, 13_043), share(99_999, 100_000), share(3, 3)), (Some(9_925), Some(9_999), Some(10_000)));
        assert_eq!(share(0, 0), None);
    }
}
