//! Postgres' binary `numeric`, decoded into a scaled integer without a float in between.
//!
//! On the wire: `ndigits`, `weight`, `sign`, `dscale` (16 bits each), then `ndigits` digits to the base 10,000; the value is
//! the sum of `digit[i] × 10000^(weight − i)`.

/// `sign` of a negative number; zero is positive, everything else is not a number.
const NEGATIVE: u16 = 0x4000;

const POWERS_OF_TEN: [i128; 39] = {
    let mut powers = [1_i128; 39];
    let mut exponent = 1;
    while exponent < powers.len() {
        powers[exponent] = powers[exponent - 1] * 10;
        exponent += 1;
    }
    powers
};

/// Why a numeric does not fit its column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NumericError {
    #[error("it is not a finite number")]
    NotFinite,
    #[error("it has more decimals than the column")]
    TooManyDecimals,
    #[error("it has more digits than the column")]
    TooLarge,
    #[error("it is not a numeric")]
    Malformed,
}

/// Decodes a numeric into an integer that counts units of `10^-scale`.
pub(crate) fn decode(raw: &[u8], precision: u8, scale: i8) -> Result<i128, NumericError> {
    let (header, digits) = raw.split_first_chunk::<8>().ok_or(NumericError::Malformed)?;
    let word = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    let (digit_count, weight, sign) = (usize::from(word(0)), i32::from(word(2).cast_signed()), word(4));
    if digits.len() != digit_count * 2 {
        return Err(NumericError::Malformed);
    }
    if sign != 0 && sign != NEGATIVE {
        return Err(NumericError::NotFinite);
    }
    let mut sum: i128 = 0;
    let mut exponent = 4 * weight + i32::from(scale);
    for pair in digits.chunks_exact(2) {
        let digit = i128::from(u16::from_be_bytes([pair[0], pair[1]]));
        if digit != 0 {
            let term = if exponent >= 0 {
                power_of_ten(exponent)?.checked_mul(digit).ok_or(NumericError::TooLarge)?
            } else {
                divided(digit, -exponent)?
            };
            sum = sum.checked_add(term).ok_or(NumericError::TooLarge)?;
        }
        exponent -= 4;
    }
    if sum >= power_of_ten(i32::from(precision))? {
        return Err(NumericError::TooLarge);
    }
    Ok(if sign == NEGATIVE { -sum } else { sum })
}

fn power_of_ten(exponent: i32) -> Result<i128, NumericError> {
    usize::try_from(exponent).ok().and_then(|at| POWERS_OF_TEN.get(at).copied()).ok_or(NumericError::TooLarge)
}

/// Divides a digit by `10^places`, which must leave nothing.
fn divided(digit: i128, places: i32) -> Result<i128, NumericError> {
    let divisor = if places > 4 { return Err(NumericError::TooManyDecimals) } else { power_of_ten(places)? };
    if digit % divisor == 0 { Ok(digit / divisor) } else { Err(NumericError::TooManyDecimals) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Encodes `value × 10^-scale` the way Postgres does: digits to the base 10,000, without zeros at either end.
    fn encode(value: i128, scale: u32) -> Vec<u8> {
        let shift = (4 - scale % 4) % 4;
        let mut digits = value.unsigned_abs().to_string() + &"0".repeat(shift as usize);
        digits.insert_str(0, &"0".repeat((4 - digits.len() % 4) % 4));
        let mut groups: Vec<u16> = digits.as_bytes().chunks(4).map(|four| std::str::from_utf8(four).unwrap().parse().unwrap()).collect();
        let fraction_groups = ((scale + shift) / 4) as usize;
        let mut weight = i16::try_from(groups.len()).unwrap() - i16::try_from(fraction_groups).unwrap() - 1;
        while groups.last() == Some(&0) {
            groups.pop();
        }
        while groups.first() == Some(&0) {
            groups.remove(0);
            weight -= 1;
        }
        if groups.is_empty() {
            weight = 0;
        }
        let sign = if value < 0 { NEGATIVE } else { 0 };
        let mut raw = Vec::new();
        raw.extend(u16::try_from(groups.len()).unwrap().to_be_bytes());
        raw.extend(weight.to_be_bytes());
        raw.extend(sign.to_be_bytes());
        raw.extend(u16::try_from(scale).unwrap().to_be_bytes());
        raw.extend(groups.iter().flat_map(|group| group.to_be_bytes()));
        raw
    }

    proptest! {
        #[test]
        fn every_number_comes_back(value in -10_i128.pow(38) + 1..10_i128.pow(38), scale in 0_u32..=38) {
            prop_assert_eq!(decode(&encode(value, scale), 38, i8::try_from(scale).unwrap()), Ok(value));
        }

        #[test]
        fn small_numbers_come_back_at_a_larger_scale(value in -1_000_000_i128..1_000_000, scale in 0_u32..=8) {
            let raised = value * 10_i128.pow(8 - scale);
            prop_assert_eq!(decode(&encode(value, scale), 18, 8), Ok(raised));
        }

        #[test]
        fn no_bytes_make_it_panic(raw in proptest::collection::vec(any::<u8>(), 0..40), precision in 1_u8..=38, scale in 0_i8..=38) {
            let _ = decode(&raw, precision, scale);
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_and_never_rounded() {
        assert_eq!(decode(&encode(1005, 3), 18, 2), Err(NumericError::TooManyDecimals));
        assert_eq!(decode(&encode(1000, 3), 18, 2), Ok(100));
        assert_eq!(decode(&encode(100, 0), 2, 0), Err(NumericError::TooLarge));
        assert_eq!(decode(&encode(-99, 0), 2, 0), Ok(-99));
        assert_eq!(decode(&[0, 0, 0, 0, 0xc0, 0, 0, 0], 18, 2), Err(NumericError::NotFinite));
        assert_eq!(decode(&[0, 1, 0, 0, 0, 0, 0, 0], 18, 2), Err(NumericError::Malformed));
        assert_eq!(decode(&encode(0, 0), 18, 2), Ok(0));
    }
}
