//! Money: integers in minor units, and the one place where amounts are rounded.

use std::fmt;
use std::str::FromStr;

use rust_decimal::prelude::ToPrimitive;
use rust_decimal::{Decimal, RoundingStrategy};
use serde::{Deserialize, Serialize};

/// A unit price: a decimal of up to eight places in the contract's currency.
pub type UnitPrice = Decimal;
/// A billed quantity: whole machines, or up to four decimals.
pub type Quantity = Decimal;

/// The currencies and funds of ISO 4217 that are in use, in order.
#[rustfmt::skip]
const KNOWN: &[&str] = &[
    "AED", "AFN", "ALL", "AMD", "ANG", "AOA", "ARS", "AUD", "AWG", "AZN", "BAM", "BBD", "BDT", "BGN", "BHD", "BIF",
    "BMD", "BND", "BOB", "BOV", "BRL", "BSD", "BTN", "BWP", "BYN", "BZD", "CAD", "CDF", "CHE", "CHF", "CHW", "CLF",
    "CLP", "CNY", "COP", "COU", "CRC", "CUP", "CVE", "CZK", "DJF", "DKK", "DOP", "DZD", "EGP", "ERN", "ETB", "EUR",
    "FJD", "FKP", "GBP", "GEL", "GHS", "GIP", "GMD", "GNF", "GTQ", "GYD", "HKD", "HNL", "HTG", "HUF", "IDR", "ILS",
    "INR", "IQD", "IRR", "ISK", "JMD", "JOD", "JPY", "KES", "KGS", "KHR", "KMF", "KPW", "KRW", "KWD", "KYD", "KZT",
    "LAK", "LBP", "LKR", "LRD", "LSL", "LYD", "MAD", "MDL", "MGA", "MKD", "MMK", "MNT", "MOP", "MRU", "MUR", "MVR",
    "MWK", "MXN", "MXV", "MYR", "MZN", "NAD", "NGN", "NIO", "NOK", "NPR", "NZD", "OMR", "PAB", "PEN", "PGK", "PHP",
    "PKR", "PLN", "PYG", "QAR", "RON", "RSD", "RUB", "RWF", "SAR", "SBD", "SCR", "SDG", "SEK", "SGD", "SHP", "SLE",
    "SOS", "SRD", "SSP", "STN", "SVC", "SYP", "SZL", "THB", "TJS", "TMT", "TND", "TOP", "TRY", "TTD", "TWD", "TZS",
    "UAH", "UGX", "USD", "USN", "UYI", "UYU", "UYW", "UZS", "VED", "VES", "VND", "VUV", "WST", "XAF", "XCD", "XCG",
    "XOF", "XPF", "YER", "ZAR", "ZMW", "ZWG",
];

/// An ISO 4217 currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Currency([u8; 3]);

impl Currency {
    /// The United States dollar.
    pub const USD: Self = Self(*b"USD");
    /// The euro.
    pub const EUR: Self = Self(*b"EUR");

    /// Returns the three letters.
    pub fn code(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("XXX")
    }

    /// Returns the number of decimals of the minor unit by ISO 4217: 2 for most, 0 for the yen, 3 for the Kuwaiti dinar.
    pub fn exponent(&self) -> u32 {
        match &self.0 {
            b"BIF" | b"CLP" | b"DJF" | b"GNF" | b"ISK" | b"JPY" | b"KMF" | b"KRW" | b"PYG" | b"RWF" | b"UGX" | b"UYI" | b"VND" | b"VUV"
            | b"XAF" | b"XOF" | b"XPF" => 0,
            b"BHD" | b"IQD" | b"JOD" | b"KWD" | b"LYD" | b"OMR" | b"TND" => 3,
            b"CLF" | b"UYW" => 4,
            _ => 2,
        }
    }
}

impl FromStr for Currency {
    type Err = MoneyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.as_bytes() {
            [a, b, c] if KNOWN.binary_search(&text).is_ok() => Ok(Self([*a, *b, *c])),
            _ => Err(MoneyError::UnknownCurrency(text.chars().take(12).collect())),
        }
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl Serialize for Currency {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

impl<'de> Deserialize<'de> for Currency {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// What can go wrong with money.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    #[error("'{0}' is not an ISO 4217 currency code such as USD")]
    UnknownCurrency(String),
    #[error("amounts in {0} and {1} cannot be added")]
    MixedCurrencies(Currency, Currency),
    #[error("the amount does not fit")]
    Overflow,
}

/// An amount in minor units of one currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Money {
    pub amount_minor: i64,
    pub currency: Currency,
}

impl Money {
    /// Returns an amount from minor units: `Money::new(1050, Currency::USD)` is 10.50 USD.
    pub const fn new(amount_minor: i64, currency: Currency) -> Self {
        Self { amount_minor, currency }
    }

