//! The warehouse queries of the pages, by area, and the only way in which a value gets into one.

pub(crate) mod customer_queries;
pub(crate) mod explore_queries;
pub(crate) mod portfolio_queries;

use granary_types::{Classify, CustomerCode, ErrorKind, Period};
use granary_warehouse::Session;
use serde::de::DeserializeOwned;

use crate::http::Problem;

/// Asks one of our own queries. That it does not fit the warehouse is a fault of ours, never the reader's.
pub(crate) async fn rows<T: DeserializeOwned>(session: &Session, sql: &str) -> Result<Vec<T>, Problem> {
    session.rows(sql).await.map_err(|error| match error.kind() {
        ErrorKind::Invalid | ErrorKind::NotFound => Problem::fault(&error),
        _ => error.into(),
    })
}

/// A lower-case word such as a tier or a band; nothing else can be one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Word(String);

impl Word {
    /// Parses a word; the empty one stands for "any".
    pub(crate) fn parse(text: &str) -> Result<Self, Problem> {
        let is_word = text.len() <= 40 && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        if is_word { Ok(Self(text.to_owned())) } else { Err(Problem::invalid("a filter is one lower-case word")) }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// The values of a query. Their types hold letters, digits, `-` and `_` only, so that they cannot end a literal.
#[derive(Debug, Clone)]
pub(crate) struct Holes {
    pub(crate) period: Period,
    /// None for every customer that the grant shows.
    pub(crate) customer: Option<CustomerCode>,
    pub(crate) word: Word,
}

impl Holes {
    /// Values of the whole portfolio.
    pub(crate) fn of_period(period: Period) -> Self {
        Self { period, customer: None, word: Word::default() }
    }

    /// Values of one customer.
    pub(crate) fn of_customer(period: Period, customer: &CustomerCode) -> Self {
        Self { period, customer: Some(customer.clone()), word: Word::default() }
    }

    /// Fills `{period}`, `{before}`, `{since}` (17 months before: 18 in all), `{customer}` and `{word}`, each as a literal.
    pub(crate) fn fill(&self, sql: &str) -> String {
        let literal = |text: &str| format!("'{text}'");
        sql.replace("{period}", &literal(&self.period.to_string()))
            .replace("{before}", &literal(&self.period.previous().to_string()))
            .replace("{since}", &literal(&self.period.plus_months(-17).to_string()))
            .replace("{customer}", &literal(self.customer.as_ref().map_or("", CustomerCode::as_str)))
            .replace("{word}", &literal(self.word.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_words_reaches_a_query() {
        assert!(Word::parse("enterprise").is_ok() && Word::parse("").is_ok());
        for hostile in ["' or 1=1 --", "a b", "A", "a;b", "ü", &"a".repeat(41)] {
            assert!(Word::parse(hostile).is_err(), "{hostile}");
            assert!(hostile.parse::<CustomerCode>().is_err() || hostile.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{hostile}");
        }
    }

    #[test]
    fn holes_are_filled_as_literals() {
        let holes = Holes::of_customer("2025-01".parse().unwrap(), &"ACME".parse().unwrap());
        assert_eq!(holes.fill("{period} {before} {since} {customer} {word}"), "'2025-01' '2024-12' '2023-08' 'ACME' ''");
    }
}
