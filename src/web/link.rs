//! Addresses of our own pages, percent-encoded.

use std::fmt::Write as _;

use granary_types::{CustomerCode, Period};

/// Writes a query string, leaving out empty values.
pub(crate) fn query(pairs: &[(&str, &str)]) -> String {
    let mut out = String::new();
    for (name, value) in pairs.iter().filter(|(_, value)| !value.is_empty()) {
        if !out.is_empty() {
            out.push('&');
        }
        let _ = write!(out, "{name}=");
        for byte in value.bytes() {
            if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
                out.push(char::from(byte));
            } else {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}

/// The address of the rows behind a number of the whole portfolio.
pub(crate) fn rows(view: &str, period: Period) -> String {
    format!("/explore?{}", query(&[("view", view), ("period", &period.to_string())]))
}

/// The address of the rows behind a number of one customer.
pub(crate) fn customer_rows(view: &str, period: Period, customer: &str) -> String {
    format!("/explore?{}", query(&[("view", view), ("period", &period.to_string()), ("customer", customer)]))
}

/// The address of a customer's page.
pub(crate) fn customer(code: &str, period: Period) -> String {
    format!("/customers/{code}?{}", query(&[("period", &period.to_string())]))
}

/// The address of a customer's monthly report.
pub(crate) fn report(code: &CustomerCode, period: Period) -> String {
    format!("/reports/{code}/{period}.pdf")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_cannot_break_out_of_their_place() {
        assert_eq!(query(&[("next", "/a?b=c&d"), ("empty", ""), ("view", "mrr")]), "next=%2Fa%3Fb%3Dc%26d&view=mrr");
    }
}
