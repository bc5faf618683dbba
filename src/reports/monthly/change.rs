//! What changed from one invoice to the next, split so that the parts add up to the cent.

use std::collections::BTreeMap;

use granary_types::{Currency, Money, Quantity, line_amount};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::ChargeLine;

/// One part of the difference between two months.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// The meter that changed.
    pub item: String,
    pub description: String,
    pub reason: ChangeReason,
    /// What the part adds to the net amount; negative when it takes away.
    pub difference: Money,
}

/// Why a line's amount is another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeReason {
    /// The meter was not charged the month before.
    Added { quantity: Quantity },
    /// The meter is not charged any more.
    Removed { quantity: Quantity },
    /// More or less of it, at the price of the month before.
    Quantity { before: Quantity, after: Quantity },
    /// Another price.
    Price { before: Decimal, after: Decimal },
    /// Another amount of a line that has neither quantity nor price of its own, such as a discount.
    Amount,
}

/// A meter's lines of one month, taken together.
#[derive(Debug, Clone)]
struct Meter {
    description: String,
    quantity: Quantity,
    /// None when lines of one meter have several prices.
    unit_price: Option<Decimal>,
    amount_minor: i64,
}

/// Explains the difference of two invoices, meter by meter, largest first.
///
/// A change of quantity is valued at the old price; the rest of a meter's difference is its change of price. So the
/// differences add up to the difference of the two sums, whatever was rounded.
pub fn changes(before: &[ChargeLine], after: &[ChargeLine], currency: Currency) -> Vec<Change> {
    let (old, new) = (meters(before), meters(after));
    let mut items: Vec<&String> = old.keys().chain(new.keys()).collect();
    items.sort_unstable();
    items.dedup();
    let mut found: Vec<Change> = items
        .into_iter()
        .flat_map(|item| meter_changes(old.get(item), new.get(item), currency).into_iter().map(move |part| (item, part)))
        .filter(|(_, (_, _, difference))| *difference != 0)
        .map(|(item, (description, reason, difference))| Change {
            item: item.clone(),
            description,
            reason,
            difference: Money::new(difference, currency),
        })
        .collect();
    found.sort_by_key(|change| std::cmp::Reverse(change.difference.amount_minor.unsigned_abs()));
    found
}

fn meters(lines: &[ChargeLine]) -> BTreeMap<String, Meter> {
    let mut meters: BTreeMap<String, Meter> = BTreeMap::new();
    for line in lines {
        let amount_minor = line.amount.amount_minor;
        meters
            .entry(line.item.clone())
            .and_modify(|meter| {
                meter.quantity += line.quantity;
                meter.amount_minor += amount_minor;
                meter.unit_price = meter.unit_price.filter(|price| *price == line.unit_price);
            })
            .or_insert_with(|| Meter {
                description: line.description.clone(),
                quantity: line.quantity,
                unit_price: Some(line.unit_price),
                amount_minor,
            });
    }
    meters
}

type Part = (String, ChangeReason, i64);

fn meter_changes(old: Option<&Meter>, new: Option<&Meter>, currency: Currency) -> Vec<Part> {
    match (old, new) {
        (None, Some(new)) => vec![(new.description.clone(), ChangeReason::Added { quantity: new.quantity }, new.amount_minor)],
        (Some(old), None) => vec![(old.description.clone(), ChangeReason::Removed { quantity: old.quantity }, -old.amount_minor)],
        (Some(old), Some(new)) => both(old, new, currency),
        (None, None) => Vec::new(),
    }
}

fn both(old: &Meter, new: &Meter, currency: Currency) -> Vec<Part> {
    let difference = new.amount_minor - old.amount_minor;
    let description = || new.description.clone();
    let (Some(old_price), Some(new_price)) = (old.unit_price, new.unit_price) else {
        return vec![(description(), ChangeReason::Amount, difference)];
    };
    let of_quantity = ChangeReason::Quantity { before: old.quantity, after: new.quantity };
    let of_price = ChangeReason::Price { before: old_price, after: new_price };
    match (old.quantity == new.quantity, old_price == new_price) {
        (true, true) => vec![(description(), ChangeReason::Amount, difference)],
        (false, true) => vec![(description(), of_quantity, difference)],
        (true, false) if new.quantity == Decimal::ONE => vec![(description(), ChangeReason::Amount, difference)],
        (true, false) => vec![(description(), of_price, difference)],
        (false, false) => {
            let at_old_price = line_amount(new.quantity - old.quantity, old_price, currency).map_or(difference, |money| money.amount_minor);
            vec![(description(), of_quantity, at_old_price), (description(), of_price, difference - at_old_price)]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(item: &str, quantity: i64, price_minor: i64) -> ChargeLine {
        let unit_price = Decimal::new(price_minor, 2);
        let amount = line_amount(quantity.into(), unit_price, Currency::USD).unwrap();
        ChargeLine { item: item.into(), description: item.into(), quantity: quantity.into(), unit_price, amount }
    }

    fn sum(lines: &[ChargeLine]) -> i64 {
        lines.iter().map(|line| line.amount.amount_minor).sum()
    }

    #[test]
    fn the_parts_add_up_to_the_difference() {
        let before = [
            line("machine_backup", 10, 1000),
            line("machine_enterprise", 5, 2500),
            line("storage_overage", 333, 10),
            line("discount", 1, -500),
        ];
        let after = [
            line("machine_backup", 12, 1100),
            line("machine_enterprise", 5, 2400),
            line("premium_support", 1, 5000),
            line("discount", 1, -700),
        ];
        let changes = changes(&before, &after, Currency::USD);
        let total: i64 = changes.iter().map(|change| change.difference.amount_minor).sum();
        assert_eq!(total, sum(&after) - sum(&before));
        let reasons: Vec<_> = changes.iter().map(|change| (change.item.as_str(), change.difference.amount_minor)).collect();
        assert_eq!(
            reasons,
            [
                ("premium_support", 5000),
                ("storage_overage", -3330),
                ("machine_backup", 2000),
                ("machine_backup", 1200),
                ("machine_enterprise", -500),
                ("discount", -200)
            ]
        );
    }

    #[test]
    fn nothing_changed_is_no_change() {
        let lines = [line("machine_backup", 10, 1000), line("machine_backup", 2, 900)];
        assert!(changes(&lines, &lines, Currency::USD).is_empty());
    }

    #[test]
    fn the_first_invoice_is_all_new() {
        let found = changes(&[], &[line("machine_backup", 3, 1000)], Currency::USD);
        assert_eq!(found[0].reason, ChangeReason::Added { quantity: 3.into() });
    }
}
