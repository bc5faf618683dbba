//! The second road to an amount: integers only, and nothing of billing's rater.
//!
//! Quantities are ten-thousandths, prices hundred-millionths, amounts minor units; every division rounds half away from zero.

use granary_types::Currency;

/// What a meter of machines is called on a line, by rank of the tier.
pub(crate) const MACHINE_ITEMS: [&str; 3] = ["machine_backup", "machine_enterprise", "machine_replication"];

/// One version of a price, as the lake knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PriceVersion {
    /// None for a price of the MSP's book or of the list.
    pub(crate) customer: Option<String>,
    pub(crate) is_list: bool,
    pub(crate) item: String,
    pub(crate) currency: String,
    pub(crate) price_e8: i128,
    /// Days since 1970.
    pub(crate) valid_from: i32,
}

/// What a customer agreed to, in integers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(crate) currency: Currency,
    /// The average over the period's days.
    pub(crate) storage_limit_bytes: i64,
    pub(crate) minimum_minor: i64,
    pub(crate) discount_e2: i64,
    pub(crate) tax_e3: i64,
    pub(crate) has_premium_support: bool,
    pub(crate) has_white_label: bool,
    /// Days of the period under contract and active or suspended.
    pub(crate) billable_days: i8,
    /// Days of the period on trial.
    pub(crate) trial_days: i8,
    pub(crate) days_of_month: i8,
}

/// What one customer used in one period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Usage {
    /// Machines by rank of the tier, in ten-thousandths.
    pub(crate) machines_e4: [i64; 3],
    pub(crate) stored_bytes_average: i64,
}

/// A line that charges what was found later of an earlier month, which is no part of this one.
pub(crate) const CORRECTION: &str = "correction";

/// A recomputed line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) item: &'static str,
    pub(crate) is_recurring: bool,
    pub(crate) quantity_e4: i128,
    pub(crate) price_e8: i128,
    pub(crate) amount_minor: i64,
}

/// Returns a price in force on a day: the customer's, else the MSP's, else the list's for machines and storage.
pub(crate) fn in_force(prices: &[PriceVersion], customer: &str, item: &str, currency: &str, day: i32) -> Option<i128> {
    let has_list_default = !matches!(item, "premium_support" | "white_label");
    let precedence = |price: &PriceVersion| match (&price.customer, price.is_list) {
        (Some(owner), _) if owner == customer => Some(2),
        (Some(_), _) => None,
        (None, false) => Some(1),
        (None, true) => has_list_default.then_some(0),
    };
    let fits = |price: &&PriceVersion| price.item == item && price.currency == currency && price.valid_from <= day;
    prices
        .iter()
        .filter(fits)
        .filter_map(|price| Some(((precedence(price)?, price.valid_from), price.price_e8)))
        .max_by_key(|(order, _)| *order)
        .map(|(_, price_e8)| price_e8)
}

/// Returns the lines of a customer's period, in the order of an invoice; an item without a price in force is priced at zero, so
/// that the difference shows.
pub(crate) fn lines(usage: &Usage, terms: &Terms, price_of: &dyn Fn(&str) -> Option<i128>) -> Vec<Line> {
    let mut lines = Vec::new();
    if terms.billable_days == 0 && terms.trial_days == 0 {
        return lines;
    }
    let is_trial = terms.billable_days == 0;
    let exponent = terms.currency.exponent();
    let mut charge = |item: &'static str, is_recurring: bool, quantity_e4: i128| {
        if quantity_e4 != 0 {
            let price_e8 = if is_trial { 0 } else { price_of(item).unwrap_or(0) };
            lines.push(Line { item, is_recurring, quantity_e4, price_e8, amount_minor: amount_minor(quantity_e4, price_e8, exponent) });
        }
    };
    for (item, machines_e4) in MACHINE_ITEMS.into_iter().zip(usage.machines_e4) {
        charge(item, true, machines_e4.into());
    }
    charge("storage_overage", false, overage_e4(usage.stored_bytes_average, terms.storage_limit_bytes));
    if is_trial {
        return lines;
    }
    let share_e4 = divide(i128::from(terms.billable_days) * 10_000, terms.days_of_month.into());
    for (item, is_agreed) in [("premium_support", terms.has_premium_support), ("white_label", terms.has_white_label)] {
        charge(item, true, if is_agreed { share_e4 } else { 0 });
    }
    add_discount_and_minimum(terms, share_e4, &mut lines);
    lines
}

/// Returns the sum of lines, net of tax.
pub(crate) fn net_minor(lines: &[Line]) -> i64 {
    lines.iter().map(|line| line.amount_minor).sum()
}

/// Returns the tax on a net amount.
pub(crate) fn tax_minor(net_minor: i64, tax_e3: i64) -> i64 {
    narrow(divide(i128::from(net_minor) * i128::from(tax_e3), 100_000))
}

/// Returns quantity × price, rounded once to the minor unit.
pub(crate) fn amount_minor(quantity_e4: i128, price_e8: i128, exponent: u32) -> i64 {
    narrow(divide(quantity_e4 * price_e8 * 10_i128.pow(exponent), 1_000_000_000_000))
}