    /// Returns nothing, in a currency.
    pub const fn zero(currency: Currency) -> Self {
        Self::new(0, currency)
    }

    /// Rounds a decimal amount half away from zero to the minor unit.
    ///
    /// # Errors
    /// When the amount does not fit into 64 bits.
    pub fn from_decimal(amount: Decimal, currency: Currency) -> Result<Self, MoneyError> {
        let rounded = amount.round_dp_with_strategy(currency.exponent(), RoundingStrategy::MidpointAwayFromZero);
        let scaled = rounded.checked_mul(Decimal::from(10_i64.pow(currency.exponent()))).ok_or(MoneyError::Overflow)?;
        Ok(Self::new(scaled.to_i64().ok_or(MoneyError::Overflow)?, currency))
    }

    /// Returns the amount as a decimal with the currency's number of places.
    pub fn to_decimal(self) -> Decimal {
        Decimal::new(self.amount_minor, self.currency.exponent())
    }

    /// Adds an amount of the same currency.
    ///
    /// # Errors
    /// When the currencies differ or the sum does not fit.
    pub fn checked_add(self, other: Self) -> Result<Self, MoneyError> {
        if self.currency != other.currency {
            return Err(MoneyError::MixedCurrencies(self.currency, other.currency));
        }
        let amount_minor = self.amount_minor.checked_add(other.amount_minor).ok_or(MoneyError::Overflow)?;
        Ok(Self::new(amount_minor, self.currency))
    }
}

impl fmt::Display for Money {
    /// Writes `58,750.00 USD`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.to_decimal().abs().to_string();
        let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
        if self.amount_minor < 0 {
            f.write_str("-")?;
        }
        for (index, digit) in whole.chars().enumerate() {
            if index > 0 && (whole.len() - index).is_multiple_of(3) {
                f.write_str(",")?;
            }
            write!(f, "{digit}")?;
        }
        if !fraction.is_empty() {
            write!(f, ".{fraction}")?;
        }
        write!(f, " {}", self.currency)
    }
}

/// Multiplies a quantity by a unit price and rounds once, half away from zero, to the minor unit.
///
/// # Errors
/// When the amount does not fit.
pub fn line_amount(quantity: Quantity, unit_price: UnitPrice, currency: Currency) -> Result<Money, MoneyError> {
    Money::from_decimal(quantity.checked_mul(unit_price).ok_or(MoneyError::Overflow)?, currency)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_cent_rounds_away_from_zero() {
        let amount = |text: &str| Money::from_decimal(text.parse().unwrap(), Currency::USD).unwrap().amount_minor;
        assert_eq!((amount("0.005"), amount("-0.005"), amount("1.0049")), (1, -1, 100));
    }

    #[test]
    fn the_minor_unit_follows_iso_4217() {
        let minor = |code: &str| Money::from_decimal(Decimal::from(12), code.parse().unwrap()).unwrap();
        assert_eq!(minor("JPY").to_string(), "12 JPY");
        assert_eq!(minor("KWD").to_string(), "12.000 KWD");
        assert_eq!(Money::new(-5_875_000, Currency::USD).to_string(), "-58,750.00 USD");
    }

    #[test]
    fn only_currencies_of_iso_4217_are_taken() {
        assert!(KNOWN.is_sorted());
        assert!(KNOWN.iter().all(|code| code.parse::<Currency>().is_ok_and(|currency| currency.code() == *code)));
        for text in ["FOO", "usd", "US", "USDX", "", "XXX", "€€"] {
            assert!(text.parse::<Currency>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_golden_machine_lines_multiply() {
        let line = |count: i64, price: i64| line_amount(count.into(), price.into(), Currency::USD).unwrap().amount_minor;
        assert_eq!(line(1500, 10) + line(750, 25) + line(250, 100), 5_875_000);
    }
}
