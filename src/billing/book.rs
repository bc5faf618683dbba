//! Keeping the price book: versions are added, never changed.

use granary_foundation::Boxed;
use granary_tenants::{MspTx, OperatorTx};
use granary_types::Currency;
use jiff::civil::Date;
use rust_decimal::Decimal;

use crate::price::default_list;
use crate::{BillingError, Item, Price, PriceBook, PriceOwner, store};

/// What one unit costs at most, and the decimals that a price is kept with.
const LARGEST_PRICE: Decimal = Decimal::from_parts(1_000_000, 0, 0, false, 0);
const PRICE_PLACES: u32 = 8;

/// Seeds the operator's list in a currency; versions that are there already stay as they are.
///
/// # Errors
/// When the day is not a first, or the store fails.
pub fn seed_list_prices<'a>(tx: &'a OperatorTx, currency: Currency, valid_from: Date) -> Boxed<'a, Result<(), BillingError>> {
    Box::pin(async move {
        check_day(valid_from)?;
        for price in default_list(currency, valid_from) {
            store::prices::insert_price(tx, None, &price).await?;
        }
        Ok(())
    })
}

/// Seeds an MSP's own prices for what has no retail default: premium support 75 and white label 150, half again what the
/// operator charges; versions that are there already stay as they are.
///
/// # Errors
/// When the day is not a first, or the store fails.
pub fn seed_price_book<'a>(tx: &'a MspTx, valid_from: Date) -> Boxed<'a, Result<(), BillingError>> {
    Box::pin(async move {
        check_day(valid_from)?;
        let currency = tx.msp().currency;
        for (item, unit_price) in [(Item::PremiumSupport, 75), (Item::WhiteLabel, 150)] {
            let price = Price { owner: PriceOwner::Msp, item, unit_price: unit_price.into(), currency, valid_from };
            store::prices::insert_price(tx, Some(tx.msp().id), &price).await?;
        }
        Ok(())
    })
}

/// Adds a version to the MSP's price book, or to a contract of one of its customers. False when that very version stands.
///
/// # Errors
/// When the day is not a first, the price belongs to the operator's list, is more than anything costs or finer than it can be
/// kept, or another price stands for the same day already.
pub fn set_price<'a>(tx: &'a MspTx, price: &'a Price) -> Boxed<'a, Result<bool, BillingError>> {
    Box::pin(async move {
        check_day(price.valid_from)?;
        if price.owner == PriceOwner::List {
            return Err(BillingError::NotFound("price of the MSP"));
        }
        let fits = (Decimal::ZERO..=LARGEST_PRICE).contains(&price.unit_price) && price.unit_price.normalize().scale() <= PRICE_PLACES;
        if !fits {
            return Err(BillingError::NotAPrice(price.unit_price));
        }
        let msp = Some(tx.msp().id);
        if store::prices::insert_price(tx, msp, price).await? {
            return Ok(true);
        }
        let standing = store::prices::find_price(tx, msp, price).await?;
        if standing.is_some_and(|standing| standing.unit_price == price.unit_price) {
            return Ok(false);
        }
        Err(BillingError::PriceStands { item: price.item, on: price.valid_from })
    })
}

/// Returns every version that the MSP can see.
///
/// # Errors
/// When the store fails.
pub fn get_price_book<'a>(tx: &'a MspTx) -> Boxed<'a, Result<PriceBook, BillingError>> {
    Box::pin(async move { Ok(PriceBook::new(store::prices::list_prices(tx, tx.msp().id).await?)) })
}

fn check_day(valid_from: Date) -> Result<(), BillingError> {
    if valid_from.day() == 1 { Ok(()) } else { Err(BillingError::NotAFirst(valid_from)) }
}