fn add_discount_and_minimum(terms: &Terms, share_e4: i128, lines: &mut Vec<Line>) {
    let piece = |item, is_recurring, amount_minor: i64| Line {
        item,
        is_recurring,
        quantity_e4: i128::from(amount_minor.signum()) * 10_000,
        price_e8: i128::from(amount_minor.abs()) * 10_i128.pow(8 - terms.currency.exponent()),
        amount_minor,
    };
    for is_recurring in [true, false] {
        let charged = lines.iter().filter(|line| line.is_recurring == is_recurring && line.item != "discount");
        let base: i64 = charged.map(|line| line.amount_minor).sum();
        let discount = narrow(divide(i128::from(base) * i128::from(terms.discount_e2), 10_000));
        if discount != 0 {
            lines.push(piece("discount", is_recurring, -discount));
        }
    }
    let missing = narrow(divide(i128::from(terms.minimum_minor) * share_e4, 10_000)) - net_minor(lines);
    if missing > 0 {
        lines.push(piece("minimum_top_up", true, missing));
    }
}

/// GiB over the limit: rounded to thousandths, given in ten-thousandths.
fn overage_e4(stored_bytes_average: i64, limit_bytes: i64) -> i128 {
    let over_bytes = i128::from(stored_bytes_average) - i128::from(limit_bytes);
    divide(over_bytes.max(0) * 1_000, 1 << 30) * 10
}

/// Divides and rounds half away from zero; the divisor is positive.
pub(crate) fn divide(dividend: i128, divisor: i128) -> i128 {
    (dividend + dividend.signum() * (divisor / 2)) / divisor
}

fn narrow(amount: i128) -> i64 {
    i64::try_from(amount).unwrap_or(if amount < 0 { i64::MIN } else { i64::MAX })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms() -> Terms {
        Terms {
            currency: Currency::USD,
            storage_limit_bytes: 1_000 << 30,
            minimum_minor: 0,
            discount_e2: 0,
            tax_e3: 0,
            has_premium_support: false,
            has_white_label: false,
            billable_days: 31,
            trial_days: 0,
            days_of_month: 31,
        }
    }

    fn list(item: &str) -> Option<i128> {
        let price: i128 = match item {
            "machine_backup" => 10,
            "machine_enterprise" => 25,
            "machine_replication" => 100,
            "storage_overage" => return Some(10_000_000),
            _ => return None,
        };
        Some(price * 100_000_000)
    }

    #[test]
    fn the_golden_numbers_come_out_on_this_road_too() {
        let usage = Usage { machines_e4: [15_000_000, 7_500_000, 2_500_000], stored_bytes_average: 0 };
        assert_eq!(net_minor(&lines(&usage, &terms(), &list)), 5_875_000);
        let vspc = Terms { discount_e2: 1_500, tax_e3: 10_000, ..terms() };
        let forty = lines(&Usage { machines_e4: [400_000, 0, 0], ..usage }, &vspc, &list);
        assert_eq!((net_minor(&forty), net_minor(&forty) + tax_minor(net_minor(&forty), vspc.tax_e3)), (34_000, 37_400));
        let average = lines(&Usage { machines_e4: [62_581, 0, 0], ..usage }, &terms(), &list);
        assert_eq!(net_minor(&average), 6_258);
    }

    #[test]
    fn halves_round_away_from_zero() {
        assert_eq!((divide(5, 10), divide(-5, 10), divide(4, 10), divide(15, 31), divide(3, 2)), (1, -1, 0, 0, 2));
        assert_eq!(divide(15 * 10_000, 31), 4_839);
    }

    #[test]
    fn minimum_overage_and_discount_follow_the_order_of_an_invoice() {
        let terms = Terms { minimum_minor: 10_000, discount_e2: 1_000, ..terms() };
        let usage = Usage { machines_e4: [40_000, 0, 0], stored_bytes_average: 1_100 * (1 << 30) + (1 << 29) };
        let all: Vec<_> = lines(&usage, &terms, &list).iter().map(|line| (line.item, line.quantity_e4, line.amount_minor)).collect();
        assert_eq!(
            all,
            [
                ("machine_backup", 40_000, 4_000),
                ("storage_overage", 1_005_000, 1_005),
                ("discount", -10_000, -400),
                ("discount", -10_000, -101),
                ("minimum_top_up", 10_000, 5_496),
            ]
        );
    }

    #[test]
    fn the_contracts_price_goes_before_the_book_and_the_list() {
        let price = |customer: Option<&str>, is_list, price_e8, valid_from| PriceVersion {
            customer: customer.map(str::to_owned),
            is_list,
            item: "machine_backup".to_owned(),
            currency: "USD".to_owned(),
            price_e8,
            valid_from,
        };
        let prices =
            [price(None, true, 10, 0), price(None, false, 9, 50), price(Some("acme"), false, 7, 20), price(Some("acme"), false, 6, 90)];
        let at = |customer, day| in_force(&prices, customer, "machine_backup", "USD", day);
        assert_eq!((at("acme", 10), at("acme", 60), at("acme", 90)), (Some(10), Some(7), Some(6)));
        assert_eq!((at("globex", 49), at("globex", 60), at("globex", -1)), (Some(10), Some(9), None));
    }
}
