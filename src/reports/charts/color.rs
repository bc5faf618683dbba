//! Colours: parsed before they reach markup, and kept readable on white.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An opaque colour, written `#0b6e4f`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Color(u8, u8, u8);

/// A text that is not a colour.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a colour: write six hexadecimal digits such as #0b6e4f")]
pub struct InvalidColor(String);

impl Color {
    /// The house's own colour, for whoever has no brand.
    pub const HOUSE: Self = Self(0x0b, 0x6e, 0x4f);

    /// Mixes with another colour; `share` of it in per cent.
    #[must_use]
    pub fn mix(self, other: Self, share: u8) -> Self {
        let mix = |one: u8, two: u8| {
            let share = u32::from(share.min(100));
            u8::try_from((u32::from(one) * (100 - share) + u32::from(two) * share) / 100).unwrap_or(u8::MAX)
        };
        Self(mix(self.0, other.0), mix(self.1, other.1), mix(self.2, other.2))
    }

    /// Mixes with white.
    #[must_use]
    pub fn tint(self, share: u8) -> Self {
        self.mix(Self(255, 255, 255), share)
    }

    /// Mixes with black.
    #[must_use]
    pub fn shade(self, share: u8) -> Self {
        self.mix(Self(0, 0, 0), share)
    }

    /// Returns the colour, darkened until text in it reads on white (4.5 : 1, WCAG 1.4.3).
    #[must_use]
    pub fn readable(self) -> Self {
        (0..=20).map(|step| self.shade(step * 5)).find(|color| color.contrast_with_white() >= 4.5).unwrap_or(Self(0, 0, 0))
    }

    /// Returns the colour, lightened until text in it reads on a dark page.
    #[must_use]
    pub fn readable_on_dark(self) -> Self {
        (0..=20).map(|step| self.tint(step * 5)).find(|color| color.contrast_with_white() <= 3.6).unwrap_or(Self(255, 255, 255))
    }

    fn contrast_with_white(self) -> f64 {
        let channel = |value: u8| {
            let part = f64::from(value) / 255.0;
            if part <= 0.040_45 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
        };
        1.05 / (0.2126 * channel(self.0) + 0.7152 * channel(self.1) + 0.0722 * channel(self.2) + 0.05)
    }
}

impl fmt::Display for Color {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{:02x}{:02x}{:02x}", self.0, self.1, self.2)
    }
}

impl FromStr for Color {
    type Err = InvalidColor;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || InvalidColor(text.chars().take(20).collect());
        let digits =
            text.strip_prefix('#').filter(|digits| digits.len() == 6 && digits.bytes().all(|b| b.is_ascii_hexdigit())).ok_or_else(error)?;
        let value = u32::from_str_radix(digits, 16).map_err(|_| error())?;
        let [_, red, green, blue] = value.to_be_bytes();
        Ok(Self(red, green, blue))
    }
}

impl Serialize for Color {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Color {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_six_digits_are_a_colour() {
        assert_eq!("#0B6e4f".parse::<Color>().unwrap(), Color::HOUSE);
        for text in ["", "#fff", "red", "#0b6e4f;x", "#0b6e4\"", "0b6e4f", "#+b6e4f"] {
            assert!(text.parse::<Color>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_pale_brand_is_darkened_until_it_reads() {
        let yellow: Color = "#ffe000".parse().unwrap();
        assert!(yellow.readable().contrast_with_white() >= 4.5);
        assert_eq!(Color::HOUSE.readable(), Color::HOUSE);
    }
}
