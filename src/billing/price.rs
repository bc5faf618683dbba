//! The price book: every version of every price that one MSP can see, and which one is in force.

use granary_types::{Currency, CustomerId, Period, UnitPrice};
use jiff::civil::Date;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::{BillingError, Item};

/// Whose price it is; a later one goes before an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PriceOwner {
    /// The operator's list, for all MSPs.
    List,
    /// The MSP's price book, for all its customers.
    Msp,
    /// One customer's contract.
    Customer(CustomerId),
}

/// One version of one price.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Price {
    pub owner: PriceOwner,
    pub item: Item,
    pub unit_price: UnitPrice,
    pub currency: Currency,
    /// In force from this first of a month until the next version.
    pub valid_from: Date,
}

/// Every version of every price that one MSP can see.
#[derive(Debug, Clone, Default)]
pub struct PriceBook {
    prices: Vec<Price>,
}

impl PriceBook {
    /// Makes a price book of versions in any order.
    pub fn new(prices: Vec<Price>) -> Self {
        Self { prices }
    }

    /// Returns every version.
    pub fn prices(&self) -> &[Price] {
        &self.prices
    }

    /// Returns what a customer pays for an item in a period: the price of its contract, else of the MSP's book, else of the
    /// operator's list where that is the retail default, in force on the period's first day.
    ///
    /// # Errors
    /// When no price is in force.
    pub fn retail(&self, customer: CustomerId, item: Item, currency: Currency, period: Period) -> Result<UnitPrice, BillingError> {
        let owners = [Some(PriceOwner::Customer(customer)), Some(PriceOwner::Msp), item.has_retail_default().then_some(PriceOwner::List)];
        owners
            .into_iter()
            .flatten()
            .find_map(|owner| self.in_force(owner, item, currency, period))
            .ok_or_else(|| missing(item, currency, period))
    }

    /// Returns the operator's list price of an item in a period.
    ///
    /// # Errors
    /// When no price is in force.
    pub fn list(&self, item: Item, currency: Currency, period: Period) -> Result<UnitPrice, BillingError> {
        self.in_force(PriceOwner::List, item, currency, period).ok_or_else(|| missing(item, currency, period))
    }

    fn in_force(&self, owner: PriceOwner, item: Item, currency: Currency, period: Period) -> Option<UnitPrice> {
        let fits = |price: &&Price| {
            price.owner == owner && price.item == item && price.currency == currency && price.valid_from <= period.first_day()
        };
        self.prices.iter().filter(fits).max_by_key(|price| price.valid_from).map(|price| price.unit_price)
    }
}

/// Returns the operator's list as it is seeded: machines 10 / 25 / 100, storage 0.10, and what the operator itself charges an
/// MSP: platform fee 200, premium support 50, white label 100.
pub(crate) fn default_list(currency: Currency, valid_from: Date) -> Vec<Price> {
    let items = [
        (Item::MachineBackup, Decimal::from(10)),
        (Item::MachineEnterprise, Decimal::from(25)),
        (Item::MachineReplication, Decimal::from(100)),
        (Item::StorageOverage, Decimal::new(10, 2)),
        (Item::PlatformFee, Decimal::from(200)),
        (Item::PremiumSupport, Decimal::from(50)),
        (Item::WhiteLabel, Decimal::from(100)),
    ];
    items.into_iter().map(|(item, unit_price)| Price { owner: PriceOwner::List, item, unit_price, currency, valid_from }).collect()
}

fn missing(item: Item, currency: Currency, period: Period) -> BillingError {
    BillingError::NoPrice { item, currency: currency.to_string(), on: period.first_day() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn price(owner: PriceOwner, unit_price: i64, valid_from: &str) -> Price {
        Price {
            owner,
            item: Item::MachineBackup,
            unit_price: unit_price.into(),
            currency: Currency::USD,
            valid_from: valid_from.parse().unwrap(),
        }
    }

    #[test]
    fn the_contract_goes_before_the_book_and_the_book_before_the_list() {
        let (acme, globex) = (CustomerId::new(), CustomerId::new());
        let mut prices = vec![price(PriceOwner::Customer(acme), 7, "2025-03-01"), price(PriceOwner::List, 10, "2020-01-01")];
        let book = PriceBook::new(prices.clone());
        let pays = |book: &PriceBook, customer, period: &str| {
            book.retail(customer, Item::MachineBackup, Currency::USD, period.parse().unwrap()).unwrap()
        };
        assert_eq!(pays(&book, acme, "2025-03"), Decimal::from(7));
        assert_eq!(pays(&book, acme, "2025-02"), Decimal::from(10));
        assert_eq!(pays(&book, globex, "2025-03"), Decimal::from(10));
        prices.push(price(PriceOwner::Msp, 9, "2025-01-01"));
        prices.push(price(PriceOwner::Msp, 11, "2025-06-01"));
        let book = PriceBook::new(prices);
        assert_eq!(pays(&book, globex, "2025-05"), Decimal::from(9));
        assert_eq!(pays(&book, globex, "2025-06"), Decimal::from(11));
        assert_eq!(pays(&book, acme, "2025-06"), Decimal::from(7));
    }

    #[test]
    fn a_price_that_is_not_in_force_is_an_error_and_never_a_zero() {
        let book = PriceBook::new(default_list(Currency::USD, "2025-01-01".parse().unwrap()));
        let (acme, january) = (CustomerId::new(), "2025-01".parse().unwrap());
        assert!(book.retail(acme, Item::MachineBackup, Currency::USD, january).is_ok());
        assert!(book.retail(acme, Item::MachineBackup, Currency::USD, january.previous()).is_err());
        assert!(book.retail(acme, Item::MachineBackup, Currency::EUR, january).is_err());
        assert!(
            book.retail(acme, Item::PremiumSupport, Currency::USD, january).is_err(),
            "the list is what the MSP pays, not a retail default"
        );
    }
}
